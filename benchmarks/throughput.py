"""How many requests a service answers with the agent in it: it goes in and out of one gunicorn worker."""

import http.client
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Final

import psutil

from benchmarks.subject import DEADLINE_S, ROOT, environment, turns
from benchmarks.table import Row

STARTS: Final = 4
TURNS: Final = 14
ROUND_S: Final = 0.25
CUSTOMERS: Final = 2
MIN_SHARE: Final = 0.98


def throughput_row(out: Path) -> Row:
    """A light endpoint under gunicorn gthread: requests per second of CPU, with the agent and without.

    The agent goes in and out of one process: two processes of the same code differ by more than it costs.
    """
    return share_row("agent: throughput of a service", partial(serving, out))


def share_row(name: str, serve: Callable[[], AbstractContextManager["Server"]]) -> Row:
    """The share of its requests per CPU second that a service keeps with the agent in it."""
    shares, rates = [], []
    for _ in range(STARTS):
        with serve() as server:
            drive(server)  # warm up
            for without, observed in turns(TURNS, partial(drive, server), partial(switch, server)):
                shares.append(observed / without)
                rates.append(without)
    share = median(shares)
    low, _, high = quantiles(shares)
    return Row(
        name=name,
        measured=f"{share:.1%} ({low:.1%} to {high:.1%}) of {median(rates):.0f} requests per CPU second",
        bound=f">= {MIN_SHARE:.0%}",
        ok=share >= MIN_SHARE,
    )


class Server:
    """A service at a port: one gunicorn with its worker, or a process that serves itself."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.port = port
        self._master = psutil.Process(process.pid)

    def cpu_s(self) -> float:
        """Of the worker; the master only watches."""
        [worker] = self._master.children() or [self._master]
        if os.uname().sysname == "Linux":  # the process's own clock; psutil's has steps of 10 ms
            return time.clock_gettime((~worker.pid << 3) | 2)
        return sum(worker.cpu_times()[:2])


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    log = folder / "service.log"
    command = [sys.executable, "-m", "gunicorn", "--worker-class", "gthread", "--threads", str(CUSTOMERS)]
    command += ["--bind", "127.0.0.1:0", "--keep-alive", "30", "benchmarks.subjects.switched_service:app"]
    places = {"POOL_SERVICE_DB": str(folder / "service.db"), "POOL_SERVICE_AGENT": str(folder)}
    settings = environment(None) | places
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=settings, stdout=output, stderr=output)
    try:
        yield Server(process, port_in(log, process))
    finally:
        process.terminate()
        try:
            process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(DEADLINE_S)


def port_in(log: Path, process: subprocess.Popen[bytes]) -> int:
    """The port that gunicorn says it listens at, once its worker has booted."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        lines = log.read_text().splitlines()
        listening = [line for line in lines if "Listening at: http://" in line]
        if listening and any("Booting worker" in line for line in lines):
            return int(listening[0].rpartition(" (")[0].rpartition(":")[2])
        time.sleep(0.05)
    raise RuntimeError(f"gunicorn did not start within {DEADLINE_S:g} s: {log.read_text()[-500:]}")


def switch(server: Server, way: str) -> None:
    """Put the agent into the service, or take it out; then warm up: both have new connections."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S)
    try:
        connection.request("GET", f"/agent/{way}")
        if connection.getresponse().status != http.client.OK:
            raise RuntimeError(f"the service at port {server.port} did not let the agent {way}")
    finally:
        connection.close()
    drive(server)


def drive(server: Server) -> float:
    """Requests per second of CPU, from a few customers that ask one request after another."""
    counts = [0] * CUSTOMERS
    began_s = server.cpu_s()
    until_s = time.monotonic() + ROUND_S
    threads = [
        threading.Thread(target=customer, args=(server.port, until_s, counts, n)) for n in range(CUSTOMERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if 0 in counts:
        raise RuntimeError(f"a customer got no answer from the service at port {server.port}")
    return sum(counts) / (server.cpu_s() - began_s)


def customer(port: int, until_s: float, counts: list[int], number: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    while time.monotonic() < until_s:
        connection.request("GET", f"/customers/{number}/referrals")
        answer = connection.getresponse()
        answer.read()
        if answer.status != http.client.OK:
            return
        counts[number] += 1
    connection.close()
