"""Failed requests counted in logs as Flask writes them."""

from pathlib import Path

import pytest

from rushhour.observe.logs import LogCount, LogWatcher, TracebackCounter, kind_of
from rushhour.observe.tail import Tail

POOL_TIMEOUT = """\
[2026-01-02 17:31:05 +0000] [812] [ERROR] Exception on /customers/17/referrals [GET]
Traceback (most recent call last):
  File "flask/app.py", line 1511, in wsgi_app
    response = self.full_dispatch_request()
  File "sqlalchemy/pool/impl.py", line 165, in _do_get
    raise exc.TimeoutError(
    ...<4 lines>...
sqlalchemy.exc.TimeoutError: QueuePool limit of size 20 overflow 10 reached, connection timed out, timeout \
30.00 (Background on this error at: https://sqlalche.me/e/21/3o7r)
"""

REWRAPPED = """\
[2026-01-02 17:31:06 +0000] [812] [ERROR] Exception on /customers/18/referrals [GET]
Traceback (most recent call last):
  File "sqlalchemy/pool/impl.py", line 165, in _do_get
sqlalchemy.exc.TimeoutError: QueuePool limit of size 20 overflow 10 reached, connection timed out

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "app/views.py", line 20, in referrals
app.errors.Unavailable: no connection: QueuePool limit of size 20 overflow 10 reached, connection timed out

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "app/errors.py", line 9, in on_error
KeyError: 'request_id'
"""

SERVER_DOWN = """\
[2026-01-02 17:31:07 +0000] [812] [ERROR] Exception on /login [POST]
Traceback (most recent call last):
  File "sqlalchemy/engine/base.py", line 143, in __init__
psycopg2.OperationalError: connection to server at "127.0.0.1", port 5432 failed: Connection refused
\tIs the server running on that host and accepting TCP/IP connections?


The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "flask/app.py", line 1511, in wsgi_app
sqlalchemy.exc.OperationalError: (psycopg2.OperationalError) connection to server failed: Connection refused
(Background on this error at: https://sqlalche.me/e/21/e3q8)
"""

GROUP = """\
  + Exception Group Traceback (most recent call last):
  |   File "app/jobs.py", line 3, in run
  | ExceptionGroup: unhandled errors (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "app/jobs.py", line 9, in one
    | ValueError: 1
    +---------------- 2 ----------------
    | Traceback (most recent call last):
    |   File "app/jobs.py", line 9, in two
    | ValueError: 2
    +------------------------------------
"""

ACCESS = '127.0.0.1 - - [02/Jan/2026:17:31:07 +0000] "GET /customers/17/summary HTTP/1.1" 200 318\n'


def count(text: str) -> tuple[int, int]:
    counter = TracebackCounter()
    timeouts, errors = counter.take(text.splitlines())
    return timeouts, errors + counter.close()


def test_one_pool_time_out() -> None:
    assert count(ACCESS + POOL_TIMEOUT + ACCESS) == (1, 0)


def test_a_time_out_that_is_wrapped_and_whose_handler_fails_is_one_failed_request() -> None:
    assert count(REWRAPPED) == (1, 0)


def test_another_error_and_its_cause_are_one() -> None:
    assert count(SERVER_DOWN) == (0, 1)


def test_an_exception_group_is_one_error() -> None:
    assert count(GROUP) == (0, 1)


def test_a_mixed_log() -> None:
    assert count(POOL_TIMEOUT + REWRAPPED + ACCESS + SERVER_DOWN + POOL_TIMEOUT + GROUP + ACCESS) == (3, 2)


def test_the_text_outside_a_traceback_is_not_a_failed_request() -> None:
    assert count("WARNING retry after: QueuePool limit of size 20 overflow 10 reached\n" + ACCESS) == (0, 0)


def test_a_source_line_that_raises_the_error_is_not_the_error() -> None:
    text = (
        "Traceback (most recent call last):\n"
        '    raise TimeoutError("QueuePool limit of size %d overflow %d reached, " % sizes)\n'
        "TypeError: not enough arguments for format string\n"
    )
    assert count(text) == (0, 1)


def test_a_traceback_cut_anywhere_between_two_readings_counts_the_same() -> None:
    lines = (SERVER_DOWN + REWRAPPED + ACCESS).splitlines()
    for cut in range(len(lines)):
        counter = TracebackCounter()
        first, second = counter.take(lines[:cut]), counter.take(lines[cut:])
        assert (first[0] + second[0], first[1] + second[1] + counter.close()) == (1, 1), cut


