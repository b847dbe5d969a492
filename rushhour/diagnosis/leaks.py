"""Computes signals of connections that outlive their request (pure); docs/diagnosis.md explains each."""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Final

from rushhour.diagnosis.sites import SiteKey, checkouts_at, checkouts_elsewhere, plain_endpoint
from rushhour.diagnosis.units import REQUEST, held_by, unit_of_endpoint
from rushhour.metrics.pools import collected_late, has_outlived, in_running_request, leaked_at_end
from rushhour.metrics.window import Window
from rushhour.rundir import History
from rushhour.rundir import facts as f

REUSED: Final = 1.5  # requests answered per check-out, from which on connections are used again
NOT_REUSED: Final = 1.2  # up to which every request took a connection of its own
ENOUGH_CHECKOUTS: Final = 5  # fewer say nothing about reuse
ENOUGH_ANSWERED: Final = 5  # answers out of a pool that has nothing left to give
NEARLY_ALL: Final = 0.8
COLLECTED_WITHIN_S: Final = 0.5  # the agent's word of a return comes up to two samples after it


@dataclass(frozen=True, slots=True)
class LeakSignals:
    """Connections of a pool that outlived their request; times in seconds since the load started."""

    pool: str
    site: f.CallSite  # the one that leaked most
    endpoint: str | None
    leaked: int  # still out when the watch ended
    capacity: int | None  # of the pools concerned, over all processes
    processes: int
    threads: int  # distinct ones (or greenlets, or tasks) among the leaked
    most_per_thread: int  # leaked by one of them at one call site
    owner_ended: int  # of the leaked, those whose thread, greenlet or task has ended
    owner_idle: int  # those that no request took, and whose thread waits for its next job
    asked_again: int  # time-outs of threads that kept one from an earlier unit of work, and asked again
    outlived: int  # check-outs of these call sites that outlived their request, come back or not
    collected: int  # of them, those that only garbage collection brought back
    unreachable: int | None  # of the leaked, those that came back when the harness asked for a collection
    retained: int | None  # those that something still refers to; both are None where nobody collected
    checkouts: int | None  # of these call sites, all whose request has ended
    answered: int | None  # requests answered well by these endpoints
    failed: int  # requests that these endpoints failed otherwise than by a pool time-out
    answered_while_full: int | None  # of the answers, those after the last connection of the pool had leaked
    first_s: float
    last_s: float
    oldest_s: float  # how long the oldest has been out
    by_tasks: int = 0  # of the leaked, those that asyncio tasks took
    scoped: int = 0  # of the leaked, those whose session a `scoped_session` keeps for its thread
    taken_elsewhere: int = 0  # check-outs of the same endpoints at other call sites of the pool

    @property
    def answered_per_checkout(self) -> float | None:
        return self.answered / self.checkouts if self.answered is not None and self.checkouts else None

    @property
    def answered_otherwise(self) -> bool:
        """Whether the answers had enough check-outs elsewhere to need no leaked connection."""
        per_checkout = self.answered_per_checkout
        if per_checkout is None or per_checkout < REUSED or not self.taken_elsewhere:
            return False
        return (self.answered or 0) - self.taken_elsewhere < REUSED * (self.checkouts or 0)

    @property
    def lost(self) -> int:
        """How many of the leaked connections no request took."""
        return self.owner_ended + self.owner_idle

    @property
    def mostly_ended(self) -> bool:
        """Whether most owners have ended: a thread-local registry ends with its thread."""
        return self.owner_ended * 2 > self.leaked

    @property
    def mostly_idle(self) -> bool:
        """Whether threads of an executor or job runner that wait for their next job keep most of them."""
        return self.owner_idle * 2 > self.leaked

    @property
    def one_per_process(self) -> bool:
        """Whether no process leaked more than one, as where all its requests share a session."""
        return self.leaked <= self.processes

    @property
    def of_tasks(self) -> bool:
        """Whether tasks of an event loop took most of them: all tasks share a session per thread."""
        return not self.one_per_process and self.by_tasks * 2 > self.leaked

    @property
    def maybe_shared(self) -> bool:
        """Whether later requests use one connection of a process, of a session in no `scoped_session`."""
        return self.one_per_process and not self.scoped and bool(self.spans_requests)

    @property
    def shared_by_tasks(self) -> bool:
        """Whether these are requests of an event loop."""
        return self.maybe_shared and self.by_tasks == self.leaked

    @property
    def in_registry(self) -> bool:
        """Whether a thread-local registry keeps the session of each."""
        return self.scoped == self.leaked > 0

    @property
    def spans_requests(self) -> bool | None:
        """Whether later requests use a connection that an earlier request took; None if unknown."""
        if self.mostly_ended or self.asked_again or self.of_tasks:
            return False
        if (self.answered_while_full or 0) >= ENOUGH_ANSWERED:
            return True
        per_checkout, checkouts = self.answered_per_checkout, self.checkouts or 0
        some_come_back = self.outlived < NEARLY_ALL * checkouts
        if per_checkout is not None and per_checkout >= REUSED and not some_come_back:
            return not self.answered_otherwise
        # Where no endpoint is known: a session of a thread takes a connection once, and keeps it.
        # Requests that failed may have used a connection before they did.
        may_use = (self.answered or 0) + self.failed
        not_reused = per_checkout is not None and may_use <= NOT_REUSED * checkouts
        return False if checkouts >= ENOUGH_CHECKOUTS and (not_reused or some_come_back) else None

    @property
    def dropped(self) -> bool:
        """Whether garbage collection finds such connections, which a registry would keep alive."""
        return (self.collected + (self.unreachable or 0)) * 5 >= self.outlived > 0

    @property
    def one_per_thread(self) -> bool:
        """Whether no thread leaked twice at a call site, as with a thread-local registry."""
        return self.most_per_thread <= 1

    def kept_by(self) -> str:
        """Describe who keeps the leaked connections: `are held by requests that have ended`."""
        alone = self.leaked == 1
        if self.mostly_idle:
            if alone:
                return "is kept by a thread that waits for its next job although its last one has ended"
            return "are kept by threads of an executor or job runner whose job has ended"
        if self.mostly_ended:
            if alone:
                return "is out although the thread, greenlet or task that took it has ended"
            return "are out although the threads, greenlets or tasks that took them have ended"
        unit = unit_of_endpoint(self.endpoint)
        if unit != REQUEST:
            return f"{'is' if alone else 'are'} {held_by(unit, self.leaked)}"
        return "is held by a request that has ended" if alone else "are held by requests that have ended"

    def of_capacity(self) -> str:
        """Describe the leak: `30 of 30 connections of pool replica`."""
        of = "" if self.capacity is None else f" of {self.capacity}"
        noun = "connection" if self.leaked == 1 and self.capacity is None else "connections"
        return f"{self.leaked}{of} {noun} of pool {self.pool}"


