"""Finds free ports, and starts a server again on other ports if its port was taken meanwhile."""

import re
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, TypeVar

from rushhour.errors import StackError

HOST: Final = "127.0.0.1"
PORT_ATTEMPTS: Final = 3
_TAKEN: Final = re.compile(  # as PostgreSQL, gunicorn and Docker write it
    r"(address already|connection) in use|port is already allocated", re.IGNORECASE
)

P = TypeVar("P")
T = TypeVar("T")


class PortTakenError(StackError):
    """A server did not come up because another program had taken its port meanwhile."""


def free_port(host: str = HOST) -> int:
    """Return a port that is free now; another process may still take it, so use `on_free_ports`."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def lost_race(log: Iterable[str]) -> bool:
    """Return whether a server's log says that its port is in use."""
    return any(_TAKEN.search(line) for line in log)


def on_free_ports(choose: Callable[[], P], start: Callable[[P], T]) -> T:
    """Call `start` with chosen ports, and again with other ports after a PortTakenError."""
    for _ in range(PORT_ATTEMPTS - 1):
        with suppress(PortTakenError):
            return start(choose())
    return start(choose())
