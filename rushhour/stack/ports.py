"""Free ports on the loopback interface."""

import re
import socket
from collections.abc import Iterable
from typing import Final

HOST: Final = "127.0.0.1"
_TAKEN: Final = re.compile(r"(address already|connection) in use", re.IGNORECASE)  # PostgreSQL, gunicorn


def free_port() -> int:
    """A port that nobody listens on now; another process may still take it first, so starters try again."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def lost_race(log: Iterable[str]) -> bool:
    """Whether a server's log says that its port was taken."""
    return any(_TAKEN.search(line) for line in log)
