"""A PostgreSQL connection whose calls never take longer than their deadline, even if the server is paused.

The kernel still accepts bytes for a server that is stopped or paused, so connect_timeout, statement_timeout,
keepalives and tcp_user_timeout do not help. This module therefore waits by itself, on an asynchronous
connection.
"""

import select
import time
from typing import Any, Final

import psycopg2
from psycopg2 import extensions

APPLICATION_NAME: Final = "rushhour"
_OPTIONS: Final = "-c statement_timeout=10000 -c lock_timeout=1000 -c jit=off -c synchronous_commit=off"


class Link:
    """A connection that is opened at the first use and kept; use it from a single thread.

    The next call continues to wait for a late answer, so that the connection survives a server that is paused
    for a while, or full. After `give_up_s` without an answer it is closed, and opened again at most every
    `retry_s`.
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
        self._cursor: extensions.cursor | None = None  # must stay alive for a late answer
        self._waiting_for: str | None = None  # the query that a late answer belongs to
        self._asked_at_s = 0.0
        self._opened_at_s: float | None = None

    def fetch_row(self, sql: str, within_s: float) -> tuple[Any, ...]:
        """Return the single row of a query, which is sent after earlier answers have arrived.

        Raises TimeoutError if there is no answer within `within_s` seconds, psycopg2.Error if the server
        refuses the query or cannot be reached.
        """
        deadline_s = time.monotonic() + within_s
        try:
            connection, cursor = self._ready(deadline_s)
            self._expect("the server's answer")
            cursor.execute(sql)
            self._wait(connection, deadline_s)
            row = cursor.fetchone()
        except psycopg2.Error:
            # Also after a cancelled query on a healthy server: a new connection always works.
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
        """Return the connection, after all earlier answers have arrived."""
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
        poller = select.poll()  # select() rejects descriptors above 1023
        while (state := connection.poll()) != extensions.POLL_OK:
            left_s = deadline_s - time.monotonic()
            descriptor = connection.fileno()
            poller.register(descriptor, select.POLLOUT if state == extensions.POLL_WRITE else select.POLLIN)
            # Looked at also when the time is over: the answer may have come while this process stood still.
            if not poller.poll(max(0.0, left_s) * 1000):
                waited_s = time.monotonic() - self._asked_at_s
                raise TimeoutError(f"waited {waited_s:.1f} s for {self._waiting_for}")
            poller.unregister(descriptor)
        self._waiting_for = None
