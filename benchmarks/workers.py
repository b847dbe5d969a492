"""What a second worker brings: requests a second of two workers on two cores, against one worker's.

The customers are the shipped ones of locustfiles/referrals.py, who never pause; what answers them costs
next to nothing, so that Locust is what takes the CPU. Rounds of one and of two workers alternate; only whole
seconds in the middle of a round count.
"""

import os
import re
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from benchmarks.table import Row
from rushhour.load.locust import STOP_GRACE_S, start_load
from rushhour.process.guard import Guard
from rushhour.rundir import RunDir, load_history
from rushhour.scenario.model import Load, Pool, Scenario, Target

NAME: Final = "two workers against one"
BOUND: Final = 1.7
PAIRS: Final = 3
SECONDS: Final = 8.0
EDGE_S: Final = 2  # at both ends of a round, while customers come and go
CUSTOMERS: Final = 24
ENDS_WITHIN_S: Final = 40.0
ROOT: Final = Path(__file__).parents[1]


def answer(body: str) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


LIST_PATH: Final = re.compile(rb"GET /customers/\d+/referrals").match
LIST: Final = answer('{"referrals":[{"id":1},{"id":2},{"id":3}]}')
OTHER: Final = answer('{"token":"t"}')  # log-in, summary, one referral, an invitation


def run() -> list[Row]:
    """The median ratio of three pairs of rounds, in about a minute."""
    cores = os.cpu_count() or 1
    if cores < 2:
        return [Row(NAME, "not measured: this machine has one core", f">= {BOUND}", None)]
    ratios, rates = [], []
    with page_server() as url:
        for _ in range(PAIRS):
            one, two = rate(url, 1), rate(url, 2)
            ratios.append(two / one)
            rates.append((one, two))
    ratio = statistics.median(ratios)
    one, two = (statistics.median(column) for column in zip(*rates, strict=True))
    measured = (
        f"{two:,.0f} and {one:,.0f} requests/s: {ratio:.2f} times ({min(ratios):.2f} to {max(ratios):.2f})"
    )
    return [Row(f"{NAME}, {cores} cores", measured, f">= {BOUND}", ratio >= BOUND)]


def rate(url: str, workers: int) -> float:
    """Requests a second in the middle of one round."""
    with tempfile.TemporaryDirectory() as folder:
        load = Load(
            users=CUSTOMERS,
            duration=SECONDS,
            shape="steady",
            spawn_rate=float(CUSTOMERS),
            warm_up=0.0,
            locustfile="benchmarks/subjects/eager_customers.py",
            workers=workers,
        )
        target = Target(name="page", command="-", health="/", releases=("1",), schema="-", root=str(ROOT))
        scenario = Scenario(
            name="workers", target=target, load=load, release="1", expect="healthy", pool=Pool(timeout=1.0)
        )
        run_dir = RunDir(Path(folder) / "run")
        with Guard() as guard:
            process = start_load(guard, scenario, url, run_dir, time.time())
            try:
                process.wait(SECONDS + ENDS_WITHIN_S)
                process.check()
            finally:
                process.stop(STOP_GRACE_S)
        rows = load_history(run_dir).requests
    first, last = min(row.t_s for row in rows) + EDGE_S, max(row.t_s for row in rows) - EDGE_S
    counted = sum(row.count for row in rows if first <= row.t_s < last)
    return counted / (last - first)


@contextmanager
def page_server() -> Iterator[str]:
    """The page on a free port of loopback, served by a process of its own; its URL."""
    server = subprocess.Popen([sys.executable, "-m", "benchmarks.workers"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.wait(5)
        server.stdout.close()


def serve() -> None:
    """Answer whatever comes, until killed: two system calls a request."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    while True:
        for number, _ in poll.poll():
            if number == listener.fileno():
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[connection.fileno()] = connection
                poll.register(connection, select.EPOLLIN)
                continue
            asked = b""
            with suppress(ConnectionError):
                asked = os.read(number, 4096)
                if asked:
                    os.write(number, LIST if LIST_PATH(asked) else OTHER)
            if not asked:
                poll.unregister(number)
                connections.pop(number).close()


if __name__ == "__main__":
    serve()
