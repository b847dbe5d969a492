"""Says what a search found: sentence, table, and what gave first (pure)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from rushhour.jobs.capacity.again import CONFIDENCE, knee_again
from rushhour.jobs.capacity.earlier import beside
from rushhour.jobs.capacity.facts import CONFIRMED, Knee, Resource, Search, Step, at, held
from rushhour.jobs.capacity.resources import POOL, gives_first, next_limit
from rushhour.metrics.wording import counted
from rushhour.report import words
from rushhour.scenario.arrivals import CapacityBound
from rushhour.verdict.judge import Verdict as RunVerdict

Verdict = Literal["pass", "fail", "unknown"]
HEADS: Final = (
    "customers/s",
    "step",
    "outcome",
    "sure",
    "requests/s",
    "present",
    "p95",
    "pool in use",
    "wait p99",
    "time-outs",
)
OUTCOMES: Final = {
    "holds": "holds",
    "gives": "gives way",
    "leaks": "leaks",
    "generator": "generator too slow",
    "unknown": "unknown",
}


@dataclass(frozen=True, slots=True)
class First:
    """What gave first, with its evidence, and what would be next."""

    sentence: str
    evidence: tuple[str, ...]
    behind: str  # empty: not known


def sentence(search: Search) -> str:
    """Return the answer in one sentence."""
    who, knee = f"{search.scenario} (release {search.release})", search.knee
    match knee.kind:
        case "knee":
            votes = f"held in {_of(knee.low_votes)} at {knee.low:g}, gave way in {_of(knee.high_votes)}"
            text = f"{who} carries {knee.low:g} customers a second, and no more than {knee.high:g}: {votes}"
            text += f" at {knee.high:g}"
            return text if knee.confirmed else f"{text}; not confirmed{_because(knee)}"
        case "at least":
            text = f"{who} carries at least {knee.low:g} customers a second: it never gave way"
            votes = (
                "" if knee.confirmed else f"; not confirmed: held in {_of(knee.low_votes)} at {knee.low:g}"
            )
            return f"{text}{_because(knee)}{votes}"
        case "below":
            return f"{who} carries less than {knee.high:g} customers a second: no rate held{_because(knee)}"
        case "leak":
            return (
                f"{who} has no capacity: it leaks connections{_leak(search)}, so any rate exhausts its pool"
            )
        case "unknown":
            return f"The capacity of {who} is unknown{_because(knee)}"


def _of(votes: tuple[int, int]) -> str:
    return f"{votes[0]} of {counted(votes[1], 'step')}"


def _because(knee: Knee) -> str:
    return f" ({knee.why})" if knee.why else ""


def _leak(search: Search) -> str:
    step = next((step for step in search.steps if step.outcome == "leaks"), None)
    if step is None:
        return ""
    cause = "" if step.cause == "none" else f" ({step.cause})"
    where = f" at {step.site}" if step.site else ""
    return f"{cause}{where}, seen at {step.rate:g} customers a second"


def meaning(search: Search) -> str | None:
    """Say what the rate means, and where another search would find it; None without a rate that held."""
    steps = held(search)
    rates = [step.requests_per_s for step in steps if step.requests_per_s is not None]
    present = [step.present for step in steps if step.present is not None]
    if not rates or not present:
        return None
    text = f"That is {_mean(rates):,.0f} requests a second, with {_mean(present):,.0f} customers at once"
    used_s, own_s = search.think_time_s, search.scenario_think_time_s
    if used_s is None or used_s == own_s:
        text += "."
    else:
        most = _mean(present) * own_s / used_s
        text += (
            f" who think for {used_s:g} s (median). With the scenario's {own_s:g} s the same rate means up "
            f"to {float(f'{most:.2g}'):,.0f} at once, since nearly all of a session is thinking."
        )
    return " ".join(part for part in (text, _again(search), beside(search)) if part)


def _again(search: Search) -> str:
    if search.knee.kind != "knee":
        return ""
    found = knee_again(search)
    if found is None:
        return "Too few steps near the knee tell how far off another search would find it."
    low, high = (float(f"{rate:.3g}") for rate in found)
    return (
        f"As far as the steps scatter, another search would find the knee between {low:g} and {high:g} "
        f"({CONFIDENCE:.0%})."
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def first_limit(search: Search) -> First | None:
    """Return what gave first, from the lowest rate that gave way; None when none did."""
    gave = [step for step in at(search.steps, search.knee.high) if step.outcome == "gives"]
    if not gave or search.knee.kind not in {"knee", "below"}:
        return None
    step = max(gave, key=lambda each: each.sure or 0)
    part = gives_first(step.resources)
    below = held(search)
    behind = next_limit(below[-1].resources, step.resources, below[-1].rate) if below and part else None
    return First(
        sentence=_first_sentence(step, part),
        evidence=tuple(_evidence(step, part)),
        behind=""
        if behind is None or part is None
        else f"Next would be the {_name(behind[0])}, {_where(behind[1])}.",
    )


def _first_sentence(step: Step, part: Resource | None) -> str:
    if part is None and step.cause != "none":
        return f"What gives first: {step.cause}{f' at {step.site}' if step.site else ''}."
    if part is None:
        return f"What gives first is not known: no part was used up at {step.rate:g} customers a second."
    return f"The {_name(part.name)} gives first: {part.evidence}."


def _name(part: str) -> str:
    return f"pool of the {part.removeprefix(f'{POOL} ')}" if part.startswith(f"{POOL} ") else part


def _where(rate: float) -> str:
    return f"at about {float(f'{rate:.2g}'):g} customers a second if its use grows with the rate"


def _evidence(step: Step, part: Resource | None) -> Iterator[str]:
    yield from step.reasons
    for other in step.resources:
        if (part is None or other.name != part.name) and other.share >= 0.5:
            yield f"{_name(other.name)}: {other.evidence}"
    if step.wait_p99_ms:
        yield f"wait for a connection: p99 up to {step.wait_p99_ms:,.0f} ms"
    if step.cause != "none":
        yield f"diagnosis: {step.cause}{f' at {step.site}' if step.site else ''}"


def judged(search: Search, bound: CapacityBound | None) -> tuple[Verdict, str]:
    """Judge a search against the scenario's `expect_capacity`, and say why.

    Without one, a confirmed knee passes, and so does a confirmed rate that only the load generator limits.
    """
    knee = search.knee
    if knee.kind == "leak":
        return "fail", sentence(search)
    if search.interrupted or knee.kind == "unknown":
        return "unknown", sentence(search)
    if bound is None:
        return _judged_alone(search), sentence(search)
    wanted = f"expect_capacity {bound.expr}"
    if knee.low is not None and knee.low >= bound.per_s and _carried(search, bound):
        return "pass", f"{wanted} holds: {knee.low:g} customers a second were carried"
    if knee.high is not None and knee.high <= bound.per_s and _gave_way(search, bound.per_s):
        return "fail", f"{wanted} is missed: the service gave way at {knee.high:g} customers a second"
    return "unknown", f"{wanted} is undecided: {sentence(search)}"


def _carried(search: Search, bound: CapacityBound) -> bool:
    """Return whether steps enough held at the expected rate or above; one alone may have held by chance."""
    most = search.knee.low or 0.0
    held_there = [
        step for step in search.steps if step.outcome == "holds" and bound.per_s <= step.rate <= most
    ]
    return len(held_there) >= CONFIRMED


def _gave_way(search: Search, upto: float) -> bool:
    """Return whether steps enough gave way at this rate or below; one alone may have done so by chance."""
    carried = search.knee.low or 0.0  # below that one gave way by chance
    gave = [step for step in search.steps if step.outcome == "gives" and carried < step.rate <= upto]
    return search.knee.kind in {"knee", "below"} and len(gave) >= CONFIRMED


def _judged_alone(search: Search) -> Verdict:
    knee = search.knee
    if knee.kind == "below":
        return "fail" if _gave_way(search, math.inf) else "unknown"
    return "pass" if knee.confirmed and (knee.kind == "knee" or not knee.cut_short) else "unknown"


def with_capacity(verdict: RunVerdict, outcome: Verdict, why: str) -> RunVerdict:
    """Apply a search for the capacity to the verdict of a run of the same scenario: the worse one counts."""
    reasons = (*verdict.reasons, why)
    if outcome == "pass" or verdict.verdict in {"fail", outcome}:
        return replace(verdict, reasons=reasons)
    headline = f"{verdict.scenario} (release {verdict.release}): {why}"
    return replace(verdict, verdict=outcome, headline=headline, reasons=(why, *verdict.reasons))


def rows(search: Search) -> list[tuple[str, ...]]:
    """Return a row for each step, in order of rate, under HEADS."""
    ordered = sorted(enumerate(search.steps, 1), key=lambda entry: (entry[1].rate, entry[0]))
    return [_row(number, step) for number, step in ordered]


def _row(number: int, step: Step) -> tuple[str, ...]:
    unsteady = ", still gathering" if step.steady is False and step.outcome == "holds" else ""
    return (
        f"{step.rate:g}",
        f"{number}",
        OUTCOMES[step.outcome] + unsteady,
        words.UNKNOWN
        if step.sure is None
        else f"{min(step.sure, 0.999):.1%}"
        if step.sure > 0.99
        else f"{step.sure:.0%}",
        words.UNKNOWN if step.requests_per_s is None else f"{step.requests_per_s:,.0f}",
        words.UNKNOWN if step.present is None else f"{step.present:,.0f}",
        words.ms(step.p95_ms),
        words.UNKNOWN if step.pool is None else words.share(step.pool_in_use, step.pool_capacity),
        words.ms(step.wait_p99_ms),
        words.count(step.timeouts),
    )
