"""Tests of `expect: degraded`, and of runs without the pool agent."""

import dataclasses
from typing import Any

import pytest

from rushhour.rundir import History
from rushhour.scenario.model import Scenario
from rushhour.verdict.judge import Verdict, judge
from tests.unit import histories
from tests.unit.zoo_histories import external


def degraded(**changes: Any) -> Scenario:
    return histories.scenario(**{"expect": "degraded", "cause": "scope-never-removed"} | changes)


def judged(scenario: Scenario, history: History) -> Verdict:
    return judge(scenario, history, "embedded")


def black_box(history: History) -> History:
    return History(
        None,
        events=history.events,
        requests=history.requests,
        generator=history.generator,
        servers=history.servers,
        host=history.host,
    )


def test_leaks_without_a_timeout_pass() -> None:
    verdict = judged(degraded(), histories.incident(timeouts=0))
    assert verdict.verdict == "pass"
    assert "30 leaked connections, cause scope-never-removed (certain)" in verdict.reasons[0]


def test_timeouts_pass() -> None:
    assert judged(degraded(), histories.incident()).verdict == "pass"


def test_another_cause_than_expected_fails() -> None:
    verdict = judged(degraded(cause="saturation"), histories.incident(timeouts=0))
    assert verdict.verdict == "fail"
    assert verdict.reasons[0].startswith(
        "expected cause saturation, and the diagnosis is scope-never-removed"
    )


def test_a_healthy_run_fails() -> None:
    verdict = judged(degraded(), histories.healthy())
    assert verdict.verdict == "fail"
    assert verdict.reasons == (
        "expected trouble did not come: every threshold holds, and every connection came back",
    )


def test_a_run_without_pool_samples_is_unknown() -> None:
    verdict = judged(degraded(), dataclasses.replace(histories.incident(timeouts=0), pools=()))
    assert verdict.verdict == "unknown"


@pytest.mark.parametrize(("cause", "outcome"), [("scope-never-removed", "pass"), ("saturation", "fail")])
def test_without_the_agent_the_cause_is_compared_too(cause: str, outcome: str) -> None:
    scenario = histories.rush_hour(agent=False, cause=cause)
    assert judged(scenario, black_box(histories.incident())).verdict == outcome


def test_a_cause_that_looks_alike_without_the_agent_is_unknown() -> None:
    history = black_box(external())
    load = {"users": 80, "duration": 20.0, "warm_up": 0.0}
    for cause, outcome in (("held-while-streaming", "unknown"), ("held-across-external-wait", "pass")):
        scenario = histories.rush_hour(agent=False, cause=cause, load=load)
        assert judged(scenario, history).verdict == outcome


def test_a_cause_that_was_not_seen_without_the_agent_is_unknown() -> None:
    history = black_box(histories.incident())
    quiet = tuple(dataclasses.replace(sample, states={}) for sample in history.servers)
    verdict = judged(histories.rush_hour(agent=False), dataclasses.replace(history, servers=quiet))
    assert verdict.verdict == "unknown"
    assert "without the agent the cause scope-never-removed was not seen" in verdict.reasons[0]


def test_a_healthy_run_without_the_agent_passes_on_metrics_seen_from_outside() -> None:
    verdict = judged(histories.scenario(agent=False), black_box(histories.healthy()))
    assert verdict.verdict == "pass"
    notes = [
        note for note in verdict.notes if note.startswith("not judged, since the pool agent was switched off")
    ]
    assert notes == [f"{notes[0].partition(':')[0]}: leaked_connections == 0, pool_in_use_max < 80%"]
    judged_too = {result.expr for result in verdict.thresholds}
    assert {"queuepool_timeouts == 0", "replica_lag_max < 2s"} <= judged_too


def test_missing_agent_data_is_unknown_when_the_agent_is_on() -> None:
    verdict = judged(histories.scenario(), black_box(histories.healthy()))
    assert verdict.verdict == "unknown"
