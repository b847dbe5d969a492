"""What the plugin costs: CPU a request with Locust alone, with the plugin's client, and with its recorder.

Beside them stands what Locust's other client costs, HttpUser's. A core's rate is measured as CPU time a
request: a machine that is shared with others makes wall-clock rates meaningless, and the server is then no
bottleneck either. Rounds of the four alternate within one Locust.
"""

# mypy: allow-untyped-calls

import asyncio
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.interval import median_of
from benchmarks.page import served
from benchmarks.table import Row

ROUNDS: Final = 72  # of each kind: what the recorder takes is a difference of two that are almost alike
ROUND_S: Final = 0.4
SETTLE_S: Final = 0.05
CUSTOMERS: Final = 10
BOUND: Final = 0.95  # of stock Locust's requests a second
RECORDER_BOUND: Final = 0.05  # of the CPU of a request of stock Locust
TIMEOUT_S: Final = 300.0
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
    """Measure for about two and a half minutes."""
    with served("benchmarks.recorder", "serve") as url:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.recorder", "generate", url],
            stdout=subprocess.PIPE,
            timeout=TIMEOUT_S,
            check=True,
        )
    kinds = [[Round(**each) for each in kind] for kind in json.loads(done.stdout.splitlines()[-1])]
    stock_us, client_us, both_us, http_us = (median(each.us for each in kind) for kind in kinds)
    turns = list(zip(*kinds, strict=True))
    share = median_of([stock.us / both.us for stock, _, both, _ in turns])
    recorder = median_of([(both.us - client.us) / stock.us for stock, client, both, _ in turns])
    http = median_of([http.us / stock.us for stock, *_, http in turns])
    requests = sum(each.requests for kind in kinds for each in kind)
    return [
        share.row(
            "plugin",
            f"{share:.1%} of stock Locust's requests a second on one core: {both_us:.0f} us of CPU a request "
            f"with it, {stock_us:.0f} us without "
            f"({requests:,} requests, {ROUNDS} rounds each)",
            f">= {BOUND:.0%}",
            least=BOUND,
        ),
        recorder.row(
            "recorder",
            f"{recorder:.1%} of the CPU of a stock request: {both_us:.0f} us with it, {client_us:.0f} us "
            "with the plugin's client alone",
            f"<= {RECORDER_BOUND:.0%}",
            most=RECORDER_BOUND,
        ),
        Row(
            "HttpUser",
            f"{http:.1f} times the CPU of FastHttpUser, both without the plugin: {http_us:.0f} us a request",
            "",
            None,
        ),
    ]


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
    from locust import FastHttpUser, HttpUser, constant, task  # noqa: PLC0415
    from locust.contrib.fasthttp import FastHttpSession  # noqa: PLC0415
    from locust.env import Environment  # noqa: PLC0415

    class Customer(FastHttpUser):
        host = url
        wait_time = constant(0)
        concurrency = 1

        @task
        def page(self) -> None:
            self.client.get("/")

    class OtherCustomer(HttpUser):
        host = url

    pin(0)
    logging.disable()  # Locust warns that it uses a whole core, as it shall
    environment = Environment(user_classes=[Customer])
    runner = environment.create_local_runner()
    runner.start(CUSTOMERS, CUSTOMERS)
    gevent.sleep(ROUND_S)  # every customer has its stock client and a connection by now
    users: list[Any] = [greenlet.args[0] for greenlet in runner.user_greenlets]
    stock = [user.client for user in users]
    http: list[Any] = [OtherCustomer(environment).client for _ in users]

    from rushhour.load.plugin import counted  # noqa: PLC0415  # it installs its client
    from rushhour.load.recorder import Clock, Tally  # noqa: PLC0415
    from rushhour.load.recording import Counter  # noqa: PLC0415
    from rushhour.rundir import FactWriter, RunDir  # noqa: PLC0415

    ours = [Customer(environment).client for _ in users]
    tally = Tally(Clock.since(time.time()), "local", time.process_time)
    stock_request = FastHttpSession.request
    recorded_request = counted(stock_request, tally)

    def measure(clients: list[Any], begin: Callable[[], None], end: Callable[[], None]) -> Round:
        for user, client in zip(users, clients, strict=True):
            user.client = client
        gevent.sleep(SETTLE_S)  # until requests of the round before have ended
        cpu_s, requests = time.process_time(), runner.stats.total.num_requests
        begin()
        gevent.sleep(ROUND_S)
        end()  # what the recorder does once a second belongs to its cost
        return Round(time.process_time() - cpu_s, runner.stats.total.num_requests - requests)

    def recorded() -> Round:
        FastHttpSession.request = recorded_request  # type: ignore[method-assign]
        environment.events.request.add_listener(counter.on_request)
        try:
            return measure(ours, counter.begin, counter.end)
        finally:
            environment.events.request.remove_listener(counter.on_request)
            FastHttpSession.request = stock_request  # type: ignore[method-assign]

    kinds: list[Callable[[], Round]] = [
        lambda: measure(stock, lambda: None, lambda: None),
        lambda: measure(ours, lambda: None, lambda: None),
        recorded,
        lambda: measure(http, lambda: None, lambda: None),
    ]
    rounds: list[list[Round]] = [[] for _ in kinds]
    with tempfile.TemporaryDirectory() as path, closing(FactWriter(RunDir(Path(path)))) as files:
        counter = Counter(runner, tally, lambda report: files.write([*report.rows, *report.samples]))
        for kind in kinds:
            kind()  # warm-up
        for number in range(ROUNDS):
            order = list(enumerate(kinds))
            for index, kind in order[number % 4 :] + order[: number % 4]:  # in turns: a drift favours none
                rounds[index].append(kind())
    if runner.stats.total.num_failures:
        raise RuntimeError(f"{runner.stats.total.num_failures:,} requests to the static page failed")
    runner.quit()
    print(json.dumps([[asdict(each) for each in kind] for kind in rounds]))


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
