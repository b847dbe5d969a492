"""Counts the requests of a Locust process: latency histograms per second, endpoint and outcome."""

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from hdrh.histogram import HdrHistogram

from rushhour.load.lacking import Lacking
from rushhour.metrics.latencies import HIGHEST_US, LOWEST_US, SIGNIFICANT_DIGITS
from rushhour.rundir.facts import SAME_LATENCY, GeneratorSample, Outcome, RequestCount

TICK_S: Final = 0.02  # the timer whose lateness is measured


def small_histogram() -> HdrHistogram:
    """Return a histogram like `latencies.new_histogram`, for the requests of one second."""
    # Counters of 4 bytes take half the memory of 8, and a second never has 4 billion requests.
    return HdrHistogram(LOWEST_US, HIGHEST_US, SIGNIFICANT_DIGITS, word_size=4)


@dataclass(frozen=True, slots=True)
class Clock:
    """Measures seconds since the run's anchor, when the monotonic clock showed `zero_s`."""

    zero_s: float
    monotonic: Callable[[], float] = time.monotonic

    @classmethod
    def since(cls, anchor_wall_s: float) -> Self:
        """Return a clock whose anchor is a time of the wall clock."""
        return cls(time.monotonic() - (time.time() - anchor_wall_s))

    def now_s(self) -> float:
        return self.monotonic() - self.zero_s


