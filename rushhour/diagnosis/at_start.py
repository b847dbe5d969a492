"""Rule: the service takes more connections than the pool has before it answers a request."""

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
    """Return a finding if each time-out hit an owner that held every connection of the pool itself."""
    pressure = signals.pressure
    if pressure is None or not history.pool_timeouts:
        return None
    late = [
        timeout
        for timeout in history.pool_timeouts
        if (timeout.pid, timeout.pool) == (pressure.pid, pressure.pool)
    ]
    if not late or any(timeout.holding < pressure.capacity for timeout in late):
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
        checkout.site
        for checkout in history.checkouts
        if (checkout.pid, checkout.pool) == (pressure.pid, pressure.pool)
    )
    asked, endpoint = late[0].site, late[0].endpoint
    who = f"{endpoint} held" if endpoint is not None else "The service's start held"
    where = f", most of them taken at {at(taken.most_common(1)[0][0])}," if taken else ""
    return (
        f"{who} all {pressure.capacity} connections of pool {pressure.pool} at once{where} and waited "
        f"{late[0].waited_s:.1f} s for another one at {at(asked)}: it does not close what it takes."
    )
