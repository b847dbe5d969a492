"""Counts the check-outs of a run's healthy seconds, by pool, call site and endpoint (pure)."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import fsum

from rushhour.diagnosis.sites import plain_endpoint
from rushhour.forecast.durations import Durations, from_buckets
from rushhour.forecast.healthy import HealthySeconds
from rushhour.rundir import History
from rushhour.rundir import facts as f


@dataclass(frozen=True, slots=True)
class SiteKey:
    """A pool, the call site that checks out of it, and the endpoint that it does that for."""

    pool: str
    site: f.CallSite
    endpoint: str | None


@dataclass(slots=True)
class Total:
    """Check-outs and how long they held a connection; `buckets_us` are of those that came back."""

    count: int = 0
    held_s: float = 0.0
    longest_s: float = 0.0
    buckets_us: Counter[int] = field(default_factory=Counter)

    def add(self, other: "Total") -> None:
        self.count += other.count
        self.held_s += other.held_s
        self.longest_s = max(self.longest_s, other.longest_s)
        self.buckets_us.update(other.buckets_us)

    @property
    def came_back(self) -> int:
        """The check-outs behind `held_s`; runs of older agents do not tell them from those still out."""
        return self.buckets_us.total() or self.count

    @property
    def mean_s(self) -> float:
        return self.held_s / self.came_back if self.came_back else 0.0


@dataclass(frozen=True, slots=True)
class CheckOuts:
    """The check-outs of the healthy seconds, and the histograms of each pool."""

    by_site: Mapping[SiteKey, Total]
    hold_us: Mapping[str, Counter[int]]  # of each pool
    wait_us: Mapping[str, Counter[int]]
    create_us: Mapping[str, Counter[int]]  # also of the seconds that are not healthy: connections are kept
    per_second: Mapping[int, tuple[int, float]]  # second -> check-outs, connection-seconds

    def total(self, pool: str, endpoints: Iterable[str | None] | None = None) -> Total:
        """Sum up a pool, for all endpoints or for those named."""
        chosen = None if endpoints is None else set(endpoints)
        found = Total()
        for key, total in self.by_site.items():
            if key.pool == pool and (chosen is None or key.endpoint in chosen):
                found.add(total)
        return found

    def holds(self, pool: str, total: Total) -> Durations:
        """Return how long these check-outs hold; older runs have the histogram of the whole pool alone.

        Raises ValueError without any histogram.
        """
        return from_buckets(total.buckets_us or self.hold_us.get(pool, {}), total.mean_s)

    def mean_wait_s(self, pool: str) -> float:
        """Return the mean wait of a check-out of the pool."""
        waits = self.wait_us.get(pool, Counter())
        return from_buckets(waits).mean_s if waits.total() else 0.0


def count_checkouts(history: History, healthy: HealthySeconds) -> CheckOuts:
    """Count the check-outs of the healthy seconds; endpoints are spelled as the customers' requests are."""
    asked = {row.endpoint for row in history.requests}
    spelled = {plain_endpoint(name): name for name in sorted(asked)}
    newest: dict[tuple[int, SiteKey], tuple[int, float]] = {}
    by_site: dict[SiteKey, Total] = defaultdict(Total)
    counts: Counter[int] = Counter()
    held_s: dict[int, list[float]] = defaultdict(list)
    for row in sorted(history.sites, key=lambda row: row.t_s):
        endpoint = row.endpoint
        if endpoint is not None and endpoint not in asked:
            endpoint = spelled.get(plain_endpoint(endpoint), endpoint)
        key = SiteKey(row.pool, row.site, endpoint)
        before, held_before_s = newest.get((row.pid, key), (0, 0.0))
        newest[row.pid, key] = row.checkouts, row.held_s
        if row.checkouts + 1 < before:  # another process has the pid, and counts from zero
            before, held_before_s = 0, 0.0
        if healthy.holds_period(row.t_s):
            more = Total(
                max(0, row.checkouts - before),  # one that comes back at that moment may be in the next line
                max(0.0, row.held_s - held_before_s),
                row.max_hold_s,
                Counter(row.hold_us),
            )
            by_site[key].add(more)
            counts[healthy.second_of_period(row.t_s)] += more.count
            held_s[healthy.second_of_period(row.t_s)].append(more.held_s)
    hold_us, wait_us, create_us = (defaultdict[str, Counter[int]](Counter) for _ in range(3))
    for times in history.times:
        create_us[times.pool].update(times.create_us)
        if healthy.holds_period(times.t_s):
            hold_us[times.pool].update(times.hold_us)
            wait_us[times.pool].update(times.wait_us)
    return CheckOuts(
        {key: total for key, total in by_site.items() if total.count > 0},
        hold_us,
        wait_us,
        create_us,
        {second: (counts[second], fsum(held_s[second])) for second in healthy.seconds},
    )
