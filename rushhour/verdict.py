"""Scenario, history and diagnosis -> verdict (pure)."""

from dataclasses import dataclass, field
from typing import Literal

from rushhour.diagnosis import Diagnosis

Observed = Literal["healthy", "degraded", "exhausted", "unknown"]
Outcome = Literal["pass", "fail", "unknown"]


@dataclass(frozen=True, slots=True)
class ThresholdResult:
    """A threshold as it was judged; `ok` is None when its metric has no data."""

    expr: str
    value: float | None
    ok: bool | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verdict.json holds."""

    scenario: str
    release: str
    stack: str
    expected: str  # "healthy", "exhausted" or "exhausted (scope-never-removed)"
    observed: Observed
    verdict: Outcome
    headline: str  # one sentence that says what happened, with the numbers
    reasons: tuple[str, ...]  # why the verdict is what it is
    diagnosis: Diagnosis
    thresholds: tuple[ThresholdResult, ...] = ()
    metrics: dict[str, float | int | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # seen, and not judged: "the agent saw 3 leaked connections all the same"
