"""Rule: connections that were opened before a fork are used on both sides of it."""

from rushhour.diagnosis.findings import Evidence, Finding
from rushhour.diagnosis.processes import ProcessSignals
from rushhour.diagnosis.signals import Signals
from rushhour.diagnosis.sites import at
from rushhour.metrics.wording import counted

CAUSE = "fork-shared"
GARBLED = 2  # answers that say so
FIX = (
    "Let each process open its own connections: call `engine.dispose(close=False)` in the child (gunicorn's "
    "`post_fork`, `os.register_at_fork`), or do not use the engine before the fork. Without `close=False` "
    "the child "
    "would end its parent's connections as well."
)


def find(signals: Signals) -> Finding | None:
    """Return a finding if processes check out the same connections, or answers are garbled after a fork.

    A child that ends soon may have used a connection without a word of the agent's: then both the answers
    and the connections that such children came to have must be seen.
    """
    processes = signals.processes
    garbled = processes.log_kinds.get("shared_connection", 0)
    seen = len(processes.sharers) > 1
    if not seen and (garbled < GARBLED or (signals.agent and not processes.shared_briefly)):
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
            confidence="likely" if signals.agent else "possible",  # threads may share a session
            share=1.0,
            summary=(
                f"{counted(garbled, 'answer')} of the server did not belong to their question: several "
                f"processes or threads read from one connection, as after a fork.{_taken(processes)}"
            ),
            fix=FIX,
            evidence=tuple(evidence),
        )
    evidence += [
        Evidence(
            "connections that were opened before the fork", processes.shared, source="pool.jsonl inherited"
        ),
        Evidence(
            "check-outs of them in the children, and statements over those that were out before",
            processes.shared_uses,
            source="pool.jsonl inherited.uses",
            meaning=f"in {len(processes.sharers)} processes",
        ),
    ]
    return Finding(
        cause=CAUSE,
        confidence="certain" if garbled else "likely",
        share=1.0,
        summary=(
            f"{len(processes.sharers)} processes use the same {counted(processes.shared, 'connection')}, "
            "opened before the fork "
            f"(pool {', '.join(processes.shared_pools)}; "
            f"{counted(processes.shared_uses, 'use')}); "
            f"{counted(garbled, 'answer')} did not belong to their question.{_taken(processes)}"
        ),
        fix=FIX,
        evidence=tuple(evidence),
    )


def _taken(processes: ProcessSignals) -> str:
    return "" if processes.shared_site is None else f" They were taken at {at(processes.shared_site)}."
