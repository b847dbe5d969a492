"""Annotations of runs, drills and checks (pure, but for the lines that `Repository` reads)."""

from collections.abc import Callable, Sequence

from rushhour.diagnosis import Diagnosis, HeldSite
from rushhour.diagnosis.units import after_what
from rushhour.jobs.annotate.annotation import Annotation, Fact, Level, annotation
from rushhour.jobs.annotate.repository import Repository
from rushhour.jobs.annotate.rules import NOT_MET, NOT_RETURNED, UNKNOWN
from rushhour.jobs.check.result import CheckResult
from rushhour.jobs.check.summary import FIX
from rushhour.jobs.drill.facts import VERDICT_OF, Drill
from rushhour.report.causes import where_it_is_explained
from rushhour.report.holders import suspects
from rushhour.report.words import evidence_value, seconds
from rushhour.rundir import facts as f
from rushhour.scenario.model import Scenario
from rushhour.verdict.judge import Verdict

StackOf = Callable[[HeldSite], Sequence[str]]  # the callers of a call site, the nearest first


def of_run(scenario: Scenario, verdict: Verdict, lines: Repository, stack_of: StackOf) -> list[Annotation]:
    """Return an error for each line that a failed run blames, a warning for an unknown one, none for a pass.

    A scenario that expects trouble and fails did not see it: no line of the service is to blame for that.
    """
    if verdict.verdict == "pass":
        return []
    diagnosis = verdict.diagnosis
    name, headline = run_name(verdict), run_headline(verdict)
    if verdict.verdict == "unknown":
        seen = f"seen until then: {diagnosis.summary}" if diagnosis.cause != "none" else ""
        said = [headline, *verdict.reasons, seen]
        return [annotation("warning", UNKNOWN, f"{name}: unknown", said, None, [verdict.scenario])]
    if scenario.expect != "healthy" or diagnosis.cause == "none":
        said = [headline, *verdict.reasons]
        title = f"{name}: expectation not met"
        return [annotation("error", NOT_MET, title, said, None, [verdict.scenario], _evidence(diagnosis))]
    sites: Sequence[HeldSite | None] = suspects(diagnosis) or [None]
    return [_blamed(verdict, site, lines, stack_of) for site in sites]


def run_name(verdict: Verdict) -> str:
    """Return how a run is called: `gate (release 1.1)`."""
    return f"{verdict.scenario} (release {verdict.release})"


def run_headline(verdict: Verdict) -> str:
    """Return the headline without the name of the run before it."""
    return verdict.headline.removeprefix(f"{run_name(verdict)}: ")


def _blamed(verdict: Verdict, site: HeldSite | None, lines: Repository, stack_of: StackOf) -> Annotation:
    diagnosis = verdict.diagnosis
    spot, held, about = None, "", [verdict.scenario]
    if site is not None:
        call_site = f.CallSite(site.file, site.line, site.function)
        spot = lines.spot(call_site) or lines.spot(call_site, stack_of(site))
        held, about = _held(site), [verdict.scenario, site.pool, site.endpoint or ""]
    more = where_it_is_explained(diagnosis.cause)
    said = [
        run_headline(verdict),
        held,
        f"cause {diagnosis.cause} ({diagnosis.confidence}): {diagnosis.summary}",
        f"fix: {diagnosis.fix}" if diagnosis.fix else "",
        f"more: {more}" if more else "",
        *verdict.reasons,
    ]
    title = f"{run_name(verdict)}: {diagnosis.cause}"
    return annotation("error", diagnosis.cause, title, said, spot, about, _evidence(diagnosis))


def _held(site: HeldSite) -> str:
    by = f" for {site.endpoint}" if site.endpoint else ""
    return (
        f"{site.file}:{site.line} {site.function}{by}: pool {site.pool}, {site.held} still out when the "
        f"watch ended, {site.leaked} of them {after_what(site.unit, site.leaked)}, "
        f"longest {seconds(site.max_hold_s)}"
    )


def _evidence(diagnosis: Diagnosis) -> list[Fact]:
    return [Fact(item.signal, evidence_value(item), item.meaning) for item in diagnosis.evidence]


def of_drill(drill: Drill, headline: str) -> list[Annotation]:
    """Return an error for a drill that was not proven, a warning for an unknown one."""
    verdict = VERDICT_OF[drill.outcome]
    if verdict == "pass":
        return []
    level: Level = "error" if verdict == "fail" else "warning"
    rule = NOT_MET if verdict == "fail" else UNKNOWN
    title = f"drill hotfix: {drill.outcome}"
    about = ["drill", drill.rollout.by if drill.rollout else ""]
    return [annotation(level, rule, title, [headline, *drill.reasons], None, about)]


def of_check(scenario: Scenario, result: CheckResult, lines: Repository) -> list[Annotation]:
    """Return an error for each line whose connections did not come back, and a warning for the doubts."""
    name = check_name(scenario)
    by_line: dict[tuple[f.CallSite, str, str | None], list[f.CheckOut]] = {}
    for out in result.leaked:
        by_line.setdefault((out.site, out.pool, out.endpoint), []).append(out)
    found = []
    for (site, pool, endpoint), outs in by_line.items():
        count = len(outs)
        still = max(out.t_s - out.taken_s for out in outs)
        said = [
            (
                f"{count} connection{'s' * (count > 1)} of pool {pool} did not come back, "
                f"checked out by {endpoint or 'code outside a request'} "
                f"at {site.file}:{site.line} {site.function}; still out {seconds(still)} later"
            ),
            *(f"called from {frame}" for frame in outs[0].stack[1:]),
            FIX,
        ]
        spot = lines.spot(site, outs[0].stack)
        facts = [Fact("connections still out", str(count)), Fact("out for", seconds(still))]
        about = [scenario.name, pool, endpoint]
        title = f"{name}: connection not returned"
        found.append(annotation("error", NOT_RETURNED, title, said, spot, about, facts))
    if result.doubts:
        title = f"{name}: not every endpoint could be checked"
        found.append(annotation("warning", UNKNOWN, title, result.doubts, None, [scenario.name]))
    return found


def check_name(scenario: Scenario) -> str:
    """Return how a check is called: `check of referrals 1.1`."""
    return f"check of {scenario.target.name} {scenario.release}"
