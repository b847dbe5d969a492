"""How many requests a service answers with the agent in it: it goes in and out of one gunicorn worker."""

import http.client
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import psutil

from benchmarks.harness import ROOT
from benchmarks.interval import Interval, interval_of
from benchmarks.subject import DEADLINE_S, environment, turns
from benchmarks.table import Row

STARTS: Final = 3
TURNS: Final = 12
ASKED_EACH: Final = 100  # by each customer while it is measured: a quarter of a second of CPU
WARM_UP_EACH: Final = 40
CUSTOMERS: Final = 2
MOST_US: Final = 50.0  # of CPU a request; see `share_row`
SWITCHES: Final = {"in": "in", "out": "out"}  # what a turn asks for -> what the service is told
SWITCHES_NOTHING: Final = {"in": "out", "out": "out"}


def throughput_rows(out: Path) -> list[Row]:
    """A light endpoint under gunicorn gthread: requests per second of CPU, with the agent and without.

    The agent goes in and out of one process: two processes of the same code differ by more than it costs.
    """
    serve = partial(serving, out)
    return [share_row("agent: throughput of a service", serve), control_row(serve)]


def share_row(name: str, serve: Callable[[], AbstractContextManager["Server"]]) -> Row:
    """The share of its requests per CPU second a service keeps with the agent, and what it takes of each.

    Some hooks run for a request, whatever it does: at its start, route, parts and end, for its session,
    statement and connection. A share (98 % was the bound, and was missed) says more of how little the request
    does than of the agent: 50 us are 5 % of a request of a millisecond, and 1 % of one of five.
    """
    kept, rate, busy = shares(serve, STARTS)
    # The more is kept, the less is added.
    added = Interval(*((1 / share - 1) * 1e6 / rate for share in (kept.middle, kept.high, kept.low)))
    measured = (
        f"{added:.0f} us a request, {kept:.1%} of {rate:.0f} requests per CPU second, {busy:.0%} of a core"
    )
    return added.row(name, measured, f"<= {MOST_US:g} us", most=MOST_US)


def control_row(serve: Callable[[], AbstractContextManager["Server"]]) -> Row:
    """The same with the agent on neither side: what the measure itself makes of nothing."""
    kept, _, _ = shares(serve, 1, SWITCHES_NOTHING)
    return Row("  the same, the agent on neither side", f"{kept:.1%}", "", None)


def shares(
    serve: Callable[[], AbstractContextManager["Server"]],
    starts: int,
    ways: Mapping[str, str] = SWITCHES,
) -> tuple[Interval, float, float]:
    """The share that is kept, requests per CPU second without the agent, and the share of a core it had.

    The agent ticks ten times a second of the clock: the less of a core its service has, be it idle or beside
    others, the more of its CPU are the ticks. `ways`: see SWITCHES.
    """
    logs: list[list[float]] = []
    rates: list[float] = []
    busy: list[float] = []
    for _ in range(starts):
        with serve() as server:
            drive(server)  # warm up
            found = list(turns(TURNS, partial(drive, server), partial(switch, server, ways)))
        busy += server.busy
        logs.append([math.log(observed / without) for without, observed in found])
        rates += [without for without, _ in found]
    kept = interval_of(logs)
    return Interval(*map(math.exp, (kept.middle, kept.low, kept.high))), median(rates), median(busy)


class Server:
    """A service at a port: one gunicorn with its worker, or a process that serves itself."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.port = port
        self.busy: list[float] = []  # of each drive: share of a core that it had
        self._master = psutil.Process(process.pid)

    def cpu_s(self) -> float:
        """Of the worker; the master only watches."""
        [worker] = self._master.children() or [self._master]
        if os.uname().sysname == "Linux":  # the process's own clock; psutil's has steps of 10 ms
            return time.clock_gettime((~worker.pid << 3) | 2)
        return sum(worker.cpu_times()[:2])


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """benchmarks/subjects/switched_service.py under gunicorn, once its worker has booted."""
    command = [sys.executable, "-m", "gunicorn", "--worker-class", "gthread", "--threads", str(CUSTOMERS)]
    command += ["--bind", "127.0.0.1:0", "--keep-alive", "30", "benchmarks.subjects.switched_service:app"]
    places = {"POOL_SERVICE_DB": str(folder / "service.db"), "POOL_SERVICE_AGENT": str(folder)}
    log = folder / "service.log"
    with running(command, environment(None) | places, log) as process:
        yield Server(process, said(process, log, port_in))


@contextmanager
def running(
    command: Sequence[str | Path], settings: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A service, which ends with the block; it writes its log there."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=settings, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(DEADLINE_S)


def said(process: subprocess.Popen[bytes], log: Path, port: Callable[[str], int | None]) -> int:
    """The port at which a service listens, once its log says that it does.

    Raises RuntimeError where the service ends before, or does not say it in time.
    """
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        if (found := port(log.read_text())) is not None:
            return found
        time.sleep(0.05)
    raise RuntimeError(f"the service did not start within {DEADLINE_S:g} s: {log.read_text()[-500:]}")


def port_in(log: str) -> int | None:
    """The port that gunicorn says it listens at, once its worker has booted."""
    listening = [line for line in log.splitlines() if "Listening at: http://" in line]
    if not listening or "Booting worker" not in log:
        return None
    return int(listening[0].rpartition(" (")[0].rpartition(":")[2])


def switch(server: Server, ways: Mapping[str, str], way: str) -> None:
    """Put the agent in, or take it out, as `ways` says; then warm up: both have new connections."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S)
    try:
        connection.request("GET", f"/agent/{ways[way]}")
        if connection.getresponse().status != http.client.OK:
            raise RuntimeError(f"the service at port {server.port} did not let the agent {way}")
    finally:
        connection.close()
    drive(server, WARM_UP_EACH)


def drive(server: Server, each: int = ASKED_EACH) -> float:
    """Requests per second of CPU, from a few customers that ask one request after another.

    It ends after so many requests of each, not after a time: beside others a time may be a few requests only.
    """
    answered = [0] * CUSTOMERS
    began_s, used_s = time.monotonic(), server.cpu_s()
    threads = [
        threading.Thread(target=customer, args=(server.port, each, answered, n)) for n in range(CUSTOMERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if answered != [each] * CUSTOMERS:
        raise RuntimeError(f"a customer got no answer from the service at port {server.port}")
    used_s = server.cpu_s() - used_s
    server.busy.append(used_s / (time.monotonic() - began_s))
    return sum(answered) / used_s


def customer(port: int, each: int, answered: list[int], number: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    for _ in range(each):
        connection.request("GET", f"/customers/{number}/referrals")
        answer = connection.getresponse()
        answer.read()
        if answer.status != http.client.OK:
            return
        answered[number] += 1
    connection.close()
