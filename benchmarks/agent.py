"""What the agent costs: per check-out, and in a service's throughput; beside its alternatives.

The agent goes in and out of one process; alternatives run beside each other, each in a process of its own,
and are measured in turn, round by round. Times are CPU times of the whole process: on a machine that is
shared with others, wall-clock times say little.
"""

import http.client
import os
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Final

import psutil

from benchmarks.table import Row
from rushhour.agent.environment import agent_environment

ROOT: Final = Path(__file__).parents[1]
OTEL: Final = ROOT / ".cache" / "bench-otel"
OTEL_PACKAGES: Final = ("opentelemetry-instrumentation-sqlalchemy", "sqlalchemy<2.1")

CYCLES: Final = 20_000
SESSIONS: Final = 3_000
CYCLE_ROUNDS: Final = 3
MAX_ADDED_US: Final = 5.0

# Few cycles in a block would weigh the agent's ticks, which come whether anybody takes a connection or not;
# those of asyncio cost ten times as much.
SWITCHED_CYCLES: Final = {False: 4_000, True: 2_000}
SWITCHED_STARTS: Final = 2
SWITCHED_TURNS: Final = 12

STARTS: Final = 4
TURNS: Final = 14
ROUND_S: Final = 0.25
CUSTOMERS: Final = 2
MIN_SHARE: Final = 0.98
DEADLINE_S: Final = 30.0


def run() -> list[Row]:
    """Measure for about a minute; the first time, an environment for OpenTelemetry is made as well."""
    with tempfile.TemporaryDirectory(prefix="rushhour-bench-") as folder:
        out = Path(folder)
        rows = cycle_rows(out)
        rows += otel_rows(out)
        rows.append(throughput_row(out))
    return rows


def cost_row(name: str, python: Path, url: str, worker: str, out: Path) -> Row:
    """A check-out and check-in over a driver, in a worker of a kind (benchmarks/subjects/driver_cycle.py)."""
    costs, plain = switched(python, url, worker, out, SWITCHED_CYCLES[worker == "asyncio"])
    cost = median(costs)
    low, _, high = quantiles(costs)
    return Row(
        name=name,
        measured=f"{cost:.1f} us ({low:.1f} to {high:.1f}) added to {median(plain):.1f} us",
        bound=f"<= {MAX_ADDED_US:g} us",
        ok=cost <= MAX_ADDED_US,
    )


def switched(python: Path, url: str, worker: str, out: Path, cycles: int) -> tuple[list[float], list[float]]:
    """What the agent added in each turn, and what a cycle took without it, in microseconds of CPU."""
    costs, plain = [], []
    settings = environment(None) | {"PYTHONPATH": str(ROOT)}
    for _ in range(SWITCHED_STARTS):  # no two processes are laid out alike in memory
        command: list[str | Path] = [python, "benchmarks/subjects/driver_cycle.py", url, worker, str(out)]
        with subject(command, settings) as process:
            for _ in range(SWITCHED_TURNS):
                before = ask(process, cycles)
                tell(process, "in")
                observed = ask(process, cycles), ask(process, cycles)
                tell(process, "out")
                after = ask(process, cycles)
                costs += [observed[0] - before, observed[1] - after]
                plain += [before, after]
    return costs, plain


def cycle_rows(out: Path) -> list[Row]:
    """With this environment's SQLAlchemy: the agent, and `echo_pool="debug"`."""
    here = Path(sys.executable)
    plain, echo = measure_cycles(Variant(here), Variant(here, "echo"), cycles=CYCLES)
    session, observed = measure_cycles(
        Variant(here, work="session"), Variant(here, work="session", agent_out=out), cycles=SESSIONS
    )
    return [
        cost_row("agent: check-out and check-in", here, "sqlite://", "sync", out),
        Row("  with an ORM session around it", on_top(observed, session), "", None),
        Row('  beside it: echo_pool="debug"', on_top(echo, plain), "", None),
    ]


def otel_rows(out: Path) -> list[Row]:
    """With SQLAlchemy 2.0, for OpenTelemetry's instrumentation refuses 2.1: both, in that environment.

    An ORM session is around each cycle: OpenTelemetry's instrumentation works there, not in the bare pool.
    """
    name = "  beside it: OpenTelemetry"
    try:
        python = otel_python()
    except subprocess.CalledProcessError as error:
        last = (error.stderr or b"").decode(errors="replace").strip().splitlines()[-1:] or [str(error)]
        return [Row(name, f"not measured, no environment: {last[0][:80]}", "", None)]
    except (OSError, subprocess.TimeoutExpired) as error:
        return [Row(name, f"not measured, no environment: {str(error)[:80]}", "", None)]
    plain, agent, otel = measure_cycles(
        Variant(python, work="session"),
        Variant(python, work="session", agent_out=out),
        Variant(python, "otel", work="session"),
        cycles=SESSIONS,
    )
    measured = (
        f"{added(otel, plain):.1f} us added, the agent {on_top(agent, plain)} (SQLAlchemy 2.0, session)"
    )
    return [Row(name, measured, "", None)]


