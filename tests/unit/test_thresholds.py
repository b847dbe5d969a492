"""Threshold lines: what they mean, and what is said about those that mean nothing."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from rushhour.scenario.thresholds import METRICS, OPERATORS, Threshold, Unit, in_words, parse_threshold


@pytest.mark.parametrize(
    ("line", "metric", "endpoint", "operator", "bound"),
    [
        ("queuepool_timeouts == 0", "queuepool_timeouts", None, "==", 0),
        ("http_5xx_rate < 0.1%", "http_5xx_rate", None, "<", 0.001),
        ("p95 < 400ms", "p95", None, "<", 400),
        ("p99<1.5s", "p99", None, "<", 1500),
        (
            "p95{GET /customers/:id/referrals} < 600ms",
            "p95",
            "GET /customers/:id/referrals",
            "<",
            600,
        ),
        ("pool_in_use_max < 80%", "pool_in_use_max", None, "<", 0.8),
        ("pool_in_use_max <= 70%", "pool_in_use_max", None, "<=", 21 / 30),
        ("leaked_connections == 0", "leaked_connections", None, "==", 0),
        ("replica_lag_max < 2s", "replica_lag_max", None, "<", 2),
        ("replica_lag_max <= 500ms", "replica_lag_max", None, "<=", 0.5),
        ("requests > 100", "requests", None, ">", 100),
        ("achieved_rps > 50/s", "achieved_rps", None, ">", 50),
        ("throughput >= 50", "throughput", None, ">=", 50),
        ("generator_lateness_p99 < 50ms", "generator_lateness_p99", None, "<", 50),
    ],
)
def test_a_line_becomes_a_bound_in_the_unit_of_its_metric(
    line: str, metric: str, endpoint: str | None, operator: str, bound: float
) -> None:
    assert parse_threshold(line) == Threshold(line, metric, endpoint, operator, bound)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("p96 < 400ms", "unknown metric 'p96' in 'p96 < 400ms'; did you mean p9"),
        ("queuepol_timeouts == 0", "did you mean queuepool_timeouts?"),
        ("zzz < 1", r"unknown metric 'zzz' in 'zzz < 1' \(known: p50, p90,"),
        ("p95 < 400", r"it takes a duration \(400ms, 1.5s\)"),
        ("p95 < 400%", "unit '%' does not fit p95"),
        ("p95 < fast", "bound 'fast' does not fit p95|unit 'fast' does not fit p95"),
        ("http_5xx_rate < 0.001", r"it takes a percentage \(0.1%\)"),
        ("http_5xx_rate < 101%", "out of range"),
        ("queuepool_timeouts == 0ms", "unit 'ms' does not fit queuepool_timeouts"),
        ("requests > 1.5", "it takes a whole number"),
        ("requests > 9" + "9" * 400, "out of range"),
        ("requests > -1", "bound '-1' does not fit requests"),
        ("queuepool_timeouts = 0", "unknown operator '='.*known: <, <=, >, >=, =="),
        ("queuepool_timeouts != 0", "unknown operator '!='"),
        ("p95 == 400ms", "is measured, not counted"),
        ("queuepool_timeouts < 0", "can never hold"),
        ("pool_in_use_max > 100%", "can never hold"),
        ("requests >= 0", "always holds"),
        ("pool_in_use_max <= 100%", "always holds"),
        ("leaked_connections{GET /x} == 0", "not known per endpoint.*these are: p50"),
        ("p95{/customers} < 1s", "'/customers' is not an endpoint"),
        ("p95", "is not a threshold"),
        ("", "is not a threshold"),
        (400, "400 is not a threshold"),
        (None, "None is not a threshold"),
        ({"expr": "p95 < 1s"}, "is not a threshold; write it as one line"),
    ],
)
def test_a_bad_line_is_refused_with_what_is_allowed(line: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_threshold(line)


ENDPOINTS = st.sampled_from([None, "GET /", "POST /customers/:id/referrals", "DELETE /a"])


@st.composite
def valid_lines(draw: st.DrawFn) -> str:
    spec = draw(st.sampled_from(list(METRICS.values())))
    number: Any
    if spec.unit is Unit.COUNT:
        number = draw(st.integers(1, 10**6))
        symbol = draw(st.sampled_from(list(OPERATORS)))
    else:
        number = round(draw(st.floats(0.01, 99)), 2)
        symbol = draw(st.sampled_from(["<", "<=", ">", ">="]))
    unit = {
        Unit.SHARE: ["%"],
        Unit.DURATION_MS: ["ms", "s"],
        Unit.DURATION_S: ["ms", "s"],
        Unit.RATE: ["", "/s"],
    }.get(spec.unit, [""])
    endpoint = draw(ENDPOINTS) if spec.per_endpoint else None
    space = draw(st.sampled_from(["", " ", "  "]))
    where = "" if endpoint is None else f"{{{endpoint}}}"
    return f"{spec.name}{where}{space}{symbol}{space}{number}{draw(st.sampled_from(unit))}"


@given(valid_lines())
def test_a_threshold_survives_scenario_json(line: str) -> None:
    adapter = TypeAdapter(Threshold)
    made = parse_threshold(line)
    assert parse_threshold(adapter.dump_python(made)) == made
    assert parse_threshold(made) is made


@given(valid_lines())
def test_every_threshold_can_hold_and_can_fail(line: str) -> None:
    made = parse_threshold(line)
    top = 1.0 if METRICS[made.metric].unit is Unit.SHARE else made.bound + 1
    outcomes = {made.holds(value) for value in (0.0, made.bound / 2, made.bound, top)}
    assert outcomes == {True, False}


@given(st.text(max_size=40))
def test_any_text_is_a_threshold_or_a_message(text: str) -> None:
    try:
        made = parse_threshold(text)
    except ValueError as error:
        assert repr(text) in str(error) or repr(text.strip()) in str(error) or text in str(error)  # noqa: PT017 - both ends are valid
    else:
        assert made.metric in METRICS


def test_values_are_written_as_a_person_would() -> None:
    assert in_words("http_5xx_rate", 0.0026) == "0.26%"
    assert in_words("p95", 30_015) == "30,015 ms"
    assert in_words("p50", 0.42) == "0.42 ms"
    assert in_words("replica_lag_max", 2.25) == "2.25 s"
    assert in_words("queuepool_timeouts", 1500) == "1,500"
    assert in_words("achieved_rps", 76.31) == "76.31/s"
    assert in_words("replica_cpu_cores_mean", 0.487) == "0.49 cores"


def test_every_metric_says_what_it_means() -> None:
    for spec in METRICS.values():
        assert spec.meaning
        assert re.fullmatch(r"[a-z0-9_]+", spec.name)


def test_the_documentation_names_every_metric() -> None:
    page = (Path(__file__).parents[2] / "docs/verdict.md").read_text(encoding="utf-8")
    assert [name for name in METRICS if f"`{name}`" not in page] == []
