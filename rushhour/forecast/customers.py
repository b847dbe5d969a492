"""When the customers of a course send requests, and what each request does (pure)."""

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from random import Random
from typing import Final

from rushhour.forecast.behaviour import Behaviour, Endpoint
from rushhour.forecast.leaks import Leak
from rushhour.forecast.place import Place
from rushhour.forecast.replay import Replay
from rushhour.forecast.replayed import Arrival, Stage
from rushhour.forecast.visits import Job, Visit
from rushhour.rundir.facts import server_of

MOST_REQUESTS: Final = 8_000  # of one replay; a longer day is replayed in windows
MOST_AT_ONCE: Final = 5_000  # customers; a process with more requests than that is beyond all its limits
MOST_PROCESSES: Final = 4  # that are replayed; the rest are alike
WINDOW_S: Final = 15.0
BEFORE_PUSH_S: Final = 2.0
PUSH_WITHIN_S: Final = 0.5  # customers who act on a push notification do so this soon
SECOND_REQUEST_S: Final = (0.05, 0.5)  # after it, the app itself sends another
MOST_HOLDS: Final = 1000  # of a resample
NEWCOMER_S: Final = 1.0  # a newcomer's first request comes this soon


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
    jobs: tuple[tuple[Job, float], ...] = ()  # how many check-outs of each a process has a second

    def shares(self) -> dict[str, float]:
        """Return the share of each endpoint in the requests."""
        before = (0.0, *self.cumulative)
        return {
            name: (upto - since) / self.cumulative[-1]
            for name, since, upto in zip(self.names, before, self.cumulative, strict=False)
        }


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes the stages of requests."""

    behaviour: Behaviour
    drawn: Drawn
    leak: Leak | None
    leaky: frozenset[str]  # endpoints that leak
    dice: Random
    holds_s: dict[int, list[float]] = field(default_factory=dict)  # by the id of what was measured

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
                held += [(visit.pool, self.hold_s(visit)) for _ in range(self._whole(visit.per_request))]
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

    def hold_s(self, visit: Visit | Job) -> float:
        """Draw how long a connection is held: as measured, resampled once for the course."""
        if visit.holds is None:
            return self.dice.expovariate(1 / visit.hold_s) if visit.hold_s > 0 else 0.0
        resampled_s = self.holds_s.get(id(visit.holds))
        if resampled_s is None:
            count = min(visit.holds.count, MOST_HOLDS)
            resampled_s = [visit.holds.draw(self.dice) for _ in range(count)]
            self.holds_s[id(visit.holds)] = resampled_s
        return self.dice.choice(resampled_s)

    def mean_s(self) -> float:
        """Return the mean time of a request."""
        shares = self.drawn.shares()
        return math.fsum(share * self.behaviour.endpoints[name].latency_s for name, share in shares.items())

    def job(self, job: Job, hold_s: float, process: int) -> tuple[Stage, ...]:
        """Return what a check-out of no request does."""
        return (replace(self._stage((job.pool,), hold_s), aside=process),)

    def _whole(self, mean: float) -> int:
        """Draw a whole number with that mean."""
        whole = math.floor(mean)
        return whole + (self.dice.random() < mean - whole)

    def _stage(
        self,
        pools: tuple[str, ...],
        time_s: float,
        *,
        keeps: bool = False,
        forgets: float = 0.0,
    ) -> Stage:
        at_server: list[tuple[str, float]] = []
        for pool in pools[:1]:
            server = server_of(pool)
            if work_s := min(time_s, self.behaviour.server_s.get(server, 0.0)):
                at_server.append((server, work_s))
        inside_s = time_s - math.fsum(work_s for _, work_s in at_server)
        share = self.drawn.cpu_share
        return Stage(pools, share * inside_s, (1 - share) * inside_s, tuple(at_server), keeps, forgets)


def peak(place: Place) -> float:
    return max(share for _, share in place.day.points)


def whole_day(place: Place, drawn: Drawn) -> bool:
    """Whether the day is short enough to be replayed as a whole."""
    return _replayed_per_s(place, drawn) * place.day.length_s <= MOST_REQUESTS


def _replayed_per_s(place: Place, drawn: Drawn) -> float:
    """Return the requests and jobs a second of the processes that are replayed."""
    processes = min(place.processes, MOST_PROCESSES)
    jobs = math.fsum(per_s for _, per_s in drawn.jobs)
    return processes * (drawn.per_customer_s * place.customers / place.processes + jobs)


def windows(place: Place, drawn: Drawn) -> list[tuple[float, float]]:
    """Return (start, length) of the times of a day that are replayed request by request."""
    day = place.day
    if whole_day(place, drawn):
        return [(0.0, day.length_s)]
    peak_s = max(day.points, key=lambda point: point[1])[0]
    most_s = min(WINDOW_S, MOST_REQUESTS / _replayed_per_s(place, drawn), day.length_s)
    before_s = min(BEFORE_PUSH_S, most_s / 4)
    starts = [max(0.0, push.at_s - before_s) for push in day.pushes]
    starts.append(min(peak_s, day.length_s - most_s))
    return [(start_s, most_s) for start_s in sorted(set(starts))]


def job_arrivals(place: Place, maker: Maker, start_s: float, length_s: float) -> Iterator[Arrival]:
    """Yield jobs in order of time. Each process has loops that take a connection, give it back, and pause.

    First come those that have a connection out all the time.
    """
    dice = maker.dice
    coming: list[tuple[float, int, int]] = []  # when, a loop of which process and job
    pauses_s = []
    for number, (job, per_s) in enumerate(maker.drawn.jobs):
        loops = min(MOST_AT_ONCE, math.ceil(job.at_once * per_s / job.per_s))
        pauses_s.append(max(0.0, loops / per_s - job.hold_s) if loops else math.inf)
        for process in range(min(place.processes, MOST_PROCESSES)):
            for _ in range(loops):
                busy = dice.random() * loops < per_s * job.hold_s
                coming.append((start_s + (0.0 if busy else _after(pauses_s[-1], dice)), process, number))
    for process in range(min(place.processes, MOST_PROCESSES)):
        for pool, count in maker.behaviour.standing.items():
            yield from [(start_s, (Stage((pool,), idle_s=math.inf, aside=process),))] * count
    heapq.heapify(coming)
    while coming and coming[0][0] < start_s + length_s:
        at_s, process, number = coming[0]
        job, _ = maker.drawn.jobs[number]
        hold_s = maker.hold_s(job)
        heapq.heapreplace(coming, (at_s + hold_s + _after(pauses_s[number], dice), process, number))
        yield at_s, maker.job(job, hold_s, process)


def _after(mean_s: float, dice: Random) -> float:
    return dice.expovariate(1.0 / mean_s) if mean_s > 0 else 0.0


def arrivals(
    place: Place, maker: Maker, replay: Replay, start_s: float, length_s: float
) -> Iterator[Arrival]:
    """Yield requests in order of time: a Poisson process of those who are not waiting, and pushes."""
    dice, drawn = maker.dice, maker.drawn
    part = min(1.0, MOST_PROCESSES / place.processes)
    customers = place.customers * part
    rate = drawn.per_customer_s * customers * peak(place)
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
        if dice.random() * peak(place) * customers < thinking:
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
