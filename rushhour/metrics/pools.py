"""History -> the numbers of its connection pools (pure)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from rushhour.metrics.window import Window
from rushhour.metrics.wording import most_out
from rushhour.rundir import History
from rushhour.rundir import facts as f

# A process whose last sample is older than this, when the watch ended, had ended before.
LAST_SAMPLE_WITHIN_S: Final = 2.0
# What happened before the watch ended may be written so much later. A run that waits for real pages goes on
# much longer, and probes of the service may go on to time out.
TOLD_LATE_S: Final = 2.0

Key = tuple[int, str]  # a pool is one process's: pid and name


@dataclass(frozen=True, slots=True)
class PoolMetrics:
    """Numbers of the pools; None without data. `*_max` are of the fullest pool of any one process."""

    name: str | None  # of the fullest pool
    in_use_max: int | None  # in samples, ten a second, after the warm-up
    capacity: int | None  # None: no agent, or a pool without a limit
    waiters_max: int | None
    leaked: int | None  # over all pools and processes, those included that garbage collection brought back
    collected: int | None  # of them, those
    timeouts: int | None  # the highest of the three counts below
    timeouts_agent: int | None
    timeouts_http: int | None
    timeouts_logged: int | None
    processes: int = 1  # that have a pool of this name
    capacity_of: Mapping[str, int] = field(default_factory=dict)  # of each pool that one process alone has

    def most_out(self) -> str:
        """How full the fullest pool was: `at most 12 of 30 connections out (sampled)`."""
        return most_out(self.in_use_max or 0, self.capacity, self.processes)

    @property
    def in_use_share(self) -> float | None:
        """Connections out of the fullest pool, of its capacity."""
        return None if self.in_use_max is None or not self.capacity else self.in_use_max / self.capacity


def pool_metrics(history: History, window: Window | None, timeouts_http: int | None) -> PoolMetrics:
    """Numbers of the pools, from what the agent wrote; time-outs also as customers and the log saw them.

    The three counts of time-outs check each other, and the highest is believed: an observer can miss one,
    none can invent one.
    """
    by_pool: dict[Key, list[f.PoolSample]] = {}
    for sample in history.pools:
        by_pool.setdefault((sample.pid, sample.pool), []).append(sample)
    fullest = _fullest(by_pool, window)
    left, collected = _leaked(history, by_pool, window), len(collected_late(history, window))
    agent = _timeouts_agent(history, by_pool, window)
    logged = _timeouts_logged(history, window)
    counts = [count for count in (agent, timeouts_http, logged) if count is not None]
    return PoolMetrics(
        name=None if fullest is None else fullest.pool,
        in_use_max=None if fullest is None else fullest.checked_out,
        capacity=None if fullest is None else fullest.capacity,
        waiters_max=None if fullest is None else _waiters(by_pool[fullest.pid, fullest.pool], window),
        leaked=None if left is None else left + collected,
        collected=None if left is None else collected,
        timeouts=max(counts, default=None),
        timeouts_agent=agent,
        timeouts_http=timeouts_http,
        timeouts_logged=logged,
        processes=1 if fullest is None else len(_processes(by_pool, fullest.pool)),
        capacity_of={
            name: capacity
            for (_, name), series in by_pool.items()
            if len(_processes(by_pool, name)) == 1 and (capacity := series[-1].capacity) is not None
        },
    )


def _processes(by_pool: Mapping[Key, list[f.PoolSample]], pool: str) -> set[int]:
    return {pid for pid, name in by_pool if name == pool}


def _leaked(history: History, by_pool: dict[Key, list[f.PoolSample]], window: Window | None) -> int | None:
    """By single check-outs or by the pools' own samples, whichever saw more."""
    if window is None or not by_pool:
        return None
    last = [
        max((one for one in series if one.t_s <= window.end_s), key=lambda one: one.t_s, default=None)
        for series in by_pool.values()
    ]
    counted = sum(one.leaked for one in last if one and one.t_s >= window.end_s - LAST_SAMPLE_WITHIN_S)
    return max(len(leaked_at_end(history, window)), counted)


