"""What a second worker costs: CPU a request and the time to start, of two workers of one master.

The customers are the shipped ones of locustfiles/referrals.py, as many for each worker, who hardly pause.
Each worker is busy for a third of a core, so that two of them and the page that answers fit two cores: then
a request costs what it costs the worker, not what waiting for a core costs.

A second load may make each request dearer by itself: it shares caches and memory with the first, and cores
with a page that sends twice as much. So the bound is for two workers of one master against two loads of a
worker each, which run beside each other and know nothing of each other: what is above that is the program's.
In each turn both run, with other customers in each turn, for some have longer lists than others; in some
turns one worker runs, too, with all and with half of its customers.
"""

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from benchmarks.interval import Interval, median_of
from benchmarks.loads import page_scenario, run_loads
from benchmarks.page import page_server
from benchmarks.table import Row
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.scenario.model import Load

NAME: Final = "two workers of one master"
CPU_BOUND: Final = 1.05
START_BOUND_S: Final = 2.0
TURNS: Final = 26
FULL_EVERY: Final = 3  # turns, one of which has all ways
SECONDS: Final = 7.0  # many short rounds: the machine changes within half a minute
EDGE_S: Final = 2  # at both ends of a round, while customers come and go
CUSTOMERS: Final = 60  # of a worker


@dataclass(frozen=True, slots=True)
class Way:
    """What runs in a round."""

    loads: int
    workers: int  # of each load
    customers: int = CUSTOMERS  # of each worker


ONE: Final = Way(1, 1)
TWO: Final = Way(1, 2)
BESIDE: Final = Way(2, 1)
HALF: Final = Way(1, 1, CUSTOMERS // 2)
WAYS: Final = (ONE, TWO, BESIDE, HALF)

Turn = Mapping[Way, "Round"]


@dataclass(frozen=True, slots=True)
class Round:
    """CPU a request in the middle of a round, requests a second of a worker, and when the load began."""

    us: float
    rate: float
    started_s: float


def run() -> list[Row]:
    """Measure, in about thirteen minutes."""
    cores = os.cpu_count() or 1
    if cores < 2:
        return [Row(NAME, "not measured: this machine has one core", f"<= {CPU_BOUND}", None)]
    turns: list[Turn] = []
    with page_server() as url:
        for number in range(TURNS):
            ways = (TWO, BESIDE) if number % FULL_EVERY else WAYS
            # Forwards and backwards: a drift of the machine favours none.
            turns.append({way: measure(url, way, number) for way in ways[:: -1 if number % 2 else 1]})
    return rows(turns, cores)


def rows(turns: Sequence[Turn], cores: int) -> list[Row]:
    """The rows of turns, at least six of which have all ways."""
    us = {way: statistics.median(turn[way].us for turn in turns if way in turn) for way in WAYS}
    rate = {way: statistics.median(turn[way].rate for turn in turns if way in turn) for way in WAYS}
    full = [turn for turn in turns if len(turn) == len(WAYS)]
    shared, fixed = ratio(turns, TWO, BESIDE), median_of([fixed_us(turn) for turn in full])
    later = median_of([turn[TWO].started_s - turn[ONE].started_s for turn in full])
    of_rates = fixed.middle * (1 / rate[TWO] - 1 / rate[ONE]) / us[ONE]
    return [
        shared.row(
            f"{NAME} against two loads, {cores} cores",
            f"CPU a request x {shared:.3f}: {us[TWO]:.0f} and {us[BESIDE]:.0f} us at {2 * rate[TWO]:,.0f} "
            f"and {2 * rate[BESIDE]:,.0f} requests/s",
            f"<= {CPU_BOUND}",
            most=CPU_BOUND,
        ),
        Row(
            "  two loads against one: what the machine makes of it",
            f"x {ratio(full, BESIDE, ONE):.3f}: {us[ONE]:.0f} us at {rate[ONE]:,.0f} requests/s of one",
            "",
            None,
        ),
        Row("  two workers of one master against one: both", f"x {ratio(full, TWO, ONE):.3f}", "", None),
        Row(
            "  CPU of a worker",
            f"{fixed.times(1e-3):.1f} ms a second whatever its rate, and "
            f"{us[ONE] - fixed.middle / rate[ONE]:.0f} us a request (by {rate[HALF]:,.0f} and "
            f"{rate[ONE]:,.0f} requests/s): {of_rates:+.1%} a request of two workers, at their rates",
            "",
            None,
        ),
        later.row(
            "start of two workers",
            f"{later:+.1f} s against one",
            f"<= {START_BOUND_S:+.0f} s",
            most=START_BOUND_S,
        ),
    ]


def ratio(turns: Sequence[Turn], way: Way, other: Way) -> Interval:
    """CPU a request of one way, in those of the other in the same turn."""
    return median_of([turn[way].us / turn[other].us for turn in turns])


def fixed_us(turn: Turn) -> float:
    """CPU that a worker uses in a second whatever its rate, in microseconds.

    A request costs `p + fixed / rate`, with the same `p` at both rates.
    """
    one, half = turn[ONE], turn[HALF]
    return (half.us - one.us) / (1 / half.rate - 1 / one.rate)


def measure(url: str, way: Way, turn: int) -> Round:
    """One round."""
    scenarios = [
        page_scenario(
            "workers",
            Load(
                users=way.customers * way.workers,
                duration=SECONDS,
                shape="steady",
                spawn_rate=float(way.customers * way.workers),
                warm_up=0.0,
                locustfile="benchmarks/subjects/busy_customers.py",
                workers=way.workers,
                seed=1 + turn + TURNS * number,
            ),
        )
        for number in range(way.loads)
    ]
    return round_of(run_loads(url, scenarios), way.workers)


def round_of(histories: Sequence[History], workers: int) -> Round:
    """The figures of the seconds in which all customers of all loads were there.

    Raises RuntimeError where a worker has not said anything of them.
    """
    heard = [by_worker(history) for history in histories]
    missing = workers * len(histories) - sum(map(len, heard))
    started = [history.event(f.LOAD_STARTED) for history in histories]
    if missing or None in started:
        raise RuntimeError(f"{missing} workers of the round recorded nothing")
    reports = [samples for names in heard for samples in names.values()]
    first = max(samples[0].t_s for samples in reports) + EDGE_S
    last = min(samples[-1].t_s for samples in reports) - EDGE_S
    cpu_s = seconds = 0.0
    sent = 0
    for samples in reports:
        for before, sample in pairwise(samples):
            if first <= sample.t_s < last:
                span_s = sample.t_s - before.t_s  # a worker that stood still reports once for all of it
                cpu_s, seconds, sent = (
                    cpu_s + sample.cpu_cores * span_s,
                    seconds + span_s,
                    sent + sample.started,
                )
    if not sent:
        raise RuntimeError(f"no request was sent between {first} s and {last} s of the round")
    began_s = max(event.t_s for event in started if event is not None)
    return Round(cpu_s / sent * 1e6, sent / seconds, began_s)


def by_worker(history: History) -> dict[str, list[f.GeneratorSample]]:
    """The samples of each worker, in order of time."""
    found: dict[str, list[f.GeneratorSample]] = {}
    for sample in sorted(history.generator, key=lambda sample: sample.t_s):
        found.setdefault(sample.worker, []).append(sample)
    return found
