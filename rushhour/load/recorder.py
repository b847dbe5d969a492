"""What one Locust process sees, second by second: latency histograms per endpoint and outcome, and itself."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from hdrh.histogram import HdrHistogram

from rushhour.history.facts import GeneratorSample, Outcome, RequestCount

LOWEST_US: Final = 1
HIGHEST_US: Final = 300_000_000
DIGITS: Final = 3
TICK_S: Final = 0.01  # the timer whose lateness is measured: a hundred a second, so that a p99 is one


def new_histogram() -> HdrHistogram:
    """Latencies in microseconds, 1 us to 5 minutes, to three significant digits."""
    # Counters of 4 bytes: a second never holds 4 billion requests, and 8 bytes are twice the memory.
    return HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS, word_size=4)


def clock_since(anchor_wall_s: float) -> Callable[[], float]:
    """Seconds since an anchor on the wall clock; from now on the monotonic clock counts."""
    zero_s = time.monotonic() - (time.time() - anchor_wall_s)
    return lambda: time.monotonic() - zero_s


class Tally:
    """Counts of one Locust process. `now_s` is the time since the run's anchor.

    `request` costs about 2 us, and memory is bounded: a second's histograms live until `rows` takes them.
    """

    def __init__(self, now_s: Callable[[], float], worker: str, cpu_s: Callable[[], float]) -> None:
        self.now_s = now_s
        self.worker = worker
        self.recorded = 0  # requests that ended, since the start of the test
        self._cpu_s = cpu_s
        self._open: dict[tuple[int, str, str, Outcome], HdrHistogram] = {}
        self._late_ms: list[float] = []
        self._started = 0
        self._retries = 0
        self._sampled_s = now_s()
        self._sampled_cpu_s = cpu_s()

    def request(self, method: str, name: str, outcome: Outcome, took_ms: float) -> None:
        """A request ended now."""
        key = (int(self.now_s()), method, name, outcome)
        histogram = self._open.get(key)
        if histogram is None:
            histogram = self._open[key] = new_histogram()
        took_us = int(took_ms * 1000)
        if not LOWEST_US <= took_us <= HIGHEST_US:  # the histogram would refuse it, and the count be wrong
            took_us = min(max(took_us, LOWEST_US), HIGHEST_US)
        histogram.record_value(took_us)
        self.recorded += 1

    def started(self, retry: bool) -> None:
        """A request is put on the wire."""
        self._started += 1
        self._retries += retry

    def late(self, lateness_ms: Sequence[float]) -> None:
        """Timers fired this much later than planned."""
        self._late_ms.extend(lateness_ms)

    def rows(self, before_s: int | None = None) -> Iterator[RequestCount]:
        """Take the rows of all seconds before `before_s`, or of all; a row is gone once it was taken."""
        for key in sorted(key for key in self._open if before_s is None or key[0] < before_s):
            t_s, method, name, outcome = key
            histogram = self._open.pop(key)
            yield RequestCount(
                t_s=t_s,
                endpoint=f"{method} {name}",
                outcome=outcome,
                count=histogram.get_total_count(),
                latency=histogram.encode().decode("ascii"),
                worker=self.worker,
            )

    def sample(self, users: int) -> GeneratorSample:
        """What this process did since the last sample; `t_s` is the second that most of it lies in."""
        now_s, cpu_s = self.now_s(), self._cpu_s()
        span_s = max(now_s - self._sampled_s, 1e-6)
        late_ms = sorted(self._late_ms)
        sample = GeneratorSample(
            t_s=int((self._sampled_s + now_s) / 2),
            worker=self.worker,
            users=users,
            started=self._started,
            retries=self._retries,
            lateness_p99_ms=round(_nearest_rank(late_ms, 0.99), 3),
            lateness_max_ms=round(late_ms[-1], 3) if late_ms else 0.0,
            cpu_cores=round((cpu_s - self._sampled_cpu_s) / span_s, 4),
        )
        self._sampled_s, self._sampled_cpu_s = now_s, cpu_s
        self._started = self._retries = 0
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
