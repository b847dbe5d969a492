"""Rule: requests hold connections while they wait for something else than the database."""

from rushhour.diagnosis.findings import Confidence, Finding
from rushhour.diagnosis.holds import HoldSignals, hold_evidence
from rushhour.diagnosis.outside import BUSY_CORES
from rushhour.diagnosis.pressure import PressureSignals, pressure_evidence
from rushhour.diagnosis.signals import Signals
from rushhour.diagnosis.sites import at

CAUSE = "held-across-external-wait"
FIX = (
    "Give the connection back before the wait: read what is needed, end the session, ask the partner, and "
    "open a new "
    "transaction for what has to be written. Bound the wait with a time-out of its own. Until then "
    "`idle_in_transaction_session_timeout` keeps one slow partner from emptying the pool."
)

MOST = 0.5  # of the looks at holders
ONE_LINE = 0.5  # of them: who lacks CPU is seen anywhere, who waits is seen at one line


def find(signals: Signals) -> Finding | None:
    """Return a finding if the holders of a full pool were elsewhere, and the server waited for them."""
    pressure, holds = signals.pressure, signals.holds
    if pressure is None or holds is None or not pressure.hurt:
        return None
    if holds.elsewhere < MOST or (holds.server_idle is not None and holds.server_idle < MOST):
        return None
    return Finding(
        cause=CAUSE,
        confidence=_confidence(signals, holds),
        share=pressure.busy_share,
        summary=_summary(pressure, holds, signals.metrics.service_cpu_cores_mean),
        fix=FIX,
        evidence=(*hold_evidence(holds), *pressure_evidence(pressure)),
    )


def _confidence(signals: Signals, holds: HoldSignals) -> Confidence:
    if holds.line_share < ONE_LINE or (signals.metrics.service_cpu_cores_mean or 0.0) >= BUSY_CORES:
        return "possible"
    return "certain" if holds.server_idle is not None else "likely"


def _summary(pressure: PressureSignals, holds: HoldSignals, cores: float | None) -> str:
    whats = ("elsewhere", "lock", "other_query")
    line, taken = holds.seen(*whats) or holds.line, holds.taken(*whats)
    what = "something else than the database"
    if holds.lock > holds.elsewhere / 2:
        what = "a lock of the service's own"
    elif holds.share_of_places("other_query", among=whats) > MOST:
        what = "a query over another connection of theirs"
    elif (cores or 0.0) >= BUSY_CORES:
        what = f"something else than the database, or computing (the service used {cores:.1f} cores)"
    where = f", at {at(line)}" if line is not None else ""
    text = (
        f"Pool {pressure.pool} was full for {pressure.full_s:.1f} s, and {holds.elsewhere:.0%} of the "
        f"looks at its holders found them waiting for {what}{where}"
    )
    if taken is not None:
        text += f", with the connection taken at {at(taken)}"
    if holds.server_idle is not None:
        text += f"; the server idled in {holds.server_idle:.0%} of their transactions"
    if pressure.hold_mean_s is not None:
        text += f"; a connection is held for {pressure.hold_mean_s * 1000:,.0f} ms"
    return text + "."
