"""Explains why the agent saw no pool, and lists pools without a limit (pure)."""

from collections.abc import Iterator

from rushhour.diagnosis.unlimited import what_it_means
from rushhour.rundir import History

PATCHING = "patching sqlalchemy"  # the place that agent/start.py writes into its fault


def why_no_pool(history: History) -> str:
    """Explain why the run has no pool sample."""
    processes = {process.pid: process for process in history.processes}  # the newest record of each
    if not processes:
        return (
            "the pool agent never started in the service: is it CPython 3.11 or newer, run without -I, -E or "
            "-S, and is PYTHONPATH handed on to it?"
        )
    for fault in history.agent_faults:
        if fault.where == PATCHING:
            return f"the pool agent cannot watch this SQLAlchemy: {fault.error}"
    count = f"{len(processes)} process{'es' * (len(processes) != 1)}"
    versions = sorted(
        {process.sqlalchemy for process in processes.values() if process.sqlalchemy is not None}
    )
    if versions:
        return (
            f"the pool agent saw no pool: SQLAlchemy {', '.join(versions)} was imported ({count}), and no "
            "engine was made"
        )
    pythons = ", ".join(sorted({process.python for process in processes.values()}))
    return (
        f"the pool agent saw no pool: no process of the service imported SQLAlchemy ({count}, Python "
        f"{pythons}), and it watches no other pools"
    )


def without_limit(history: History) -> Iterator[str]:
    """Note each pool that cannot be exhausted, since its run proves nothing about exhaustion."""
    kinds = {sample.pool: sample.kind for sample in history.pools if sample.max_overflow < 0}
    for pool, kind in sorted(kinds.items()):
        yield f"pool {pool} is a {what_it_means(kind)}"
