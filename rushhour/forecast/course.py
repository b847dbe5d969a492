"""Draws one possible course of a production from what a run showed, and replays it (pure).

Each draw resamples the seconds of the run, and draws what the run does not tell: how many cores the threads
of a process can use, how much of the time between two requests is a pause of the customer, how likely a
request leaks.
"""

import heapq
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from random import Random
from typing import Final

from rushhour.forecast.behaviour import Behaviour, Endpoint
from rushhour.forecast.interval import resampled_seconds
from rushhour.forecast.leaks import Leak, first_reached_s, hazard_per_s
from rushhour.forecast.place import Place
from rushhour.forecast.replay import Arrival, Replay, Site, Stage
from rushhour.rundir.facts import server_of

MOST_REQUESTS: Final = 8_000  # of one replay; a longer day is replayed in windows
MOST_AT_ONCE: Final = 5_000  # customers; a process with more requests than that is beyond all its limits
MOST_PROCESSES: Final = 4  # that are replayed; the rest are alike
WINDOW_S: Final = 15.0
BEFORE_PUSH_S: Final = 2.0
STEP_SHARE: Final = 1 / 200  # of a day, for the steady part
PUSH_WITHIN_S: Final = 0.5  # customers who act on a push notification do so this soon
SECOND_REQUEST_S: Final = (0.05, 0.5)  # after it, the app itself sends another
NEWCOMER_S: Final = 1.0  # a newcomer's first request comes this soon
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
    lost_max: int = 0
    threads_max: int = 0
    requests_per_s: float = 0.0  # at the peak
    cpu: float | None = None  # of a process at the peak, as a share


