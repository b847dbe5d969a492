"""Draws one possible course of a production from what a run showed, and replays it (pure).

Each draw resamples the seconds of the run, and draws what the run does not tell: how many cores the threads
of a process can use, how much of the time between two requests is a pause of the customer, how likely a
request leaks.
"""

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random
from typing import Final

from rushhour.forecast.behaviour import MEAN_THINK, Behaviour
from rushhour.forecast.customers import (
    MOST_PROCESSES,
    Drawn,
    Maker,
    arrivals,
    job_arrivals,
    peak,
    whole_day,
    windows,
)
from rushhour.forecast.interval import resampled_seconds
from rushhour.forecast.leaks import Leak, first_reached_s, hazard_per_s
from rushhour.forecast.overload import (
    LASTING_S,
    Load,
    Step,
    lasting_since,
    lasts,
    loads_of,
    pool_wait_s,
    steps_of,
    threads_needed,
    times_out_after_s,
)
from rushhour.forecast.place import Place
from rushhour.forecast.replay import Replay
from rushhour.forecast.replayed import Site
from rushhour.forecast.visits import Job

CORES: Final = (0.5, 1.1)  # that the threads of a process get: one computes at a time, and handing over costs
PAUSE_SHARE: Final = (0.8, 1.0)  # of the time between two requests of a customer, that it thinks
PACES: Final = 4  # of a draw, and its slowest, that the formulas use
UNKNOWN_CPU_SHARE: Final = (0.3, 1.0)


@dataclass(slots=True)
class Course:
    """What came of one draw. Times are seconds since the start of the day; None: it did not happen."""

    # Pools whose connections were all out, and either lost or missed, and since when.
    exhausted: dict[str, float] = field(default_factory=dict)
    timeouts: int = 0
    first_timeout_s: float | None = None
    in_use_max: Counter[str] = field(default_factory=Counter)
    wait_p99_s: dict[str, float] = field(default_factory=dict)
    full_s: dict[str, float] = field(default_factory=dict)  # pools that handed out all, for the first time
    lost_max: int = 0
    threads_max: int = 0
    full_wait_s: dict[str, float] = field(default_factory=dict)  # pools full for long -> wait of a check-out
    threads_needed: float | None = None  # of a process at the peak; None: requests do not wait long for them
    requests_per_s: float = 0.0  # at the peak
    cpu: float | None = None  # of a process at the peak, as a share
    jobs_out: dict[str, float] = field(
        default_factory=lambda: defaultdict(float)
    )  # connections of a process, on average, by pool
    replayed_s: float = 0.0  # replayed request by request


def draw(behaviour: Behaviour, place: Place, leak: Leak | None, dice: Random) -> Drawn:
    """Draw what one course takes for granted."""
    chosen = [behaviour.seconds[at] for at in resampled_seconds(len(behaviour.seconds), dice)]
    customers = sum(second.customers for second in chosen)
    counts = Counter[str]()
    for second in chosen:
        counts.update(second.requests)
    if not counts.total() or not customers:  # a resample of empty seconds; all of them are not
        chosen = list(behaviour.seconds)
        customers = sum(second.customers for second in chosen)
        for second in chosen:
            counts.update(second.requests)
    between_s = customers / counts.total()
    pause_s = dice.uniform(*PAUSE_SHARE) * between_s
    if behaviour.pauses_more:  # by its own, which may or may not change with the think time
        pause_s = dice.choice((pause_s, min(pause_s, MEAN_THINK * behaviour.setup.think_s)))
    scale = place.think_s / behaviour.setup.think_s
    paces = tuple(second.pace for second in chosen if second.pace is not None) or (1.0,)
    share = dice.uniform(*UNKNOWN_CPU_SHARE) if behaviour.cpu_share is None else behaviour.cpu_share
    names = tuple(sorted(counts))
    per_customer_s = 1.0 / (pause_s * scale + between_s - pause_s)
    rate = per_customer_s * place.customers * peak(place) / place.processes
    return Drawn(
        per_customer_s=per_customer_s,
        names=names,
        cumulative=tuple(accumulate(float(counts[name]) for name in names)),
        latency_factor=math.fsum(paces) / len(paces),
        cores=dice.uniform(*CORES),
        cpu_share=share,
        paces=paces,
        leaks=leak.chance(dice) if leak is not None else 0.0,
        kind=None if leak is None else dice.choice(leak.kinds),
        nested=dice.random() < 0.5,
        jobs=tuple(_jobs(behaviour, rate / _run_rate(behaviour), dice)),
    )


