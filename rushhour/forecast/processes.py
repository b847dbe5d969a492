"""Counts the processes of a service that served at the same time (pure)."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from statistics import median_high

from rushhour.rundir import History
from rushhour.rundir import facts as f


def processes_of(history: History, samples: Iterable[f.PoolSample]) -> dict[str, int]:
    """Return how many processes each pool of these samples had at once, in most seconds.

    A worker that replaces another is no further process, and a parent that loaded the application before it
    forked, and never took a connection, serves nobody.
    """
    own = list(samples)
    took = {(sample.pid, sample.pool) for sample in own if sample.checked_out or sample.checkouts}
    took |= {(row.pid, row.pool) for row in history.sites if row.checkouts}
    parents = {process.ppid for process in history.processes}
    seen: dict[str, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for sample in own:
        if sample.pid not in parents or (sample.pid, sample.pool) in took:
            seen[sample.pool][int(sample.t_s)].add(sample.pid)
    found = Counter(sample.pool for sample in own)
    return {pool: median_high(map(len, seen[pool].values())) if pool in seen else 1 for pool in found}


def processes_of_service(history: History) -> int:
    """Return how many processes the service of a run had at once, by the pool that most of them have."""
    return max(processes_of(history, history.pools).values(), default=1)
