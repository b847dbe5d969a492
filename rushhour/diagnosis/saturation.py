"""Rule: the load asks for more than the pool can serve; every connection is in use and comes back in time."""

from rushhour.diagnosis.findings import Confidence, Finding
from rushhour.diagnosis.holds import HoldSignals, hold_evidence, or_tried_again
from rushhour.diagnosis.pressure import PressureSignals, pressure_evidence
from rushhour.diagnosis.signals import Signals
from rushhour.diagnosis.sites import at
from rushhour.diagnosis.slow_backend import FIX_OPENING

CAUSE = "saturation"
FIX = (
    "Shorten the holds first: speed up the query, and release the connection before slow work that needs "
    "none. Then size pool and threads together (threads beyond the pool only queue), within the server's "
    "max_connections. Shed load early where demand can exceed both."
)
MOST = 0.5  # of the looks at holders
BUSY = 0.25  # of the connections out; below half it only makes another cause worse
FEW = 10  # connections; fewer are told with a decimal
OFTEN_FREE = 0.5  # of its connections: a pool of which less is wanted on average is full at times only


def find(signals: Signals) -> Finding | None:
    """Return a finding if a full pool had a queue, and its holders were at work."""
    pressure = signals.pressure
    if pressure is None or pressure.busy_share < BUSY or not pressure.hurt:
        return None
    if signals.behind_leak is not None:
        return None  # those in use wait for what leaked
    other = _tried_again(signals.holds, pressure)
    return Finding(
        cause=CAUSE,
        confidence="possible" if other else _confidence(pressure),
        share=pressure.busy_share,
        summary=_summary(pressure) + _query(signals.holds) + other,
        fix=FIX if pressure.connecting_share < MOST else f"{FIX_OPENING} {FIX}",
        evidence=(
            *(() if signals.holds is None else hold_evidence(signals.holds)),
            *pressure_evidence(pressure),
        ),
    )


def _query(holds: HoldSignals | None) -> str:
    """Return the line whose query takes most of the time, if holders were seen in a query."""
    line = None if holds is None or holds.driver < MOST else holds.seen("driver")
    if holds is None or line is None:
        return ""
    return f" {holds.driver:.0%} of the looks at holders found them in a query, mostly that of {at(line)}."


def _tried_again(holds: HoldSignals | None, pressure: PressureSignals) -> str:
    """Name the other candidate, where the backends idle: also as the server counts them.

    Only holds of a second or longer are known one by one, so those alone do not speak for the others.
    """
    busy = pressure.active_share is not None and pressure.active_share >= MOST
    return "" if holds is None or busy or (holds.server_idle or 0.0) < MOST else or_tried_again(holds)


def _confidence(pressure: PressureSignals) -> Confidence:
    if not pressure.observed:
        return "possible"  # its queries may wait for a lock, or for a server that does not answer
    return "certain" if pressure.wanted is not None and pressure.wanted >= pressure.capacity else "likely"


def _summary(pressure: PressureSignals) -> str:
    text = (
        f"Pool {pressure.pool} was full for {pressure.full_s:.1f} s with {pressure.capacity} of "
        f"{pressure.capacity} connections out and up to {pressure.waiters_max} threads waiting"
    )
    if pressure.connecting_share >= MOST:
        text += f", {pressure.connecting_share:.0%} of them being opened, tested or reset"
    if pressure.wanted is not None and pressure.arrivals_per_s and pressure.hold_mean_s:
        text += (
            f": {pressure.arrivals_per_s:.0f} arrivals a second, each holding one for "
            f"{pressure.hold_mean_s * 1000:,.0f} ms, want {pressure.wanted:.{int(pressure.wanted < FEW)}f}"
        )
        if pressure.wanted < OFTEN_FREE * pressure.capacity:
            text += " on average, so that bursts filled it"
    back = (
        "all came back after the load" if not pressure.left_out else f"{pressure.left_out} did not come back"
    )
    if not pressure.observed:
        back += (
            "; the server was not observed: its queries may wait there for a lock, as behind a change of the "
            "schema, or for a server that is slow"
        )
    return f"{text}; {back}."
