"""What the recorder costs: requests a second of one core, with it and with Locust alone.

A core's rate is measured as CPU time a request: a machine that is shared with others makes wall-clock rates
meaningless, and the server is then no bottleneck either. Rounds with and without alternate within one Locust.
"""

# mypy: allow-untyped-calls

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.table import Row

PAIRS: Final = 24  # of rounds, one without and one with
ROUND_S: Final = 0.4
CUSTOMERS: Final = 10
BOUND: Final = 0.95
TIMEOUT_S: Final = 60.0
ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 612\r\n\r\n" + b"x" * 612


@dataclass(frozen=True, slots=True)
class Round:
    """CPU time of the generator and requests, in one round."""

    cpu_s: float
    requests: int

    @property
    def us(self) -> float:
        return self.cpu_s / self.requests * 1e6


def run() -> list[Row]:
    """Measure for about twenty seconds."""
    with static_server() as url:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.recorder", "generate", url],
            stdout=subprocess.PIPE,
            timeout=TIMEOUT_S,
            check=True,
        )
    pairs = [(Round(**first), Round(**second)) for first, second in json.loads(done.stdout.splitlines()[-1])]
    share = median(plain.us / recorded.us for plain, recorded in pairs)
    return [
        Row(
            name="recorder",
            measured=(
                f"{share:.1%} of FastHttpUser's requests a second on one core: "
                f"{median(plain.us for plain, _ in pairs):.0f} us of CPU a request without it, "
                f"{median(recorded.us for _, recorded in pairs):.0f} us with it "
                f"({sum(one.requests for pair in pairs for one in pair):,} requests, {PAIRS} pairs of rounds)"
            ),
            bound=f">= {BOUND:.0%}",
            ok=share >= BOUND,
        )
    ]


@contextlib.contextmanager
def static_server() -> Iterator[str]:
    """A static page on a free port of loopback, served by a process of its own; its URL."""
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.recorder", "serve"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.wait(5)
        if server.stdout is not None:
            server.stdout.close()


class Page(asyncio.Protocol):
    """Answers whatever comes with the page: a request of the benchmark arrives in one piece."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:  # noqa: ARG002  # asyncio's signature
        self.transport.write(ANSWER)


async def serve() -> None:
    """Serve until killed."""
    pin(1)
    server = await asyncio.get_running_loop().create_server(Page, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def generate(url: str) -> None:
    """One Locust process that runs all rounds and prints them."""
    import gevent  # noqa: PLC0415  # Locust patches the process that imports it, which is this child alone
    from locust import FastHttpUser, constant, task  # noqa: PLC0415
    from locust.contrib.fasthttp import FastHttpSession  # noqa: PLC0415
    from locust.env import Environment  # noqa: PLC0415

    from rushhour.load.plugin import counted  # noqa: PLC0415
    from rushhour.load.recorder import Clock, Tally  # noqa: PLC0415
    from rushhour.load.recording import Counter  # noqa: PLC0415
    from rushhour.rundir import FactWriter, RunDir  # noqa: PLC0415

    class Customer(FastHttpUser):
        host = url
        wait_time = constant(0)

        @task
        def page(self) -> None:
            self.client.get("/")

    pin(0)
    logging.disable()  # Locust warns that it uses a whole core, as it shall
    environment = Environment(user_classes=[Customer])
    runner = environment.create_local_runner()
    tally = Tally(Clock.since(time.time()), "local", time.process_time)
    stock_request = FastHttpSession.request
    recorded_request = counted(stock_request, tally)

    def measure(begin: Callable[[], None], end: Callable[[], None]) -> Round:
        cpu_s, requests = time.process_time(), runner.stats.total.num_requests
        begin()
        gevent.sleep(ROUND_S)
        end()  # what the recorder does once a second belongs to its cost
        return Round(time.process_time() - cpu_s, runner.stats.total.num_requests - requests)

    def plain() -> Round:
        return measure(lambda: None, lambda: None)

    def recorded() -> Round:
        FastHttpSession.request = recorded_request  # type: ignore[method-assign]
        environment.events.request.add_listener(counter.on_request)
        try:
            return measure(counter.begin, counter.end)
        finally:
            environment.events.request.remove_listener(counter.on_request)
            FastHttpSession.request = stock_request  # type: ignore[method-assign]

    with tempfile.TemporaryDirectory() as path:
        files = FactWriter(RunDir(Path(path)))
        counter = Counter(runner, tally, lambda report: files.write([*report.rows, *report.samples]))
        runner.start(CUSTOMERS, CUSTOMERS)
        plain(), recorded()  # warm-up
        pairs = []
        for number in range(PAIRS):
            if number % 2:  # in turns, so that a drift of the machine favours neither
                second, first = recorded(), plain()
            else:
                first, second = plain(), recorded()
            pairs.append((asdict(first), asdict(second)))
        files.close()
    runner.quit()
    print(json.dumps(pairs))


def pin(core: int) -> None:
    """Keep this process on one core, where the system lets it and there is more than one."""
    if sys.platform == "linux" and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[core]})


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve())
    elif sys.argv[1:2] == ["generate"]:
        generate(sys.argv[2])
    else:
        for row in run():
            print(row)
