"""Tests of the verdict on each kind of run, and of its headline, reasons and notes."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rushhour.judging.saved import read_verdict
from rushhour.rundir import FactWriter, History, RunDir, load_history
from rushhour.rundir import facts as f
from rushhour.scenario.model import SCENARIO, Scenario
from rushhour.verdict.judge import Verdict, judge, verdict_json
from tests.unit import histories as h
from tests.unit import zoo_histories as zoo


def judged(scenario: Scenario, history: History) -> Verdict:
    return judge(scenario, history, "embedded")


def test_an_exhausted_run_fails_a_healthy_expectation_with_cause_and_line_in_the_headline() -> None:
    verdict = judged(h.scenario(), h.incident())
    assert (verdict.verdict, verdict.observed, verdict.expected) == ("fail", "exhausted", "healthy")
    assert verdict.headline == (
        "gate (release 1.1): replica pool exhausted 41 s into the load: 30 of 30 connections held by "
        "requests that had ended, taken at app/referrals.py:88 list_referrals; 15 of 5,215 requests timed out"
    )
    assert verdict.reasons == (
        "queuepool_timeouts == 0 does not hold: 15",
        "http_5xx_rate < 0.1% does not hold: 0.288%",
        "leaked_connections == 0 does not hold: 30",
        "pool_in_use_max < 80% does not hold: 100%",
    )


def test_a_healthy_run_passes_a_healthy_expectation() -> None:
    verdict = judged(h.scenario(release="1.1.1"), h.healthy())
    assert (verdict.verdict, verdict.observed) == ("pass", "healthy")
    assert verdict.headline == (
        "gate (release 1.1.1): 5,200 requests, 0 answered 5xx, p95 34 ms; replica pool: at most 12 of 30 "
        "connections out (sampled), every connection came back"
    )
    assert all(result.ok for result in verdict.thresholds)
    assert verdict.notes == ()


def test_an_exhausted_run_with_the_expected_cause_passes() -> None:
    verdict = judged(h.rush_hour(), h.incident())
    assert (verdict.verdict, verdict.observed) == ("pass", "exhausted")
    assert verdict.expected == "exhausted (scope-never-removed)"
    assert verdict.reasons == (
        "exhaustion came as expected: 15 pool time-outs, cause scope-never-removed (certain)",
    )
    assert judged(h.rush_hour(cause=None), h.unclosed()).verdict == "pass"


def test_expected_exhaustion_that_did_not_come_fails() -> None:
    verdict = judged(h.rush_hour(release="1.1.1"), h.healthy())
    assert verdict.verdict == "fail"
    assert verdict.headline == (
        "rush-hour (release 1.1.1): expected exhaustion did not come: no pool time-out in 5,200 requests, "
        "the replica pool had at most 12 of 30 connections out (sampled)"
    )


def test_exhaustion_with_another_cause_than_expected_fails() -> None:
    verdict = judged(h.rush_hour(), h.saturated())
    assert verdict.verdict == "fail"
    assert "expected cause scope-never-removed, and the diagnosis is saturation" in verdict.headline


def test_a_leak_fails_a_healthy_expectation_without_any_timeout() -> None:
    verdict = judged(h.scenario(thresholds=("leaked_connections == 0",)), h.incident(timeouts=0))
    assert (verdict.verdict, verdict.observed) == ("fail", "degraded")
    assert verdict.reasons == ("leaked_connections == 0 does not hold: 30",)
    assert verdict.headline.endswith("list_referrals, and no request has timed out yet")
    single = judged(h.scenario(), h.incident(leaked=1, timeouts=0))
    assert "replica pool leaks: 1 of 30 connections held by a request that has ended" in single.headline


def test_leaks_that_http_cannot_show_are_a_note_when_only_http_is_judged() -> None:
    verdict = judged(h.testers(), h.staging(leaked=5))
    assert (verdict.verdict, verdict.observed) == ("pass", "healthy")
    assert verdict.headline == "staging (release 1.1): 5,200 requests, 0 answered 5xx, p95 36 ms"
    (note,) = verdict.notes
    assert note == (
        "the agent saw 5 leaked connections of pool replica all the same, taken at app/referrals.py:88 "
        f"list_referrals for {h.ROUTE}"
    )
    assert verdict.diagnosis.cause == "scope-never-removed"


def test_thresholds_that_http_cannot_show_do_not_count_when_only_http_is_judged() -> None:
    scenario = h.testers(thresholds=("p95 < 400ms", "leaked_connections == 0", "replica_lag_max < 2s"))
    for history in (h.staging(), h.without_agent(h.healthy())):
        verdict = judged(scenario, history)
        assert verdict.verdict == "pass"
        assert [result.expr for result in verdict.thresholds] == [
            "p95 < 400ms",
            "unanswered_rate < 1%",
            "locustfile_errors == 0",
        ]
        assert "not judged, since testers cannot see it: leaked_connections == 0, replica_lag_max < 2s" in (
            verdict.notes
        )
    assert judged(scenario, h.incident()).observed == "exhausted"


def test_a_slow_release_fails_without_any_leak() -> None:
    story = h.Story()
    story.requests(h.LIST, 5, 700)
    story.pool("replica", lambda t: h.Level(out=5 if t < 75 else 0, checkouts=int(t * 5)))
    story.server("replica", {"active": 5}, range(77))
    verdict = judged(h.scenario(), story.history())
    assert (verdict.verdict, verdict.observed) == ("fail", "degraded")
    assert verdict.headline.startswith("gate (release 1.1): p95 < 400ms does not hold: 700 ms; 325 requests")


def test_unanswered_requests_fail_a_healthy_expectation_by_default() -> None:
    story = h.Story()
    story.requests(h.LIST, 49, 3)
    story.requests(h.LIST, 1, 1, f.Outcome.CONNECT_ERROR)
    verdict = judged(h.scenario(judge="http", thresholds=("http_5xx_rate < 0.1%",)), story.history())
    assert verdict.verdict == "fail"
    assert verdict.reasons == ("unanswered_rate < 1% does not hold: 2%",)
    lenient = h.scenario(judge="http", thresholds=("unanswered_rate < 5%",))
    assert [result.expr for result in judged(lenient, story.history()).thresholds] == [
        "unanswered_rate < 5%",
        "locustfile_errors == 0",
    ]


def raising(history: History, count: int = 3) -> History:
    """Add exceptions of the locustfile: at one line on two workers, and once at another line."""
    errors = [
        ("KeyError", "'id'", "customers.py:12 in summary", "worker-0", count - 1),
        ("KeyError", "'name'", "customers.py:12 in summary", "worker-1", 1),
        ("ValueError", "", "customers.py:30 in invite", "worker-0", 1),
    ]
    events = tuple(
        f.Event(
            h.STARTED_S + 1,
            f.LOCUSTFILE_ERROR,
            {"error": error, "message": message, "where": where, "worker": worker, "count": n},
        )
        for error, message, where, worker, n in errors
    )
    return dataclasses.replace(history, events=(*history.events, *events))


@pytest.mark.parametrize(
    ("scenario", "history"),
    [
        (h.scenario(release="1.1.1"), h.healthy()),
        (h.testers(), h.staging()),
        (h.rush_hour(), h.incident()),
        (h.scenario(expect="degraded"), h.incident()),
        (h.rush_hour(), h.healthy()),
    ],
    ids=["healthy", "http", "exhausted", "degraded", "expected trouble did not come"],
)
def test_locustfile_errors_fail_every_expectation_and_are_counted_by_line(
    scenario: Scenario, history: History
) -> None:
    verdict = judged(scenario, raising(history))
    assert verdict.verdict == "fail"
    assert verdict.reasons[0] == (
        "locustfile_errors == 0 does not hold: 4; the locustfile raised KeyError: 'id' at "
        "customers.py:12 in summary (3 times); ValueError at customers.py:30 in invite (once)"
    )
    assert verdict.reasons[0] in verdict.headline or verdict.observed == "exhausted"
    assert verdict.metrics["locustfile_errors"] == 4


def test_locustfile_errors_do_not_make_the_service_degraded() -> None:
    verdict = judged(h.scenario(expect="degraded", release="1.1.1"), raising(h.healthy()))
    assert verdict.observed == "healthy"
    assert "expected trouble did not come: every threshold holds, and every connection came back" in (
        verdict.reasons
    )


def test_the_scenario_can_replace_the_default_bound_on_locustfile_errors() -> None:
    lenient = h.testers(thresholds=("p95 < 400ms", "locustfile_errors < 5"))
    verdict = judged(lenient, raising(h.staging()))
    assert verdict.verdict == "pass"
    assert "the locustfile raised KeyError: 'id' at customers.py:12 in summary (3 times)" in verdict.notes


def test_an_unknown_run_lists_its_locustfile_errors() -> None:
    history = raising(h.staging())
    cut = dataclasses.replace(
        history, events=tuple(event for event in history.events if event.name != f.RUN_ENDED)
    )
    verdict = judged(h.testers(), cut)
    assert verdict.verdict == "unknown"
    assert any("the locustfile raised KeyError: 'id'" in reason for reason in verdict.reasons)


def test_timeouts_that_no_threshold_bounds_are_a_note() -> None:
    verdict = judged(h.scenario(thresholds=("p95 < 400ms",)), h.incident())
    assert (verdict.verdict, verdict.observed) == ("pass", "exhausted")
    assert "pool time-outs were seen, and no threshold bounds queuepool_timeouts" in verdict.notes


def test_different_counts_of_timeouts_are_a_note() -> None:
    incident = h.incident()
    logless = tuple(event for event in incident.events if event.name != f.LOG_ERRORS)
    verdict = judged(h.scenario(), dataclasses.replace(incident, events=logless))
    (note,) = verdict.notes
    assert note == (
        "the counts of pool time-outs differ: the agent 15, the customers 15, the service's log 0; "
        "the highest counts"
    )


def test_timeouts_of_the_warm_up_are_a_note_and_do_not_count() -> None:
    healthy = h.healthy()
    story = h.Story()
    story.timeout(4.0)
    early = dataclasses.replace(healthy, pool_timeouts=tuple(story.facts["pool_timeouts"]))
    verdict = judged(h.scenario(), early)
    assert verdict.verdict == "pass"
    assert verdict.notes == ("1 pool time-out came during the warm-up and did not count",)


def test_verdict_json_has_the_documented_keys_and_values() -> None:
    content = json.loads(json.dumps(verdict_json(judged(h.rush_hour(), h.incident()))))
    assert content["scenario"] == "rush-hour"
    assert content["release"] == "1.1"
    assert content["stack"] == "embedded"
    assert content["expected"] == "exhausted (scope-never-removed)"
    assert content["observed"] == "exhausted"
    assert content["verdict"] == "pass"
    assert content["reasons"]
    diagnosis = content["diagnosis"]
    assert diagnosis["cause"] == "scope-never-removed"
    assert diagnosis.keys() >= {"cause", "amplifiers", "evidence", "call_sites", "fix"}
    site = diagnosis["call_sites"][0]
    assert (site["file"], site["line"], site["function"]) == ("app/referrals.py", 88, "list_referrals")
    assert (site["endpoint"], site["held"], site["max_hold_s"]) == (h.ROUTE, 30, 65.0)
    assert content["thresholds"][0] == {"expr": "queuepool_timeouts == 0", "value": 15, "ok": False}
    assert content["metrics"].keys() >= {
        "requests", "offered_rps", "achieved_rps", "http_5xx", "queuepool_timeouts", "leaked_connections",
        "pool_in_use_max", "pool_capacity", "pool_waiters_max", "time_to_exhaustion_s", "time_to_detection_s",
        "p50_ms", "p95_ms", "p99_ms", "primary_cpu_cores_mean", "replica_cpu_cores_mean", "replica_lag_s_max",
        "generator_lateness_p99_ms",
    }  # fmt: skip
    assert content["endpoints"][h.LIST]["http_5xx"] == 15


ORDER = {"pass": 2, "unknown": 1, "fail": 0}


def with_timeout(history: History, at_s: float) -> History:
    """Add one pool time-out, as the agent and as a customer record it."""
    story = h.Story()
    story.timeout(at_s)
    row = h.request_row(int(h.STARTED_S + at_s), h.LIST, 1, 30_010, f.Outcome.QUEUEPOOL_TIMEOUT)
    return dataclasses.replace(
        history,
        pool_timeouts=(*history.pool_timeouts, *story.facts["pool_timeouts"]),
        requests=tuple(sorted((*history.requests, row), key=lambda row: row.t_s)),
    )


STORIES: dict[str, History] = {
    "healthy": h.healthy(),
    "staging": h.staging(),
    "leak": h.incident(timeouts=0),
    "incident": h.incident(),
    "blind": h.without_agent(h.healthy()),
    "cut": h.cut_short(h.healthy(), 60),
}


@settings(max_examples=25)
@given(
    name=st.sampled_from(sorted(STORIES)),
    at_s=st.floats(0, 74.9),
    bound=st.integers(0, 20),
    how=st.sampled_from(["all", "http"]),
)
def test_one_more_timeout_never_improves_the_verdict(name: str, at_s: float, bound: int, how: str) -> None:
    limits = (f"queuepool_timeouts <= {bound}", f"http_5xx <= {bound}", "http_5xx_rate < 0.1%", "p95 < 400ms")
    scenario = h.scenario(judge=how, thresholds=limits)
    before = judged(scenario, STORIES[name])
    after = judged(scenario, with_timeout(STORIES[name], at_s))
    assert ORDER[after.verdict] <= ORDER[before.verdict]


@settings(max_examples=15)
@given(name=st.sampled_from(sorted(STORIES)), leaked=st.integers(1, 30))
def test_one_more_leak_never_improves_the_verdict(name: str, leaked: int) -> None:
    history = STORIES[name]
    story = h.Story()
    for number in range(leaked):
        story.checkout(5000 + number, 30.0, thread=f"more-{number}")
    worse = dataclasses.replace(history, checkouts=(*history.checkouts, *story.facts["checkouts"]))
    assert ORDER[judged(h.scenario(), worse).verdict] <= ORDER[judged(h.scenario(), history).verdict]


@pytest.mark.parametrize("name", sorted(STORIES))
def test_every_verdict_has_a_reason_and_a_headline(name: str) -> None:
    for scenario in (h.scenario(), h.rush_hour(), h.testers()):
        verdict = judged(scenario, STORIES[name])
        assert verdict.reasons
        assert verdict.headline.startswith(f"{scenario.name} (release 1.1): ")
        assert "\n" not in verdict.headline


@pytest.mark.parametrize("name", ["incident", "saturated", "healthy"])
def test_a_saved_run_gets_the_same_verdict(name: str, tmp_path: Path) -> None:
    history: History = getattr(h, name)()
    writer = FactWriter(RunDir(tmp_path))
    for series in dataclasses.fields(history):
        if series.name != "environment":
            writer.write(getattr(history, series.name))
    writer.close()
    for scenario in (h.scenario(), h.rush_hour()):
        saved: Scenario = SCENARIO.validate_json(SCENARIO.dump_json(scenario))
        again = judged(saved, load_history(RunDir(tmp_path)))
        assert verdict_json(again) == verdict_json(judged(scenario, history))


@pytest.mark.parametrize("expect", [{"expect": "healthy"}, {"expect": "exhausted"}, {"expect": "degraded"}])
@pytest.mark.parametrize("story", [h.incident, h.saturated, h.dead_backend, h.healthy, zoo.blocked])
def test_no_sentence_has_a_number_that_is_not_known(
    story: Callable[[], History], expect: dict[str, Any]
) -> None:
    history = story()
    unseen = dataclasses.replace(
        history, pools=(), processes=(), checkouts=(), sites=(), times=(), doing=(), loops=()
    )
    for less in (
        unseen,
        h.without_agent(history),
        dataclasses.replace(history, pools=()),
        dataclasses.replace(history, servers=()),
        dataclasses.replace(history, requests=()),
    ):
        for agent in (True, False):
            scenario = dataclasses.replace(h.rush_hour(agent=agent), **({"cause": None} | expect))
            verdict = judged(scenario, less)
            said = (verdict.headline, *verdict.reasons, *verdict.notes, verdict.diagnosis.summary)
            assert not re.search(r"\b(None|nan|inf)\b", " ".join(said))


def test_missing_exhaustion_without_pool_samples_names_no_pool_and_no_number() -> None:
    unseen = dataclasses.replace(
        h.healthy(), pools=(), processes=(), checkouts=(), sites=(), times=(), doing=(), loops=()
    )
    verdict = judged(h.rush_hour(release="1.1.1", agent=False), unseen)
    assert "expected exhaustion did not come" in verdict.reasons[0]
    assert verdict.reasons[0].endswith("the pools were not seen from inside")
    assert "None" not in " ".join((verdict.headline, *verdict.reasons, *verdict.notes))


def test_a_threshold_read_from_verdict_json_keeps_its_metric(tmp_path: Path) -> None:
    verdict = judged(h.scenario(), h.incident())
    run = RunDir(tmp_path)
    run.write_json("verdict.json", verdict_json(verdict))
    read = read_verdict(run)
    assert read is not None
    assert [result.threshold for result in read.thresholds] == [
        result.threshold for result in verdict.thresholds
    ]
    assert {result.threshold.metric for result in read.thresholds} >= {"p95", "queuepool_timeouts"}
