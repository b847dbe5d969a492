"""How a request ended: from status, body and exception to one class."""

import errno

import gevent
import pytest
import requests.exceptions as rq
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError
from geventhttpclient.useragent import RetriesExceeded

from rushhour.load.outcome import classify
from rushhour.rundir.facts import Outcome

FLASK_BODY = b'{"error":{"message":"QueuePool limit of size 20","type":"sqlalchemy.exc.TimeoutError"}}'


@pytest.mark.parametrize("status", [200, 201, 204, 302])
def test_an_answer_without_an_error_is_ok(status: int) -> None:
    assert classify(status, None, None) is Outcome.OK


@pytest.mark.parametrize("body", [FLASK_BODY, b"... QueuePool limit of size 20 overflow 10 reached ..."])
@pytest.mark.parametrize("status", [500, 503])
def test_a_5xx_that_names_the_pool_is_a_pool_time_out(status: int, body: bytes) -> None:
    assert classify(status, body, Exception("bad status")) is Outcome.QUEUEPOOL_TIMEOUT


@pytest.mark.parametrize("body", [None, b"", b'{"type": "sqlalchemy.exc.OperationalError"}', b"\xff\xfe"])
def test_any_other_5xx_is_http_5xx(body: bytes | None) -> None:
    assert classify(502, body, Exception("bad status")) is Outcome.HTTP_5XX


def test_pool_text_in_a_200_is_not_a_timeout() -> None:
    assert classify(200, FLASK_BODY, None) is Outcome.OK
    assert classify(404, FLASK_BODY, None) is Outcome.HTTP_4XX


def test_a_5xx_stays_one_when_the_locustfile_calls_it_a_success() -> None:
    assert classify(500, b"", None) is Outcome.HTTP_5XX


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError("timed out"),
        gevent.Timeout(1),
        RetriesExceeded("http://127.0.0.1/", 0, original=TimeoutError("timed out")),
        rq.ReadTimeout(),
        rq.ConnectTimeout(),
    ],
)
def test_a_customer_who_gave_up(error: BaseException) -> None:
    assert classify(0, None, error) is Outcome.CLIENT_TIMEOUT


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
        ConnectionResetError(errno.ECONNRESET, "reset"),
        HTTPConnectionClosed("connection closed."),
        HTTPParseError("connection closed before end of the headers"),
        OSError(errno.EMFILE, "too many open files"),
        RetriesExceeded("http://127.0.0.1/", 0, original=BrokenPipeError(errno.EPIPE, "broken pipe")),
        rq.ConnectionError(),
        rq.ChunkedEncodingError(),
    ],
)
def test_a_connection_that_broke(error: BaseException) -> None:
    assert classify(0, None, error) is Outcome.CONNECT_ERROR


def test_an_answer_that_was_cut_short_is_a_connection_that_broke() -> None:
    assert classify(200, None, HTTPParseError("cut")) is Outcome.CONNECT_ERROR


@pytest.mark.parametrize("error", [ValueError("unexpected body"), rq.TooManyRedirects(), rq.InvalidURL()])
def test_anything_else(error: BaseException) -> None:
    assert classify(200, b"{}", error) is Outcome.OTHER_ERROR


def test_a_request_that_is_not_http() -> None:
    assert classify(None, None, None) is Outcome.OK
    assert classify(None, None, TimeoutError()) is Outcome.CLIENT_TIMEOUT
