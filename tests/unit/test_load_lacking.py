"""Requests that the generator itself could not send are told from those that were not answered."""

import errno
import subprocess
import sys
from collections.abc import Callable

import pytest
import requests.exceptions as rq
from geventhttpclient.useragent import RetriesExceeded

from rushhour.load.lacking import Lacking, lacking


def plain(error: OSError) -> BaseException:
    return error


def retried(error: OSError) -> BaseException:
    return RetriesExceeded("http://127.0.0.1/", 0, original=error)


def raised_from(error: OSError) -> BaseException:
    wrapped = rq.ConnectionError("Failed to establish a new connection")
    wrapped.__cause__ = RuntimeError("while it connected")
    wrapped.__cause__.__context__ = error
    return wrapped


@pytest.mark.parametrize("wrap", [plain, retried, raised_from])
@pytest.mark.parametrize(
    ("code", "what"),
    [
        (errno.EMFILE, Lacking.FILE),
        (errno.ENFILE, Lacking.FILE),
        (errno.EADDRNOTAVAIL, Lacking.PORT),
        (errno.ENOBUFS, Lacking.MEMORY),
        (errno.ENOMEM, Lacking.MEMORY),
        (errno.ECONNREFUSED, None),
        (errno.ECONNRESET, None),
        (errno.EHOSTUNREACH, None),
        (None, None),
    ],
)
def test_what_the_sender_lacks_is_known_however_clients_wrap_it(
    code: int | None, what: Lacking | None, wrap: Callable[[OSError], BaseException]
) -> None:
    assert lacking(wrap(OSError("without a number") if code is None else OSError(code, "reason"))) is what


def test_exceptions_that_lead_to_each_other_end() -> None:
    first, second = ValueError(), ValueError()
    first.__cause__, second.__cause__ = second, first
    assert lacking(first) is None
    assert lacking(None) is None


CUSTOMERS_WITHOUT_FILES = """
import resource, socket, sys
from locust import FastHttpUser, HttpUser
from locust.env import Environment
from rushhour.load.lacking import lacking
from rushhour.load.outcome import classify

def note(response, exception, **_):
    status = None if response is None else response.status_code or 0
    print(classify(status, None, exception), lacking(exception))

environment = Environment()
environment.events.request.add_listener(note)
users = [kind(environment) for kind in (FastHttpUser, HttpUser) if setattr(kind, "host", sys.argv[1]) is None]
for user in users:
    user.client.get("/")
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
held = []
try:
    while True:
        held.append(socket.socket())
except OSError:
    pass
for user in users:
    user.client.get("/")
"""


def test_customers_of_both_clients_lack_files_where_the_limit_is_reached() -> None:
    """On a port where nobody listens: refused at first, and without a file after that."""
    done = subprocess.run(
        [sys.executable, "-c", CUSTOMERS_WITHOUT_FILES, "http://127.0.0.1:9"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines() == ["connect_error None"] * 2 + ["connect_error no_file"] * 2
