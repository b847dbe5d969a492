"""What one master takes with two hundred workers, in a quarter of an hour.

The master is a real Locust with the recorder. A few processes speak for the workers: each has a socket of
its own, joins, takes five thousand customers, answers, sends a heartbeat and a report each second, and
Locust's statistics every three. A report has 40 endpoints with 5 outcomes each. In the middle one worker
falls silent. What was sent is compared with what requests.jsonl holds. Memory is read each second, and its
growth is the slope of that for ten minutes, once the queues of messages are as large as they get.

    make bench ARGS=master            # 200 workers
    make bench ARGS=master:1000,60    # other workers, and seconds
"""

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from benchmarks.arguments import number, split, whole
from benchmarks.growth import slope
from benchmarks.harness import ROOT
from benchmarks.loads import page_scenario
from benchmarks.table import Row
from rushhour.load.locust import STOP_GRACE_S, start_load
from rushhour.load.machine import machine_problems, this_machine
from rushhour.load.master_address import MasterAddress
from rushhour.process.guard import Guard
from rushhour.process.ports import HOST, free_port
from rushhour.rundir import RunDir, load_history
from rushhour.rundir import facts as f
from rushhour.scenario.model import Load, Scenario

WORKERS: Final = 200
CUSTOMERS_EACH: Final = 5_000  # of a worker: a million of two hundred
COME_A_SECOND: Final = 300  # to a worker
SECONDS: Final = 910.0
SPEAKERS: Final = 2  # processes that speak for the workers
JOINED_S: Final = 60.0
ENDS_WITHIN_S: Final = 60.0
SETTLED_S: Final = 35.0  # measured from here: Locust keeps figures of the last half minute
EDGE_S: Final = 3.0  # before the end of the load
CPU_BOUND: Final = 0.5
# ZeroMQ keeps each worker's messages, to and from it, in pieces of 256 and 16 KB, with one piece to spare. A
# worker sends 2.3 messages a second and gets one, so all have their second pieces after 110 s and 256 s.
FILLED_S: Final = 300.0
TEN_MINUTES_S: Final = 600.0
GROWTH_BOUND_MB: Final = 10.0  # in ten minutes, of some 105 MB
LEAST_S, MOST_S = 60.0, 86_400.0  # of a load: a slope needs some samples
MOST_WORKERS: Final = 100_000
SAMPLE_S: Final = 1.0
NOTICED_BOUND_S: Final = 10.0
END_BOUND_S: Final = 10.0  # workers have two seconds for requests in flight, and Locust listens a moment more
LEAST_SENT: Final = 0.95  # of the reports that are due: with fewer a master has less to do


@dataclass(frozen=True, slots=True)
class Measured:
    """What a master took, and what it wrote of what its workers sent."""

    cpu_cores: float
    memory: Sequence[tuple[float, float]]  # seconds from the load's start, and the MB then
    sent: int  # requests
    wrong: int  # requests that were lost or counted twice
    reports: int  # that the workers sent
    rows: int
    mb_per_s: float
    noticed_s: float | None  # from a worker's silence to its event
    others_lost: int  # workers that were taken for lost, but spoke
    end_s: float  # from the end of the load to its own
    mb_sent_per_s: float  # of all messages of the workers


def arguments(text: str) -> tuple[int, float]:
    """Read the workers and, behind a comma, the seconds of the load. Raises ValueError."""
    workers, *seconds = split(text, 2)
    asked = whole(workers, 2, MOST_WORKERS), number(seconds[0], LEAST_S, MOST_S) if seconds else SECONDS
    if problems := machine_problems(_scenario(*asked), this_machine(), workers_here=False):
        raise ValueError(problems[0])
    return asked


def run(workers: int = WORKERS, seconds: float = SECONDS) -> list[Row]:
    """Measure for the seconds of the load and about a quarter of a minute more."""
    found, what = measure(workers, seconds), f"{workers:,} workers at one master"
    sent = found.reports / ((workers - 0.5) * seconds)  # one of them is silent for half of the time
    if not found.sent:
        raise RuntimeError("the workers sent no request")
    noticed = "not noticed" if found.noticed_s is None else f"noticed after {found.noticed_s:.1f} s"
    return [
        cpu_row(f"{what}: CPU", found, sent),
        memory_row(f"{what}: memory", found.memory),
        Row(
            f"{what}: requests lost or counted twice",
            f"{found.wrong:,} of {found.sent:,}, in {found.rows:,} rows, {found.mb_per_s:.2f} MB/s",
            "0",
            found.wrong == 0,
        ),
        Row(f"{what}: network", f"{found.mb_sent_per_s:.1f} MB/s to the master", "", None),
        Row(
            f"{what}: a silent worker",
            f"{noticed}, {found.others_lost} others taken for lost",
            f"<= {NOTICED_BOUND_S:g} s, 0 others",
            found.noticed_s is not None and found.noticed_s <= NOTICED_BOUND_S and not found.others_lost,
        ),
        Row(
            f"{what}: its end after the load's",
            f"{found.end_s:.1f} s",
            f"<= {END_BOUND_S:g} s",
            found.end_s <= END_BOUND_S,
        ),
    ]


def cpu_row(name: str, found: Measured, sent: float) -> Row:
    """The master's CPU, where its workers sent what is due: a share of `sent`."""
    measured = f"{found.cpu_cores:.2f} cores, {found.memory[-1][1]:.0f} MB"
    bound = f"<= {CPU_BOUND:g} cores"
    if sent < LEAST_SENT and found.cpu_cores <= CPU_BOUND:
        return Row(name, f"not measured: {measured}, but {sent:.0%} of the reports were sent", bound, None)
    return Row(name, measured, bound, found.cpu_cores <= CPU_BOUND)


