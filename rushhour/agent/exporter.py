"""Serves the metrics of all processes of a service over HTTP, or as a file, from one of them.

Each process writes its snapshot into the agent's directory once a second. One of them, whoever holds the lock
there, adds them up, writes `pools.prom`, and answers scrapes; when it ends, another one takes over within a
second. Counters of processes that have ended are kept, so that a sum never falls when a worker is replaced.

It runs in the sampler's thread, on the C socket type, which gevent does not patch.
"""

# pathlib would slow the start of every process of the service.
# ruff: noqa: PTH105, PTH108, PTH118, PTH208

from __future__ import annotations

import _socket
import errno
import fcntl
import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .journal import say
from .metrics import CONTENT_TYPE, Ledger, Snapshot, add, render
from .own_files import open_new, open_shared, read

if TYPE_CHECKING:
    from collections.abc import Callable

    from .book import Book

PERIOD_S = 1.0
FRESH_S = 5.0  # an older snapshot's gauges are not so any more
BURY_AFTER_S = 3.0
CLIENT_TIMEOUT_S = 0.2  # a slow client delays samples by this much
LOCK, TEXT, DEPARTED, SUFFIX = "metrics.lock", "pools.prom", "departed.json", ".pools.json"


def parse_address(text: str) -> tuple[str, int] | None:
    """`9464`, `127.0.0.1:9464` -> an address; `file` -> None. Raises ValueError with what is allowed."""
    if text == "file":
        return None
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is no place for metrics: write PORT, HOST:PORT or `file`")
    return (host or "127.0.0.1", int(port))


class Exporter:
    """Of one process. `tick` is called by the sampler, ten times a second."""

    def __init__(
        self, book: Book, directory: str, address: tuple[str, int] | None, clock: Callable[[], float]
    ) -> None:
        self._book = book
        self._directory = directory
        self._address = address
        self._clock = clock
        self._lock: int | None = None
        self._server: Any = None
        self._trouble = ""
        self.start_over()

    def start_over(self) -> None:
        """At first, and in a forked child, which inherited what is its parent's."""
        self.close()
        self._ledger = Ledger(self._book)
        self._name = f"{os.getpid()}-{int(self._clock() * 1000)}{SUFFIX}"
        self._due = 0.0
        self._others: Snapshot = {}
        self._processes = 0

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def tick(self, final: bool = False) -> None:
        """Write what is due, and answer a scrape that came. Raises OSError when a file cannot be written."""
        now = self._clock()
        if final or now >= self._due:
            self._due = now + PERIOD_S
            self._write(
                self._name, json.dumps({"pid": os.getpid(), "t": now, "pools": self._ledger.snapshot(now)})
            )
            if final:
                self.close()
                return
            if self._leads():
                self._others, self._processes = self._gather(now)
                self._write(TEXT, self.text())
        if self._server is not None:
            self._answer()

    def text(self) -> str:
        """All processes' figures; this one's as they are now."""
        total: Snapshot = {}
        add(total, self._others)
        add(total, self._ledger.snapshot(self._clock()))
        return render(total, self._processes + 1)

    def _write(self, name: str, text: str) -> None:
        path = os.path.join(self._directory, name)
        descriptor = open_new(f"{path}.tmp")
        data = text.encode()
        try:
            if os.write(descriptor, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        finally:
            os.close(descriptor)
        os.replace(f"{path}.tmp", path)

    def _leads(self) -> bool:
        if self._lock is None:
            descriptor = open_shared(os.path.join(self._directory, LOCK))
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                return False
            self._lock = descriptor
        if self._address is not None and self._server is None:
            self._listen(self._address)
        return True

    def _listen(self, address: tuple[str, int]) -> None:
        server = _socket.socket(
            _socket.AF_INET6 if ":" in address[0] else _socket.AF_INET, _socket.SOCK_STREAM
        )
        try:
            server.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            server.bind(address)
            server.listen(16)
            server.settimeout(0)
        except OSError as error:
            server.close()
            if str(error) != self._trouble:  # tried again each second: told once
                self._trouble = str(error)
                say(f"metrics cannot be served on {address[0]}:{address[1]}: {error}")
            return
        self._server = server

    def _answer(self) -> None:
        """Every scrape that waits; one that fails is the client's trouble."""
        while True:
            try:
                descriptor, _ = self._server._accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            client = _socket.socket(fileno=descriptor)
            with suppress(OSError):
                client.settimeout(CLIENT_TIMEOUT_S)
                client.sendall(self._response(client.recv(4096)))
            client.close()

    def _response(self, request: bytes) -> bytes:
        method, _, rest = request.partition(b" ")
        path = rest.split(b" ", 1)[0].split(b"?", 1)[0]
        if method not in (b"GET", b"HEAD"):
            status, text = "405 Method Not Allowed", "GET /metrics\n"
        elif path not in (b"/metrics", b"/"):
            status, text = "404 Not Found", "GET /metrics\n"
        else:
            status, text = "200 OK", self.text()
        body = text.encode()
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        ).encode()
        return head if method == b"HEAD" else head + body

    def _gather(self, now: float) -> tuple[Snapshot, int]:
        """The other processes' figures, and how many of them live; the dead ones' are moved to one file."""
        departed = self._read(DEPARTED) or {"pools": {}, "merged": []}
        total: Snapshot = {}
        dead: list[str] = []
        alive = 0
        names = [name for name in os.listdir(self._directory) if name.endswith(SUFFIX) and name != self._name]
        for name in names:
            if name in departed["merged"]:
                dead.append(name)
                continue
            one = self._read(name)
            if one is None:
                continue
            fresh = abs(now - one["t"]) < FRESH_S
            alive += fresh
            if abs(now - one["t"]) > BURY_AFTER_S and not _lives(one["pid"]):
                add(departed["pools"], one["pools"], gauges=False)
                dead.append(name)
            else:
                add(total, one["pools"], gauges=fresh)
        if dead:
            self._write(DEPARTED, json.dumps({"pools": departed["pools"], "merged": dead}))
            for name in dead:  # a crash between these two is why their names were written down
                with suppress(FileNotFoundError):
                    os.unlink(os.path.join(self._directory, name))
        add(total, departed["pools"], gauges=False)
        return total, alive

    def _read(self, name: str) -> Any:
        text = read(os.path.join(self._directory, name))
        return None if text is None else json.loads(text)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    return True
