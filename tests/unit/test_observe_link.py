"""The deadlines of an observer's connection to a server."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg2 import extensions

from rushhour.observe.link import Link


class Connection:
    """Is open once a byte has come."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def fileno(self) -> int:
        return self._end.fileno()

    def poll(self) -> int:
        try:
            return extensions.POLL_OK if self._end.recv(1) else extensions.POLL_ERROR
        except BlockingIOError:
            return extensions.POLL_READ


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        yield near, far


def wait(connection: Any, deadline_s: float) -> None:
    Link("host=127.0.0.1")._wait(connection, deadline_s)


def test_an_answer_that_came_while_this_process_stood_still_is_read(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    class StoodStill(Connection):
        """The answer comes after the first look, and the time is over by then."""

        def poll(self) -> int:
            state = super().poll()
            if state == extensions.POLL_READ:
                ends[1].send(b"x")
            return state

    wait(StoodStill(ends[0]), time.monotonic() - 1)


def test_a_server_that_says_nothing_costs_no_more_than_the_deadline(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    with pytest.raises(TimeoutError, match=r"waited .* s for"):
        wait(Connection(ends[0]), time.monotonic() - 1)
