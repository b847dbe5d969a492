"""When a change is more than chance, and more than a trifle (pure)."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

RESAMPLES: Final = 2000
# Some twenty intervals are looked at together: at 95 % each, one of them would mislead in every comparison.
CONFIDENCE: Final = 0.99
TOLERANCE: Final = 0.10
FEWEST_SECONDS: Final = 20
BEYOND: Final = 10  # a percentile is judged when at least this many answers were slower


class Judgement(StrEnum):
    """What a row says; `MORE` and `LESS` are of rows that do not decide."""

    WORSE = "worse"
    BETTER = "better"
    SAME = "same"
    NO_EVIDENCE = "no evidence"
    MORE = "more"
    LESS = "less"
    NO_DATA = "no data"
    FACT = "-"  # shown beside the others: one number of each run says nothing of chance


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric: which direction is worse, and which change is too small to matter."""

    name: str
    worse: Literal["higher", "lower"]
    tolerance: float  # share of the first run's value
    least: float  # and at least this, in the metric's own unit
    decides: bool = True


def measure_of(name: str, tolerance: float = TOLERANCE) -> Measure:
    """Return how a metric of verdict.json is judged."""
    if name.endswith("_ms"):
        return Measure(name, "higher", tolerance, 2.0)
    if name.endswith("_rate"):
        return Measure(name, "higher", tolerance, 0.0005)
    if name.endswith("_rps"):
        return Measure(name, "lower", tolerance, 0.5)
    return Measure(name, "higher", tolerance, 0.02, decides=False)  # CPU: what it costs, for people to weigh


def judge_change(measure: Measure, before: float, low: float, high: float) -> Judgement:
    """Judge a change by its interval: worse or better only when all of it lies beyond the tolerance.

    Same when all of it lies within; else there is no evidence either way.
    """
    margin = _margin(measure, before)
    if measure.worse == "lower":
        low, high = -high, -low
    if low > margin:
        return Judgement.WORSE if measure.decides else Judgement.MORE
    if high < -margin:
        return Judgement.BETTER if measure.decides else Judgement.LESS
    return Judgement.SAME if -margin <= low and high <= margin else Judgement.NO_EVIDENCE


def differs(measure: Measure, before: float, after: float, judgement: Judgement) -> bool:
    """Whether the values themselves changed by more than the tolerance in the direction of a judgement."""
    rose = judgement is Judgement.MORE or (judgement is Judgement.WORSE) == (measure.worse == "higher")
    if judgement is Judgement.LESS:
        rose = False
    return (after - before if rose else before - after) > _margin(measure, before)


def _margin(measure: Measure, before: float) -> float:
    return max(abs(before) * measure.tolerance, measure.least)


def interval(values: list[float]) -> tuple[float, float]:
    """Return the middle CONFIDENCE of resampled changes."""
    ordered = sorted(values)
    cut = int(len(ordered) * (1 - CONFIDENCE) / 2)
    return ordered[cut], ordered[-1 - cut]
