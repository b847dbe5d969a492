"""Which thresholds of a scenario count in its verdict (pure)."""

from typing import Final

from rushhour.metrics.locustfile import locustfile_errors
from rushhour.rundir import History
from rushhour.scenario.model import Scenario
from rushhour.scenario.thresholds import METRICS, Threshold, in_words, parse_threshold

SHOWN_ERRORS: Final = 5  # of a locustfile, by type and line

# A service that answers nobody has no 5xx either: every healthy run is held to this, or to its own bound.
ANSWERED: Final = parse_threshold("unanswered_rate < 1%")

# A customer whose code raises does less than its scenario says: every run is held to this, or its own bound.
RAISED_NOTHING: Final = parse_threshold("locustfile_errors == 0")


def judged_thresholds(scenario: Scenario) -> tuple[Threshold, ...]:
    """The scenario's thresholds that count: those that whoever judges it can see."""
    chosen = tuple(one for one in scenario.thresholds if is_seen(scenario, one))
    by_default = (ANSWERED, RAISED_NOTHING) if scenario.expect == "healthy" else (RAISED_NOTHING,)
    bounded = {one.metric for one in chosen}
    return (*chosen, *(one for one in by_default if one.metric not in bounded))


def violated_words(threshold: Threshold, value: float) -> str:
    """That a threshold does not hold, with its value."""
    return f"{threshold.expr} does not hold: {in_words(threshold.metric, value)}"


def raised_words(violated: str, history: History) -> str:
    """The same of a locustfile's exceptions, with their types and lines."""
    errors = locustfile_errors(history)
    more = f"; and {len(errors) - SHOWN_ERRORS} more lines" if len(errors) > SHOWN_ERRORS else ""
    return f"{violated}; the locustfile raised {'; '.join(map(str, errors[:SHOWN_ERRORS]))}{more}"


def is_seen(scenario: Scenario, threshold: Threshold) -> bool:
    """Nothing inside where HTTP alone is judged; no pools, but for time-outs, without the agent."""
    spec = METRICS[threshold.metric]
    if scenario.judge == "http":
        return not spec.inside
    return scenario.agent or spec.source != "pools" or spec.name == "queuepool_timeouts"
