"""Ports for servers that tests start, which nothing else takes meanwhile.

A port that the system calls free may be given to any other program before the server listens on it. From
outside of the range that the system gives ports from, only another test could take it.
"""

import secrets
import socket
from pathlib import Path

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST, HIGHEST = 10_000, 65_535


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    first, last = map(int, RANGE.read_text().split()) if RANGE.exists() else (49_152, HIGHEST)
    ports: list[int] = [*range(LOWEST, first), *range(last + 1, HIGHEST + 1)]
    while True:
        port = secrets.choice(ports)  # never seeded, so that two processes do not draw alike
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
