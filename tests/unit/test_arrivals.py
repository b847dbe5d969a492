"""Open arrivals: the curve of rates, the moments of arrival, and what a scenario may say."""

import dataclasses
import math
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from rushhour.errors import UsageError
from rushhour.jobs.compare.conditions import _flat
from rushhour.load.arrivals import arrival_times
from rushhour.load.locust import locust_environment
from rushhour.load.recorder import Clock, Tally
from rushhour.rundir import History, RunDir
from rushhour.rundir import facts as f
from rushhour.scenario.arrivals import (
    RatePoint,
    as_text,
    expected,
    from_text,
    in_words,
    parse_arrivals,
    rate_at,
    stretched,
    with_peak,
)
from rushhour.scenario.file import load_scenarios
from rushhour.scenario.model import SCENARIO, Scenario
from rushhour.scenario.settings import parse_setting, with_settings
from rushhour.verdict.judge import judge
from tests.unit import histories as h
from tests.unit.arrivals_run import arriving, open_gate

CURVE = (RatePoint(0.0, 10.0), RatePoint(60.0, 40.0))
JUMP = (RatePoint(0.0, 10.0), RatePoint(30.0, 10.0), RatePoint(30.0, 40.0))
FILE = """
service: {{ name: shop, command: "x {{port}}", health: /, releases: ["1"] }}
scenarios:
  base:
    load: {{ users: 10, shape: spike, spawn_rate: 5, duration: 60s, locustfile: customers.py }}
    expect: healthy
    thresholds: [p95_due < 1s]
  open:
    extends: base
    load: {load}
"""


def scenarios(tmp_path: Path, load: str) -> dict[str, Scenario]:
    (tmp_path / "customers.py").touch()
    path = tmp_path / "scenarios.yaml"
    path.write_text(FILE.format(load=load))
    return dict(load_scenarios(path).scenarios)


@pytest.mark.parametrize(
    ("given", "points"),
    [
        ("40/s", (RatePoint(0.0, 40.0),)),
        (" 2.5 / s ", (RatePoint(0.0, 2.5),)),
        ("90/min", (RatePoint(0.0, 1.5),)),
        ("7200/h", (RatePoint(0.0, 2.0),)),
        ([["0s", "10/s"], ["1m", "40/s"]], CURVE),
        ([[0, "10/s"], ["30s", "10/s"], ["30s", "40/s"]], JUMP),
        ([["0s", "0/s"], ["10s", "5/s"]], (RatePoint(0.0, 0.0), RatePoint(10.0, 5.0))),
    ],
)
def test_a_rate_or_a_curve_is_parsed(given: object, points: tuple[RatePoint, ...]) -> None:
    assert parse_arrivals(given) == points
    assert from_text(as_text(points)) == points


@pytest.mark.parametrize(
    "given",
    [
        *("", "40", "0/s", "-4/s", "many/s", "40/d", "inf/s", "nan/s", "9" * 400 + "/s", "40/s/s"),
        *(40, 40.0, True, {}, {"a": 1}, []),
        *([["0s", "0/s"]], [["5s", "4/s"]], [["0s", "4/s"], ["9s", "1/s"], ["3s", "2/s"]]),
        *([["0s"]], ["0s", "4/s"], [["0s", "4/s", "5/s"]], [["0s", 4]], [[0, "4/s"], [10, "5/s"]]),
        *([[True, "4/s"]], [["-3s", "4/s"]]),
    ],
)
def test_what_is_no_rate_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match=r"rate|curve|duration|order|arrive"):
        parse_arrivals(given)


def test_the_curve_is_linear_between_its_points_and_constant_after_the_last() -> None:
    assert [rate_at(CURVE, t_s) for t_s in (0, 30, 60, 90)] == [10, 25, 40, 40]
    assert [rate_at(JUMP, t_s) for t_s in (0, 29.9, 30, 31)] == [10, 10, 40, 40]
    assert expected(CURVE, 60) == pytest.approx(1500)
    assert expected(CURVE, 90, 60) == pytest.approx(1200)
    assert expected(JUMP, 60) == pytest.approx(300 + 1200)
    assert in_words(CURVE) == "10 to 40 a second"
    assert expected(with_peak(CURVE, 80), 60) == pytest.approx(3000)
    assert expected(stretched(JUMP, 2), 120) == pytest.approx(3000)


