"""Signals of the service's processes: forks, event loops, errors in its log (pure)."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from rushhour.metrics.window import Window
from rushhour.rundir import History
from rushhour.rundir import facts as f


@dataclass(frozen=True, slots=True)
class ProcessSignals:
    """Over all processes, after the warm-up where not said otherwise."""

    log_kinds: Mapping[str, int]  # errors in the service's log that say what is wrong with the database
    shared: int  # connections of a server that several processes hold, since a fork
    sharers: int  # processes that used one
    shared_uses: int  # check-outs of them
    shared_pools: tuple[str, ...]
    loop_samples: int
    loop_blocked: int  # looks that found a whole event loop waiting for a server
    loop_site: f.CallSite | None
    limits: Mapping[str, tuple[int, int]]  # server -> most connections, max_connections
    pools_want: int | None  # connections to one server that all processes' pools may open, at most

    @property
    def loop_share(self) -> float:
        return self.loop_blocked / self.loop_samples if self.loop_samples else 0.0


def process_signals(history: History, window: Window | None) -> ProcessSignals:
    """Compute them."""
    kinds: Counter[str] = Counter()
    for event in history.events:
        if event.name == f.LOG_ERRORS and (window is None or event.t_s >= window.load_started_s):
            kinds.update(event.detail.get("kinds", {}))
    inherited = _last_inherited(history)
    used = [one for one in inherited if one.uses]
    holders = Counter((one.pool, pid) for one in inherited for pid in one.server_pids)
    loops = [one for one in history.loops if window is not None and window.after_warm_up(one.t_s)]
    sites = Counter(one.site for one in loops if one.blocked and one.site is not None)
    return ProcessSignals(
        log_kinds=kinds,
        shared=len(holders),
        sharers=len({one.pid for one in used}),
        shared_uses=sum(one.uses for one in used),
        shared_pools=tuple(sorted({one.pool for one in used})),
        loop_samples=sum(one.samples for one in loops),
        loop_blocked=sum(one.blocked for one in loops),
        loop_site=next((site for site, _ in sites.most_common(1)), None),
        limits={
            name: (max(one.connections or 0 for one in samples), samples[-1].max_connections or 0)
            for name, samples in _by_server(history).items()
        },
        pools_want=_pools_want(history),
    )


def _last_inherited(history: History) -> list[f.Inherited]:
    return list({(one.pid, one.pool): one for one in history.inherited}.values())


def _by_server(history: History) -> dict[str, list[f.ServerSample]]:
    found: defaultdict[str, list[f.ServerSample]] = defaultdict(list)
    for one in history.servers:
        if one.max_connections is not None:
            found[one.server].append(one)
    return found


def _pools_want(history: History) -> int | None:
    """Of the server that most may be opened to; None without pools, or with one that has no limit."""
    capacities = {(one.pool, one.pid): one.capacity for one in history.pools}
    totals: Counter[str] = Counter()
    for (pool, _), capacity in capacities.items():
        if capacity is None:
            return None
        totals[pool] += capacity
    return max(totals.values(), default=None)
