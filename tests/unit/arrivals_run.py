"""Scenarios and histories of runs with open arrivals."""

import dataclasses
from typing import Any

from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.scenario.arrivals import RatePoint
from rushhour.scenario.model import Scenario
from tests.unit import histories as h


def open_gate(per_s: float = 10.0, **changes: Any) -> Scenario:
    scenario = h.scenario(**changes)
    load = dataclasses.replace(scenario.load, users=None, arrivals=(RatePoint(0.0, per_s),))
    return dataclasses.replace(scenario, load=load)


def arriving(each_s: int = 10, history: History | None = None, **changes: Any) -> History:
    """A healthy run, or another, in which `each_s` customers came in each second."""
    history = history or h.healthy()
    samples = tuple(
        dataclasses.replace(sample, users=40, arrived=each_s, **changes) for sample in history.generator
    )
    rows = tuple(dataclasses.replace(row, latency_due=f.SAME_LATENCY) for row in history.requests)
    return dataclasses.replace(history, generator=samples, requests=rows)
