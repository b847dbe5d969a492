"""Rule: a thread-local (scoped) session is never removed, so each thread keeps its first connection."""

from rushhour.diagnosis import shared_session
from rushhour.diagnosis.findings import Confidence, Finding
from rushhour.diagnosis.leak_evidence import leak_evidence
from rushhour.diagnosis.leaks import LeakSignals
from rushhour.diagnosis.signals import Signals
from rushhour.diagnosis.sites import at
from rushhour.metrics.wording import counted

CAUSE = "scope-never-removed"
JOB_FIX = (
    "Release the scoped session when the job ends: call `remove()` on it in a `finally` block of the job, or "
    "in the hook that the job runner calls after each job. A teardown function of the web framework does not "
    "run for jobs. A larger pool only postpones this: it must then hold one connection per thread of the "
    "executor, for good."
)
FIX = (
    "Release the scoped session when the request ends: call `remove()` on it where the framework lets code "
    "run after each request. Background jobs need a scope of their own, removed at the end of each job. A "
    "larger pool only postpones this: it must then hold one connection per thread, for good."
)

SHARED_FIX = (
    "Give each request a session of its own, and close it with the request. A session is not made for "
    "several tasks at a time: they wait for each other's statements, and share one transaction."
)
SHARED_BY_THREADS_FIX = (
    "If it is one session that all threads share, give each request its own: a session is not made for "
    "several threads at a time."
)


def find(signals: Signals) -> Finding | None:
    """Return a finding if later requests of the same thread use leaked connections."""
    leak = signals.leak
    if (
        leak is None
        or not leak.leaked
        or not leak.one_per_thread
        or leak.dropped
        or leak.spans_requests is False
    ):
        return None
    return Finding(
        cause=CAUSE,
        confidence=_confidence(leak),
        share=signals.leak_share,
        summary=_summary(leak) + shared_session.or_shared(signals),
        fix=_fix(leak),
        evidence=leak_evidence(leak),
    )


def _fix(leak: LeakSignals) -> str:
    if leak.shared_by_tasks:
        return SHARED_FIX
    if leak.mostly_idle:
        return JOB_FIX
    return f"{FIX} {SHARED_BY_THREADS_FIX}" if leak.maybe_shared else FIX


def _confidence(leak: LeakSignals) -> Confidence:
    """Return how certain it is: a few connections on different threads may be chance, reused ones are not."""
    if leak.shared_by_tasks:
        return "possible"
    if leak.maybe_shared:
        return "likely"  # or one session of all threads, which is never removed either
    if leak.spans_requests or leak.in_registry:
        return "certain" if leak.leaked > 1 else "likely"
    return "likely" if leak.leaked >= 3 and not leak.by_tasks else "possible"


def _summary(leak: LeakSignals) -> str:
    text = f"{leak.of_capacity()} {leak.kept_by()}, taken at {at(leak.site)}"
    if leak.leaked > 1:
        text += f", one for each of {leak.threads} threads"
    if leak.spans_requests:
        if leak.answered and leak.checkouts:
            taken = counted(leak.checkouts, "check-out")
            seen = f"since the load began, {leak.answered:,} requests were answered with {taken}"
        else:
            seen = f"{leak.answered_while_full:,} requests were answered after the whole pool had leaked"
        if leak.shared_by_tasks:
            return (
                f"{text}; {seen}: later requests use what the first one took, so a session that all "
                "requests share (in a variable of a module, or of the application), or one per thread, is "
                "never closed."
            )
        if leak.maybe_shared:
            return (
                f"{text}; {seen}: later requests use what the first one took, so a thread-local session, or "
                "one that all threads share (in a variable of a module, or of the application), is never "
                "removed."
            )
        return (
            f"{text}; {seen}: later requests of a thread use what its first one took, so a thread-local "
            "session is never removed."
        )
    if leak.in_registry:
        return (
            f"{text}; a thread-local registry (`scoped_session`) keeps the session of each, and nobody has "
            "removed it."
        )
    if leak.mostly_idle:
        return (
            f"{text}; a thread-local session that a job uses and does not remove stays with its thread, and "
            "no thread that keeps one was turned away when it asked for another."
        )
    return (
        f"{text}; a session that is kept per thread and never removed looks so, and so few requests cannot "
        "tell it from a path that forgets to close."
    )