@given(st.integers(0, 10_000), st.sampled_from([1, 2, 3]))
def test_processes_together_have_the_whole_rate(seed: int, processes: int) -> None:
    counts = [0, 0]
    for index in range(processes):
        rng = random.Random(f"{seed}/{index}")  # noqa: S311  # no secret
        times = list(arrival_times(JUMP, 60.0, rng, 1 / processes))
        assert times == sorted(times)
        assert all(0 < t_s < 60 for t_s in times)
        counts[0] += sum(t_s < 30 for t_s in times)
        counts[1] += sum(t_s >= 30 for t_s in times)
    for count, mean in zip(counts, (300, 1200), strict=True):
        assert abs(count - mean) < 6 * math.sqrt(mean)


def test_gaps_between_arrivals_vary_as_those_of_a_poisson_process() -> None:
    rng = random.Random(3)  # noqa: S311  # no secret
    times = list(arrival_times((RatePoint(0.0, 100.0),), 200.0, rng))
    gaps = [after - before for before, after in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    deviation = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    assert mean == pytest.approx(0.01, rel=0.05)
    assert deviation / mean == pytest.approx(1.0, abs=0.05)  # equal gaps would have 0


def test_arrivals_replace_inherited_users_and_their_shape(tmp_path: Path) -> None:
    load = scenarios(tmp_path, "{ arrivals: 40/s }")["open"].load
    assert (load.users, load.arrivals, load.duration) == (None, (RatePoint(0.0, 40.0),), 60.0)
    assert load.in_words() == "arrivals of 40 a second"


def test_a_scenario_with_arrivals_survives_its_file() -> None:
    scenario = with_settings(
        load_scenarios(Path("scenarios.yaml")).scenarios["gate"],
        [parse_setting("load.arrivals=[[0s, 10/s], [60s, 40/s]]")],
    )
    assert scenario.load.arrivals == CURVE
    assert SCENARIO.validate_json(SCENARIO.dump_json(scenario)) == scenario


def test_locust_gets_the_curve_and_customers_leave_after_a_session(tmp_path: Path) -> None:
    scenario = with_settings(
        load_scenarios(Path("scenarios.yaml")).scenarios["gate"],
        [parse_setting("load.arrivals=40/s"), parse_setting("load.workers=2")],
    )
    environment = locust_environment(scenario, RunDir(tmp_path), 0.0)
    assert from_text(environment["RUSHHOUR_ARRIVALS"]) == (RatePoint(0.0, 40.0),)
    assert (environment["RUSHHOUR_PROCESSES"], environment["RUSHHOUR_ONE_SESSION"]) == ("2", "yes")
    assert environment["RUSHHOUR_PUSH_AT_S"] == ""


@pytest.mark.parametrize(
    ("load", "problems"),
    [
        ("{ arrivals: 0/s }", ["open.load.arrivals: nobody would ever arrive"]),
        ("{ arrivals: 40 }", ["open.load.arrivals: 40 is not a rate"]),
        ("{ arrivals: 90000/s }", ["90,000 customers a second are beyond this load generator"]),
        (
            "{ arrivals: [[0s, 5/s], [2m, 9/s]] }",
            ["open.load.arrivals.1: 120 s is not within the load of 60 s"],
        ),
        ("{ arrivals: 1/h }", ["only 0.014 customers would arrive"]),
        (
            "{ arrivals: 4/s, users: 3, shape: ramp, spawn_rate: 9 }",
            [
                "arrivals: stands beside `users: 3`",
                "shape: has no effect beside `arrivals:`",
                "spawn_rate: has no effect beside `arrivals:`",
            ],
        ),
    ],
)
def test_every_contradiction_is_reported_with_its_line(
    load: str, problems: list[str], tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        scenarios(tmp_path, load)
    assert len(caught.value.problems) == len(problems)
    for found, problem in zip(caught.value.problems, problems, strict=True):
        assert problem in found
        assert "scenarios.yaml:10: " in found


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (["load.arrivals=4/s", "load.users=5"], "stands beside `users: 5`"),
        (["load.arrivals=4/s", "load.spawn_rate=5"], "has no effect beside `arrivals:`"),
        (["load.arrivals=null"], "load.users: is missing"),
    ],
)
def test_settings_that_contradict_arrivals_are_refused(settings: list[str], problem: str) -> None:
    gate = load_scenarios(Path("scenarios.yaml")).scenarios["gate"]
    with pytest.raises(UsageError, match=problem):
        with_settings(gate, [parse_setting(text) for text in settings])


def test_users_on_the_command_line_replace_arrivals() -> None:
    gate = load_scenarios(Path("scenarios.yaml")).scenarios["gate"]
    arriving = with_settings(gate, [parse_setting("load.arrivals=4/s")])
    staying = with_settings(arriving, [parse_setting("load.users=5")])
    assert (staying.load.users, staying.load.arrivals) == (5, None)