def _jobs(behaviour: Behaviour, more: float, dice: Random) -> Iterator[tuple[Job, float]]:
    """Yield how many check-outs of each job a process has a second, at so many times the run's requests.

    Those that depend on the customers are taken to be as many all day as at its peak.
    """
    for job in behaviour.jobs:
        steady_per_s = job.steady_per_s(dice)
        yield job, steady_per_s + more * (job.per_s - steady_per_s)


def _run_rate(behaviour: Behaviour) -> float:
    """Return the requests a second of a process of the run."""
    return behaviour.requests / len(behaviour.seconds) / behaviour.setup.processes


def play(behaviour: Behaviour, place: Place, leak: Leak | None, dice: Random) -> Course:
    """Draw and replay one course of the production."""
    drawn = draw(behaviour, place, leak, dice)
    leaky = frozenset(name for name in drawn.names if leak is not None and leak.is_of(name))
    maker = Maker(behaviour, drawn, leak, leaky, dice)
    course = Course(requests_per_s=drawn.per_customer_s * place.customers * peak(place))
    for job, per_s in drawn.jobs:
        course.jobs_out[job.pool] += per_s * job.hold_s
    busy_s = maker.mean_s()
    if behaviour.cpu_s is not None:
        course.cpu = course.requests_per_s / place.processes * behaviour.cpu_s / drawn.cores
    for start_s, length_s in windows(place, drawn):
        course.replayed_s += length_s
        _replay(course, place, maker, start_s, length_s)
    if leak is not None and leak.per_s:
        _outside_requests(course, place, leak, dice, behaviour.standing.get(leak.pool, 0))
    elif not whole_day(place, drawn):
        _steady(course, place, maker, busy_s)
    steps = steps_of(place)
    for name, load in loads_of(place, maker).items():
        _overload(course, steps, name, load)
    return course


def _overload(course: Course, steps: Sequence[Step], name: str, load: Load) -> None:
    """Add what a demand does to a pool that lasts longer than the replayed windows, by formulas."""
    if too_long := lasting_since(steps, lambda customers: times_out_after_s(load, customers)):
        full_s = course.full_s.get(name, math.inf)  # perhaps of a push at another time of the day
        soon = 0 <= full_s - too_long.start_s <= LASTING_S
        _exhausted(course, name, full_s if soon else too_long.start_s)
    most = max(step.customers for step in steps)
    if lasts(steps, lambda customers: pool_wait_s(load, customers) > 0):
        course.full_wait_s[name] = min(load.timeout_s, pool_wait_s(load, most))
    if lasts(steps, lambda customers: threads_needed(load, customers) > load.threads):
        course.threads_needed = threads_needed(load, most)


def _replay(course: Course, place: Place, maker: Maker, start_s: float, length_s: float) -> None:
    drawn, dice = maker.drawn, maker.dice
    processes = min(place.processes, MOST_PROCESSES)
    part = processes / place.processes
    site = Site(
        processes=processes,
        threads=place.threads,
        pools=place.pools,
        servers={name: cores * part for name, cores in maker.behaviour.server_cores.items()},
        cores=drawn.cores,
        eager=maker.leak is not None and maker.leak.eager,
    )
    replay = Replay(site, dice)
    paces = [
        (start_s + second, dice.choice(drawn.paces) / drawn.latency_factor)
        for second in range(math.ceil(length_s))
    ]
    requests = arrivals(place, maker, replay, start_s, length_s)
    jobs = job_arrivals(place, maker, start_s, length_s)
    seen = replay.run(heapq.merge(requests, jobs, key=lambda arrival: arrival[0]), paces)
    course.threads_max = max(course.threads_max, seen.threads_max)
    for name, pool in seen.pools.items():
        course.in_use_max[name] = max(course.in_use_max[name], pool.in_use_max)
        course.lost_max = max(course.lost_max, pool.lost_max)
        course.timeouts += round(pool.timeouts / part)
        if pool.waits_s:
            waits = sorted(pool.waits_s)
            p99_s = waits[min(len(waits) - 1, int(0.99 * len(waits)))]
            course.wait_p99_s[name] = max(course.wait_p99_s.get(name, 0.0), p99_s)
        if pool.first_timeout_s is not None:
            course.first_timeout_s = min(course.first_timeout_s or math.inf, pool.first_timeout_s)
        if pool.full_s is not None:
            course.full_s[name] = min(pool.full_s, course.full_s.get(name, math.inf))
        if pool.exhausted_s is not None:
            _exhausted(course, name, pool.exhausted_s)