def test_an_error_that_nothing_follows_is_counted_at_the_second_reading() -> None:
    counter = TracebackCounter()
    assert counter.take(SERVER_DOWN.splitlines()) == (0, 0)
    assert counter.take([]) == (0, 1)
    assert counter.take([]) == (0, 0)


def test_a_log_that_appears_later_and_grows_is_read_once(tmp_path: Path) -> None:
    logs = LogWatcher(tmp_path)
    assert logs.poll() == []
    service = tmp_path / "service.log"
    service.write_text(POOL_TIMEOUT + POOL_TIMEOUT)
    (tmp_path / "primary.log").write_text(POOL_TIMEOUT)  # not the service's
    assert logs.poll() == [LogCount("service", queuepool_timeouts=2, errors=0)]
    assert logs.poll() == []
    with service.open("a") as file:
        file.write(REWRAPPED + SERVER_DOWN)
    assert logs.poll() == [LogCount("service", 1, 0, kinds={"backend_lost": 1})]
    assert logs.finish() == [LogCount("service", queuepool_timeouts=0, errors=1)]


def test_a_tail_keeps_an_incomplete_line_and_detects_truncation(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    tail = Tail(path)
    assert tail.lines() == []
    path.write_bytes("one\ntw\xff".encode("latin-1"))
    assert tail.lines() == ["one"]
    with path.open("ab") as file:
        file.write(b"o\r\nthree")
    assert tail.lines() == ["tw\N{REPLACEMENT CHARACTER}o"]
    path.write_bytes(b"new\n")
    assert tail.lines() == ["new"]


def test_a_tail_reads_a_large_backlog_in_parts_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("".join(f"line {number:06}\n" for number in range(200_000)))
    tail = Tail(path)
    got: list[str] = []
    parts = 0
    while lines := tail.lines():
        got += lines
        parts += 1
    assert parts > 1
    assert got == [f"line {number:06}" for number in range(200_000)]


def test_the_rest_of_a_file_is_read_to_its_end_whatever_the_length_of_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(b"first\n" + b"x" * 3_000_000 + b"\nlast\nhalf a li")
    tail = Tail(path)
    lines = [line for portion in tail.rest(lambda: False) for line in portion]
    assert (lines[0], lines[-1], tail.unread()) == ("first", "last", 0)


def test_the_rest_of_a_file_says_what_it_had_no_time_for(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(b"a line\n" * 1_000_000)
    tail = Tail(path)
    answers = iter((False, True))
    assert len(list(tail.rest(lambda: next(answers)))) == 1
    assert tail.unread() == 7_000_000 - (1 << 20)


def test_the_last_reading_of_a_log_counts_every_error_of_a_backlog(tmp_path: Path) -> None:
    service = tmp_path / "service.log"
    noise = "GET / 200\n" * 200_000
    service.write_text(noise + POOL_TIMEOUT + "x" * 3_000_000 + "\n" + noise + POOL_TIMEOUT)
    logs = LogWatcher(tmp_path)
    counts = logs.poll() + logs.finish()
    assert sum(count.queuepool_timeouts for count in counts) == 2
    assert logs.unread == 0


@pytest.mark.parametrize(
    ("says", "kind"),
    [
        ("OperationalError: (a) FATAL:  remaining connection slots are reserved for roles", "server_limit"),
        ("OperationalError: (a) (1040, 'Too many connections')", "server_limit"),
        ("DatabaseError: (a) error with PGRES_TUPLES_OK and no message from the libpq", "shared_connection"),
        ("ResourceClosedError: The result does not return rows. It has been closed", "shared_connection"),
        ("InvalidRequestError: This session ...; concurrent operations are not permitted", "shared_session"),
        ("IllegalStateChangeError: Method 'close()' ... method is already in progress", "shared_session"),
        ("InterfaceError: (a) cannot perform operation: another operation is in progress", "shared_session"),
        ("OperationalError: (a) server closed the connection unexpectedly", "backend_lost"),
        ("OperationalError: (a) terminating connection due to administrator command", "backend_lost"),
        ("OperationalError: (a) terminating connection due to conflict with recovery", "recovery_conflict"),
        ("OperationalError: (a) canceling statement due to conflict with recovery", "recovery_conflict"),
        ("InternalError: (a) terminating connection due to idle-in-transaction timeout", None),
        ("OperationalError: (a) terminating connection due to transaction timeout", None),
        ("TimeoutError: QueuePool limit of size 5 overflow 0 reached", None),
    ],
)  # fmt: skip
def test_what_an_error_says_of_the_server(says: str, kind: str | None) -> None:
    assert kind_of(f"sqlalchemy.exc.{says}") == kind
    assert kind_of(f"psycopg2.{says}") is None  # the driver's line; SQLAlchemy's follows
