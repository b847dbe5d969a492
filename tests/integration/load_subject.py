"""A tiny HTTP server that counts what reaches it, and scenarios that load it."""

import asyncio
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rushhour.load.locust import STOP_GRACE_S, start_load
from rushhour.load.master_address import MasterAddress
from rushhour.process.child import Child
from rushhour.process.guard import Guard
from rushhour.rundir import History, RunDir
from rushhour.scenario.model import Load, Pool, Scenario, Target

POOL_BODY = (
    b'{"error": "QueuePool limit of size 20 overflow 10 reached", "type": "sqlalchemy.exc.TimeoutError"}'
)
ROOT = Path(__file__).resolve().parents[2]


class Server:
    """Answers by path; `counts` and `times` are of whole requests that arrived, by "METHOD /path/:id".

    While it `holds`, no answer leaves.
    """

    def __init__(self, slow_s: float = 0.0) -> None:
        self.counts: Counter[str] = Counter()
        self.times: list[tuple[float, str]] = []
        self.slow_s = slow_s
        self.holds = False
        self.fails: set[str] = set()  # endpoints that answer 500
        self.url = ""

    def total(self) -> int:
        return sum(self.counts.values())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has gone, or the test is over
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, path, _ = head.split(" ", 2)
        length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
        if length:
            await reader.readexactly(int(length[1]))
        endpoint = f"{method} {re.sub(r'/[0-9]+', '/:id', path)}"
        self.counts[endpoint] += 1
        self.times.append((time.time(), endpoint))
        kind = path.rsplit("/", 1)[-1]
        if kind == "close":
            return False
        if kind == "hang":
            await asyncio.sleep(30)
            return False
        if kind == "cut":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")
            await writer.drain()
            return False
        status, body = {
            "error": (500, b'{"type": "ValueError"}'),
            "pool": (500, POOL_BODY),
            "missing": (404, b"{}"),
            "moved": (302, b""),
            "referrals": (200, b'{"referrals": [{"id": 7}, {"id": 8}]}'),
            "login": (200, b'{"token": "t"}'),
            "garbage": (200, b"<html>"),
        }.get(kind, (200, b"{}"))
        if endpoint in self.fails:
            status = 500
        if self.slow_s:
            await asyncio.sleep(self.slow_s)
        while self.holds:
            await asyncio.sleep(0.02)
        where = "Location: /login-page\r\n" if status == 302 else ""
        writer.write(f"HTTP/1.1 {status} X\r\n{where}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        return True


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Serve on a free port of loopback, in a thread of its own."""
    loop = asyncio.new_event_loop()
    listener = loop.run_until_complete(asyncio.start_server(server.serve, "127.0.0.1", 0, backlog=1000))
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(_close(listener), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


async def _close(listener: asyncio.Server) -> None:
    listener.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def scenario(load: Load, pool_timeout_s: float = 2.0, root: Path = ROOT) -> Scenario:
    """A scenario of which only the load matters."""
    target = Target(name="t", command="c", health="/health", releases=("1",), schema="s.sql", root=str(root))
    return Scenario(
        name="s",
        target=target,
        load=load,
        release="1",
        expect="healthy",
        pool=Pool(timeout=pool_timeout_s),
    )


@contextmanager
def loading(
    server: Server,
    load: Load,
    path: Path,
    pool_timeout_s: float = 2.0,
    *,
    root: Path = ROOT,
    master: MasterAddress | None = None,
) -> Iterator[tuple[Child, RunDir]]:
    """Load the server; whatever is left of Locust is ended on leaving."""
    run = RunDir(path)
    with Guard() as guard:
        process = start_load(
            guard, scenario(load, pool_timeout_s, root), server.url, run, time.time(), master=master
        )
        try:
            yield process, run
        finally:
            process.stop(STOP_GRACE_S)


def wait_for(what: str, seen: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Poll until it is so."""
    deadline_s = time.monotonic() + timeout_s
    while not seen():
        assert time.monotonic() < deadline_s, f"waited {timeout_s:g} s for {what}"
        time.sleep(0.02)


def recorded(history: History) -> Counter[str]:
    """Requests by endpoint."""
    counts: Counter[str] = Counter()
    for row in history.requests:
        counts[row.endpoint] += row.count
    return counts
