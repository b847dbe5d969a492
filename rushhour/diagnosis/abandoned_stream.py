"""Rule: streamed responses keep connections while their clients read slowly, or have stopped reading."""

from rushhour.diagnosis.findings import Finding
from rushhour.diagnosis.holds import hold_evidence
from rushhour.diagnosis.pressure import pressure_evidence
from rushhour.diagnosis.signals import Signals
from rushhour.diagnosis.sites import at

CAUSE = "abandoned-stream"
FIX = (
    "Give the connection back before anything is sent: read a page, release, send it, and read the next one. "
    "Where a cursor has to stay open, bound it: a time-out for sending, "
    "`idle_in_transaction_session_timeout`, and "
    "a limit on how many streams run at once, below the pool's size."
)

MOST = 0.5  # of the looks at holders
LONG_S = 1.0  # a stream that gives its connection back between pages holds it for less


def find(signals: Signals) -> Finding | None:
    """Return a finding if most holders of a full pool were sending a response."""
    pressure, holds = signals.pressure, signals.holds
    if pressure is None or holds is None or not pressure.hurt:
        return None
    if holds.sending < MOST or holds.oldest_stream_s < LONG_S:
        return None
    taken = holds.taken("sending", "streaming")
    where = f" (mostly at {at(holds.line)})" if holds.line is not None else ""
    if taken is not None:
        where += f", their connections taken at {at(taken)}"
    return Finding(
        cause=CAUSE,
        confidence="certain" if (holds.server_idle or 0.0) >= MOST or holds.driver < 0.1 else "likely",
        share=pressure.busy_share,
        summary=(
            f"Pool {pressure.pool} was full for {pressure.full_s:.1f} s, and {holds.sending:.0%} of the "
            f"looks at "
            f"its holders found them sending a streamed response{where}; one held its connection for "
            f"{holds.oldest_stream_s:.1f} s: the client no longer reads, and the cursor stays open."
        ),
        fix=FIX,
        evidence=(*hold_evidence(holds), *pressure_evidence(pressure)),
    )