def memory_row(name: str, memory: Sequence[tuple[float, float]]) -> Row:
    """How much the memory grows in ten minutes once it is filled."""
    bound = f"<= {GROWTH_BOUND_MB:g} MB"
    filled = [(at_s, mb) for at_s, mb in memory if at_s >= FILLED_S]
    if not filled or filled[-1][0] - filled[0][0] < LEAST_S:
        least_s = FILLED_S + LEAST_S + EDGE_S
        return Row(name, f"not measured: it takes a load of at least {least_s:.0f} s", bound, None)
    grown, measured_s = slope(filled).times(TEN_MINUTES_S), filled[-1][0] - filled[0][0]
    return grown.row(
        name,
        f"{grown.middle:+.1f} MB in ten minutes ({grown.low:+.1f} to {grown.high:+.1f}) by the slope of "
        f"{measured_s:.0f} s",
        bound,
        most=GROWTH_BOUND_MB,
    )


def measure(workers: int, seconds: float = SECONDS, settled_s: float = SETTLED_S) -> Measured:
    """Run one master with so many workers; its CPU and memory are measured from `settled_s` on."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        run_dir, port = RunDir(Path(folder) / "run"), free_port()
        guard = stack.enter_context(Guard())
        anchor_s = time.time()
        address = MasterAddress(HOST, port, JOINED_S)
        scenario = _scenario(workers, seconds)
        process = start_load(guard, scenario, "http://127.0.0.1:9", run_dir, anchor_s, master=address)
        stack.callback(process.stop, STOP_GRACE_S)
        speakers = [_speaker(stack, port, number, workers, seconds) for number in range(SPEAKERS)]
        figures = _watch(psutil.Process(process.process.pid), run_dir, seconds, settled_s)
        process.wait(seconds + ENDS_WITHIN_S)
        ended_s = time.time() - anchor_s
        sent: Counter[str] = Counter()
        silent: dict[str, float] = {}
        reports = bytes_sent = 0
        for speaker in speakers:
            output, _ = speaker.communicate(timeout=ENDS_WITHIN_S)
            said = json.loads(output.splitlines()[-1])
            sent.update(said["sent"])
            reports += said["reports"]
            bytes_sent += said["bytes"]
            silent |= said["silent"]
        history = load_history(run_dir)
        size_mb = run_dir.file("requests.jsonl").stat().st_size / 1e6
    held: Counter[str] = Counter()
    for row in history.requests:
        held[f"{row.t_s} {row.endpoint} {row.outcome}"] += row.count
    events = [event for event in history.events if event.name == f.WORKER_LOST]
    lost = {str(event.detail["worker"]): event.t_s for event in events}
    noticed_s = [lost[name] - (at_s - anchor_s) for name, at_s in silent.items() if name in lost]
    return Measured(
        *figures,
        sent=sent.total(),
        wrong=sum(abs(sent[key] - held[key]) for key in sent | held),
        reports=reports,
        mb_sent_per_s=bytes_sent / seconds / 1e6,
        rows=len(history.requests),
        mb_per_s=size_mb / max(len({row.t_s for row in history.requests}), 1),
        noticed_s=noticed_s[0] if noticed_s else None,
        others_lost=len(lost.keys() - silent.keys()),
        end_s=ended_s - max(event.t_s for event in history.events if event.name == f.LOAD_ENDED),
    )


def _scenario(workers: int, seconds: float) -> Scenario:
    users = workers * CUSTOMERS_EACH
    load = Load(
        users=users,
        duration=seconds,
        shape="steady",
        spawn_rate=float(workers * COME_A_SECOND),
        warm_up=0.0,
        locustfile="benchmarks/subjects/busy_customers.py",
        workers=workers,
        client_timeout=1.0,
    )
    return page_scenario("master", load)


def _speaker(stack: ExitStack, port: int, number: int, workers: int, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.subjects.many_workers"]
    command += [str(port), str(number), str(SPEAKERS), str(workers), str(seconds / 2)]
    command += [str(JOINED_S + seconds + ENDS_WITHIN_S)]
    speaker = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    def end() -> None:
        speaker.kill()
        speaker.wait(5)

    stack.callback(end)
    return speaker


def _watch(
    meter: psutil.Process, run_dir: RunDir, seconds: float, settled_s: float
) -> tuple[float, list[tuple[float, float]]]:
    """Return the master's CPU in cores, and readings of its memory, once the load is settled."""
    deadline_s = time.monotonic() + JOINED_S
    while f.LOAD_STARTED not in _text(run_dir.file("events.jsonl")):
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"the load did not start: {_text(run_dir.logs / 'locust.log')[-2000:]}")
        time.sleep(0.2)
    load_s = time.monotonic()
    time.sleep(settled_s)
    began_s, cpu_s = time.monotonic(), _cpu_s(meter)
    samples = list(_memory_mb(meter, load_s, seconds - EDGE_S))
    cores = (_cpu_s(meter) - cpu_s) / (time.monotonic() - began_s)
    return cores, samples


def _memory_mb(meter: psutil.Process, load_s: float, until_s: float) -> Iterator[tuple[float, float]]:
    """Yield when the memory was read, in seconds of the load, and how much it was."""
    while (now_s := time.monotonic() - load_s) < until_s:
        yield now_s, meter.memory_info().rss / 1e6
        time.sleep(SAMPLE_S)


def _cpu_s(meter: psutil.Process) -> float:
    times = meter.cpu_times()
    return float(times.user + times.system)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
