"""Answers whether a release would exhaust a pool in a production (pure: from a run directory alone)."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Final

from rushhour.diagnosis import Diagnosis
from rushhour.diagnosis.leaks import leak_signals
from rushhour.errors import InsufficientDataError
from rushhour.forecast.already import exhausted_already
from rushhour.forecast.behaviour import Behaviour, read_behaviour, setup_of
from rushhour.forecast.course import CORES, Course, play
from rushhour.forecast.customers import PUSH_WITHIN_S
from rushhour.forecast.interval import Estimate, estimate
from rushhour.forecast.leaks import LEAKS, NOT_FROM_CUSTOMERS, Leak, hazard_per_s, leak_of
from rushhour.forecast.place import Place, place_of
from rushhour.forecast.threads import threads_keeping
from rushhour.forecast.words import (
    assumptions,
    demand_words,
    fit_words,
    headline_of,
    leak_words,
    overload_words,
    threads_words,
)
from rushhour.metrics.window import find_window
from rushhour.rundir import History
from rushhour.rundir.facts import CallSite, server_of
from rushhour.scenario.day import Day, Push
from rushhour.scenario.model import Production, Scenario
from rushhour.verdict.forecast import Answer, Forecast, PoolForecast, Range
from rushhour.verdict.judge import Verdict
from rushhour.verdict.lost import lost_figures

REPEATS: Final = 20
SURE: Final = 0.8  # of the courses must agree, as sure as an interval is
SEED: Final = 1
# The model's own errors, measured by `make bench ARGS=forecast`.
TIME_ERROR: Final = 0.05
TIME_KNOWN_S: Final = 0.5  # a load has no exact start, and pools are sampled
IN_USE_ERROR: Final = 0.25
WAIT_ERROR: Final = 0.25
BUSY: Final = 0.9  # share of a process's CPU, from which the model is held to be wrong
FEWEST_EAGER: Final = 5  # threads; fewer are used at once by chance, as when a run begins
NEVER: Final = 1e-3  # times in a run
TRIAL_DAY_S: Final = 6.0


def forecast(
    name: str,
    scenario: Scenario,
    history: History,
    verdict: Verdict,
    production: Production,
    *,
    repeats: int = REPEATS,
) -> Forecast:
    """Forecast a production from a judged run; `name` is for messages. The same run gives the same forecast.

    Raises InsufficientDataError if the run does not hold enough, and UsageError for a wrong day.
    """
    if verdict.verdict == "unknown":
        raise InsufficientDataError(
            f"{name}: its verdict is unknown ({verdict.reasons[0]}), so it says nothing about production; "
            "run it again"
        )
    for lost in lost_figures(history):  # a failure that is proven stays one; the figures beside it are gone
        raise InsufficientDataError(f"{name}: {lost}; so it says nothing about production; run it again")
    window = find_window(history, scenario.load.warm_up)
    leak = leak_of(verdict.diagnosis, leak_signals(history, window))
    try:
        behaviour = read_behaviour(name, scenario, history, leak)
    except InsufficientDataError:
        place = place_of(production, setup_of(scenario, history, leak))
        if (found := exhausted_already(scenario, history, verdict, leak, place)) is None:
            raise
        return found
    if (
        leak is not None
        and window is not None
        and not any(leak.is_of(endpoint) for endpoint in behaviour.endpoints)
    ):
        per_s = leak.leaked / (window.load_ended_s - window.load_started_s) / behaviour.setup.processes
        leak = replace(leak, per_s=per_s)
    elif leak is not None and _starts_all_threads(behaviour, leak, threads_keeping(history, leak)):
        leak = replace(leak, eager=True)
    place = place_of(production, behaviour.setup)
    dice = Random(SEED)  # noqa: S311 - no secret
    courses = [play(behaviour, place, leak, dice) for _ in range(repeats)]
    made = _answer(behaviour, place, leak, verdict.diagnosis, courses)
    if made.exhausts != "yes":  # the run itself is a better witness than a model of it
        return exhausted_already(scenario, history, verdict, leak, place) or made
    return made


def _answer(
    behaviour: Behaviour, place: Place, leak: Leak | None, diagnosis: Diagnosis, courses: Sequence[Course]
) -> Forecast:
    exhausted = [course for course in courses if course.exhausted]
    chance = len(exhausted) / len(courses)
    enough = SURE * len(courses)
    held = len(courses) - len(exhausted)
    answer: Answer = "yes" if len(exhausted) >= enough else "no" if held >= enough else "unsure"
    reasons: tuple[str, ...] = ()
    if answer == "unsure":
        reasons = (f"the pool was exhausted in {len(exhausted)} of {len(courses)} replayed courses",)
    if leak is not None:
        answer, found = _of_leak(behaviour, place, leak, answer)
        reasons = (*reasons, *found)
    elif diagnosis.cause in NOT_FROM_CUSTOMERS and answer != "yes":
        answer = "unsure"
        reasons = (
            *reasons,
            (
                f"the run showed {diagnosis.cause} ({diagnosis.confidence}), and what production's servers "
                "will do does not follow from the number of customers"
            ),
        )
    pool = _exhausted_pool(leak, courses)
    if answer == "yes" and (unknown := _threads_unknown(behaviour, place, leak, pool)):
        answer = "unsure"
        reasons = (unknown, *reasons)
    if (limits := _limits(behaviour, place, courses)) and answer == "no":
        answer = "unsure"
    if answer == "no" and exhausted:
        limits = (
            *limits,
            f"a pool was exhausted in only {len(exhausted)} of {len(courses)} replayed courses",
        )
    elif answer == "no":
        limits = (*limits, fit_words(_pools(place, courses)))
    own = leak if leak is not None and pool in (None, leak.pool) else None  # what the leak itself does
    demand: tuple[str, ...] = ()
    if answer != "no" and own is None and pool is not None:
        demand = (demand_words(behaviour, place, pool, courses),)
    when = _when(courses, pool)
    made = Forecast(
        exhausts=answer,
        headline="",
        reasons=(*reasons, *demand, *limits) if answer == "yes" else (*reasons, *limits, *demand),
        place=place.in_words(),
        customers=place.customers,
        chance=chance,
        pool=pool if own is None else own.pool,
        cause=_cause(own, diagnosis, exhausted=bool(exhausted) and answer != "no"),
        site=own.site if own is not None else _site_of(diagnosis, pool),
        endpoint=own.endpoint if own is not None else None,
        exhausted_after_s=when if answer != "no" else None,
        exhausted_at=_clock(place.day, when) if answer != "no" else (),
        timeouts=_range([float(course.timeouts) for course in courses]),
        replayed_s=sorted(course.replayed_s for course in courses)[len(courses) // 2],
        threads_max=_range([float(course.threads_max) for course in courses]),
        requests_per_s=_range([course.requests_per_s for course in courses]),
        pools=_pools(place, courses),
        assumptions=assumptions(behaviour, place),
        curve=tuple((at_s, share * place.customers) for at_s, share in place.day.points),
        pushes_s=tuple(push.at_s for push in place.day.pushes),
        starts_s=place.day.starts_s,
    )
    return replace(made, headline=headline_of(made))


def _of_leak(
    behaviour: Behaviour, place: Place, leak: Leak, answer: Answer
) -> tuple[Answer, tuple[str, ...]]:
    """Return the answer for a release that leaks, and its reasons."""
    capacity = _capacity(place, leak.pool)
    reasons = [leak_words(leak, capacity)]
    per_thread = "thread" in leak.kinds
    if leak.eager and place.threads is None:
        answer = "unsure"
        reasons.append(threads_words(behaviour.setup, leak.pool, capacity))
    elif leak.per_s and per_thread and answer != "no":
        answer = "unsure"
        reasons.append(
            "threads that work outside of requests keep it, and how many there will be is not known"
        )
    elif "dropped" in leak.kinds:
        answer = "unsure"
        reasons.append(
            "garbage collection brought the connections back in the run; how soon it does so in production "
            "is not known"
        )
    elif per_thread and not _threads_suffice(behaviour, leak, place):
        reasons.append(
            f"a process has {place.threads} threads and {capacity} connections, so a connection for each "
            "thread does not empty the pool"
        )
    elif per_thread and answer != "yes":
        if answer == "no" and place.steady:
            answer = "unsure"
            reasons.append(
                "without a push notification or another burst so many requests do not come at once"
            )
        if (burst := _burst(behaviour, place, leak)) is not None:
            reasons.append(
                f"a burst would: {burst:,} customers who act within {PUSH_WITHIN_S:g} s start more threads "
                f"than pool {leak.pool} has connections"
            )
    return answer, tuple(reasons)


def _threads_unknown(behaviour: Behaviour, place: Place, leak: Leak | None, pool: str | None) -> str:
    """Say that threads may be too few to exhaust a pool, since nobody knows how many there are; else nothing.

    A path that loses connections, work outside of requests, and asyncio tasks need no threads.
    """
    capacity = None if pool is None else _capacity(place, pool)
    if place.threads is not None or pool is None or capacity is None or pool in behaviour.setup.of_tasks:
        return ""
    if leak is not None and leak.pool == pool and "thread" not in leak.kinds:
        return ""
    each = max((endpoint.at_once for endpoint in behaviour.endpoints.values()), default=1)
    if behaviour.setup.threads_seen * each + behaviour.standing.get(pool, 0) > capacity:
        return ""
    return threads_words(behaviour.setup, pool, capacity)


def _limits(behaviour: Behaviour, place: Place, courses: Sequence[Course]) -> tuple[str, ...]:
    """Say which limit other than a pool's the production would come to."""
    needed: Counter[str] = Counter()
    for pool in _pools(place, courses):
        needed[server_of(pool.pool)] += math.ceil(pool.in_use_max.high) * place.processes
    found = [
        f"server-limit: all processes together need up to {count:,} connections of the {server}, whose "
        f"max_connections of {limit.max_connections:,} in the run leaves {limit.usable:,} (it keeps "
        f"{limit.reserved} for superusers)"
        for server, count in needed.items()
        if (limit := behaviour.limits.get(server)) is not None and count > limit.usable
    ]
    if sum(bool(course.exhausted) for course in courses) < SURE * len(courses):
        found += [
            f"check-outs of pool {pool.pool} may wait for as long as its time-out ({timeout_s:g} s)"
            for pool in _pools(place, courses)
            if pool.wait_p99_ms is not None
            and 0 < 1000 * (timeout_s := place.pools[pool.pool].timeout_s) <= pool.wait_p99_ms.high
        ]
    most = [course for course in courses if course.full_wait_s or course.threads_needed]
    if 2 * len(most) > len(courses):
        found += overload_words(place, most)
    cpu = _range([course.cpu for course in courses if course.cpu is not None])
    if cpu is not None and cpu.expected >= BUSY:
        found.append(f"a process would need {cpu.expected:.0%} of the CPU that its threads can use")
    return tuple(found)