def leak_signals(history: History, window: Window | None) -> LeakSignals | None:
    """Compute the signals of the pool that leaked most; None if every connection came back in time."""
    if window is None:
        return None
    leaked = leaked_at_end(history, window)
    collected = collected_late(history, window)
    pools = Counter(out.pool for out in leaked) or Counter(out.pool for out in collected)
    if not pools:
        return None
    pool = pools.most_common(1)[0][0]
    leaked = tuple(out for out in leaked if out.pool == pool)
    collected = tuple(out for out in collected if out.pool == pool)
    return _of_pool(history, window, pool, leaked, collected)


def _of_pool(
    history: History,
    window: Window,
    pool: str,
    leaked: tuple[f.CheckOut, ...],
    collected: tuple[f.CheckOut, ...],
) -> LeakSignals:
    chosen = leaked or collected
    keys: set[SiteKey] = {(out.site, out.endpoint, out.pool) for out in chosen}
    site, endpoint, _ = Counter((out.site, out.endpoint, out.pool) for out in chosen).most_common(1)[0][0]
    gone = [out for out in collected if (out.site, out.endpoint, out.pool) in keys]
    per_thread = Counter((*_owner(out), out.site) for out in leaked)
    lost = Counter(out.lost for out in leaked)
    pids_and_sites = {(out.pid, out.site) for out in chosen}
    routes = {plain_endpoint(out.endpoint) for out in chosen if out.endpoint is not None}
    capacities = {sample.pid: sample.capacity for sample in history.pools if sample.pool == pool}
    pids = {out.pid for out in chosen}
    known = [capacities.get(pid) for pid in pids]
    taken = [out.taken_s - window.load_started_s for out in chosen]
    unreachable, retained = _reachability(history, leaked)
    full_from_s = _fully_leaked_from_s(history, window, pool)
    return LeakSignals(
        pool=pool,
        site=site,
        endpoint=endpoint,
        leaked=len(leaked),
        capacity=sum(value for value in known if value is not None) if None not in known else None,
        processes=len(pids),
        threads=len({_owner(out) for out in leaked}),
        most_per_thread=max(per_thread.values(), default=0),
        owner_ended=lost["owner-ended"],
        owner_idle=lost["owner-idle"],
        asked_again=sum(
            timeout.kept > 0 and timeout.pool == pool and (timeout.pid, timeout.site) in pids_and_sites
            for timeout in history.pool_timeouts
        ),
        outlived=sum(
            (out.site, out.endpoint, out.pool) in keys and has_outlived(out) for out in history.checkouts
        ),
        collected=len(gone),
        unreachable=unreachable,
        retained=retained,
        checkouts=_ended(history, window, keys),
        answered=_answered(history, routes, window.load_started_s),
        failed=_failed(history, routes, pool, window.load_started_s),
        # The second in which it became full is shared with answers from before.
        answered_while_full=None if full_from_s is None else _answered(history, routes, full_from_s + 1),
        first_s=min(taken),
        last_s=max(taken),
        oldest_s=window.end_s - min(out.taken_s for out in chosen),
        by_tasks=sum(out.by_task for out in leaked),
        scoped=sum(out.scoped for out in leaked),
        taken_elsewhere=checkouts_elsewhere(history, window, keys, pool),
    )