@dataclass(frozen=True, slots=True)
class Drawn:
    """What one draw takes for granted."""

    per_customer_s: float  # requests of a customer per second
    names: tuple[str, ...]  # endpoints
    cumulative: tuple[float, ...]
    latency_factor: float
    cores: float
    cpu_share: float
    paces: tuple[float, ...]
    leaks: float  # chance
    kind: str | None
    nested: bool


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
    pause = dice.uniform(*PAUSE_SHARE)
    scale = place.think_s / behaviour.setup.think_s
    paces = tuple(second.pace for second in chosen if second.pace is not None) or (1.0,)
    share = dice.uniform(*UNKNOWN_CPU_SHARE) if behaviour.cpu_share is None else behaviour.cpu_share
    names = tuple(sorted(counts))
    return Drawn(
        per_customer_s=1.0 / (between_s * (pause * scale + 1.0 - pause)),
        names=names,
        cumulative=tuple(accumulate(float(counts[name]) for name in names)),
        latency_factor=math.fsum(paces) / len(paces),
        cores=dice.uniform(*CORES),
        cpu_share=share,
        paces=paces,
        leaks=leak.chance(dice) if leak is not None else 0.0,
        kind=None if leak is None else dice.choice(leak.kinds),
        nested=dice.random() < 0.5,
    )


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes the stages of requests."""

    behaviour: Behaviour
    drawn: Drawn
    leak: Leak | None
    leaky: frozenset[str]  # endpoints that leak
    dice: Random

    def request(self, *, newcomer: bool = False) -> tuple[Stage, ...]:
        first = self.behaviour.first
        if newcomer and first:
            [name] = self.dice.choices(tuple(first), tuple(first.values()))
        else:
            [name] = self.dice.choices(self.drawn.names, cum_weights=self.drawn.cumulative)
        return self.stages(self.behaviour.endpoints[name])

    def stages(self, endpoint: Endpoint) -> tuple[Stage, ...]:
        leak = self.leak if endpoint.name in self.leaky else None
        kept = leak.pool if leak is not None and self.drawn.kind == "thread" else None
        held: list[tuple[str, float]] = []
        for visit in endpoint.visits:
            if visit.pool != kept:
                held += [
                    (visit.pool, self.dice.expovariate(1 / visit.hold_s) if visit.hold_s > 0 else 0.0)
                    for _ in range(self._times(visit.per_request))
                ]
        known_s = math.fsum(
            visit.per_request * visit.hold_s for visit in endpoint.visits if visit.pool != kept
        )
        together = endpoint.overlaps or (endpoint.may_nest and self.drawn.nested)
        if together:
            known_s = max((visit.hold_s for visit in endpoint.visits), default=0.0)
        rest_s = max(0.0, endpoint.latency_s - known_s)
        rest_s = self.dice.expovariate(1 / rest_s) if rest_s > 0 else 0.0
        forgets = {leak.pool: self.drawn.leaks} if leak is not None and self.drawn.kind == "path" else {}
        if kept is not None:
            return (
                *(self._stage((pool,), hold_s) for pool, hold_s in held),
                self._stage((kept,), rest_s, keeps=True),
            )
        before = self._stage((), rest_s)
        if together and held:
            pools = tuple(pool for pool, _ in held)
            longest_s = max(hold_s for _, hold_s in held)
            return before, self._stage(pools, longest_s, forgets=max(forgets.values(), default=0.0))
        return (
            before,
            *(self._stage((pool,), hold_s, forgets=forgets.get(pool, 0.0)) for pool, hold_s in held),
        )

    def _times(self, mean: float) -> int:
        whole = math.floor(mean)
        return whole + (self.dice.random() < mean - whole)

    def _stage(
        self, pools: tuple[str, ...], time_s: float, *, keeps: bool = False, forgets: float = 0.0
    ) -> Stage:
        at_server: list[tuple[str, float]] = []
        for pool in pools[:1]:
            server = server_of(pool)
            if work_s := min(time_s, self.behaviour.server_s.get(server, 0.0)):
                at_server.append((server, work_s))
        inside_s = time_s - math.fsum(work_s for _, work_s in at_server)
        share = self.drawn.cpu_share
        return Stage(pools, share * inside_s, (1 - share) * inside_s, tuple(at_server), keeps, forgets)


def play(behaviour: Behaviour, place: Place, leak: Leak | None, dice: Random) -> Course:
    """Draw and replay one course of the production."""
    drawn = draw(behaviour, place, leak, dice)
    leaky = frozenset(name for name in drawn.names if leak is not None and leak.is_of(name))
    maker = _Maker(behaviour, drawn, leak, leaky, dice)
    course = Course(requests_per_s=drawn.per_customer_s * place.customers * _peak(place))
    busy_s = _mean_s(behaviour, drawn)
    if behaviour.cpu_s is not None:
        course.cpu = course.requests_per_s / place.processes * behaviour.cpu_s / drawn.cores
    for start_s, length_s in windows(place, drawn.per_customer_s):
        _replay(course, place, maker, start_s, length_s)
    if leak is not None and leak.per_s:
        _outside_requests(course, place, leak, dice)
    elif not _whole(place, drawn.per_customer_s):
        _steady(course, place, maker, busy_s)
    return course


def _peak(place: Place) -> float:
    return max(share for _, share in place.day.points)


def _mean_s(behaviour: Behaviour, drawn: Drawn) -> float:
    weights = [
        after - before for before, after in zip((0.0, *drawn.cumulative), drawn.cumulative, strict=False)
    ]
    total = math.fsum(weights)
    return (
        math.fsum(
            weight * behaviour.endpoints[name].latency_s
            for name, weight in zip(drawn.names, weights, strict=True)
        )
        / total
    )


def _whole(place: Place, per_customer_s: float) -> bool:
    """Whether the day is short enough to be replayed as a whole."""
    return _replayed_per_s(place, per_customer_s) * place.day.length_s <= MOST_REQUESTS


def _replayed_per_s(place: Place, per_customer_s: float) -> float:
    """Return the requests a second of the processes that are replayed."""
    return per_customer_s * place.customers * min(1.0, MOST_PROCESSES / place.processes)


def windows(place: Place, per_customer_s: float) -> list[tuple[float, float]]:
    """Return (start, length) of the times of a day that are replayed request by request."""
    day = place.day
    if _whole(place, per_customer_s):
        return [(0.0, day.length_s)]
    peak_s = max(day.points, key=lambda point: point[1])[0]
    most_s = min(WINDOW_S, MOST_REQUESTS / _replayed_per_s(place, per_customer_s), day.length_s)
    before_s = min(BEFORE_PUSH_S, most_s / 4)
    starts = [max(0.0, push.at_s - before_s) for push in day.pushes]
    starts.append(min(peak_s, day.length_s - most_s))
    return [(start_s, most_s) for start_s in sorted(set(starts))]


def arrivals(
    place: Place, maker: _Maker, replay: Replay, start_s: float, length_s: float
) -> Iterator[Arrival]:
    """Yield requests in order of time: a Poisson process of those who are not waiting, and pushes."""
    dice, drawn = maker.dice, maker.drawn
    part = min(1.0, MOST_PROCESSES / place.processes)
    customers = place.customers * part
    rate = drawn.per_customer_s * customers * _peak(place)
    sudden: list[tuple[float, bool]] = []  # when, and whether by a newcomer
    for at_s in _pushed(place, customers, start_s, length_s, dice):
        sudden += [(at_s, False), (at_s + dice.uniform(*SECOND_REQUEST_S), False)]
    for at_s in _newcomers(place, customers, start_s, length_s, dice):
        sudden += [(at_s, True), (at_s + dice.uniform(*SECOND_REQUEST_S), True)]
    heapq.heapify(sudden)
    # Who has just come thinks first, and then asks as often as all others.
    thinks_s = min(1.0 / drawn.per_customer_s, place.day.length_s / 2)
    now_s = start_s
    while True:
        next_s = now_s + dice.expovariate(rate)
        while sudden and sudden[0][0] <= next_s:
            at_s, newcomer = heapq.heappop(sudden)
            yield at_s, maker.request(newcomer=newcomer)
        now_s = next_s
        if now_s >= start_s + length_s:
            return
        share = min(place.day.share_at(now_s), place.day.share_at(now_s - thinks_s))
        thinking = max(0.0, share * customers - replay.outstanding)
        if dice.random() * _peak(place) * customers < thinking:
            yield now_s, maker.request()


def _pushed(place: Place, customers: float, start_s: float, length_s: float, dice: Random) -> Iterator[float]:
    """Yield when customers act on a push notification."""
    for push in place.day.pushes:
        if start_s <= push.at_s < start_s + length_s:
            share = place.push_share if push.share is None else push.share
            acting = round(customers * place.day.share_at(push.at_s) * share)
            for _ in range(min(acting, MOST_AT_ONCE)):
                yield push.at_s + dice.uniform(0, PUSH_WITHIN_S)


def _newcomers(
    place: Place, customers: float, start_s: float, length_s: float, dice: Random
) -> Iterator[float]:
    """Yield when customers come while the curve of the day rises: whoever comes asks at once."""
    points = place.day.points
    for (from_s, before), (to_s, after) in pairwise(points):
        first_s, last_s = max(from_s, start_s), min(to_s, start_s + length_s)
        if after <= before or last_s <= first_s:
            continue
        expected = customers * (after - before) * (last_s - first_s) / (to_s - from_s)
        whole = math.floor(expected)
        for _ in range(min(MOST_AT_ONCE, whole + (dice.random() < expected - whole))):
            yield dice.uniform(first_s, last_s) + dice.uniform(0, NEWCOMER_S)


def _replay(course: Course, place: Place, maker: _Maker, start_s: float, length_s: float) -> None:
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
    seen = replay.run(arrivals(place, maker, replay, start_s, length_s), paces)
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
        if pool.full_s is not None and (pool.gone_s is not None or pool.timeouts):
            _exhausted(course, name, pool.full_s)


def _exhausted(course: Course, pool: str, at_s: float) -> None:
    course.exhausted[pool] = min(at_s, course.exhausted.get(pool, math.inf))


def _outside_requests(course: Course, place: Place, leak: Leak, dice: Random) -> None:
    """Add a leak of jobs, which does not depend on the customers."""
    rules = place.pools.get(leak.pool)
    if rules is None or rules.capacity is None or "dropped" in leak.kinds:
        return
    at_s = min(leak.lost_after_s(rules.capacity, dice) for _ in range(place.processes))
    if at_s <= place.day.length_s:
        _exhausted(course, leak.pool, at_s)
        _lose_all(course, leak.pool, rules.capacity)


def _lose_all(course: Course, pool: str, capacity: int) -> None:
    course.lost_max = max(course.lost_max, capacity)
    course.in_use_max[pool] = max(course.in_use_max[pool], capacity)


def _steady(course: Course, place: Place, maker: _Maker, busy_s: float) -> None:
    """Add what a leak does in the hours between the replayed windows, by formulas."""
    leak, drawn, dice = maker.leak, maker.drawn, maker.dice
    rules = place.pools.get(leak.pool) if leak is not None else None
    if leak is None or rules is None or rules.capacity is None or drawn.kind == "dropped":
        return
    day, step_s = place.day, place.day.length_s * STEP_SHARE
    weights = [
        after - before for before, after in zip((0.0, *drawn.cumulative), drawn.cumulative, strict=False)
    ]
    total = math.fsum(weights)
    share = math.fsum(w for name, w in zip(drawn.names, weights, strict=True) if name in maker.leaky) / total
    hazards = []
    known: dict[float, float] = {}
    ordered = sorted(drawn.paces)
    paces = [ordered[len(ordered) * at // PACES] for at in range(PACES)] + ordered[-1:]
    cumulated = 0.0
    # A process that starts all its threads at once uses them in turn: each request there takes another one.
    in_turn = drawn.kind == "thread" and leak.eager and (place.threads or math.inf) >= rules.capacity
    chance = 1.0 if in_turn else drawn.leaks if drawn.kind == "path" else 0.0
    needed = dice.gammavariate(rules.capacity, 1.0)
    for number in range(round(1 / STEP_SHARE)):
        start_s = number * step_s
        rate = drawn.per_customer_s * place.customers * day.share_at(start_s + step_s / 2) / place.processes
        if chance:
            lost = rate * share * chance * step_s
            if lost and cumulated + lost >= needed:
                _exhausted(course, leak.pool, start_s + step_s * (needed - cumulated) / lost)
                _lose_all(course, leak.pool, rules.capacity)
                return
            cumulated += lost
        elif place.threads is None or place.threads >= rules.capacity:
            if rate not in known:
                known[rate] = math.fsum(
                    hazard_per_s(rate, busy_s * pace, drawn.cores, drawn.cpu_share, rules.capacity)
                    for pace in paces
                ) / len(paces)
            hazards.append((start_s, start_s + step_s, known[rate] * place.processes))
    at_s = first_reached_s(hazards, dice)
    if at_s is not None:
        _exhausted(course, leak.pool, at_s)
        _lose_all(course, leak.pool, rules.capacity)
    elif chance:
        course.lost_max = max(course.lost_max, int(cumulated))
