"""Annotations of what the agent saw in a command (pure, but for the lines that `Repository` reads)."""

from rushhour.jobs.annotate.annotation import Annotation, Fact, Level, Outcome, annotation, shown
from rushhour.jobs.annotate.repository import Repository
from rushhour.jobs.annotate.rules import HELD_LONG, NOT_RETURNED, TIMED_OUT, UNKNOWN
from rushhour.jobs.attach.findings import Findings, Held
from rushhour.jobs.attach.words import hold_line, leak_line, out_line, summary, timeout_line
from rushhour.jobs.check.summary import FIX


def of_findings(findings: Findings, lines: Repository) -> list[Annotation]:
    """Return errors for leaks and pool time-outs, and warnings for long holds and what could not be seen."""
    found = [_held(held, lines) for held in findings.held()]
    for pool, waits in findings.timeouts.items():
        (site, endpoint), _ = waits.sites.most_common(1)[0]
        said = [timeout_line(pool, waits)]
        facts = [Fact("time-outs", str(waits.count)), Fact("longest wait", f"{waits.longest_s:.1f} s")]
        spot, title = lines.spot(site), f"pool {pool}: time-out"
        found.append(annotation("error", TIMED_OUT, title, said, spot, [pool, endpoint], facts))
    for place, count in findings.left_at_exit().items():
        said = [out_line(place, count), "it may have been at work, so whether it leaked is unknown"]
        about = [place.pool, place.endpoint]
        title = "still out when the process ended"
        found.append(annotation("warning", UNKNOWN, title, said, lines.spot(place.site), about))
    if not findings.checkouts and not findings.timeouts:
        said = summary(findings)
        found.append(annotation("warning", UNKNOWN, "leaks are unknown", said, None, ["agent"]))
    faults = dict.fromkeys(f"{fault.where}: {fault.error}" for fault in findings.faults)
    if faults:
        found.append(annotation("warning", UNKNOWN, "the agent failed", list(faults), None, ["agent"]))
    return found


def outcome_of(name: str, findings: Findings) -> Outcome:
    """Return how a command ended as to its pools; a doubt makes it unknown."""
    headline = shown(summary(findings)[0])
    if findings.leaks or findings.timeouts:
        return Outcome(name, "fail", headline)
    unknown = not findings.checkouts or findings.faults or findings.left_at_exit()
    return Outcome(name, "unknown" if unknown else "pass", headline)


def _held(held: Held, lines: Repository) -> Annotation:
    place = held.place
    level: Level
    if held.leaked:
        level, rule, title = "error", NOT_RETURNED, "connection not returned"
        said = [leak_line(held), *(f"called from {frame}" for frame in held.stack[1:]), FIX]
    else:
        level, rule, title = "warning", HELD_LONG, "connection held for long"
        said = [hold_line(held)]
    facts = [
        Fact("leaked", str(held.leaked)),
        Fact("still out", str(held.still_out)),
        Fact("longest hold", f"{held.longest_s:.1f} s"),
    ]
    spot = lines.spot(place.site, held.stack)
    return annotation(
        level, rule, f"pool {place.pool}: {title}", said, spot, [place.pool, place.endpoint], facts
    )
