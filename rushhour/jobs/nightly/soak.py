"""How long the night's soak lasts."""

from dataclasses import replace
from typing import Final

from rushhour.errors import UsageError
from rushhour.scenario.model import Scenario
from rushhour.scenario.rules import contradictions

SHAPE: Final = "soak"


def with_soak(scenario: Scenario, duration_s: float | None) -> Scenario:
    """Return a soak with this duration, any other scenario as it is. Raises UsageError for a bad one."""
    if duration_s is None or scenario.load.shape != SHAPE:
        return scenario
    changed = replace(scenario, load=replace(scenario.load, duration=duration_s))
    problems = [
        f"--soak {duration_s:g}s: {scenario.name}.{'.'.join(map(str, where))}: {what}"
        for where, what in contradictions(changed)
    ]
    if problems:
        raise UsageError(problems)
    return changed
