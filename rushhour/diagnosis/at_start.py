"""A service that takes all connections of a pool, and one more, before its first request is answered."""

from collections import Counter
from typing import Final

from rushhour.diagnosis.findings import Finding
from rushhour.diagnosis.pressure import PressureSignals, pressure_evidence
from rushhour.diagnosis.signals import Signals
from rushhour.diagnosis.sites import at
from rushhour.diagnosis.unclosed_path import CAUSE
from rushhour.rundir import History
from rushhour.rundir import facts as f

FIX: Final = (
    "Close each session before the next one is opened, also while the service starts and in its health path: "
    "take it in a `with` block inside of the loop, or pass one session on. A larger pool only postpones this."
)


def holds_all(signals: Signals, history: History) -> Finding | None:
    """Whoever was turned away held every connection of the pool itself: nobody else can give one back."""
    pressure = signals.pressure
    if pressure is None or not history.pool_timeouts:
        return None
    late = [one for one in history.pool_timeouts if (one.pid, one.pool) == (pressure.pid, pressure.pool)]
    if not late or any(one.holding < pressure.capacity for one in late):
        return None
    return Finding(
        cause=CAUSE,
        confidence="likely",
        share=1.0,
        summary=_summary(pressure, late, history),
        fix=FIX,
        evidence=pressure_evidence(pressure),
    )


def _summary(pressure: PressureSignals, late: list[f.PoolTimeout], history: History) -> str:
    taken = Counter(
        one.site for one in history.checkouts if (one.pid, one.pool) == (pressure.pid, pressure.pool)
    )
    asked, endpoint = late[0].site, late[0].endpoint
    who = f"{endpoint} held" if endpoint is not None else "The service's start held"
    where = f", most of them taken at {at(taken.most_common(1)[0][0])}," if taken else ""
    return (
        f"{who} all {pressure.capacity} connections of pool {pressure.pool} at once{where} and waited "
        f"{late[0].waited_s:.1f} s for another one at {at(asked)}: it does not close what it takes."
    )
