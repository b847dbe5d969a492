"""Classifies how a request ended for its customer, from HTTP status, body and exception (pure)."""

from typing import Final

import gevent
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError
from requests.exceptions import ChunkedEncodingError, RequestException, Timeout
from requests.exceptions import ConnectionError as RequestsConnectionError

from rushhour.rundir.facts import Outcome

# Traces of SQLAlchemy's pool time-out in a 5xx: the exception's type (JSON, a debug page) or its text.
_POOL_MARKS: Final = (b"sqlalchemy.exc.TimeoutError", b"QueuePool limit")

_TIMEOUTS: Final = (TimeoutError, gevent.Timeout, Timeout)
_CONNECTION: Final = (
    ConnectionError,  # refused, reset, broken pipe
    HTTPConnectionClosed,  # closed before an answer
    HTTPParseError,  # closed in the middle of an answer
    OSError,  # no route, name not found, too many open files
)


def classify(status: int | None, body: bytes | None, exception: BaseException | None) -> Outcome:
    """Classify an answer. Status 0: no answer; None: not HTTP. `body` matters only for a 5xx."""
    if status is None:
        return Outcome.OK if exception is None else _classify_exception(exception)
    if status >= 500:
        pool = body is not None and any(mark in body for mark in _POOL_MARKS)
        return Outcome.QUEUEPOOL_TIMEOUT if pool else Outcome.HTTP_5XX
    if status >= 400:
        return Outcome.HTTP_4XX
    if exception is None:
        return Outcome.OK if status else Outcome.OTHER_ERROR
    return _classify_exception(exception)


def _classify_exception(exception: BaseException) -> Outcome:
    # geventhttpclient wraps a time-out in its own exception once its retries (here 0) are exceeded.
    cause = getattr(exception, "original", None) or exception
    if isinstance(cause, _TIMEOUTS):
        return Outcome.CLIENT_TIMEOUT
    if isinstance(cause, RequestException):  # a subclass of OSError, whatever the reason
        broken = isinstance(cause, (RequestsConnectionError, ChunkedEncodingError))
        return Outcome.CONNECT_ERROR if broken else Outcome.OTHER_ERROR
    if isinstance(cause, _CONNECTION):
        return Outcome.CONNECT_ERROR
    return Outcome.OTHER_ERROR
