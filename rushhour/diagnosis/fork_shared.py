"""Rule: connections that were opened before a fork are used on both sides of it."""

from rushhour.diagnosis.findings import Evidence, Finding
from rushhour.diagnosis.signals import Signals

CAUSE = "fork-shared"
FIX = (
    "Let each process open its own connections: call `engine.dispose(close=False)` in the child (gunicorn's "
    "`post_fork`, `os.register_at_fork`), or do not use the engine before the fork. Without `close=False` "
    "the child "
    "would end its parent's connections as well."
)


def find(signals: Signals) -> Finding | None:
    """Return a finding if processes check out the same connections, or answers are garbled after a fork."""
    processes = signals.processes
    garbled = processes.log_kinds.get("shared_connection", 0)
    seen = processes.sharers > 1
    if not seen and (signals.agent or garbled < 2):
        return None
    evidence = [
        Evidence(
            "answers that did not belong to their question",
            garbled,
            source="events.jsonl log_errors.kinds.shared_connection",
        )
    ]
    if not seen:
        return Finding(
            cause=CAUSE,
            confidence="likely",
            share=1.0,
            summary=(
                f"{garbled} answers of the server did not belong to their question: several processes or "
                f"threads "
                "read from one connection, as after a fork."
            ),
            fix=FIX,
            evidence=tuple(evidence),
        )
    evidence += [
        Evidence(
            "connections that were opened before the fork", processes.shared, source="pool.jsonl inherited"
        ),
        Evidence(
            "check-outs of them in the children",
            processes.shared_uses,
            source="pool.jsonl inherited.uses",
            meaning=f"in {processes.sharers} processes",
        ),
    ]
    return Finding(
        cause=CAUSE,
        confidence="certain" if garbled else "likely",
        share=1.0,
        summary=(
            f"{processes.sharers} processes use the same {processes.shared} connections, opened before the "
            f"fork "
            f"(pool {', '.join(processes.shared_pools)}; {processes.shared_uses:,} check-outs); {garbled} "
            f"answers did "
            "not belong to their question."
        ),
        fix=FIX,
        evidence=tuple(evidence),
    )
