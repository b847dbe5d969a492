"""Chooses the next rate of the search from the steps so far (pure).

The rate climbs by a factor until a step gives way, then the bracket is halved on a logarithmic scale, then
both sides are repeated until they are confirmed. So is the highest rate that held where nothing gives way up
to the limit of the load generator. A repeat that disagrees is repeated again, and the majority counts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rushhour.jobs.capacity.facts import CONFIRMED, Knee, Outcome, Step, at

MOST_VOTES: Final = 5  # steps at one rate
MOST_UNKNOWN: Final = 2  # steps at one rate that say nothing
MOST_STEPS: Final = 40  # of a search: repeats that go on to disagree will not agree
LOWEST: Final = 0.2  # customers a second, below which no release can be measured
WIDE: Final = 1.3  # the bracket below a generator's limit need not be closer


_SAYS_NOTHING: Final = {
    "unknown": "the last step says nothing",
    "generator": "the load generator could not keep the rate",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How a search goes."""

    start: float = 5.0  # customers a second
    growth: float = 1.6
    precision: float = 0.10  # the bracket's width, as a share of its lower end
    most: float = math.inf  # the highest rate that the load generator may be asked for


@dataclass(frozen=True, slots=True)
class Next:
    """The next step."""

    rate: float
    why: str


def next_step(steps: Sequence[Step], plan: Plan) -> Next | None:
    """Return the next step, or None when the search has its answer."""
    if not steps:
        return Next(plan.start, "start")
    last = steps[-1]
    if len(steps) >= MOST_STEPS or last.outcome == "leaks":
        return None
    if last.outcome in {"unknown", "generator"}:
        alike = [step.outcome for step in at(steps, last.rate)].count(last.outcome)
        if alike < MOST_UNKNOWN:
            return Next(last.rate, f"repeat: {_SAYS_NOTHING[last.outcome]}")
        if last.outcome == "unknown":
            return None
    low, high = bracket(steps)
    if low is None:
        lower = _rounded(min(step.rate for step in steps) / plan.growth)
        return Next(lower, "lower: no rate has held yet") if lower >= LOWEST else None
    return (
        _climb(steps, low, plan) or _repeat(steps, low, "holds", "below the limit")
        if high is None
        else _close_in(steps, low, high, plan)
    )


def _climb(steps: Sequence[Step], low: float, plan: Plan) -> Next | None:
    rate, limit = _rounded(low * plan.growth), _limit(steps, low)
    why = "climb"
    if limit is not None and rate >= limit:
        if limit / low <= WIDE:
            return None
        rate, why = _rounded(math.sqrt(low * limit)), "below the limit of the load generator"
    if rate > plan.most:
        rate, why = plan.most, "the highest rate that is tried"
    return Next(rate, why) if low < rate and rate != limit else None


def _close_in(steps: Sequence[Step], low: float, high: float, plan: Plan) -> Next | None:
    if high / low > 1 + plan.precision:
        middle = _rounded(math.sqrt(low * high))
        if low < middle < high and len(at(steps, middle)) < MOST_UNKNOWN:
            return Next(middle, f"between {low:g} and {high:g}")
    return _confirm(steps, low, high)


def _confirm(steps: Sequence[Step], low: float, high: float) -> Next | None:
    return _repeat(steps, low, "holds", "below the knee") or _repeat(steps, high, "gives", "above the knee")


def _repeat(steps: Sequence[Step], rate: float, wanted: Outcome, where: str) -> Next | None:
    """Repeat a rate until so many of its steps agree; None if they do, or will not."""
    if _votes(steps, rate).count(wanted) >= CONFIRMED or len(at(steps, rate)) >= MOST_VOTES:
        return None
    return Next(rate, f"repeat {where}")


