"""A request that holds a connection waits for a second one: the waiters are the holders."""

from rushhour.diagnosis.findings import Finding
from rushhour.diagnosis.holds import HoldSignals, hold_evidence
from rushhour.diagnosis.pressure import pressure_evidence
from rushhour.diagnosis.signals import Signals
from rushhour.diagnosis.sites import at

CAUSE = "nested-checkout"
FIX = (
    "Take one connection per request: hand the open session to the helper instead of letting it open its "
    "own. "
    "If a second one is unavoidable, the pool needs threads x (connections per request - 1) + 1 "
    "connections, or "
    "the deadlock only becomes rarer. A larger pool without fewer threads postpones it."
)

MOST = 0.5  # of the time-outs, or of the looks at holders
NEARLY_ALL = 0.8


def find(signals: Signals) -> Finding | None:
    """Holders in the queue of their own pool: as they were seen, or as the time-out hit them.

    Those who waited for their first connection time out as well: holders need not be most of them.
    """
    pressure, holds = signals.pressure, signals.holds
    if pressure is None or holds is None or not pressure.timeouts:
        return None
    by_timeouts = holds.timeouts > 0 and holds.holding >= MOST * holds.timeouts
    by_looks = holds.queue >= MOST and holds.holding > 0
    if not by_timeouts and not by_looks:
        return None
    return Finding(
        cause=CAUSE,
        confidence="certain" if by_timeouts or holds.queue >= NEARLY_ALL else "likely",
        share=pressure.busy_share,
        summary=_summary(holds),
        fix=FIX,
        evidence=(*hold_evidence(holds), *pressure_evidence(pressure)),
    )


def _summary(holds: HoldSignals) -> str:
    where = f", at {at(holds.line)}" if holds.line is not None else ""
    return (
        f"{holds.queue:.0%} of the looks at those who held a connection of pool {holds.pool} found them "
        f"waiting for "
        f"another one{where}, and {holds.holding} of its {holds.timeouts} time-outs hit such holders: as "
        f"many requests as "
        "there are connections block each other, and all others wait for them."
    )