def test_the_number_of_customers_who_are_present_is_a_result() -> None:
    verdict = judge(open_gate(), arriving(), "embedded")
    assert verdict.verdict == "pass", verdict.reasons
    metrics = verdict.metrics
    assert (metrics["arrivals"], metrics["arrivals_per_s"]) == (750, 10.0)
    assert (metrics["users_max"], metrics["users_mean"]) == (40, 40.0)


def test_arrivals_may_be_fewer_by_chance() -> None:
    # 95 % of 750 less five deviations of 27 are 575.
    assert judge(open_gate(), arriving(8), "embedded").verdict == "pass"
    (reason,) = judge(open_gate(), arriving(7), "embedded").reasons
    assert reason == "only 525 of about 750 customers ever arrived"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"due_late_p99_ms": 350.0}, "requests were sent 350 ms later than due at p99 (bound 100 ms)"),
        ({"turned_away": 2}, "had no room for 150 of the customers who arrived: 40 were present at most"),
    ],
)
def test_a_generator_that_cannot_keep_the_rate_makes_the_run_unknown(
    changes: dict[str, Any], reason: str
) -> None:
    verdict = judge(open_gate(), arriving(**changes), "embedded")
    assert verdict.verdict == "unknown"
    assert reason in verdict.reasons[0]


P95_DUE = "p95_due < 1s"
P95_DUE_OF_LIST = "p95_due{GET /customers/:id/referrals} < 1s"


def late_by(late_ms: float) -> History:
    history = arriving()
    rows = tuple(
        dataclasses.replace(row, latency_due=h.request_row(0, "", row.count, late_ms, f.Outcome.OK).latency)
        if row.endpoint == h.LIST
        else row
        for row in history.requests
    )
    return dataclasses.replace(history, requests=rows)


def test_thresholds_name_the_latency_since_a_request_was_due() -> None:
    scenario = open_gate(thresholds=(P95_DUE_OF_LIST,))
    assert judge(scenario, arriving(), "embedded").verdict == "pass"
    verdict = judge(scenario, late_by(1500.0), "embedded")
    assert verdict.verdict == "fail"
    assert verdict.endpoints[h.LIST].p95_due_ms == pytest.approx(1500, rel=0.001)
    sent_ms = verdict.endpoints[h.LIST].p95_ms
    assert sent_ms is not None
    assert sent_ms < 1000


def test_a_run_that_did_not_record_when_requests_were_due_is_unknown() -> None:
    verdict = judge(open_gate(thresholds=(P95_DUE,)), h.healthy(), "embedded")
    assert verdict.verdict == "unknown"
    verdict = judge(h.scenario(thresholds=(P95_DUE,)), h.healthy(), "embedded")
    assert (verdict.verdict, verdict.reasons) == ("unknown", ("no data for p95_due < 1s",))


def test_the_recorder_keeps_both_latencies() -> None:
    tally = Tally(Clock(0.0, lambda: 4.5), "local", lambda: 0.0)
    for late_ms in (0.0, 0.0, 30.0):
        tally.ended("GET", "/a", f.Outcome.OK, 10.0, late_ms=late_ms)
    tally.ended("GET", "/a", f.Outcome.HTTP_5XX, 10.0, 500, late_ms=50.0)
    tally.ended("GET", "/b", f.Outcome.OK, 10.0)
    tally.sent_late(30.0)
    tally.arrived = 2
    rows = {(row.endpoint, row.outcome): row for row in tally.rows(final=True)}
    due = HdrHistogram.decode(rows["GET /a", f.Outcome.OK].latency_due)
    assert due.get_total_count() == 3
    assert [due.get_value_at_percentile(p) // 1000 for p in (50, 100)] == [10, 40]
    failed = HdrHistogram.decode(rows["GET /a", f.Outcome.HTTP_5XX].latency_due)
    assert failed.get_value_at_percentile(50) == pytest.approx(60_000, rel=0.001)
    assert rows["GET /b", f.Outcome.OK].latency_due == f.SAME_LATENCY
    sample = tally.sample(users=5)
    assert (sample.arrived, sample.due_late_p99_ms, sample.due_late_max_ms) == (2, 30.0, 30.0)
    assert tally.sample(users=5).arrived == 0


def test_a_comparison_names_two_rates() -> None:
    flat = [_flat("load", open_gate(per_s).load)["load.arrivals"] for per_s in (10.0, 20.0)]
    assert flat == ["10/s from 0 s on", "20/s from 0 s on"]
    assert _flat("load", h.scenario().load)["load.arrivals"] is None
