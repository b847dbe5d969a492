"""Rule: requests hold connections while they wait for something else than the database."""

from rushhour.diagnosis.findings import Confidence, Finding
from rushhour.diagnosis.holds import ELSEWHERE, HoldSignals, hold_evidence, or_tried_again
from rushhour.diagnosis.objection import HARDLY_ANY
from rushhour.diagnosis.outside import BUSY_CORES
from rushhour.diagnosis.pressure import PressureSignals, pressure_evidence
from rushhour.diagnosis.signals import Signals
from rushhour.diagnosis.sites import at
from rushhour.metrics.wording import counted
from rushhour.rundir import facts as f

CAUSE = "held-across-external-wait"
FIX = (
    "Give the connection back before the wait: read what is needed, end the session, ask the partner, and "
    "open a new "
    "transaction for what has to be written. Bound the wait with a time-out of its own. Until then "
    "`idle_in_transaction_session_timeout` keeps one slow partner from emptying the pool."
)

FIX_COMPUTING = (
    "Give the connection back before the computation: read what is needed, end the session, and compute "
    "then. "
    "A Python process computes for one request at a time, so heavy work belongs into a job or another "
    "process."
)

MOST = 0.5  # of the looks at holders
COMPUTES = 0.3  # of those elsewhere: who calls a function in C to compute is not told from who waits in one
ONE_LINE = 0.5  # of them: who lacks CPU is seen anywhere, who waits is seen at one line


def find(signals: Signals) -> Finding | None:
    """Return a finding if the holders of a full pool were elsewhere, and the server waited for them."""
    pressure, holds = signals.pressure, signals.holds
    if pressure is None or holds is None or not pressure.hurt:
        return None
    if not holds.mostly_elsewhere or (holds.server_idle is not None and holds.server_idle < MOST):
        return None
    return Finding(
        cause=CAUSE,
        confidence=_confidence(signals, holds),
        share=pressure.busy_share,
        summary=_summary(pressure, holds, signals),
        fix=FIX_COMPUTING if _computes(signals, holds) else FIX,
        evidence=(*hold_evidence(holds), *pressure_evidence(pressure)),
    )


def _confidence(signals: Signals, holds: HoldSignals) -> Confidence:
    if holds.line_share < ONE_LINE or (signals.metrics.service_cpu_cores_mean or 0.0) >= BUSY_CORES:
        return "possible"
    return "certain" if holds.server_idle is not None else "likely"


def _computes(signals: Signals, holds: HoldSignals) -> bool:
    cores = signals.metrics.service_cpu_cores_mean or 0.0
    return cores >= BUSY_CORES and holds.share_of_places("computes", among=ELSEWHERE) >= COMPUTES


def _summary(pressure: PressureSignals, holds: HoldSignals, signals: Signals) -> str:
    cores = signals.metrics.service_cpu_cores_mean or 0.0
    line, taken = holds.seen(*ELSEWHERE) or holds.line, holds.taken(*ELSEWHERE)
    what = "waiting for something else than the database"
    if holds.lock > holds.elsewhere / 2:
        what = "waiting for a lock of the service's own"
    elif holds.share_of_places("other_query", among=ELSEWHERE) > MOST:
        what = "waiting for a query over another connection of theirs"
    elif _computes(signals, holds):
        what = f"computing (the service used {cores:.1f} cores)"
    elif cores >= BUSY_CORES:
        what += f", or computing (the service used {cores:.1f} cores)"
    where = f", at {at(line)}" if line is not None else ""
    text = (
        f"Pool {pressure.pool} was full for {pressure.full_s:.1f} s, and {holds.elsewhere:.0%} of the "
        f"looks at its holders found them {what}{where}"
    )
    if taken is not None:
        text += f", with the connection taken at {at(taken)}"
    if holds.server_idle is not None:
        text += f"; their backends idled in {holds.server_idle:.0%} of the server's samples"
    if pressure.hold_mean_s is not None:
        text += f"; a connection is held for {pressure.hold_mean_s * 1000:,.0f} ms"
    return f"{text}.{_or_nested(holds, taken)}{or_tried_again(holds)}"


def _or_nested(holds: HoldSignals, taken: f.CallSite | None) -> str:
    """Name the other candidate, where what the holders wait for is done in their own process."""
    if holds.share_of_places("inside", among=ELSEWHERE) < MOST:
        who = (
            "What no customer is known to have asked for (work of no request, a request of the service to "
            "itself, or one that was redirected) waits"
        )
        site = holds.unasked_at if holds.unasked >= MOST else None
        if holds.beside >= HARDLY_ANY:
            who, site = "Tasks that their requests started wait", holds.beside_at
        if site is None:
            return ""
        return (
            f" {who} for a connection meanwhile, at {at(site)}. If the holders wait for what is done there, "
            "it is a nested-checkout, whose second connection is asked for there."
        )
    where = next(
        (f", as at {at(site)} ({counted(n, 'time-out')})" for site, n in holds.away if site != taken), ""
    )
    return (
        " They wait for another thread or task of the process, which was not found. If that one asks for a "
        f"connection{where}, it is a nested-checkout: it waits for one of theirs."
    )
