"""Which number stands in which lane of a second, and how metrics are read from the sum of seconds (pure)."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, TypeAlias

from rushhour.jobs.compare.measured import MeasuredRun
from rushhour.jobs.compare.resample import Totals, pack
from rushhour.metrics.latency_counts import bucket_ms

# Reads a metric from the sum of seconds; lanes are looked up once, since thousands of resamples are read.
Reader: TypeAlias = Callable[[Totals], float | None]

_REQUESTS, _ANSWERED, _SERVER_ERRORS, _UNANSWERED, _LATENCY = range(5)
_SECONDS: Final = 0  # the first lane counts the seconds themselves
_MICRO: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Layout:
    """Lanes of each endpoint (None: all requests), then of each component's CPU; the same for both runs."""

    endpoints: tuple[str | None, ...]
    buckets: tuple[int, ...]  # those that hold a latency in either run
    components: tuple[str, ...]

    @property
    def lanes(self) -> int:
        return 1 + len(self.endpoints) * self._width + 2 * len(self.components)

    @property
    def _width(self) -> int:
        return _LATENCY + len(self.buckets)

    def packed(self, run: MeasuredRun) -> list[int]:
        """Return an integer for each second of a run."""
        place = {bucket: at for at, bucket in enumerate(self.buckets)}
        return [pack([1, *self._requests(run, at, place), *self._cpu(run, at)]) for at in range(run.seconds)]

    def _requests(self, run: MeasuredRun, at: int, place: Mapping[int, int]) -> Iterator[int]:
        for endpoint in self.endpoints:
            chosen = run.endpoints.values() if endpoint is None else [run.endpoints[endpoint]]
            seconds = [series[at] for series in chosen]
            yield sum(second.requests for second in seconds)
            yield sum(second.answered for second in seconds)
            yield sum(second.server_errors for second in seconds)
            yield sum(second.unanswered for second in seconds)
            counts = [0] * len(self.buckets)
            for second in seconds:
                for bucket, count in second.latency.items():
                    counts[place[bucket]] += count
            yield from accumulate(counts)

    def _cpu(self, run: MeasuredRun, at: int) -> Iterator[int]:
        for component in self.components:
            read = run.cpu[component][at]
            yield round(sum(read) * _MICRO)
            yield len(read)

    def _first(self, endpoint: str | None) -> int:
        return 1 + self.endpoints.index(endpoint) * self._width

    def percentile_ms(self, endpoint: str | None, percentile: float) -> Reader:
        """Return a reader of a percentile as HDR histograms define it, to the width of a bucket."""
        first = self._first(endpoint) + _LATENCY
        after = first + len(self.buckets)
        last = after - 1 if self.buckets else None  # how many latencies there are
        values_ms = [bucket_ms(bucket) for bucket in self.buckets]

        def read(totals: Totals) -> float | None:
            count = 0 if last is None else totals[last]
            if not count:
                return None
            rank = max(int(percentile * count / 100 + 0.5), 1)
            return values_ms[bisect_left(totals, rank, first, after) - first]

        return read

    def server_error_rate(self, endpoint: str | None) -> Reader:
        return self._share(endpoint, _SERVER_ERRORS)

    def unanswered_rate(self, endpoint: str | None) -> Reader:
        return self._share(endpoint, _UNANSWERED)

    def _share(self, endpoint: str | None, lane: int) -> Reader:
        first = self._first(endpoint)
        return _quotient(first + lane, first + _REQUESTS)

    def answered_per_second(self, endpoint: str | None) -> Reader:
        return _quotient(self._first(endpoint) + _ANSWERED, _SECONDS)

    def cores(self, component: str) -> Reader:
        """Return a reader of the mean of what was read."""
        first = 1 + len(self.endpoints) * self._width + 2 * self.components.index(component)
        return _quotient(first, first + 1, _MICRO)


def _quotient(dividend: int, divisor: int, unit: int = 1) -> Reader:
    def read(totals: Totals) -> float | None:
        return totals[dividend] / unit / totals[divisor] if totals[divisor] else None

    return read


def shared_layout(before: MeasuredRun, after: MeasuredRun, components: Sequence[str]) -> Layout:
    """Return the parts that both runs have."""
    buckets = {
        bucket
        for run in (before, after)
        for series in run.endpoints.values()
        for sample in series
        for bucket in sample.latency
    }
    return Layout(
        (None, *(name for name in before.endpoints if name in after.endpoints)),
        tuple(sorted(buckets)),
        tuple(name for name in components if name in before.cpu and name in after.cpu),
    )
