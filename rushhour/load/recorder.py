"""What one Locust process sees, second by second: latency histograms per endpoint and outcome, and itself."""

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from hdrh.histogram import HdrHistogram

from rushhour.metrics.latencies import HIGHEST_US, LOWEST_US, SIGNIFICANT_DIGITS
from rushhour.rundir.facts import GeneratorSample, Outcome, RequestCount

TICK_S: Final = 0.02  # the timer whose lateness is measured


def small_histogram() -> HdrHistogram:
    """As `latencies.new_histogram`, for a second's requests."""
    # Counters of 4 bytes: a second never holds 4 billion requests, and 8 bytes are twice the memory.
    return HdrHistogram(LOWEST_US, HIGHEST_US, SIGNIFICANT_DIGITS, word_size=4)


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds since the run's anchor, on a monotonic clock that showed `zero_s` then."""

    zero_s: float
    monotonic: Callable[[], float] = time.monotonic

    @classmethod
    def since(cls, anchor_wall_s: float) -> Self:
        """A clock whose anchor is a time on the wall clock."""
        return cls(time.monotonic() - (time.time() - anchor_wall_s))

    def now_s(self) -> float:
        return self.monotonic() - self.zero_s


@dataclass(slots=True)
class Second:
    """Latencies, in ms, of the requests that ended within one second."""

    t_s: int
    ok: defaultdict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    failed: defaultdict[tuple[str, str, Outcome, int], list[float]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def rows(self, worker: str) -> Iterator[RequestCount]:
        """One row per endpoint, outcome and 4xx status."""
        for (method, name), took_ms in self.ok.items():
            endpoint, latency = f"{method} {name}", _encoded(took_ms)
            yield RequestCount(self.t_s, endpoint, Outcome.OK, len(took_ms), latency, worker)
        for (method, name, outcome, status), took_ms in self.failed.items():
            endpoint, latency = f"{method} {name}", _encoded(took_ms)
            yield RequestCount(self.t_s, endpoint, outcome, len(took_ms), latency, worker, status)


def _encoded(took_ms: Sequence[float]) -> str:
    histogram = small_histogram()
    for took_us, count in Counter([int(one_ms * 1000) for one_ms in took_ms]).items():
        # The histogram refuses what lies outside its range, and the count would be wrong.
        histogram.record_value(min(max(took_us, LOWEST_US), HIGHEST_US), count)
    return str(histogram.encode().decode("ascii"))


class Tally:
    """Counts of one Locust process.

    `succeeded` runs at nearly every request, amid all that Locust does, so it does no more than append to a
    list; the histograms are made a second later, in one go. Memory is bounded by a second or two of requests.
    """

    def __init__(self, clock: Clock, worker: str, cpu_s: Callable[[], float]) -> None:
        self.clock = clock
        self.worker = worker
        self._monotonic = clock.monotonic
        self._cpu_s = cpu_s
        self._past: list[Second] = []
        self._begin_second()
        self._late_ms: list[float] = []
        self.started = 0  # requests put on the wire since the last sample, by whoever sends them
        self.retries = 0  # of them
        self.redirected = 0  # that ended, since the last sample
        self._sampled_s = clock.now_s()
        self._sampled_cpu_s = cpu_s()

    def restart(self, clock: Clock) -> None:
        """Count from here on by another clock; nothing may have been counted yet."""
        self.clock = clock
        self._begin_second()
        self._sampled_s = clock.now_s()

    def _begin_second(self) -> None:
        t_s = math.floor(self.clock.now_s())
        self._second = Second(t_s)
        self._ok = self._second.ok
        self._ends_at = self.clock.zero_s + t_s + 1  # on the clock itself: one comparison a request

    def _turn(self) -> None:
        self._past.append(self._second)
        self._begin_second()

    def succeeded(self, method: str, name: str, took_ms: float) -> None:
        """A request ended well now."""
        if self._monotonic() >= self._ends_at:
            self._turn()
        self._ok[method, name].append(took_ms)

    def ended(
        self, method: str, name: str, outcome: Outcome, took_ms: float, status: int | None = None
    ) -> None:
        """A request ended now; its `status` is kept if it is a 4xx."""
        if outcome is Outcome.OK:
            self.succeeded(method, name, took_ms)
            return
        if self._monotonic() >= self._ends_at:
            self._turn()
        kept = status or 0 if outcome is Outcome.HTTP_4XX else 0
        self._second.failed[method, name, outcome, kept].append(took_ms)

    def late(self, lateness_ms: Sequence[float]) -> None:
        """Timers fired this much later than planned."""
        self._late_ms.extend(lateness_ms)

    def rows(self, final: bool = False) -> Iterator[RequestCount]:
        """Take the rows of the seconds that are over, or of all; a row is gone once it was taken."""
        if final or self._monotonic() >= self._ends_at:
            self._turn()
        past, self._past = self._past, []
        for second in past:
            yield from second.rows(self.worker)

    def sample(self, users: int) -> GeneratorSample:
        """What this process did since the last sample; `t_s` is the second that most of it lies in."""
        now_s, cpu_s = self.clock.now_s(), self._cpu_s()
        span_s = max(now_s - self._sampled_s, 1e-6)
        late_ms = sorted(self._late_ms)
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
        )
        self._sampled_s, self._sampled_cpu_s = now_s, cpu_s
        self.started = self.retries = self.redirected = 0
        self._late_ms.clear()
        return sample


def overdue_ms(planned_s: float, now_s: float, period_s: float = TICK_S) -> tuple[list[float], float]:
    """How late each timer planned from `planned_s` up to now fired, in ms, and the next one's time.

    A stall makes every timer within it late, not one: else a generator that slept for a second would report
    a single late timer among many punctual ones (coordinated omission).
    """
    missed = max(0, math.floor((now_s - planned_s) / period_s))
    late_ms = [max(0.0, now_s - planned_s - n * period_s) * 1000 for n in range(missed + 1)]
    return late_ms, planned_s + (missed + 1) * period_s


def _nearest_rank(ordered: Sequence[float], share: float) -> float:
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else 0.0