def _exhausted(course: Course, pool: str, at_s: float) -> None:
    course.exhausted[pool] = min(at_s, course.exhausted.get(pool, math.inf))


def _outside_requests(course: Course, place: Place, leak: Leak, dice: Random, standing: int) -> None:
    """Add a leak of jobs, which does not depend on the customers; `standing` connections are out anyway."""
    rules = place.pools.get(leak.pool)
    if rules is None or rules.capacity is None or "dropped" in leak.kinds:
        return
    at_s = min(leak.lost_after_s(max(1, rules.capacity - standing), dice) for _ in range(place.processes))
    if at_s <= place.day.length_s:
        _exhausted(course, leak.pool, at_s)
        _lose_all(course, leak.pool, rules.capacity)


def _lose_all(course: Course, pool: str, capacity: int) -> None:
    course.lost_max = max(course.lost_max, capacity)
    course.in_use_max[pool] = max(course.in_use_max[pool], capacity)


def _steady(course: Course, place: Place, maker: Maker, busy_s: float) -> None:
    """Add what a leak does in the hours between the replayed windows, by formulas."""
    leak, drawn, dice = maker.leak, maker.drawn, maker.dice
    rules = place.pools.get(leak.pool) if leak is not None else None
    if leak is None or rules is None or rules.capacity is None or drawn.kind == "dropped":
        return
    free = max(1, rules.capacity - maker.behaviour.standing.get(leak.pool, 0))
    shares = drawn.shares()
    share = math.fsum(shares[name] for name in maker.leaky)
    hazards = []
    known: dict[float, float] = {}
    ordered = sorted(drawn.paces)
    paces = [ordered[len(ordered) * at // PACES] for at in range(PACES)] + ordered[-1:]
    cumulated = 0.0
    # A process that starts all its threads at once uses them in turn: each request there takes another one.
    in_turn = drawn.kind == "thread" and leak.eager and (place.threads or math.inf) >= free
    chance = 1.0 if in_turn else drawn.leaks if drawn.kind == "path" else 0.0
    # Of all processes the one that has lost its connections first.
    needed = min(dice.gammavariate(free, 1.0) for _ in range(place.processes))
    for step in steps_of(place):
        rate, step_s = drawn.per_customer_s * step.customers, step.end_s - step.start_s
        if chance:
            lost = rate * share * chance * step_s
            if lost and cumulated + lost >= needed:
                _exhausted(course, leak.pool, step.start_s + step_s * (needed - cumulated) / lost)
                _lose_all(course, leak.pool, rules.capacity)
                return
            cumulated += lost
        elif place.threads is None or place.threads >= free:
            if rate not in known:
                known[rate] = math.fsum(
                    hazard_per_s(rate, busy_s * pace, drawn.cores, drawn.cpu_share, free) for pace in paces
                ) / len(paces)
            hazards.append((step.start_s, step.end_s, known[rate] * place.processes))
    at_s = first_reached_s(hazards, dice)
    if at_s is not None:
        _exhausted(course, leak.pool, at_s)
        _lose_all(course, leak.pool, rules.capacity)
    elif chance:
        course.lost_max = max(course.lost_max, int(cumulated))
