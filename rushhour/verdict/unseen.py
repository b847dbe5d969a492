"""Why the agent saw no pool, and what a pool cannot show (pure)."""

from collections.abc import Iterator

from rushhour.diagnosis.unlimited import what_it_means
from rushhour.rundir import History

PATCHING = "patching sqlalchemy"  # as agent/start.py says where it failed


def why_no_pool(history: History) -> str:
    """Of a run without a single sample of a pool."""
    processes = {one.pid: one for one in history.processes}  # the newest of each
    if not processes:
        return (
            "the pool agent never started in the service: is it CPython 3.11 or newer, run without -I, -E or "
            "-S, and is PYTHONPATH handed on to it?"
        )
    for fault in history.agent_faults:
        if fault.where == PATCHING:
            return f"the pool agent cannot watch this SQLAlchemy: {fault.error}"
    count = f"{len(processes)} process{'es' * (len(processes) != 1)}"
    versions = sorted({one.sqlalchemy for one in processes.values() if one.sqlalchemy is not None})
    if versions:
        return (
            f"the pool agent saw no pool: SQLAlchemy {', '.join(versions)} was imported ({count}), and no "
            "engine was made"
        )
    pythons = ", ".join(sorted({one.python for one in processes.values()}))
    return (
        f"the pool agent saw no pool: no process of the service imported SQLAlchemy ({count}, Python "
        f"{pythons}), and it watches no other pools"
    )


def without_limit(history: History) -> Iterator[str]:
    """A line for each pool that cannot be exhausted: that it was not says nothing."""
    kinds = {one.pool: one.kind for one in history.pools if one.max_overflow < 0}
    for pool, kind in sorted(kinds.items()):
        yield f"pool {pool} is a {what_it_means(kind)}"
