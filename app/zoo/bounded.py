"""Bounds every wait for a PostgreSQL server, also for a server that keeps the connection and does not answer.

`connect_timeout` and `statement_timeout` do not help there: the first ends with the connection made, the
second is the silent server's own to keep. psycopg2 calls back while it waits, so the bound can be kept in
the client.
"""

import select
import time

from psycopg2 import OperationalError, extensions


def bound_every_wait(within_s: float) -> None:
    """Make every call of psycopg2 that waits longer raise and close its connection, in this process."""

    def wait(connection: extensions.connection) -> None:
        deadline_s = time.monotonic() + within_s
        poller = select.poll()
        while (state := connection.poll()) != extensions.POLL_OK:
            poller.register(
                connection.fileno(), select.POLLOUT if state == extensions.POLL_WRITE else select.POLLIN
            )
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not poller.poll(left_s * 1000):
                raise OperationalError(f"no answer from the server within {within_s:g} s")

    extensions.set_wait_callback(wait)
