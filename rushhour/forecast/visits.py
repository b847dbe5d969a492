"""Reads from a run how its requests use the pools, and who else does (pure)."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from rushhour.diagnosis.sites import plain_endpoint
from rushhour.forecast.durations import Durations, from_buckets
from rushhour.rundir import History
from rushhour.rundir import facts as f

WRITTEN_S: Final = 1.0  # totals are written once a second
NEAR_S: Final = 1.5  # what is written so near to the start or end of the counted time may bound it
# Of these nobody knows whether a connection was taken, or none was.
NOT_COUNTED: Final = frozenset(
    {f.Outcome.QUEUEPOOL_TIMEOUT, f.Outcome.CONNECT_ERROR, f.Outcome.CLIENT_TIMEOUT, f.Outcome.OTHER_ERROR}
)
_Taken = Mapping[tuple[str | None, str], "_Total"]


@dataclass(frozen=True, slots=True)
class Visit:
    """How a request of an endpoint uses a pool: `per_request` check-outs, held for `hold_s` on average."""

    pool: str
    per_request: float
    hold_s: float
    holds: Durations | None = None  # None: the agent counted no histogram
    sites: int = 1  # call sites that check out
    surely: float | None = None  # the least that it is, if the edges of the counted time hid requests

    @property
    def least_per_request(self) -> float:
        return self.per_request if self.surely is None else self.surely


@dataclass(frozen=True, slots=True)
class Job:
    """Check-outs of no request that the load generator saw end: of schedulers, consumers, long downloads."""

    pool: str
    per_s: float  # of a process
    hold_s: float
    at_once: int = 1  # at most, of a process: not more than the pool had out
    holds: Durations | None = None  # None: the agent counted no histogram
    calm: int = 0  # check-outs before the load began, of all processes
    calm_s: float = 0.0  # process-seconds in which those were counted; 0: nothing is known of them

    @property
    def is_steady(self) -> bool:
        """Whether as many came before the load as during it."""
        return 0 < self.per_s * self.calm_s <= self.calm

    def steady_per_s(self, dice: Random) -> float:
        """Draw how many of them a process has each second however many customers there are.

        If as many came without customers, that is all of them. If fewer did, all, none or a part of them may
        be steady, each as likely as the count before the load then was (Poisson counts, equal priors).
        """
        if self.is_steady:
            return self.per_s
        expected = self.per_s * self.calm_s
        log_chance = self.calm * math.log(expected) if self.calm else 0.0
        all_steady = math.exp(log_chance - expected - math.lgamma(self.calm + 1))
        none_steady = 0.0 if self.calm else 1.0
        [share] = dice.choices((1.0, 0.0, None), (all_steady, none_steady, 1.0 / max(1.0, expected)))
        if share is None:
            steady = dice.gammavariate(self.calm + 1, 1.0)
            share = steady / expected if steady < expected else dice.random()
        return share * self.per_s


@dataclass(slots=True)
class _Total:
    """Check-outs of some call sites, over all processes."""

    taken: int
    held_s: float
    calm: int
    sites: int
    hold_us: Counter[int]

    @property
    def hold_s(self) -> float:
        return self.held_s / self.taken

    @property
    def holds(self) -> Durations | None:
        return from_buckets(self.hold_us, self.hold_s) if self.hold_us.total() and self.hold_s > 0 else None


def read_visits(
    history: History, first: int, last: int, names: Iterable[str], processes: int
) -> tuple[dict[str, tuple[Visit, ...]], tuple[Job, ...]]:
    """Return the check-outs of each endpoint, and those of no request, from second `first` up to `last`.

    Where no check-out has an endpoint of the customers' requests, nothing says which are of requests: all are
    taken to be, and spread over them evenly, unless as many came before the load.
    """
    visits: dict[str, list[Visit]] = {name: [] for name in names}
    spans = _spans(history, first, last)
    taken = _taken(history, spans, visits)
    requests, most = _requests(history, spans)
    jobs = []
    named = any(name is not None for name, _ in taken)
    for (name, pool), total in taken.items():
        if name is not None:
            each, surely = (total.taken / max(1.0, count[name]) for count in (requests, most))
            visits[name].append(Visit(pool, each, total.hold_s, total.holds, total.sites, surely))
            continue
        job = _job(history, pool, total, first, last, counted_s=_mean_s(spans), processes=processes)
        if named or job.is_steady:
            jobs.append(job)
        else:
            each = total.taken / max(1.0, math.fsum(requests.values()))
            for own in visits.values():
                own.append(Visit(pool, each, total.hold_s, total.holds))
    return {name: tuple(own) for name, own in visits.items()}, tuple(jobs)


def _spans(history: History, first_s: float, last_s: float) -> dict[int, tuple[float, float]]:
    """Return the time in which each process's check-outs are counted.

    Its totals are known when they were written, and stay what they are while nothing is written. A moment of
    customers who all come at once would count for one side only, if that began or ended another time.
    """
    written: dict[int, set[float]] = defaultdict(set)
    for site in history.sites:
        written[site.pid].add(site.t_s)
    for times in history.times:
        written[times.pid].add(times.t_s)
    spans = {}
    for pid, moments in written.items():
        start_s = min((t_s for t_s in moments if first_s <= t_s <= first_s + NEAR_S), default=first_s)
        near = [t_s for t_s in moments if last_s - NEAR_S <= t_s <= last_s + WRITTEN_S]
        end_s = min(near, key=lambda t_s: abs(t_s - last_s), default=last_s)
        spans[pid] = (start_s, end_s) if end_s > start_s else (first_s, last_s)
    return spans


def _mean_s(spans: Mapping[int, tuple[float, float]]) -> float:
    return math.fsum(end_s - start_s for start_s, end_s in spans.values()) / len(spans)


def _requests(
    history: History, spans: Mapping[int, tuple[float, float]]
) -> tuple[Mapping[str, float], Mapping[str, int]]:
    """Return the requests of the counted time by endpoint, and the most that they can be.

    Of a second that is in it in part, that part counts, and at most the whole.
    """
    found: dict[str, float] = defaultdict(float)
    most = Counter[str]()
    for row in history.requests:
        inside_s = math.fsum(
            max(0.0, min(end_s, row.t_s + 1) - max(start_s, row.t_s)) for start_s, end_s in spans.values()
        )
        if inside_s and row.outcome not in NOT_COUNTED:
            found[row.endpoint] += row.count * inside_s / len(spans)
            most[row.endpoint] += row.count
    return found, most


def _job(
    history: History, pool: str, total: _Total, first: int, last: int, *, counted_s: float, processes: int
) -> Job:
    per_s = total.taken / counted_s / processes
    at_once = max(math.ceil(per_s * total.hold_s), _most_out(history, pool, first, last), 1)
    calm_s = _calm_s(history, pool)
    return Job(pool, per_s, total.hold_s, at_once, total.holds, total.calm if calm_s else 0, calm_s)


def _taken(history: History, spans: Mapping[int, tuple[float, float]], names: Iterable[str]) -> _Taken:
    """Sum up the check-outs by endpoint, as the customers spell it, and pool; None: of no such endpoint."""
    by_plain = {plain_endpoint(name): name for name in names}
    began_s = history.time_of(f.LOAD_STARTED) or 0.0
    by_site: dict[tuple[int, str, f.CallSite, str | None], list[f.SiteTotal]] = defaultdict(list)
    for row in history.sites:
        by_site[row.pid, row.pool, row.site, row.endpoint].append(row)
    found: dict[tuple[str | None, str], _Total] = {}
    lines: dict[tuple[str | None, str], set[f.CallSite]] = defaultdict(set)
    for (pid, pool, line, endpoint), rows in by_site.items():
        start_s, end_s = spans[pid]
        ordered = sorted(rows, key=lambda row: row.t_s)
        before = [row for row in ordered if row.t_s <= start_s][-1:]
        after = [row for row in ordered if row.t_s <= end_s][-1:]
        taken = sum(row.checkouts for row in after) - sum(row.checkouts for row in before)
        if taken <= 0:
            continue
        held_s = sum(row.held_s for row in after) - sum(row.held_s for row in before)
        name = by_plain.get(plain_endpoint(endpoint)) if endpoint is not None else None
        total = found.setdefault((name, pool), _Total(0, 0.0, 0, 0, Counter()))
        total.taken += taken
        total.held_s += max(0.0, held_s)
        total.calm += max((row.checkouts for row in ordered if row.t_s <= began_s), default=0)
        lines[name, pool].add(line)
        total.sites = len(lines[name, pool])
        for row in ordered:
            if start_s < row.t_s <= end_s:
                total.hold_us.update(row.hold_us)
    return found


def _most_out(history: History, pool: str, first_s: float, last_s: float) -> int:
    """Return the most connections that a process had out, without those that it had lost."""
    return max(
        (
            sample.checked_out - sample.leaked
            for sample in history.pools
            if sample.pool == pool and first_s <= sample.t_s < last_s
        ),
        default=0,
    )


def _calm_s(history: History, pool: str) -> float:
    """Return for how long the processes had the pool before the load began, summed up."""
    began_s = history.time_of(f.LOAD_STARTED) or 0.0
    first_s: dict[int, float] = {}
    for sample in history.pools:
        if sample.pool == pool:
            first_s[sample.pid] = min(sample.t_s, first_s.get(sample.pid, math.inf))
    return math.fsum(max(0.0, began_s - at_s) for at_s in first_s.values())
