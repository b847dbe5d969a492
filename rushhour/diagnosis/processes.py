"""Computes signals of the service's processes: forks, event loops, errors in its log (pure)."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rushhour.diagnosis.pressure import PressureSignals
from rushhour.metrics.window import Window
from rushhour.rundir import History
from rushhour.rundir import facts as f

BRIEF_S: Final = 1.0  # a child that ended so soon may have used a connection without a word of it
MANY_ENGINES: Final = 9  # by one line of one process: more than are watched one by one


@dataclass(frozen=True, slots=True)
class ProcessSignals:
    """The signals of all processes, after the warm-up unless a field says otherwise."""

    log_kinds: Mapping[str, int]  # errors in the service's log that say what is wrong with the database
    shared: int  # connections of a server that several processes hold, since a fork
    sharers: frozenset[int]  # processes that used one, the one that opened it included
    shared_uses: int  # check-outs of them
    shared_pools: tuple[str, ...]
    loop_samples: int  # of the process whose pool was in trouble, or of all
    loop_blocked: int  # looks that found a whole event loop waiting for a server
    loop_site: f.CallSite | None
    limits: Mapping[str, tuple[int, int]]  # server -> most connections, max_connections
    engines_site: f.CallSite | None  # the line that created most engines, if it created MANY_ENGINES
    engines_made: int  # there, over all processes
    engines_per_request: float | None  # over the whole run
    pools_want: int | None  # connections to one server that all processes' pools may open, at most
    fastapi: str | None  # its version; None: not seen
    flask: bool  # whether it was seen
    loop_driver: int = 0  # of `loop_blocked`, in a driver that does not yield
    loop_waits: int = 0
    loop_computes: int = 0
    loop_there: int = 0  # of `loop_blocked`, at `loop_site`
    loop_longest_s: float = 0.0
    shared_briefly: int = 0  # of `shared`, those of children that ended before they could say what they used
    shared_site: f.CallSite | None = None  # where such connections were taken, in the children if seen there

    @property
    def loop_share(self) -> float:
        return self.loop_blocked / self.loop_samples if self.loop_samples else 0.0


def process_signals(
    history: History, window: Window | None, pressure: PressureSignals | None
) -> ProcessSignals:
    """Compute the signals."""
    kinds: Counter[str] = Counter()
    for event in history.events:
        if event.name == f.LOG_ERRORS and (window is None or event.t_s >= window.load_started_s):
            kinds.update(event.detail.get("kinds", {}))
    inherited = _last_inherited(history)
    used = [item for item in inherited if item.uses]
    last_s = {sample.pid: sample.t_s for sample in history.pools}  # a process that lives writes samples
    brief = [item for item in inherited if last_s.get(item.pid, item.t_s) <= item.t_s + BRIEF_S]
    holders = Counter((item.pool, pid) for item in inherited for pid in item.server_pids)
    by_opener, shared_site = _shared_checkouts(history, inherited)
    loops = _loops(history, window, pressure)
    sites: Counter[f.CallSite] = Counter()
    for loop in loops:
        if loop.blocked and loop.site is not None:
            sites[loop.site] += loop.blocked if loop.at_site is None else loop.at_site
    site, there = next(iter(sites.most_common(1)), (None, 0))
    engines = _most_engines(history)
    answered = sum(row.count for row in history.requests)
    return ProcessSignals(
        log_kinds=kinds,
        shared=len(holders),
        sharers=frozenset({item.pid for item in used} | (by_opener if used else set())),
        shared_uses=sum(item.uses for item in used),
        shared_pools=tuple(sorted({item.pool for item in used})),
        loop_samples=sum(loop.samples for loop in loops),
        loop_blocked=sum(loop.blocked for loop in loops),
        loop_site=site,
        limits={
            name: (max(sample.connections or 0 for sample in samples), samples[-1].max_connections or 0)
            for name, samples in _by_server(history).items()
        },
        engines_site=engines[0],
        engines_made=engines[1],
        engines_per_request=engines[1] / answered if answered else None,
        pools_want=_pools_want(history),
        fastapi=next((process.fastapi for process in history.processes if process.fastapi is not None), None),
        flask=any(process.flask is not None for process in history.processes),
        loop_driver=sum(loop.blocked if loop.driver is None else loop.driver for loop in loops),
        loop_waits=sum(loop.waits for loop in loops),
        loop_computes=sum(loop.computes for loop in loops),
        loop_there=there,
        loop_longest_s=max((loop.longest_s for loop in loops), default=0.0),
        shared_briefly=len({(item.pool, pid) for item in brief for pid in item.server_pids}),
        shared_site=shared_site,
    )


def _loops(history: History, window: Window | None, pressure: PressureSignals | None) -> list[f.LoopSample]:
    """Return the looks at the event loop of the process whose pool was in trouble; of all, if none was.

    One loop of four that is blocked makes the others neither slow nor its own any better.
    """
    loops = [loop for loop in history.loops if window is not None and window.after_warm_up(loop.t_s)]
    if pressure is None or not pressure.hurt:
        return loops
    return [loop for loop in loops if loop.pid == pressure.pid] or loops


def numbers_of(version: str) -> tuple[int, ...]:
    """Parse a version: `0.121.3` -> (0, 121, 3)."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _most_engines(history: History) -> tuple[f.CallSite | None, int]:
    last = {(engines.pid, engines.site): engines.made for engines in history.engines}
    totals: Counter[f.CallSite] = Counter()
    for (pid, site), made in last.items():
        del pid
        if made >= MANY_ENGINES:
            totals[site] += made
    return next(iter(totals.most_common(1)), (None, 0))


def _last_inherited(history: History) -> list[f.Inherited]:
    return list({(inherited.pid, inherited.pool): inherited for inherited in history.inherited}.values())


def _shared_checkouts(history: History, inherited: list[f.Inherited]) -> tuple[set[int], f.CallSite | None]:
    """Return the processes that took connections after a fork that they share, and where they are taken."""
    forks: dict[tuple[str, int], float] = {}  # pool and server's pid -> when first seen in a child
    for item in inherited:
        for server_pid in item.server_pids:
            key = (item.pool, server_pid)
            forks[key] = min(item.t_s, forks.get(key, item.t_s))
    children = {(item.pid, item.pool) for item in inherited}
    out = [one for one in history.checkouts if one.server_pid is not None]
    shared = [one for one in out if (one.pool, one.server_pid) in forks]
    openers = {
        one.pid
        for one in shared
        if (one.pid, one.pool) not in children and one.taken_s > forks[one.pool, one.server_pid or 0]
    }
    sites = Counter(one.site for one in shared if (one.pid, one.pool) in children)
    sites = sites or Counter(one.site for one in shared)
    return openers, next((site for site, _ in sites.most_common(1)), None)


def _by_server(history: History) -> dict[str, list[f.ServerSample]]:
    found: defaultdict[str, list[f.ServerSample]] = defaultdict(list)
    for sample in history.servers:
        if sample.max_connections is not None:
            found[sample.server].append(sample)
    return found


def _pools_want(history: History) -> int | None:
    """Return the most connections that the pools may open to a server; None if a pool has no limit."""
    capacities = {(sample.pool, sample.pid): sample.capacity for sample in history.pools}
    totals: Counter[str] = Counter()
    for (pool, _), capacity in capacities.items():
        if capacity is None:
            return None
        totals[pool] += capacity
    return max(totals.values(), default=None)