def added(with_it: Sequence[float], without: Sequence[float]) -> float:
    """Median over the rounds of what was added, in microseconds."""
    return median(one - other for one, other in zip(with_it, without, strict=True))


def on_top(with_it: Sequence[float], without: Sequence[float]) -> str:
    return f"{added(with_it, without):.1f} us added to {median(without):.1f} us"


def otel_python() -> Path:
    """The interpreter of an environment with OpenTelemetry's instrumentation, made when it is not there."""
    python = OTEL / "bin" / "python"
    ready = OTEL / ".ready"
    if not ready.exists():
        venv.create(OTEL, with_pip=True, clear=True)
        subprocess.run(
            [python, "-m", "pip", "install", "-qq", "--root-user-action=ignore", *OTEL_PACKAGES],
            check=True,
            capture_output=True,
            timeout=300,
        )
        ready.touch()
    return python


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run benchmarks/subjects/pool_cycle.py; with the agent where `agent_out` is set."""

    python: Path
    kind: str = "plain"
    work: str = "raw"
    agent_out: Path | None = None


def measure_cycles(*variants: Variant, cycles: int) -> list[list[float]]:
    """CPU microseconds per cycle of each variant, round by round."""
    rounds: list[list[float]] = []
    for _ in range(STARTS):  # for no two processes are laid out alike in memory
        with ExitStack() as stack:
            subjects = [stack.enter_context(cycle_subject(variant)) for variant in variants]
            rounds += [[ask(subject, cycles) for subject in subjects] for _ in range(CYCLE_ROUNDS)]
    return [list(column) for column in zip(*rounds, strict=True)]


def cycle_subject(variant: Variant) -> AbstractContextManager[subprocess.Popen[str]]:
    command = [str(variant.python), "benchmarks/subjects/pool_cycle.py", variant.kind, variant.work]
    return subject(command, environment(variant.agent_out))


@contextmanager
def subject(command: Sequence[str | Path], settings: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A process that said that it is ready, and answers a line with a line; killed in the end."""
    with subprocess.Popen(
        command, cwd=ROOT, env=settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            line_from(process)  # "ready"
            yield process
        finally:
            process.kill()


def ask(process: subprocess.Popen[str], cycles: int) -> float:
    """Microseconds of CPU per cycle."""
    return float(tell(process, str(cycles)))


def tell(process: subprocess.Popen[str], word: str) -> str:
    """What it answers."""
    assert process.stdin is not None
    process.stdin.write(f"{word}\n")
    process.stdin.flush()
    return line_from(process)


def line_from(process: subprocess.Popen[str]) -> str:
    """Raises RuntimeError when the process ended, as it does after half a minute without an answer."""
    assert process.stdout is not None
    watch = threading.Timer(DEADLINE_S, process.kill)
    watch.start()
    try:
        line = process.stdout.readline()
    finally:
        watch.cancel()
    if not line:
        raise RuntimeError(f"{process.args!r} ended without an answer within {DEADLINE_S:g} s")
    return line


def environment(agent_out: Path | None) -> dict[str, str]:
    """Of a subject. One hash seed for all: dicts that are laid out otherwise differ by some per cent."""
    base = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PYTHONHASHSEED": "0"}
    return base if agent_out is None else base | agent_environment(agent_out, base)


def throughput_row(out: Path) -> Row:
    """A light endpoint under gunicorn gthread: requests per second of CPU, with the agent and without.

    The agent goes in and out of one process: two processes of the same code differ by more than it costs.
    """
    shares, rates = [], []
    for _ in range(STARTS):
        with serving(out) as server:
            drive(server)  # warm up
            for _ in range(TURNS):
                before = drive(server)
                switch(server, "in")
                observed = drive(server), drive(server)
                switch(server, "out")
                after = drive(server)
                shares += [observed[0] / before, observed[1] / after]
                rates += [before, after]
    share = median(shares)
    low, _, high = quantiles(shares)
    return Row(
        name="agent: throughput of a service",
        measured=f"{share:.1%} ({low:.1%} to {high:.1%}) of {median(rates):.0f} requests per CPU second",
        bound=f">= {MIN_SHARE:.0%}",
        ok=share >= MIN_SHARE,
    )


class Server:
    """One gunicorn with its worker."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.port = port
        self._master = psutil.Process(process.pid)

    def cpu_s(self) -> float:
        """Of the worker; the master only watches."""
        [worker] = self._master.children()
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


def main(arguments: Sequence[str]) -> None:
    """`python -m benchmarks.agent`: the rows alone."""
    del arguments
    for row in run():
        print(row)


if __name__ == "__main__":
    main(sys.argv[1:])
