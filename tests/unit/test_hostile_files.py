"""Files of users that are larger, deeper or stranger than any tool writes: refused in words, and soon."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from rushhour.alarms.exports import of_export
from rushhour.alarms.formats.files import find
from rushhour.alarms.policies import load
from rushhour.alarms.selectors import selectors
from rushhour.cli.main import _exit_of
from rushhour.errors import UsageError
from rushhour.jobs.init.routes import of_openapi
from rushhour.jobs.traffic.model import read_model
from rushhour.process.regular import read_at_most
from rushhour.scenario.file import load_scenarios
from rushhour.scenario.model import SCENARIO
from tests.unit import histories

ALARM = {
    "AlarmName": "errors",
    "Namespace": "AWS/ApplicationELB",
    "MetricName": "HTTPCode_Target_5XX_Count",
    "Statistic": "Sum",
    "Period": 60,
    "EvaluationPeriods": 1,
    "Threshold": 10,
    "ComparisonOperator": "GreaterThanThreshold",
    "AlarmActions": ["arn:aws:sns:eu-central-1:111122223333:pager"],
}


def described(path: Path, **changes: object) -> Path:
    path.write_text(json.dumps({"MetricAlarms": [{**ALARM, **changes}], "CompositeAlarms": []}))
    return path


# A native parser of PromQL ends the whole process on the first two, and panics on the last.
ENDLESS_PROMQL = {
    "brackets": "(" * 100_000 + "x" + ")" * 100_000,
    "calls": "sum(" * 10_000 + "x" + ")" * 10_000,
    "brackets behind a comment": "x # comment\n + " + "(" * 10_000 + "x" + ")" * 10_000,
    "signs": "-" * 10_000 + "x",
    "a chain": "+".join(["x"] * 10_000),
    "words": " and ".join(["x"] * 10_000),
    "a long text": "x" * 1_000_000,
    "a duration without a unit": "rate(x[99999999999999999999999])",
    "an offset with an exponent": "x offset 1e30",
    "a step": "x[5m:99999999999999999999999]",
    "infinity": "x[inf]",
}


@pytest.mark.parametrize("kind", sorted(ENDLESS_PROMQL))
def test_promql_that_the_parser_does_not_survive_is_refused(kind: str) -> None:
    began_s = time.process_time()
    with pytest.raises(ValueError, match=r"PromQL|are the most|is the most"):
        selectors(ENDLESS_PROMQL[kind])
    assert time.process_time() - began_s < 5


def test_brackets_and_digits_within_quotes_are_text() -> None:
    text = '"' + "(" * 300 + '[99999999999999999999999"'
    [selector] = selectors(f"rate(http_requests_total{{path={text}}}[5m]) > 1e30")
    assert selector.name == "http_requests_total"


def test_many_labels_are_no_operators() -> None:
    text = " or ".join(f'up{{job="{at}",instance=~"a|b",zone!="c"}}' for at in range(300))
    assert len(selectors(text)) == 300


def test_a_rule_of_endless_promql_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    rule = {"alert": "deep", "expr": ENDLESS_PROMQL["brackets"][:2000]}
    path.write_text(json.dumps({"groups": [{"name": "g", "rules": [rule]}]}))
    [problem] = find([path]).problems
    assert problem.startswith(f"{path}:1: deep: '((((")
    assert problem.endswith("nested 2,000 deep; 200 is the most")
    assert len(problem) < 600


@pytest.mark.parametrize(
    ("period", "periods", "taken"),
    [
        (60, 1440, True),
        (60, 1441, False),
        (10, 8640, True),
        (3600, 168, True),
        (3600, 169, False),
        (604_800, 1, True),
        (60, 10**9, False),
        (10**30, 1, False),
    ],
)
def test_an_alarm_looks_back_as_far_as_cloudwatch_does(
    period: int, periods: int, *, taken: bool, tmp_path: Path
) -> None:
    path = described(tmp_path / "alarms.json", Period=period, EvaluationPeriods=periods)
    if taken:
        assert len(load([path]).policies) == 1
        return
    with pytest.raises(UsageError) as caught:
        load([path])
    assert "that CloudWatch looks back" in str(caught.value) or "whole minutes" in str(caught.value)


def test_an_own_alarm_looks_back_no_further_either(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        "system: cloudwatch\nalarms:\n  a:\n    metric: http_5xx\n    period: 60s\n    threshold: 1\n"
        "    evaluation_periods: 1000000000\n"
    )
    with pytest.raises(UsageError, match="more than a day"):
        load([path])


@pytest.mark.parametrize("name", ["alarms.json", "main.tf.json", "alarms.yaml"])
def test_a_number_of_five_thousand_digits_is_refused_in_words(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text('{"resource": {}, "MetricAlarms": [' + "9" * 5000 + "]}")
    with pytest.raises(UsageError) as caught:
        load([path])
    assert str(path) in str(caught.value)


READERS: dict[str, Callable[[Path], object]] = {
    "a scenario file": load_scenarios,
    "an export": of_export,
    "an OpenAPI document": of_openapi,
    "a model of traffic": read_model,
    "alarms": lambda path: load([path]),
}


@pytest.mark.parametrize("kind", sorted(READERS))
def test_a_link_to_an_endless_device_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "endless.yaml"
    path.symlink_to("/dev/zero")
    with pytest.raises(UsageError, match="larger than") as caught:
        READERS[kind](path)
    assert str(path) in str(caught.value)


def test_a_folder_of_alarms_leaves_no_file_out_in_silence(tmp_path: Path) -> None:
    described(tmp_path / "alarms.json")
    (tmp_path / "gone.yaml").symlink_to("nowhere")
    (tmp_path / "endless.yml").symlink_to("/dev/zero")
    (tmp_path / "folder.tf").mkdir()
    problems = find([tmp_path]).problems
    assert [problem.partition(":")[0] for problem in problems] == [
        str(tmp_path / name) for name in ("endless.yml", "folder.tf", "gone.yaml")
    ]


def test_yaml_that_would_take_minutes_is_refused(tmp_path: Path) -> None:
    alarms, scenarios = tmp_path / "alarms.yaml", tmp_path / "scenarios.yaml"
    alarms.write_text("groups:\n" + "- a\n" * 1_000_000)
    scenarios.write_text("scenarios:\n" + "  a: 1\n" * 300_000)
    began_s = time.process_time()
    with pytest.raises(UsageError, match="are the most"):
        load([alarms])
    with pytest.raises(UsageError, match="larger than"):
        load_scenarios(scenarios)
    assert time.process_time() - began_s < 5


@pytest.mark.parametrize(
    "text",
    [
        "paths: " + "[" * 50_000,
        "paths: {5: {get: {}}, /a: {get: {}}}",
        "paths: {/a: {get: {}}}\nx: 2026-13-45\n",
        "paths: {? [a, b] : {get: {}}}",
        "paths: !!python/object/apply:os.system [x]",
    ],
)
def test_a_strange_openapi_document_is_refused_in_words(text: str, tmp_path: Path) -> None:
    path = tmp_path / "openapi.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match="--openapi"):
        of_openapi(path)
    as_json = tmp_path / "openapi.json"
    as_json.write_text('{"paths": ' + "[" * 100_000)
    with pytest.raises(UsageError, match="nested too deeply"):
        of_openapi(as_json)


def test_aliases_of_aliases_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "scenarios.yaml"
    levels = [f"l{at}: &l{at} [{', '.join([f'*l{at - 1}'] * 10)}]" for at in range(1, 9)]
    path.write_text("\n".join(["l0: &l0 [a, a, a]", *levels, "scenarios: *l8"]) + "\n")
    began_s = time.process_time()
    with pytest.raises(UsageError, match="more than 100,000 values"):
        load_scenarios(path)
    assert time.process_time() - began_s < 5


@pytest.mark.long
@pytest.mark.parametrize(
    ("count", "line", "told"),
    [
        (20_000, "  s{at}: {{extends: unknown}}", "20,000 scenarios; 1,000 are the most"),
        (900, "  s{at}: {{extends: unknown}}", "no scenario 'unknown'"),
        (900, "  s{at}: {{extends: s{next}}}", "extends more than 20 scenarios"),
    ],
)
def test_many_scenarios_are_read_or_refused_soon(count: int, line: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "scenarios.yaml"
    head = "service: {name: a, command: x, health: /, releases: ['1']}\nscenarios:\n"
    path.write_text(head + "\n".join(line.format(at=at, next=at + 1) for at in range(count)) + "\n")
    began_s = time.process_time()
    with pytest.raises(UsageError) as caught:
        load_scenarios(path)
    assert told in str(caught.value)
    assert time.process_time() - began_s < 10


def test_a_byte_order_mark_is_no_part_of_a_scenario_file(tmp_path: Path) -> None:
    path = tmp_path / "scenarios.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + b"service: 1\r\nscenarios: 2\r\n")
    with pytest.raises(UsageError) as caught:
        load_scenarios(path)
    assert f"{path}:1: " in str(caught.value)
    assert "\ufeff" not in str(caught.value)


def test_an_evening_of_years_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_of(["alarms", str(tmp_path), "--over", "9000h"]) == 64
    assert "an evening of 31 days is the longest" in capsys.readouterr().err


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_at_most(path, 5) == b"12345"
    with pytest.raises(OSError, match="larger than 4 bytes"):
        read_at_most(path, 4)


def test_the_command_says_it_with_exit_code_64(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = described(tmp_path / "alarms.json", EvaluationPeriods=10**9)
    export = tmp_path / "export.csv"
    export.write_text("t_s,requests,http_5xx\n0,10,0\n60,10,1\n")
    assert _exit_of(["alarms", "--timeline", str(export), "--policies", str(path)]) == 64
    assert f"{path}:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("block", "change"),
    [
        ("load", {"users": 10**12}),
        ("load", {"duration": 1e12}),
        ("load", {"spawn_rate": 1e12}),
        ("load", {"seed": 10**15}),
        ("service", {"threads": 10**9}),
        ("pool", {"size": 10**9}),
        ("production", {"customers": 10**9}),
    ],
)
def test_no_scenario_asks_for_more_than_any_machine_has(block: str, change: dict[str, object]) -> None:
    plain = json.loads(SCENARIO.dump_json(histories.scenario()))
    plain[block] = (plain.get(block) or {}) | change
    with pytest.raises(ValidationError, match="less than or equal to"):
        SCENARIO.validate_json(json.dumps(plain))