def _cause(leak: Leak | None, diagnosis: Diagnosis, *, exhausted: bool) -> str | None:
    if leak is not None:
        return leak.cause
    if not exhausted:
        return None
    return "saturation" if diagnosis.cause in (*LEAKS, "none") else diagnosis.cause


def _starts_all_threads(behaviour: Behaviour, leak: Leak, threads: int) -> bool:
    """Return whether more threads of a process kept a connection than requests can have been at work there.

    Then the server starts its threads beforehand, as waitress does, and not when none is idle.
    """
    if "thread" not in leak.kinds or threads < FEWEST_EAGER:
        return False
    busiest = max(sum(second.requests.values()) for second in behaviour.seconds) / behaviour.setup.processes
    slowest = max((second.pace for second in behaviour.seconds if second.pace is not None), default=1.0)
    busy_s = slowest * max(endpoint.latency_s for endpoint in behaviour.endpoints.values())
    often = hazard_per_s(busiest, busy_s, CORES[0], behaviour.cpu_share or 1.0, threads)
    return often * len(behaviour.seconds) < NEVER


def _range(values: Sequence[float], error: float = 0.0) -> Range | None:
    if not values:
        return None
    found: Estimate = estimate(values, error=error)
    return Range(found.value, found.low, found.high)


def _exhausted_pool(leak: Leak | None, courses: Sequence[Course]) -> str | None:
    """Return the pool that most courses exhausted, first of all that of the leak; None if none did."""
    counts = Counter(pool for course in courses for pool in course.exhausted)
    if not counts:
        return None
    most = max(counts.values())
    if leak is not None and 2 * counts[leak.pool] >= most:
        return leak.pool
    return min(pool for pool in counts if counts[pool] == most)


