"""Asks the rules, and chooses a primary cause and amplifiers (pure)."""

from collections.abc import Callable
from typing import Final

from rushhour.diagnosis import (
    abandoned_stream,
    at_start,
    black_box,
    blocked_worker,
    fork_shared,
    held_across_external_wait,
    held_while_streaming,
    nested_checkout,
    own_lock_chain,
    recovery_conflicts,
    saturation,
    scope_never_removed,
    server_limit,
    shared_session,
    slow_backend,
    unclosed_path,
)
from rushhour.diagnosis.advice import fix_of
from rushhour.diagnosis.findings import Confidence, Diagnosis, Evidence, Finding, HeldSite
from rushhour.diagnosis.objection import Objection, believed
from rushhour.diagnosis.signals import Signals, read_signals
from rushhour.diagnosis.sites import held_sites
from rushhour.diagnosis.witnesses import objections
from rushhour.metrics.measure import Metrics
from rushhour.metrics.window import start_failed
from rushhour.metrics.wording import counted
from rushhour.rundir import History
from rushhour.rundir import facts as f

Rule = Callable[[Signals], Finding | None]

# In the order of precedence. What is wrong with the processes themselves comes first: garbled or refused
# answers make requests fail in ways that look like leaks. Then leaks: they stay when load and server are well
# again, and a pool that leaks is saturated as well. Who waits for a lock of the service's
# own does so at a server that is well. A server that does not answer keeps connections wherever requests are
# just then, so it comes before the rules that say where they are. A pool that is full for one of
# these reasons is always saturated too, which therefore comes last.
RULES: Final[tuple[Rule, ...]] = (
    server_limit.find,
    fork_shared.find,
    blocked_worker.find,
    scope_never_removed.find,
    unclosed_path.find,
    own_lock_chain.find,
    nested_checkout.find,
    slow_backend.find,
    held_while_streaming.find,
    abandoned_stream.find,
    held_across_external_wait.find,
    saturation.find,
)
# Without the agent: from HTTP, the servers and the log alone.
BLACK_BOX_RULES: Final[tuple[Rule, ...]] = (
    server_limit.find,
    fork_shared.find,
    own_lock_chain.find,
    slow_backend.find,
    black_box.kept_per_thread,
    black_box.kept_by_a_path,
    black_box.abandoned,
    black_box.nested,
    black_box.waiting_elsewhere,
    black_box.unreachable,
    black_box.saturated,
)
# These say where the holders of a full pool were: told once, and not also that it was full.
_WHERE: Final = frozenset(
    {
        nested_checkout.CAUSE,
        held_while_streaming.CAUSE,
        abandoned_stream.CAUSE,
        held_across_external_wait.CAUSE,
        own_lock_chain.CAUSE,
    }
)
_SAID: Final = {
    **dict.fromkeys(_WHERE, _WHERE | {saturation.CAUSE}),
    own_lock_chain.CAUSE: _WHERE | {saturation.CAUSE, slow_backend.CAUSE},
    slow_backend.CAUSE: _WHERE,
}
PAGES: Final = "docs/causes"

MAJOR_SHARE: Final = 0.5  # what holds less of a full pool than this did not fill it
CPU_LIMIT_SHARE: Final = 0.9
RETRY_SHARE: Final = 0.05


def diagnose(history: History, metrics: Metrics) -> Diagnosis:
    """Name the primary cause: the first in precedence that accounts for half of the connections out.

    If there is none, it is the cause that accounts for most connections. All others become amplifiers.
    """
    signals = read_signals(history, metrics)
    rules = RULES if signals.agent else BLACK_BOX_RULES
    found = [finding for rule in rules if (finding := rule(signals)) is not None]
    if start_failed(history) and (first := at_start.holds_all(signals, history)) is not None:
        found = [first, *(finding for finding in found if finding.cause == first.cause)]
    sites = held_sites(history, metrics.window)
    against = {finding.cause: objections(finding.cause, signals, history) for finding in found}
    refuted = [finding for finding in found if any(objection.refutes for objection in against[finding.cause])]
    ruled_out = tuple(
        objection.as_evidence(finding.cause)
        for finding in refuted
        for objection in against[finding.cause]
        if objection.refutes
    )
    found = [finding for finding in found if finding not in refuted]
    if not found:
        return _none(signals, sites, objections("none", signals, history), ruled_out)
    major = [finding for finding in found if finding.share >= MAJOR_SHARE]
    primary = major[0] if major else max(found, key=lambda finding: finding.share)
    said = _SAID.get(primary.cause, frozenset[str]())
    doubts = against[primary.cause]
    # A cause that a witness contradicts is one candidate, and the next that fits as well is the second.
    second = next((one for one in major if one is not primary and _fits(against[one.cause])), None)
    second = second if doubts else None
    others = [
        f"{finding.cause}: {finding.summary}"
        for finding in found
        if finding is not primary and finding is not second and finding.cause not in said
    ]
    leak = signals.leak
    if leak is not None and primary.cause in (scope_never_removed.CAUSE, unclosed_path.CAUSE):
        # The line to mend first, though another may have held connections for longer.
        sites = tuple(sorted(sites, key=lambda site: (site.pool != leak.pool, -site.leaked, -site.collected)))
    return Diagnosis(
        cause=primary.cause,
        confidence=believed(_seen_by(primary.confidence, signals.agent), doubts),
        summary=primary.summary if second is None else _either(primary, second),
        fix=fix_of(primary, signals, history),
        amplifiers=(*primary.amplifiers, *others, *_circumstances(signals), *_on_purpose(history, metrics)),
        evidence=(*primary.evidence, *(doubt.as_evidence(primary.cause) for doubt in doubts), *ruled_out),
        call_sites=sites,
        page=f"{PAGES}/{primary.cause}.md",
    )