def bracket(steps: Sequence[Step]) -> tuple[float | None, float | None]:
    """Return the highest rate that holds below the lowest that gives way, and that; None where there is none.

    The majority of the steps at a rate counts; where they are even, the rate gives way.
    """
    rates = sorted({step.rate for step in steps})
    gives = [rate for rate in rates if _gives(steps, rate)]
    high = gives[0] if gives else None
    holds = [
        rate
        for rate in rates
        if _votes(steps, rate) and not _gives(steps, rate) and (high is None or rate < high)
    ]
    return (holds[-1] if holds else None), high


def _gives(steps: Sequence[Step], rate: float) -> bool:
    votes = _votes(steps, rate)
    return bool(votes) and 2 * votes.count("gives") >= len(votes)


def _votes(steps: Sequence[Step], rate: float) -> list[str]:
    return [step.outcome for step in at(steps, rate) if step.outcome in {"holds", "gives"}]


def _limit(steps: Sequence[Step], low: float) -> float | None:
    """Return the lowest rate above `low` that the load generator could not keep."""
    return min((step.rate for step in steps if step.outcome == "generator" and step.rate > low), default=None)


def _rounded(rate: float) -> float:
    """Round to three significant digits, so that a rate can be written down and typed again."""
    return float(f"{rate:.3g}")


def knee_of(steps: Sequence[Step], plan: Plan, *, ended: str = "") -> Knee:
    """Return what the steps show; `ended` says why the search ended before it was through."""
    low, high = bracket(steps)
    leak = next((step for step in steps if step.outcome == "leaks"), None)
    if leak is not None:
        return Knee("leak", low, leak.rate, why=leak.reasons[0] if leak.reasons else leak.cause)
    if not steps or (low is None and high is None):
        limited = any(step.outcome == "generator" for step in steps)
        known = [step.reasons[0] for step in reversed(steps) if step.reasons]
        why = ended or (known[0] if known else "no step said anything")
        return Knee("unknown", why="the load generator could not keep any rate" if limited else why)
    cut_short = bool(ended) or steps[-1].outcome == "unknown"
    low_votes, high_votes = _votes_of(steps, low, "holds"), _votes_of(steps, high, "gives")
    if low is None:
        return Knee("below", None, high, low_votes, high_votes, ended, cut_short)
    if high is None:
        limit = None if low is None else _limit(steps, low)
        why = ended or (f"the load generator could not keep {limit:g} a second" if limit else "")
        if not why and steps[-1].outcome == "unknown" and steps[-1].reasons:
            why = steps[-1].reasons[0]
        if not why and low is not None and low >= plan.most:
            why = "no higher rate was to be tried"
        return Knee("at least", low, limit, low_votes, why=why, cut_short=cut_short)
    why = ended
    if steps[-1].outcome == "unknown" and not why and steps[-1].reasons:
        why = f"the last step says nothing: {steps[-1].reasons[0]}"
    return Knee("knee", low, high, low_votes, high_votes, why, cut_short)


def _votes_of(steps: Sequence[Step], rate: float | None, wanted: str) -> tuple[int, int]:
    votes = [] if rate is None else _votes(steps, rate)
    return votes.count(wanted), len(votes)


def steps_left(steps: Sequence[Step], plan: Plan) -> int:
    """Estimate how many steps are still to come."""
    low, high = bracket(steps)
    confirms = 2 * CONFIRMED - 2
    halvings = math.ceil(math.log2(max(1.0, math.log(plan.growth) / math.log(1 + plan.precision))))
    if high is None and low is not None and _climb(steps, low, plan) is None:
        return max(0, CONFIRMED - _votes(steps, low).count("holds"))
    if high is None:
        return 3 + halvings + confirms  # how far it climbs is not known
    if low is None:
        return 2 + halvings + confirms
    width = math.log(high / low) / math.log(1 + plan.precision)
    left = math.ceil(math.log2(width)) if width > 1 else 0
    votes = (_votes(steps, low).count("holds"), _votes(steps, high).count("gives"))
    return left + (confirms if left else sum(max(0, CONFIRMED - count) for count in votes))
