"""A connection to PostgreSQL on which no call takes longer than its deadline, whatever the server does.

A server that is stopped or paused still accepts bytes: the kernel answers for it. So connect_timeout,
statement_timeout, keepalives and tcp_user_timeout do not help, and the waiting is done here, on an
asynchronous connection.
"""

import select
import time
from typing import Any, Final

import psycopg2
from psycopg2 import extensions

APPLICATION_NAME: Final = "rushhour"
_OPTIONS: Final = "-c statement_timeout=10000 -c lock_timeout=1000 -c jit=off -c synchronous_commit=off"


class Link:
    """One connection, opened at the first use and kept; it belongs to one thread.

    An answer that is late is awaited further at the next call, so that a server that was paused for a while,
    or is full, does not cost the connection. After `give_up_s` without an answer it is closed, and opened
    anew at most every `retry_s`.
    """

    def __init__(self, dsn: str, give_up_s: float = 15.0, retry_s: float = 2.0) -> None:
        options = " ".join(filter(None, (extensions.parse_dsn(dsn).get("options"), _OPTIONS)))
        self._dsn = extensions.make_dsn(
            dsn,
            application_name=APPLICATION_NAME,
            options=options,
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=10_000,
        )
        self._give_up_s = give_up_s
        self._retry_s = retry_s
        self._connection: extensions.connection | None = None
        self._cursor: extensions.cursor | None = None  # a late answer needs its cursor to be alive still
        self._waiting_for: str | None = None  # what a late answer belongs to
        self._asked_at_s = 0.0
        self._opened_at_s: float | None = None

    def fetch_row(self, sql: str, within_s: float) -> tuple[Any, ...]:
        """The one row of a query, sent once earlier answers are in.

        Raises TimeoutError when there is no answer `within_s` seconds from now, psycopg2.Error when the
        server refuses, or is not there.
        """
        deadline_s = time.monotonic() + within_s
        try:
            connection, cursor = self._ready(deadline_s)
            self._expect("the server's answer")
            cursor.execute(sql)
            self._wait(connection, deadline_s)
            row = cursor.fetchone()
        except psycopg2.Error:
            # Also when the server is well and the query was cancelled: a new connection is a sure way on.
            self.close()
            raise
        if row is None:
            raise psycopg2.DataError("the query gave no row")
        return row

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._cursor = self._waiting_for = None

    def _ready(self, deadline_s: float) -> tuple[extensions.connection, extensions.cursor]:
        """The connection with nothing outstanding on it."""
        now_s = time.monotonic()
        if self._connection is not None and self._waiting_for and now_s - self._asked_at_s > self._give_up_s:
            self.close()
        if self._connection is None:
            if self._opened_at_s is not None and now_s - self._opened_at_s < self._retry_s:
                raise TimeoutError(f"not connected; the next attempt comes within {self._retry_s:g} s")
            self._opened_at_s = now_s
            self._expect("the connection to open")
            self._connection = psycopg2.connect(self._dsn, async_=True)
        if self._waiting_for:
            self._wait(self._connection, deadline_s)
        if self._cursor is None:
            self._cursor = self._connection.cursor()
        return self._connection, self._cursor

    def _expect(self, what: str) -> None:
        self._waiting_for, self._asked_at_s = what, time.monotonic()

    def _wait(self, connection: extensions.connection, deadline_s: float) -> None:
        poller = select.poll()  # select() refuses descriptors above 1023
        while (state := connection.poll()) != extensions.POLL_OK:
            left_s = deadline_s - time.monotonic()
            descriptor = connection.fileno()
            poller.register(descriptor, select.POLLOUT if state == extensions.POLL_WRITE else select.POLLIN)
            if left_s <= 0 or not poller.poll(left_s * 1000):
                waited_s = time.monotonic() - self._asked_at_s
                raise TimeoutError(f"waited {waited_s:.1f} s for {self._waiting_for}")
            poller.unregister(descriptor)
        self._waiting_for = None
