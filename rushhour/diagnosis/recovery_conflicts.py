"""Says which reads a replica ended to replay the primary's WAL, and for how long replay waited (pure)."""

from collections.abc import Iterator
from typing import Final

from rushhour.diagnosis.backend import LOCK, BackendSignals
from rushhour.diagnosis.signals import LOCKED_S, Signals
from rushhour.metrics.wording import counted

SOURCE: Final = "postgres.jsonl conflicts_by_kind"
SOURCE_WAITS: Final = "postgres.jsonl replay_wait"
FIX: Final = (
    "Repeat a read that ends with SQLSTATE 40001, or whose connection the replica closed, and keep its "
    "transaction short. On the replica, `hot_standby_feedback` avoids conflicts of kind snapshot (the "
    "primary then keeps dead rows for longer); those of kind lock come from changes of the schema and from a "
    "vacuum that truncates its table. A larger `max_standby_streaming_delay` lets reads end, at the price of "
    "lag."
)


def ended(signals: Signals) -> Iterator[str]:
    """Yield what each replica ended, with the kinds of conflicts."""
    for backend in signals.backends:
        if backend.conflicts:
            kinds = ", ".join(f"{kind} {count}" for kind, count in backend.conflicts.items())
            reads = counted(sum(backend.conflicts.values()), "read")
            yield (
                f"the {backend.server} ended {reads} that were in the way of the primary's WAL (recovery "
                f"conflicts: {kinds})"
            )


def replay_waited(signals: Signals) -> Iterator[str]:
    """Yield for how long each replica's replay waited for reads."""
    for backend in signals.backends:
        if backend.replay_waited_s >= LOCKED_S:
            yield (
                f"the {backend.server} did not replay the primary's WAL for {backend.replay_waited_s:.0f} s: "
                f"it waited for reads ({', '.join(sorted(backend.replay_waited_for))}), {_meanwhile(backend)}"
            )


def _meanwhile(backend: BackendSignals) -> str:
    if any(wait.startswith(LOCK) for wait in backend.replay_waited_for):
        return "and later reads of the same table waited behind it"
    return "and fell behind"
