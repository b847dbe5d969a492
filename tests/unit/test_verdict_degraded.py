"""`expect: degraded`, and runs without the pool agent."""

import dataclasses
from typing import Any

import pytest

from rushhour.rundir import History
from rushhour.scenario.model import Scenario
from rushhour.verdict.judge import Verdict, judge
from tests.unit import histories
from tests.unit.test_diagnosis_zoo import external


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


def test_trouble_without_a_time_out_is_enough() -> None:
    verdict = judged(degraded(), histories.incident(timeouts=0))
    assert verdict.verdict == "pass"
    assert "30 leaked connections, cause scope-never-removed (certain)" in verdict.reasons[0]


def test_time_outs_are_trouble_too() -> None:
    assert judged(degraded(), histories.incident()).verdict == "pass"


def test_another_cause_fails() -> None:
    verdict = judged(degraded(cause="saturation"), histories.incident(timeouts=0))
    assert verdict.verdict == "fail"
    assert verdict.reasons[0].startswith(
        "expected cause saturation, and the diagnosis is scope-never-removed"
    )


def test_trouble_that_does_not_come_fails() -> None:
    verdict = judged(degraded(), histories.healthy())
    assert verdict.verdict == "fail"
    assert verdict.reasons == (
        "expected trouble did not come: every threshold holds, and every connection came back",
    )


def test_a_harness_that_has_gone_blind_cannot_pass() -> None:
    verdict = judged(degraded(), dataclasses.replace(histories.incident(timeouts=0), pools=()))
    assert verdict.verdict == "unknown"


@pytest.mark.parametrize(("cause", "outcome"), [("scope-never-removed", "pass"), ("saturation", "fail")])
def test_a_black_box_is_held_to_the_cause_as_well(cause: str, outcome: str) -> None:
    scenario = histories.rush_hour(agent=False, cause=cause)
    assert judged(scenario, black_box(histories.incident())).verdict == outcome


def test_a_cause_that_looks_like_the_one_that_a_black_box_names_is_unknown() -> None:
    history = black_box(external())
    load = {"users": 80, "duration": 20.0, "warm_up": 0.0}
    for cause, outcome in (("held-while-streaming", "unknown"), ("held-across-external-wait", "pass")):
        scenario = histories.rush_hour(agent=False, cause=cause, load=load)
        assert judged(scenario, history).verdict == outcome


def test_a_cause_that_a_black_box_keeps_to_itself_is_unknown() -> None:
    history = black_box(histories.incident())
    quiet = tuple(dataclasses.replace(one, states={}) for one in history.servers)
    verdict = judged(histories.rush_hour(agent=False), dataclasses.replace(history, servers=quiet))
    assert verdict.verdict == "unknown"
    assert "without the agent the cause scope-never-removed was not told" in verdict.reasons[0]


def test_a_healthy_black_box_passes_on_what_shows_from_outside() -> None:
    verdict = judged(histories.scenario(agent=False), black_box(histories.healthy()))
    assert verdict.verdict == "pass"
    told = [
        note for note in verdict.notes if note.startswith("not judged, since the pool agent was switched off")
    ]
    assert told == [f"{told[0].partition(':')[0]}: leaked_connections == 0, pool_in_use_max < 80%"]
    judged_too = {one.expr for one in verdict.thresholds}
    assert {"queuepool_timeouts == 0", "replica_lag_max < 2s"} <= judged_too


def test_an_agent_that_was_not_switched_off_is_missed() -> None:
    verdict = judged(histories.scenario(), black_box(histories.healthy()))
    assert verdict.verdict == "unknown"
