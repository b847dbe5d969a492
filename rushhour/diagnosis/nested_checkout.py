"""Rule: a request that holds a connection waits for a second connection of the same pool."""

from rushhour.diagnosis.findings import Evidence, Finding
from rushhour.diagnosis.following import Following
from rushhour.diagnosis.holds import HoldSignals, hold_evidence
from rushhour.diagnosis.pressure import PressureSignals, pressure_evidence
from rushhour.diagnosis.signals import Signals
from rushhour.diagnosis.sites import at
from rushhour.rundir import facts as f

CAUSE = "nested-checkout"
FIX = (
    "Take one connection per request: hand the open session to the helper instead of letting it open its "
    "own. A helper that runs beside the request, in a task or thread of its own, cannot share the session: "
    "end it before that one starts. "
    "If a second one is unavoidable, the pool needs requests at once x (connections per request - 1) + 1 "
    "connections, or "
    "the deadlock only becomes rarer; threads bound the requests at once, under asyncio only a limit of its "
    "own does. A lock, or a thread, that is waited for with a connection in hand must "
    "not be kept by anybody who waits for a connection: allow no more of these requests than connections. A "
    "larger pool without such a limit postpones it."
)

MOST = 0.5  # of the time-outs, or of the looks at holders
NEARLY_ALL = 0.8


def find(signals: Signals) -> Finding | None:
    """Return a finding if holders were in the queue of their own pool, as seen by looks or by time-outs.

    Requests that waited for their first connection time out as well, so holders need not be most of them.
    """
    pressure, holds = signals.pressure, signals.holds
    if pressure is None or holds is None or not pressure.timeouts:
        return None
    by_timeouts = holds.timeouts > 0 and holds.holding >= MOST * holds.timeouts
    # The owner of a lock may wait for its first connection: then no time-out hits a holder.
    by_looks = holds.waiting_for_another >= MOST and (holds.holding > 0 or holds.behind >= MOST)
    if not by_timeouts and not by_looks:
        if holds.elsewhere < MOST or holds.following is None:
            return None
        return _unseen(pressure, holds, holds.following)
    return Finding(
        cause=CAUSE,
        confidence="certain" if by_timeouts or holds.waiting_for_another >= NEARLY_ALL else "likely",
        share=pressure.busy_share,
        summary=_summary(holds, pressure.outer if holds.crossed else None),
        fix=FIX,
        evidence=(*_lines(*_both(holds)), *hold_evidence(holds), *pressure_evidence(pressure)),
    )


def _unseen(pressure: PressureSignals, holds: HoldSignals, following: Following) -> Finding:
    """Holders that wait for what somebody does who is in the queue, in a way that is not seen."""
    first, second, line = holds.taken("elsewhere", "socket", "inside", "computes"), following.site, holds.line
    taken = f" The first one was taken at {at(first)}." if first is not None else ""
    seen = f" They were seen at {at(line)}." if line is not None else ""
    return Finding(
        cause=CAUSE,
        confidence="likely",
        share=pressure.busy_share,
        summary=(
            f"{following.near} of {following.ends} connections of pool {holds.pool} came back just after a "
            f"time-out at {at(second)}, and only {following.share_of_time:.0%} of the time is so soon after "
            "one: "
            "who holds a connection waits for what is done there, and that waits for a connection."
            f"{taken}{seen}"
        ),
        fix=FIX,
        evidence=(
            *_lines(first, second, ("pool.jsonl", "pool.jsonl")),
            *hold_evidence(holds),
            *pressure_evidence(pressure),
        ),
    )


def _both(holds: HoldSignals) -> tuple[f.CallSite | None, f.CallSite | None]:
    """Return where the first connection was taken, and where the second was asked for."""
    whats = ("queue", "behind", *(("other_pool",) if holds.crossed else ()))
    second = holds.seen("queue", *whats[2:]) or holds.second or holds.seen("behind")
    # Whose work waits for a thread stands at no line: the threads were turned away where they asked.
    turned_away = next((site for site, _ in holds.away), None) if holds.behind >= MOST else None
    return holds.taken(*whats), second or turned_away or holds.line


def _lines(
    first: f.CallSite | None,
    second: f.CallSite | None,
    sources: tuple[str, str] = ("pool.jsonl doing.places", "pool.jsonl doing.places, timeout.site"),
) -> tuple[Evidence, ...]:
    found = (("first connection taken at", first), ("second one asked for at", second))
    return tuple(
        Evidence(what, at(site), source=source)
        for (what, site), source in zip(found, sources, strict=True)
        if site is not None
    )


def _summary(holds: HoldSignals, outer: str | None) -> str:
    first, second = _both(holds)
    where = f", at {at(second)}" if second is not None else ""
    taken = f" The first one was taken at {at(first)}." if first is not None else ""
    behind = f" ({holds.behind:.0%} {_lock(holds)})" if holds.behind else ""
    crossed = "" if outer is None else f" of pool {outer}, whose holders wait for this one in turn"
    return (
        f"{holds.waiting_for_another:.0%} of the looks at those who held a connection of pool {holds.pool} "
        f"found them waiting for another one{crossed}{where}{behind}, and {holds.holding} of its "
        f"{holds.timeouts} time-outs hit such holders: as many requests as there are connections block "
        f"each other, and all others wait for them.{taken}"
    )


def _lock(holds: HoldSignals) -> str:
    line = holds.seen("behind")
    if line is None:
        return "for a lock or a thread whose owner waits for one"
    return f"at a lock whose owner waits for one, mostly at {at(line)}"
