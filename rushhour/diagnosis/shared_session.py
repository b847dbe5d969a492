"""Reads from the service's log whether several threads or tasks used one session at once (pure)."""

from typing import Final

from rushhour.diagnosis.signals import Signals
from rushhour.metrics.wording import counted

KIND: Final = "shared_session"  # as in rushhour/observe/logs.py
SOURCE: Final = f"events.jsonl log_errors.kinds.{KIND}"
FIX: Final = (
    "Give each request, thread or task a session of its own, and close it in a `finally`: a session that "
    "several use at once fails in the middle of taking or closing a connection, which then stays out."
)


def collisions(signals: Signals) -> int:
    """Return the errors of the service's log that say so."""
    return signals.processes.log_kinds.get(KIND, 0)


def may_explain(signals: Signals) -> bool:
    """Return whether there is one for each connection that leaked, or more."""
    leak = signals.leak
    return leak is not None and 0 < collisions(signals) >= leak.leaked + leak.collected


def says(signals: Signals) -> str:
    errors = counted(collisions(signals), "error")
    return f"{errors} in the service's log: several threads or tasks use one session at once"


def or_shared(signals: Signals) -> str:
    """Name the other candidate for a leak; empty where the log has fewer such errors."""
    if not may_explain(signals):
        return ""
    errors = counted(collisions(signals), "error")
    return (
        " Or several threads or tasks use one session at once, which fails in the middle of taking or "
        f"closing a connection: the service's log has {errors} about it."
    )
