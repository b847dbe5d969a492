"""What a second worker costs: CPU a request and the time to start, of two workers against one.

The customers are the shipped ones of locustfiles/referrals.py, as many for each worker, who hardly pause.
Each worker is busy for a third of a core, so that two of them and the page that answers fit two cores: then
a request costs what it costs the worker, not what waiting for a core costs. Rounds of one and of two workers
alternate; only whole seconds in the middle of a round count.
"""

import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.page import page_server
from benchmarks.table import Row
from rushhour.load.locust import STOP_GRACE_S, start_load
from rushhour.process.guard import Guard
from rushhour.rundir import RunDir, load_history
from rushhour.rundir import facts as f
from rushhour.scenario.model import Load, Pool, Scenario, Target

NAME: Final = "two workers against one"
CPU_BOUND: Final = 1.05
START_BOUND_S: Final = 2.0
PAIRS: Final = 5
SECONDS: Final = 7.0
EDGE_S: Final = 2  # at both ends of a round, while customers come and go
CUSTOMERS: Final = 60  # of a worker
ENDS_WITHIN_S: Final = 40.0
ROOT: Final = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Round:
    """CPU a request of all workers in the middle of a round, requests a second, and when the load began."""

    us: float
    rate: float
    started_s: float


def run() -> list[Row]:
    """The medians of five pairs of rounds, in about two minutes."""
    cores = os.cpu_count() or 1
    if cores < 2:
        return [Row(NAME, "not measured: this machine has one core", f"<= {CPU_BOUND}", None)]
    with page_server() as url:
        pairs = [(measure(url, 1), measure(url, 2)) for _ in range(PAIRS)]
    ratios = [two.us / one.us for one, two in pairs]
    ratio, later_s = statistics.median(ratios), statistics.median(b.started_s - a.started_s for a, b in pairs)
    us = [statistics.median(each.us for each in column) for column in zip(*pairs, strict=True)]
    rate = [statistics.median(each.rate for each in column) for column in zip(*pairs, strict=True)]
    return [
        Row(
            f"{NAME}, {cores} cores",
            f"{us[1]:.0f} and {us[0]:.0f} us of CPU a request: {ratio:.3f} times ({min(ratios):.2f} to "
            f"{max(ratios):.2f}) at {rate[1]:,.0f} and {rate[0]:,.0f} requests/s",
            f"<= {CPU_BOUND}",
            ratio <= CPU_BOUND,
        ),
        Row(
            "start of two workers",
            f"{later_s:+.1f} s against one",
            f"<= {START_BOUND_S:+.0f} s",
            later_s <= START_BOUND_S,
        ),
    ]


def measure(url: str, workers: int) -> Round:
    """One round."""
    with tempfile.TemporaryDirectory() as folder:
        load = Load(
            users=CUSTOMERS * workers,
            duration=SECONDS,
            shape="steady",
            spawn_rate=float(CUSTOMERS * workers),
            warm_up=0.0,
            locustfile="benchmarks/subjects/busy_customers.py",
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
        history = load_history(run_dir)
    started, samples = history.event(f.LOAD_STARTED), history.generator
    if started is None or not samples:
        raise RuntimeError("the round recorded no load")
    first, last = min(one.t_s for one in samples) + EDGE_S, max(one.t_s for one in samples) - EDGE_S
    middle = [sample for sample in samples if first <= sample.t_s < last]
    sent = sum(sample.started for sample in middle)
    cpu_s = sum(sample.cpu_cores for sample in middle)
    return Round(cpu_s / sent * 1e6, sent / (last - first), started.t_s)
