"""Which thresholds of a scenario count in its verdict (pure)."""

from typing import Final

from rushhour.scenario.model import Scenario
from rushhour.scenario.thresholds import METRICS, Threshold, parse_threshold

# A service that answers nobody has no 5xx either: every healthy run is held to this, or to its own bound.
ANSWERED: Final = parse_threshold("unanswered_rate < 1%")


def judged_thresholds(scenario: Scenario) -> tuple[Threshold, ...]:
    """The scenario's thresholds that count: those that whoever judges it can see."""
    chosen = tuple(one for one in scenario.thresholds if is_seen(scenario, one))
    if scenario.expect != "healthy" or any(one.metric == ANSWERED.metric for one in chosen):
        return chosen
    return (*chosen, ANSWERED)


def is_seen(scenario: Scenario, threshold: Threshold) -> bool:
    """Nothing inside where HTTP alone is judged; no pools, but for time-outs, without the agent."""
    spec = METRICS[threshold.metric]
    if scenario.judge == "http":
        return not spec.inside
    return scenario.agent or spec.source != "pools" or spec.name == "queuepool_timeouts"
