"""Rule: requests hold connections while a response is made and sent, without a query."""

from rushhour.diagnosis.findings import Evidence, Finding
from rushhour.diagnosis.holds import HoldSignals, hold_evidence
from rushhour.diagnosis.pressure import pressure_evidence
from rushhour.diagnosis.processes import numbers_of
from rushhour.diagnosis.signals import Signals
from rushhour.diagnosis.sites import at

CAUSE = "held-while-streaming"
FIX = (
    "End the session before the response is streamed: read what is needed, close the session, and let the "
    "generator open one of its own for as long as it reads. "
)
FASTAPI = (
    "Under FastAPI a dependency with `yield` ends after the last byte was sent: close the session before the "
    "StreamingResponse is returned"
)
FASTAPI_SCOPE = ', or write `Depends(..., scope="function")`, which ends it before the response is sent'
SCOPES_SINCE = (0, 121)  # FastAPI's release notes: "dependencies with scopes"
FLASK = (
    "Under Flask `stream_with_context` keeps the session that the generator uses until the stream has ended, "
    "and up to Flask 3.1.1 the one that the view has used: close it before the first part is sent"
)

MOST = 0.5  # of the looks at holders


def find(signals: Signals) -> Finding | None:
    """Return a finding if most holders of a full pool were making a streamed response."""
    pressure, holds = signals.pressure, signals.holds
    if pressure is None or holds is None or not pressure.hurt:
        return None
    if holds.streaming < MOST or holds.sending > holds.streaming:
        return None
    return Finding(
        cause=CAUSE,
        confidence="certain" if (holds.server_idle or 0.0) >= MOST else "likely",
        share=pressure.busy_share,
        summary=_summary(holds, pressure.full_s),
        fix=FIX + _framework(signals),
        evidence=(*_lines(holds), *hold_evidence(holds), *pressure_evidence(pressure)),
    )


def _summary(holds: HoldSignals, full_s: float) -> str:
    taken = holds.taken("streaming")
    where = f" taken at {at(taken)}" if taken is not None else ""
    text = (
        f"Pool {holds.pool} was full for {full_s:.1f} s, and in {holds.streaming:.0%} of the looks at its "
        f"holders the connection{where} was kept while the response was being made and sent"
    )
    if holds.oldest_stream_s:
        of = f"the response of {holds.streamed}" if holds.streamed else "a response"
        text += f"; {of} held one for up to {holds.oldest_stream_s:.1f} s"
    return text + "."


def _lines(holds: HoldSignals) -> tuple[Evidence, ...]:
    found = (("taken at", holds.taken("streaming")), ("while it streams, seen at", holds.seen("streaming")))
    return tuple(
        Evidence(what, at(site), source="pool.jsonl doing.places") for what, site in found if site is not None
    )


def _framework(signals: Signals) -> str:
    processes = signals.processes
    if processes.fastapi is not None:
        scoped = numbers_of(processes.fastapi) >= SCOPES_SINCE
        return f"{FASTAPI}{FASTAPI_SCOPE if scoped else ''}."
    return (
        f"{FLASK}." if processes.flask else "A session that ends with its request ends after the last byte."
    )
