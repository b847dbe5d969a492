"""Which number stands in which lane of a second, and how metrics are read from the sum of seconds (pure)."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from rushhour.jobs.compare.measured import MeasuredRun
from rushhour.jobs.compare.resample import Totals, pack
from rushhour.metrics.latency_counts import bucket_ms

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

    def percentile_ms(self, totals: Totals, endpoint: str | None, percentile: float) -> float | None:
        """Return a percentile as HDR histograms define it, to the width of a bucket."""
        first = self._first(endpoint) + _LATENCY
        after = first + len(self.buckets)
        count = totals[after - 1] if self.buckets else 0  # how many latencies it is of
        if not count:
            return None
        rank = max(int(percentile * count / 100 + 0.5), 1)
        return bucket_ms(self.buckets[bisect_left(totals, rank, first, after) - first])

    def server_error_rate(self, totals: Totals, endpoint: str | None) -> float | None:
        return self._share(totals, endpoint, _SERVER_ERRORS)

    def unanswered_rate(self, totals: Totals, endpoint: str | None) -> float | None:
        return self._share(totals, endpoint, _UNANSWERED)

    def _share(self, totals: Totals, endpoint: str | None, lane: int) -> float | None:
        first = self._first(endpoint)
        requests = totals[first + _REQUESTS]
        return totals[first + lane] / requests if requests else None

    def answered_per_second(self, totals: Totals, endpoint: str | None) -> float | None:
        seconds = totals[_SECONDS]
        return totals[self._first(endpoint) + _ANSWERED] / seconds if seconds else None

    def cores(self, totals: Totals, component: str) -> float | None:
        """Return the mean of what was read."""
        first = 1 + len(self.endpoints) * self._width + 2 * self.components.index(component)
        return totals[first] / _MICRO / totals[first + 1] if totals[first + 1] else None


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
