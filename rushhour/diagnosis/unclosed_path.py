"""Rule: a path through the code takes a connection and does not close it."""

from rushhour.diagnosis import shared_session
from rushhour.diagnosis.findings import Confidence, Finding
from rushhour.diagnosis.holds import hold_evidence
from rushhour.diagnosis.leak_evidence import leak_evidence
from rushhour.diagnosis.leaks import LeakSignals
from rushhour.diagnosis.pressure import pressure_evidence
from rushhour.diagnosis.signals import Signals
from rushhour.diagnosis.sites import at
from rushhour.diagnosis.units import noun, unit_of_endpoint
from rushhour.metrics.wording import counted

CAUSE = "unclosed-path"
LOST_FIX = (
    "Close the session before the thread, greenlet or task that took it ends: take it in a `with` block "
    "around its whole work, so that exceptions give the connection back too. A larger pool only postpones "
    "this: each leaked connection is lost until the process ends."
)
AGAIN_FIX = (
    "Close each session before the next one is opened: take it in a `with` block inside of the loop, or pass "
    "one session on. A larger pool only postpones this."
)
MOST = 0.5  # of a full pool
FIX = (
    "Close the session on every path: take it in a `with` block, so that early returns and exceptions give "
    "the connection back too. Look first at what differs between the requests of this endpoint that leak and "
    "those that do not. A larger pool only postpones this: each leaked connection is lost until the process "
    "ends."
)


def find(signals: Signals) -> Finding | None:
    """Return a finding if connections leaked that no later request uses."""
    leak = signals.leak
    if leak is None:
        return _taken_again(signals)
    if leak.spans_requests and leak.one_per_thread:
        return None
    if leak.one_per_thread and not leak.dropped and leak.spans_requests is None:
        return None  # too little is known: scope-never-removed is the more frequent cause
    return Finding(
        cause=CAUSE,
        confidence=_confidence(leak),
        share=signals.leak_share,
        summary=_summary(leak) + shared_session.or_shared(signals),
        fix=LOST_FIX if leak.mostly_ended else FIX,
        evidence=leak_evidence(leak),
    )


def _taken_again(signals: Signals) -> Finding | None:
    """Return a finding if units of work that still run took most of a full pool, each at one line."""
    pressure, holds = signals.pressure, signals.holds
    if pressure is None or holds is None or not pressure.hurt or holds.repeated_at is None:
        return None
    if holds.repeated < MOST * pressure.capacity:
        return None
    by = "one request, thread or task" if holds.repeaters == 1 else f"{holds.repeaters} requests or tasks"
    return Finding(
        cause=CAUSE,
        confidence="likely",
        share=pressure.busy_share,
        summary=(
            f"{holds.repeated} of {pressure.capacity} connections of pool {pressure.pool} are held by {by}, "
            f"which took one after the other at {at(holds.repeated_at)} and gave none back: a path does not "
            "close its session before it opens the next one."
        ),
        fix=AGAIN_FIX,
        evidence=(*hold_evidence(holds), *pressure_evidence(pressure)),
    )


def _confidence(leak: LeakSignals) -> Confidence:
    if leak.spans_requests:  # used again, and yet several on one thread: more than one registry, or a mix
        return "possible"
    if leak.answered_otherwise and leak.one_per_thread and not (leak.of_tasks or leak.dropped):
        return "possible"  # two registries, of which one is removed, would look so as well
    signs = (not leak.one_per_thread) + (leak.spans_requests is False) + leak.dropped
    return "certain" if signs > 1 else "likely"


def _summary(leak: LeakSignals) -> str:
    where = f"taken at {at(leak.site)}"
    if not leak.leaked:
        return (
            f"{counted(leak.collected, 'connection')} of pool {leak.pool}, {where}, came back only when "
            "garbage collection found them: a path drops its session without closing it."
        )
    text = f"{leak.of_capacity()} {leak.kept_by()}, {where}"
    signs = []
    if leak.mostly_ended:
        signs.append("a session per thread would have ended with its thread")
    if leak.of_tasks and not leak.mostly_ended:
        signs.append("tasks of an event loop took them, for all of which a session per thread would be one")
    if leak.answered_otherwise:
        signs.append(f"its requests took {leak.taken_elsewhere:,} other connections and gave them back")
    if leak.asked_again:
        signs.append(f"threads that kept one asked for another {counted(leak.asked_again, 'time')}")
    if not leak.one_per_thread:
        signs.append(f"one thread alone left {leak.most_per_thread}")
    if leak.spans_requests is False and leak.checkouts is not None:
        signs.append(
            f"{leak.outlived:,} of {leak.checkouts:,} check-outs there did not come back with their "
            f"{'unit of work' if leak.lost else noun(unit_of_endpoint(leak.endpoint))}"
        )
    if leak.collected:
        signs.append(f"{leak.collected} came back by garbage collection alone")
    later = "nothing that runs later" if leak.lost * 2 > leak.leaked else "no later request"
    return f"{text}; {', '.join(signs)}, and {later} uses them: a path does not close its session."