def _fits(doubts: tuple[Objection, ...]) -> bool:
    """Return whether a cause may be likely, for all that speaks against it."""
    return all(doubt.at_most != "possible" for doubt in doubts)


def _either(first: Finding, second: Finding) -> str:
    return f"Either {first.cause}: {first.summary} Or {second.cause}: {second.summary}"


def _seen_by(confidence: Confidence, agent: bool) -> Confidence:
    """Return the confidence, which is never `certain` without the agent."""
    return "likely" if confidence == "certain" and not agent else confidence


def _circumstances(signals: Signals) -> tuple[str, ...]:
    """Return what is no cause by itself but makes a cause worse."""
    found = []
    pressure, metrics = signals.pressure, signals.metrics
    if pressure and pressure.server_cpu_share is not None and pressure.server_cpu_share >= CPU_LIMIT_SHARE:
        found.append(
            f"CPU of the {pressure.pool} at {pressure.server_cpu_share:.0%} of its limit while the pool was "
            "full: every query took longer"
        )
    if pressure and pressure.outer is not None and not pressure.crossed:
        found.append(
            f"holders of pool {pressure.outer} waited for a connection of pool {pressure.pool}: it drained "
            "as well"
        )
    behind = signals.behind_leak
    if behind is not None and signals.leak is not None:
        found.append(
            f"up to {behind.lock_waits_max} backends of the {behind.server} waited for a lock, for "
            f"{behind.lock_waits_s:.0f} s, while {counted(signals.leak.leaked, 'leaked transaction')} stayed "
            "open there: what wants a lock against them never gets it (on a replica, replay of a vacuum or "
            "of a change of the schema), and every later query of that table waits behind it"
        )
    found += [*recovery_conflicts.ended(signals), *recovery_conflicts.replay_waited(signals)]
    if shared_session.collisions(signals) and not shared_session.may_explain(signals):
        found.append(shared_session.says(signals))
    if metrics.retries and metrics.all.requests and metrics.retries >= RETRY_SHARE * metrics.all.requests:
        found.append(
            f"retries: {metrics.retries:,} of {metrics.all.requests:,} requests were second attempts"
        )
    return tuple(found)


def _on_purpose(history: History, metrics: Metrics) -> tuple[str, ...]:
    """Return what the scenario did to the servers itself."""
    zero_s = metrics.window.load_started_s if metrics.window else 0.0
    done = [
        f"{event.detail.get('do')} of {_what(event)} at {event.t_s - zero_s:.1f} s"
        for event in history.events
        if event.name == f.FAULT
    ]
    return (f"the scenario's own faults: {', '.join(done)}",) if done else ()


def _what(fault: f.Event) -> str:
    server, table = fault.detail.get("server"), fault.detail.get("table")
    return f"{table} on the {server}" if table else f"the {server}"


def _none(
    signals: Signals,
    sites: tuple[HeldSite, ...],
    doubts: tuple[Objection, ...],
    ruled_out: tuple[Evidence, ...],
) -> Diagnosis:
    pool = signals.metrics.pool
    confidence: Confidence = "possible"
    fix = ""
    if pool.timeouts:
        summary = f"{counted(pool.timeouts, 'pool time-out')}, and no known cause fits what was observed."
        fix = (
            "Look at the pool's panel in the report and at the service's log: it may be a cause that no rule "
            "knows, or several at once."
        )
    elif pool.in_use_max is None:
        summary = "No pool time-out was seen; of the pools themselves nothing was seen either."
    else:
        confidence = "certain"
        fullest = f"the fullest pool, {pool.name}, had {pool.most_out()}"
        denied = next((doubt.says for doubt in doubts if doubt.at_most == "possible"), None)
        summary = (
            f"Every connection came back with its request; {fullest}."
            if denied is None
            else f"No pool time-out was seen, and {fullest}; but {denied}."
        )
    evidence = [
        Evidence(signal, value, source=source)
        for signal, value, source in (
            (
                "most connections out in a sample, after the warm-up",
                pool.in_use_max,
                "pool.jsonl sample.checked_out",
            ),
            ("connections that never came back", pool.leaked, "pool.jsonl checkout.returned_s"),
            ("pool time-outs", pool.timeouts, "pool.jsonl timeout"),
        )
        if value is not None
    ]
    if shared_session.collisions(signals):
        evidence.append(Evidence("sessions", shared_session.says(signals), source=shared_session.SOURCE))
    evidence += [
        Evidence("replay", says, source=recovery_conflicts.SOURCE_WAITS)
        for says in recovery_conflicts.replay_waited(signals)
    ]
    if any(recovery_conflicts.ended(signals)):
        fix = f"{fix} {recovery_conflicts.FIX}".strip()
    evidence += [*(doubt.as_evidence("none") for doubt in doubts), *ruled_out]
    return Diagnosis(
        "none", believed(confidence, doubts), summary, fix, evidence=tuple(evidence), call_sites=sites
    )
