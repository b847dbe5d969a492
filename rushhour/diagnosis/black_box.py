"""Rules for runs without the pool agent: they use HTTP, the servers and the log, and are less certain.

Each rule describes the signature that it looks for. Of two causes that look alike from outside, neither is
named.
"""

from typing import Final

from rushhour.diagnosis import (
    abandoned_stream,
    held_across_external_wait,
    held_while_streaming,
    nested_checkout,
    saturation,
    scope_never_removed,
    slow_backend,
    unclosed_path,
)
from rushhour.diagnosis.findings import Finding
from rushhour.diagnosis.outside import Outside, Trouble, leak_evidence_outside, trouble_evidence
from rushhour.diagnosis.signals import Signals

# What is named, and what looks the same from outside: the summary says both.
ALIKE: Final = {
    held_across_external_wait.CAUSE: frozenset({held_while_streaming.CAUSE}),
    unclosed_path.CAUSE: frozenset({scope_never_removed.CAUSE}),  # of jobs: their threads answer no requests
}
NO_LINE = "Without the pool agent the line that took them is not known."
WAITING = 0.7  # of the backends in a transaction: they wait for the service, and do not work
WORKING = 0.3  # up to this share of them waits: the rest is at work
FEW_ANSWERS = 0.1  # answers per time-out: next to nothing gets through
SOME_ANSWERS = 0.2
IN_STEP = 0.75  # waits that began together, as those of requests that block each other do
GROWS = 0.8  # of the time that passed: the oldest wait is as old as the trouble
LONG_S = 3.0
MANY_SAMPLES = 3
MOSTLY = 0.5  # of a server's sessions at work


def kept_per_thread(signals: Signals) -> Finding | None:
    """Look for sessions left idle in transaction, and endpoints that both time out and answer."""
    outside = signals.outside
    if not outside.leaked or outside.answered_between <= outside.timeouts_between:
        return None
    summary = (
        f"Sessions stayed idle in transaction after the load ({_left(outside)}), and the endpoints that "
        f"timed out "
        f"went on answering: some threads seem to keep a connection. {NO_LINE}"
    )
    return _leak(scope_never_removed.CAUSE, scope_never_removed.FIX, summary, outside)


def kept_by_a_path(signals: Signals) -> Finding | None:
    """Look for sessions left idle in transaction, and endpoints that no longer answer."""
    outside = signals.outside
    if not outside.leaked or outside.answered_between > outside.timeouts_between:
        return None
    summary = (
        f"Sessions stayed idle in transaction after the load ({_left(outside)}): connections do not come "
        "back. A path does not close its session, or threads of jobs keep one each that nobody removes "
        f"({scope_never_removed.CAUSE}): from outside the two look alike. {NO_LINE}"
    )
    return _leak(unclosed_path.CAUSE, unclosed_path.FIX, summary, outside)


def abandoned(signals: Signals) -> Finding | None:
    """Look for the same sessions waiting all the time, without answers, until the load ends."""
    trouble = _waiting(signals)
    if trouble is None or trouble.oldest_at_end_s < max(LONG_S, GROWS * trouble.span_s):
        return None
    if signals.outside.answered_between > FEW_ANSWERS * signals.outside.timeouts_between:
        return None
    summary = (
        f"Sessions of the {trouble.server} idled in transaction for up to {trouble.oldest_at_end_s:.1f} s, "
        f"and came "
        "back when the customers went: connections are held for as long as a client likes."
    )
    return _found(abandoned_stream.CAUSE, abandoned_stream.FIX, summary, signals.outside, trouble)


def nested(signals: Signals) -> Finding | None:
    """Look for sessions that began to wait together, and hardly an answer between rounds of time-outs."""
    trouble, outside = _waiting(signals), signals.outside
    if trouble is None or trouble.in_step < IN_STEP:
        return None
    if trouble.oldest_idle_s >= GROWS * max(LONG_S, trouble.span_s):
        return None
    if outside.answered_between > FEW_ANSWERS * outside.timeouts_between:
        return None
    summary = (
        f"Sessions of the {trouble.server} idled in transaction in step, {outside.answered_between} "
        f"requests were "
        f"answered and {outside.timeouts_between} timed out: holders seem to wait for each other."
    )
    return _found(nested_checkout.CAUSE, nested_checkout.FIX, summary, outside, trouble)


def waiting_elsewhere(signals: Signals) -> Finding | None:
    """Look for sessions that wait for the service in turns, while requests are still answered."""
    trouble, outside = _waiting(signals), signals.outside
    if trouble is None or trouble.in_step >= IN_STEP or trouble.oldest_idle_s < 0.1:
        return None
    if outside.answered_between < SOME_ANSWERS * outside.timeouts_between:
        return None
    summary = (
        f"{trouble.idle} of {trouble.idle + trouble.active} backends of the {trouble.server} in a "
        f"transaction waited "
        "for the service while requests timed out, each in turn: connections are held while it waits for "
        "something else, or while its responses are being made and sent "
        f"({held_while_streaming.CAUSE}): from outside the two look alike."
    )
    return _found(held_across_external_wait.CAUSE, held_across_external_wait.FIX, summary, outside, trouble)


def unreachable(signals: Signals) -> Finding | None:
    """Look for time-outs at the pool while no server has one of its connections in a transaction."""
    trouble, outside = signals.outside.troubled, signals.outside
    if trouble is None or trouble.samples < MANY_SAMPLES or trouble.idle + trouble.active > trouble.samples:
        return None
    if outside.answered_between > FEW_ANSWERS * outside.timeouts_between:
        return None
    summary = (
        f"{outside.timeouts_between} requests timed out at the pool while the servers had next to nothing "
        f"to do and "
        "no session in a transaction: what the service sends does not seem to reach its server."
    )
    return _found(slow_backend.CAUSE, slow_backend.FIX, summary, outside, trouble)


def saturated(signals: Signals) -> Finding | None:
    """Look for time-outs while the backends are at work."""
    trouble, outside = signals.outside.troubled, signals.outside
    if trouble is None or trouble.active < trouble.samples or outside.idle_share > WORKING:
        return None
    if trouble.silent or trouble.samples < MANY_SAMPLES:
        return None  # what it did in the rest of the time is not known
    if trouble.locked > MOSTLY * trouble.active:
        return None  # they waited for a lock: whose, is not known
    summary = (
        f"{outside.timeouts_between} requests timed out at the pool while {trouble.active} of "
        f"{trouble.idle + trouble.active} backends of the {trouble.server} in a transaction were at work."
    )
    return _found(saturation.CAUSE, saturation.FIX, summary, outside, trouble)


def _waiting(signals: Signals) -> Trouble | None:
    """Return the troubled server if its sessions waited for the service, and none was left after the load."""
    outside = signals.outside
    idle = outside.troubled is not None and outside.idle_share >= WAITING and not outside.idle_after_load
    # Without CPU a service leaves its transactions idle as well, whatever it does in them.
    return outside.troubled if idle and not outside.starved else None


def _left(outside: Outside) -> str:
    return ", ".join(f"{count} on the {server}" for server, count in outside.idle_after_load.items())


def _leak(cause: str, fix: str, summary: str, outside: Outside) -> Finding:
    return Finding(cause, "possible", 1.0, summary, fix, leak_evidence_outside(outside))


def _found(cause: str, fix: str, summary: str, outside: Outside, trouble: Trouble) -> Finding:
    return Finding(cause, "possible", 1.0, summary, fix, trouble_evidence(outside, trouble))