@dataclass(slots=True)
class Second:
    """Latencies, in ms, of the requests that ended within one second.

    `late` holds those that were sent later than due, as (latency, lateness), by endpoint, outcome and status.
    """

    t_s: int
    ok: defaultdict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    failed: defaultdict[tuple[str, str, Outcome, int], list[float]] = field(
        default_factory=lambda: defaultdict(list)
    )
    late: defaultdict[tuple[str, str, Outcome, int], list[tuple[float, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def rows(self, worker: str) -> Iterator[RequestCount]:
        """Yield a row for each endpoint, outcome and 4xx status."""
        for (method, name), took_ms in self.ok.items():
            yield self._row((method, name, Outcome.OK, 0), took_ms, worker)
        for key, took_ms in self.failed.items():
            yield self._row(key, took_ms, worker)

    def _row(self, key: tuple[str, str, Outcome, int], took_ms: Sequence[float], worker: str) -> RequestCount:
        method, name, outcome, status = key
        counts, due = Counter([int(each_ms * 1000) for each_ms in took_ms]), SAME_LATENCY
        latency = _encoded(counts)
        if late := self.late.get(key):
            counts.subtract(int(took * 1000) for took, _ in late)
            counts.update(int((took + late_ms) * 1000) for took, late_ms in late)
            due = _encoded(counts)
        return RequestCount(self.t_s, f"{method} {name}", outcome, len(took_ms), latency, worker, status, due)


def _encoded(counts_us: Counter[int]) -> str:
    histogram = small_histogram()
    for took_us, count in counts_us.items():
        if not count:
            continue
        # The histogram rejects values outside its range, which would make the count wrong.
        histogram.record_value(min(max(took_us, LOWEST_US), HIGHEST_US), count)
    return str(histogram.encode().decode("ascii"))


class Tally:
    """Counts the requests of a Locust process.

    `succeeded` runs for nearly every request, so it only appends to a list; the histograms are built a second
    later, all at once. Memory is bounded by the requests of a second or two.
    """

    def __init__(self, clock: Clock, worker: str, cpu_s: Callable[[], float]) -> None:
        self.clock = clock
        self.worker = worker
        self._monotonic = clock.monotonic
        self._cpu_s = cpu_s
        self._past: list[Second] = []
        self._begin_second()
        self._late_ms: list[float] = []
        self._due_late_ms: list[float] = []
        self.started = 0  # requests sent since the last sample
        self.retries = 0  # how many of `started` were retries
        self.redirected = 0  # requests that ended with a redirect, since the last sample
        self.arrived = 0  # customers of open arrivals who came, since the last sample
        self.turned_away = 0  # those for whom this process had no room
        self.lacking: Counter[Lacking] = Counter()  # requests that this process could not send
        self._due: Counter[int] = Counter()  # second -> customers whose wait ends in it
        self._sampled_s = clock.now_s()
        self._sampled_cpu_s = cpu_s()

    def restart(self, clock: Clock) -> None:
        """Switch to another clock, before anything has been counted."""
        self.clock = clock
        self._begin_second()
        self._sampled_s = clock.now_s()

    def _begin_second(self) -> None:
        t_s = math.floor(self.clock.now_s())
        self._second = Second(t_s)
        self._ok = self._second.ok
        self._ends_at = (
            self.clock.zero_s + t_s + 1
        )  # as a reading of the clock: a single comparison per request

    def _turn(self) -> None:
        self._past.append(self._second)
        self._begin_second()

    def succeeded(self, method: str, name: str, took_ms: float, late_ms: float = 0.0) -> None:
        """Count a request that has just succeeded and was sent `late_ms` later than due."""
        if self._monotonic() >= self._ends_at:
            self._turn()
        self._ok[method, name].append(took_ms)
        if late_ms:
            self._second.late[method, name, Outcome.OK, 0].append((took_ms, late_ms))

    def ended(
        self,
        method: str,
        name: str,
        outcome: Outcome,
        took_ms: float,
        status: int | None = None,
        *,
        late_ms: float = 0.0,
    ) -> None:
        """Count a request that has just ended; its `status` is kept if it is a 4xx."""
        if outcome is Outcome.OK:
            self.succeeded(method, name, took_ms, late_ms)
            return
        if self._monotonic() >= self._ends_at:
            self._turn()
        kept = status or 0 if outcome is Outcome.HTTP_4XX else 0
        self._second.failed[method, name, outcome, kept].append(took_ms)
        if late_ms:
            self._second.late[method, name, outcome, kept].append((took_ms, late_ms))

    def sent_late(self, late_ms: float) -> None:
        """Record how much later than due a request was sent."""
        self._due_late_ms.append(late_ms)

    def plan(self, due_s: float, customers: int = 1) -> None:
        """Record that a customer's next request is due then, a reading of the clock; -1: it is called off."""
        self._due[math.floor(due_s - self.clock.zero_s)] += customers

    def late(self, lateness_ms: Sequence[float]) -> None:
        """Record how much later than planned timers fired."""
        self._late_ms.extend(lateness_ms)

    def rows(self, final: bool = False) -> Iterator[RequestCount]:
        """Yield and forget the rows of the seconds that are over, or, if `final`, of all seconds."""
        if final or self._monotonic() >= self._ends_at:
            self._turn()
        past, self._past = self._past, []
        for second in past:
            yield from second.rows(self.worker)

    def sample(self, users: int) -> GeneratorSample:
        """Return the sample since the last call; its `t_s` is the second that it mostly covers."""
        now_s, cpu_s = self.clock.now_s(), self._cpu_s()
        span_s = max(now_s - self._sampled_s, 1e-6)
        late_ms, due_late_ms = sorted(self._late_ms), sorted(self._due_late_ms)
        sample = GeneratorSample(
            t_s=int((self._sampled_s + now_s) / 2),
            worker=self.worker,
            users=users,
            started=self.started,
            retries=self.retries,
            lateness_p99_ms=round(_nearest_rank(late_ms, 0.99), 3),
            lateness_max_ms=round(late_ms[-1], 3) if late_ms else 0.0,
            cpu_cores=round((cpu_s - self._sampled_cpu_s) / span_s, 4),
            redirected=self.redirected,
            due_late_p99_ms=round(_nearest_rank(due_late_ms, 0.99), 3),
            due_late_max_ms=round(due_late_ms[-1], 3) if due_late_ms else 0.0,
            arrived=self.arrived,
            turned_away=self.turned_away,
            due=sum(self._due.pop(second) for second in list(self._due) if second < math.floor(now_s)),
            no_file=self.lacking[Lacking.FILE],
            no_port=self.lacking[Lacking.PORT],
            no_memory=self.lacking[Lacking.MEMORY],
        )
        self._sampled_s, self._sampled_cpu_s = now_s, cpu_s
        self.started = self.retries = self.redirected = self.arrived = self.turned_away = 0
        self.lacking.clear()
        self._late_ms.clear()
        self._due_late_ms.clear()
        return sample


def overdue_ms(planned_s: float, now_s: float, period_s: float = TICK_S) -> tuple[list[float], float]:
    """Return the lateness in ms of each timer planned since `planned_s`, and the time of the next timer.

    A stall makes every timer within it late, not just one. Otherwise a generator that slept for a second
    would report a single late timer among many punctual timers (coordinated omission).
    """
    missed = max(0, math.floor((now_s - planned_s) / period_s))
    late_ms = [max(0.0, now_s - planned_s - n * period_s) * 1000 for n in range(missed + 1)]
    return late_ms, planned_s + (missed + 1) * period_s


def _nearest_rank(ordered: Sequence[float], share: float) -> float:
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else 0.0