def _ended(history: History, window: Window, keys: set[SiteKey]) -> int | None:
    """Count the check-outs of these call sites whose request has ended; the others say nothing yet."""
    checkouts = checkouts_at(history, window, keys)
    if checkouts is None:
        return None
    running = sum(
        (out.site, out.endpoint, out.pool) in keys and in_running_request(out, window.end_s)
        for out in history.checkouts
    )
    return max(0, checkouts - running)


def _reachability(history: History, leaked: tuple[f.CheckOut, ...]) -> tuple[int | None, int | None]:
    """Count unreachable and retained leaks of the processes that collected garbage after the watch."""
    done = {collection.pid: collection.t_s for collection in history.collections}
    asked = [out for out in leaked if out.pid in done]
    if not asked:
        return None, None
    unreachable = sum(
        out.returned_by == "gc" and (out.returned_s or 0.0) <= done[out.pid] + COLLECTED_WITHIN_S
        for out in asked
    )
    return unreachable, len(asked) - unreachable


def _owner(out: f.CheckOut) -> tuple[int, int | str]:
    """Return who took a connection; older agents wrote only the name of the thread."""
    return out.pid, out.thread if out.owner is None else out.owner


def _answered(history: History, routes: set[str], from_s: float) -> int | None:
    """Count good answers of these routes; None if no request can be matched to them by name."""
    rows = [row for row in history.requests if plain_endpoint(row.endpoint) in routes]
    if not rows:
        return None
    return sum(row.count for row in rows if row.outcome is f.Outcome.OK and row.t_s >= math.floor(from_s))


def _failed(history: History, routes: set[str], pool: str, from_s: float) -> int:
    """Count answers 5xx of these routes that no time-out of this pool accounts for.

    A service may hide the name of the error, so time-outs are counted as the agent saw them.
    """
    failed = sum(
        row.count
        for row in history.requests
        if plain_endpoint(row.endpoint) in routes
        and row.outcome in f.SERVER_ERRORS
        and row.t_s >= math.floor(from_s)
    )
    turned_away = sum(
        timeout.pool == pool and timeout.endpoint is not None and plain_endpoint(timeout.endpoint) in routes
        for timeout in history.pool_timeouts
    )
    return max(0, failed - turned_away)


def _fully_leaked_from_s(history: History, window: Window, pool: str) -> float | None:
    """Return since when all connections of this pool have leaked in every process; None if not all have."""
    by_pid: dict[int, list[f.PoolSample]] = {}
    for sample in history.pools:
        if sample.pool == pool and sample.t_s <= window.end_s:
            by_pid.setdefault(sample.pid, []).append(sample)
    since_s = []
    for samples in by_pid.values():
        free = [sample.t_s for sample in samples if not sample.capacity or sample.leaked < sample.capacity]
        leaked = [sample.t_s for sample in samples if sample.t_s > max(free, default=-math.inf)]
        if not leaked:
            return None
        since_s.append(min(leaked))
    return max(since_s, default=None)