def _when(courses: Sequence[Course], pool: str | None) -> Range | None:
    times_s = [course.exhausted[pool] for course in courses if pool in course.exhausted] if pool else []
    found = _range(times_s, TIME_ERROR)
    if found is None:
        return None
    return replace(found, low=max(0.0, found.low - TIME_KNOWN_S), high=found.high + TIME_KNOWN_S)


def _clock(day: Day, when: Range | None) -> tuple[str, ...]:
    if when is None:
        return ()
    times = [day.clock_at(at_s) for at_s in (when.expected, when.low, when.high)]
    return tuple(time for time in times if time is not None)


def _pools(place: Place, courses: Sequence[Course]) -> tuple[PoolForecast, ...]:
    found = []
    for name, rules in sorted(place.pools.items()):
        in_use = _range([float(course.in_use_max[name]) for course in courses], IN_USE_ERROR)
        if in_use is not None and rules.capacity is not None:
            in_use = replace(in_use, high=min(in_use.high, float(rules.capacity)))
        waits = _range(
            [course.wait_p99_s[name] * 1000 for course in courses if name in course.wait_p99_s], WAIT_ERROR
        )
        if waits is not None:
            most_ms = rules.timeout_s * 1000
            waits = Range(*(min(wait_ms, most_ms) for wait_ms in (waits.expected, waits.low, waits.high)))
        if in_use is not None:
            found.append(PoolForecast(name, rules.capacity, in_use, waits))
    return tuple(found)


