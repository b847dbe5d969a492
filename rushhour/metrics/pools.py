"""Computes the metrics of the connection pools (pure)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from rushhour.metrics.waits import wait_p99_ms
from rushhour.metrics.window import Window
from rushhour.metrics.wording import most_out
from rushhour.rundir import History
from rushhour.rundir import facts as f

# A process whose last sample is older than this at the end of the watch is taken to have ended before it.
LAST_SAMPLE_WITHIN_S: Final = 2.0
# A time-out from before the end of the watch may be written this much later. The bound is needed because a
# run that waits for real pages goes on much longer, and probes of the service may time out meanwhile.
WRITTEN_WITHIN_S: Final = 2.0

Key = tuple[int, str]  # pid and pool name: each process has its own pool


@dataclass(frozen=True, slots=True)
class PoolMetrics:
    """The metrics of the pools; None without data. `*_max` are those of the fullest pool of any process."""

    name: str | None  # of the fullest pool
    in_use_max: int | None  # highest of the samples (ten per second) after the warm-up
    capacity: int | None  # None without the agent, or when the pool has no limit
    waiters_max: int | None
    wait_p99_ms: float | None  # of the pool in which it is the longest
    leaked: int | None  # over all pools and processes, including those that garbage collection returned
    collected: int | None  # leaked connections that garbage collection returned
    timeouts: int | None  # the highest of the three counts below
    timeouts_agent: int | None
    timeouts_http: int | None
    timeouts_logged: int | None
    processes: int = 1  # processes with a pool of this name
    capacity_of: Mapping[str, int] = field(
        default_factory=dict
    )  # by pool name; only pools of a single process

    def most_out(self) -> str:
        """Say how full the fullest pool was: `at most 12 of 30 connections out (sampled)`."""
        return most_out(self.in_use_max or 0, self.capacity, self.processes)

    @property
    def in_use_share(self) -> float | None:
        """The highest share of its capacity that the fullest pool had checked out (0 to 1)."""
        return None if self.in_use_max is None or not self.capacity else self.in_use_max / self.capacity


@dataclass(frozen=True, slots=True)
class PoolUse:
    """One pool, and what was seen of it in all processes of the service."""

    pool: str
    kind: str
    size: int
    max_overflow: int
    timeout_s: float
    processes: int
    checked_out_max: int  # of one process
    waiting_max: int  # of one process
    timeouts: int
    checkouts: int

    @property
    def capacity(self) -> int | None:
        """Connections that one process may have out; None without a limit."""
        return None if self.max_overflow < 0 else self.size + self.max_overflow


def pool_uses(history: History, window: Window) -> tuple[PoolUse, ...]:
    """Return every pool that was seen, by name."""
    by_pool = _series(history)
    uses = []
    for name in sorted({pool for _, pool in by_pool}):
        series = {key: samples for key, samples in by_pool.items() if key[1] == name}
        samples = [sample for part in series.values() for sample in part]
        newest = max(samples, key=lambda sample: sample.t_s)
        use = PoolUse(
            pool=name,
            kind=newest.kind,
            size=newest.size,
            max_overflow=newest.max_overflow,
            timeout_s=newest.timeout_s,
            processes=len(series),
            checked_out_max=max(sample.checked_out for sample in samples),
            waiting_max=max(sample.waiting for sample in samples),
            timeouts=sum(_timeouts_of(key, part, history, window) for key, part in series.items()),
            checkouts=sum(max(sample.checkouts for sample in part) for part in series.values()),
        )
        uses.append(use)
    return tuple(uses)


def pool_metrics(history: History, window: Window | None, timeouts_http: int | None) -> PoolMetrics:
    """Compute the metrics of the pools from the agent's records.

    Time-outs are counted three times: by the agent, in HTTP answers and in the service's log. The highest
    count is used, because an observer can miss a time-out but cannot invent one.
    """
    by_pool = _series(history)
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
        wait_p99_ms=wait_p99_ms(history, window),
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


def fell_silent(history: History, ended_s: float) -> frozenset[int]:
    """Return the processes that took connections, and fell silent before `ended_s` without an orderly end.

    They were killed, or stand still. Nothing is known of the last tenth of a second of a killed one, but for
    one that is known to have had nothing out.
    """
    newest = {process.pid: process for process in history.processes}
    exited = {pid for pid, process in newest.items() if process.exited_s is not None or process.none_out}
    took = {sample.pid for sample in history.pools if sample.checkouts}
    last_s = {sample.pid: sample.t_s for sample in history.pools}
    return frozenset(pid for pid in took - exited if last_s[pid] < ended_s)


def _series(history: History) -> dict[Key, list[f.PoolSample]]:
    by_pool: dict[Key, list[f.PoolSample]] = {}
    for sample in history.pools:
        by_pool.setdefault((sample.pid, sample.pool), []).append(sample)
    return by_pool


def _processes(by_pool: Mapping[Key, list[f.PoolSample]], pool: str) -> set[int]:
    return {pid for pid, name in by_pool if name == pool}


def _leaked(history: History, by_pool: dict[Key, list[f.PoolSample]], window: Window | None) -> int | None:
    """Count leaks by check-outs and by pool samples, and return the higher count."""
    if window is None or not by_pool:
        return None
    last = [
        max(
            (sample for sample in series if sample.t_s <= window.end_s),
            key=lambda sample: sample.t_s,
            default=None,
        )
        for series in by_pool.values()
    ]
    alive_at_s = window.end_s - LAST_SAMPLE_WITHIN_S
    by_samples = sum(sample.leaked for sample in last if sample and sample.t_s >= alive_at_s)
    return max(len(leaked_at_end(history, window)), by_samples)


def leaked_at_end(history: History, window: Window | None) -> tuple[f.CheckOut, ...]:
    """Return the check-outs whose request had ended and that were still out at the end of the watch.

    All processes count, including those that ended earlier: they never returned their connections. A
    connection that came back only when the service was stopped, after the watch, is a leak too.
    """
    if window is None:
        return ()
    return tuple(
        out for out in history.checkouts if is_out(out, window.end_s) and has_outlived(out, window.end_s)
    )


def collected_late(history: History, window: Window | None) -> tuple[f.CheckOut, ...]:
    """Return the check-outs that outlived their request and that garbage collection returned in the watch."""
    if window is None:
        return ()
    return tuple(
        out
        for out in history.checkouts
        if out.returned_by == "gc" and not is_out(out, window.end_s) and has_outlived(out, window.end_s)
    )


def is_out(checkout: f.CheckOut, at_s: float) -> bool:
    """Return whether the connection was checked out at `at_s`."""
    return checkout.taken_s <= at_s and (checkout.returned_s is None or checkout.returned_s > at_s)


def has_outlived(checkout: f.CheckOut, by_s: float = math.inf) -> bool:
    """Return whether the request (or other unit of work) ended by `by_s`, before the connection came back."""
    ended_s, returned_s = checkout.request_ended_s, checkout.returned_s
    if ended_s is None or ended_s > by_s:
        return False
    if returned_s is None or checkout.returned_by == f.PROCESS_ENDED:
        return True  # it never came back; the end of its unit may be the last that a killed process wrote
    return ended_s < returned_s


def in_running_request(checkout: f.CheckOut, at_s: float) -> bool:
    """Return whether the connection was checked out at `at_s` by a request that never ended."""
    return is_out(checkout, at_s) and checkout.request_ended_s is None


def share_of(sample: f.PoolSample) -> float:
    """Return the share of the capacity that is checked out; 0 for a pool without a limit."""
    return sample.checked_out / sample.capacity if sample.capacity else 0.0


def _fullest(by_pool: dict[Key, list[f.PoolSample]], window: Window | None) -> f.PoolSample | None:
    samples = [
        sample
        for series in by_pool.values()
        for sample in series
        if window and window.after_warm_up(sample.t_s)
    ]
    return max(
        samples,
        key=lambda sample: (share_of(sample), sample.waiting, sample.leaked, sample.checked_out),
        default=None,
    )


def _waiters(series: list[f.PoolSample], window: Window | None) -> int:
    return max(sample.waiting for sample in series if window and window.after_warm_up(sample.t_s))


def _timeouts_agent(
    history: History, by_pool: dict[Key, list[f.PoolSample]], window: Window | None
) -> int | None:
    """Count time-outs by the pool's counter and by time-out records, and use the higher count of each pool.

    A process may die before it writes either of them.
    """
    if window is None or not (by_pool or history.pool_timeouts):
        return None
    keys = by_pool.keys() | {(fact.pid, fact.pool) for fact in history.pool_timeouts}
    return sum(_timeouts_of(key, by_pool.get(key, []), history, window) for key in keys)


def _timeouts_of(key: Key, series: list[f.PoolSample], history: History, window: Window) -> int:
    until_s = window.end_s + WRITTEN_WITHIN_S
    before = max((sample.timeouts for sample in series if sample.t_s < window.measured_from_s), default=0)
    by_counter = max((sample.timeouts for sample in series if sample.t_s <= until_s), default=0) - before
    written = sum(
        (fact.pid, fact.pool) == key and window.measured_from_s <= fact.t_s <= until_s
        for fact in history.pool_timeouts
    )
    return max(by_counter, written)


def _timeouts_logged(history: History, window: Window | None) -> int | None:
    """Count time-outs in the log; None without error events, since then the log may not have been watched."""
    events = [event for event in history.events if event.name == f.LOG_ERRORS]
    if window is None or not events:
        return None
    return sum(
        int(event.detail.get("queuepool_timeouts", 0))
        for event in events
        if window.measured_from_s <= event.t_s <= window.end_s + WRITTEN_WITHIN_S
    )
