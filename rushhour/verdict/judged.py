"""Selects the thresholds that a run is judged by (pure)."""

from typing import Final

from rushhour.metrics.locustfile import locustfile_errors
from rushhour.rundir import History
from rushhour.scenario.model import Scenario
from rushhour.scenario.thresholds import METRICS, Threshold, in_words, parse_threshold

SHOWN_ERRORS: Final = 5  # exceptions of the locustfile (by type and line) that a reason lists

# Applies to every scenario that expects `healthy` and sets no bound of its own: a service that does not
# answer at all sends no 5xx either.
ANSWERED: Final = parse_threshold("unanswered_rate < 1%")

# Applies to every scenario that sets no bound of its own: a customer whose code raises makes less load than
# the scenario says.
RAISED_NOTHING: Final = parse_threshold("locustfile_errors == 0")


def judged_thresholds(scenario: Scenario) -> tuple[Threshold, ...]:
    """Return the thresholds that count: those of the scenario that it can see, and the defaults."""
    chosen = tuple(threshold for threshold in scenario.thresholds if is_seen(scenario, threshold))
    by_default = (ANSWERED, RAISED_NOTHING) if scenario.expect == "healthy" else (RAISED_NOTHING,)
    bounded = {threshold.metric for threshold in chosen}
    return (*chosen, *(threshold for threshold in by_default if threshold.metric not in bounded))


def violated_words(threshold: Threshold, value: float) -> str:
    """Say that a threshold does not hold, and its value."""
    return f"{threshold.expr} does not hold: {in_words(threshold.metric, value)}"


def raised_words(violated: str, history: History) -> str:
    """Add the locustfile's exceptions, with their types and lines, to the sentence `violated`."""
    errors = locustfile_errors(history)
    more = f"; and {len(errors) - SHOWN_ERRORS} more lines" if len(errors) > SHOWN_ERRORS else ""
    return f"{violated}; the locustfile raised {'; '.join(map(str, errors[:SHOWN_ERRORS]))}{more}"


def is_seen(scenario: Scenario, threshold: Threshold) -> bool:
    """Return whether the scenario can see the metric of a threshold.

    With `judge: http` only metrics of HTTP count. Without the agent the only pool metric is
    `queuepool_timeouts`, which is counted in HTTP answers too.
    """
    spec = METRICS[threshold.metric]
    if scenario.judge == "http":
        return not spec.inside
    return scenario.agent or spec.source != "pools" or spec.name == "queuepool_timeouts"