def _capacity(place: Place, pool: str) -> int | None:
    return place.pools[pool].capacity if pool in place.pools else None


def _threads_suffice(behaviour: Behaviour, leak: Leak, place: Place) -> bool:
    """Whether a process can have as many threads as its pool has connections for them."""
    capacity, standing = _capacity(place, leak.pool), behaviour.standing.get(leak.pool, 0)
    return capacity is not None and (place.threads is None or place.threads + standing >= capacity)


def _site_of(diagnosis: Diagnosis, pool: str | None) -> CallSite | None:
    """Return the line that held the connections of a pool for longest."""
    for site in diagnosis.call_sites:
        if site.pool == pool:
            return CallSite(site.file, site.line, site.function)
    return None


def _burst(behaviour: Behaviour, place: Place, leak: Leak) -> int | None:
    """Return about how many customers who act at once exhaust the pool; None if not even all of them do."""
    low, high = 0, place.customers
    if not _burst_exhausts(behaviour, place, leak, high):
        return None
    while high - low > max(2, place.customers // 50):
        middle = (low + high) // 2
        if _burst_exhausts(behaviour, place, leak, middle):
            high = middle
        else:
            low = middle
    return high


def _burst_exhausts(behaviour: Behaviour, place: Place, leak: Leak, customers: int) -> bool:
    day = Day(((0.0, 1.0), (TRIAL_DAY_S, 1.0)), (Push(1.0, customers / place.customers),))
    only = replace(leak, kinds=("thread",))
    courses = [play(behaviour, replace(place, day=day), only, Random(SEED + number)) for number in range(3)]  # noqa: S311
    return sum(leak.pool in course.exhausted for course in courses) >= 2