def leaked_at_end(history: History, window: Window | None) -> tuple[f.CheckOut, ...]:
    """Check-outs that were out when the watch ended although their request had, in every process.

    A process that ended before took its connections with it: they count as well, since nobody returned
    them. What came back only as the service was stopped, after the watch, is still a leak.
    """
    if window is None:
        return ()
    return tuple(
        out for out in history.checkouts if is_out(out, window.end_s) and has_outlived(out, window.end_s)
    )


def collected_late(history: History, window: Window | None) -> tuple[f.CheckOut, ...]:
    """Check-outs that outlived their request, and came back within the watch by garbage collection alone."""
    if window is None:
        return ()
    return tuple(
        out
        for out in history.checkouts
        if out.returned_by == "gc" and not is_out(out, window.end_s) and has_outlived(out, window.end_s)
    )


def is_out(checkout: f.CheckOut, at_s: float) -> bool:
    """Whether a connection was out at a moment."""
    return checkout.taken_s <= at_s and (checkout.returned_s is None or checkout.returned_s > at_s)


def has_outlived(checkout: f.CheckOut, by_s: float = math.inf) -> bool:
    """Whether its request, or other unit of work, had ended by a moment, and it was still out then."""
    ended_s, returned_s = checkout.request_ended_s, checkout.returned_s
    return ended_s is not None and ended_s <= by_s and (returned_s is None or ended_s < returned_s)


def in_running_request(checkout: f.CheckOut, at_s: float) -> bool:
    """Whether a connection was out at a moment, and its request has not ended at all."""
    return is_out(checkout, at_s) and checkout.request_ended_s is None


def share_of(sample: f.PoolSample) -> float:
    """How full a pool is, 0 where it has no limit."""
    return sample.checked_out / sample.capacity if sample.capacity else 0.0


def _fullest(by_pool: dict[Key, list[f.PoolSample]], window: Window | None) -> f.PoolSample | None:
    samples = [
        sample
        for series in by_pool.values()
        for sample in series
        if window and window.after_warm_up(sample.t_s)
    ]
    return max(
        samples, key=lambda one: (share_of(one), one.waiting, one.leaked, one.checked_out), default=None
    )


def _waiters(series: list[f.PoolSample], window: Window | None) -> int:
    return max(one.waiting for one in series if window and window.after_warm_up(one.t_s))


def _timeouts_agent(
    history: History, by_pool: dict[Key, list[f.PoolSample]], window: Window | None
) -> int | None:
    """The pool's counter and the single time-outs that were written; a process may die before either."""
    if window is None or not (by_pool or history.pool_timeouts):
        return None
    until_s = window.end_s + TOLD_LATE_S
    keys = by_pool.keys() | {(fact.pid, fact.pool) for fact in history.pool_timeouts}
    total = 0
    for key in keys:
        series = by_pool.get(key, [])
        before = max((one.timeouts for one in series if one.t_s < window.measured_from_s), default=0)
        by_counter = max((one.timeouts for one in series if one.t_s <= until_s), default=0) - before
        written = sum(
            (fact.pid, fact.pool) == key and window.measured_from_s <= fact.t_s <= until_s
            for fact in history.pool_timeouts
        )
        total += max(by_counter, written)
    return total


def _timeouts_logged(history: History, window: Window | None) -> int | None:
    """None where no log was watched, or it held no error at all: silence is not told from absence."""
    events = [event for event in history.events if event.name == f.LOG_ERRORS]
    if window is None or not events:
        return None
    return sum(
        int(event.detail.get("queuepool_timeouts", 0))
        for event in events
        if window.measured_from_s <= event.t_s <= window.end_s + TOLD_LATE_S
    )
