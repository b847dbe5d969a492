"""Alarms whose parts multiply, go around, chain or last without end: unknown or refused, and soon."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from rushhour.alarms.audit import audit
from rushhour.alarms.cloudwatch import CloudWatchAlarm
from rushhour.alarms.composite import CompositeAlarm
from rushhour.alarms.formats.documents import documents
from rushhour.alarms.formats.files import find
from rushhour.alarms.maths import MathsError, checked, parsed
from rushhour.alarms.policies import load
from rushhour.alarms.routed import RoutedAlert
from rushhour.alarms.timeline import METRICS, Timeline
from rushhour.alarms.unreplayed import Unreplayed
from rushhour.errors import UsageError
from rushhour.scenario.durations import seconds_of
from tests.unit.test_alarms_formats_cloudwatch import evening
from tests.unit.test_hostile_files import ALARM

TIMELINE = Timeline(dict.fromkeys(METRICS, (1.0,) * 600), ("ten minutes",))
NOTIFIES = {"AlarmActions": ["arn:aws:sns:eu-central-1:111122223333:pager"]}


@contextmanager
def soon() -> Iterator[None]:
    began_s = time.process_time()
    yield
    assert time.process_time() - began_s < 5


def written(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def maths_alarm(count: int) -> dict[str, Any]:
    """Each expression reads the next one twice."""
    metric = {"Namespace": ALARM["Namespace"], "MetricName": ALARM["MetricName"]}
    expressions = [
        {"Id": f"e{at}", "Expression": f"e{at + 1} + e{at + 1}", "ReturnData": at == 0} for at in range(count)
    ]
    last = {"Id": f"e{count}", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}}
    plain = {key: ALARM[key] for key in ("AlarmName", "EvaluationPeriods", "Threshold", "ComparisonOperator")}
    return plain | NOTIFIES | {"Metrics": [*expressions, last | {"ReturnData": False}]}


def test_metric_maths_that_doubles_is_evaluated_once(tmp_path: Path) -> None:
    path = written(tmp_path / "alarms.json", {"MetricAlarms": [maths_alarm(40)]})
    with soon():
        [policy] = load([path]).policies
        assert isinstance(policy, CloudWatchAlarm)
        assert audit([policy], TIMELINE)[0].unknown == ""


@pytest.mark.parametrize(
    "text", ["+".join(["1"] * 1000), "*".join(["1"] * 1000), " OR ".join(["a"] * 400), "1<" * 900 + "1"]
)
def test_long_chains_of_metric_maths_are_evaluated(text: str) -> None:
    assert parsed(text).value(lambda _: 1.0) is not None


def test_metric_maths_without_end_is_refused() -> None:
    for text in ("+".join(["1"] * 2000), "2^" * 200 + "2", "(" * 200 + "1" + ")" * 200):
        with pytest.raises(MathsError):
            parsed(text)
    with pytest.raises(MathsError, match="200 expressions"):
        checked("e0", {f"e{at}": f"e{at + 1}" for at in range(200)}, frozenset({"e200"}))
    assert parsed("2^3^2").value(lambda _: None) == 512
    assert parsed("CEIL(9e307 * 10) + FLOOR(-9e307 * 10)").value(lambda _: None) is None


def composites(count: int) -> list[dict[str, Any]]:
    """Each names the next one twice."""
    rules = [f"ALARM(c{at + 1}) OR ALARM(c{at + 1})" for at in range(count)]
    return [
        {"AlarmName": f"c{at}", "AlarmRule": rule, **NOTIFIES}
        for at, rule in enumerate([*rules, f"ALARM({ALARM['AlarmName']})"])
    ]


def test_composite_alarms_that_double_are_evaluated_once(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", {"MetricAlarms": [ALARM], "CompositeAlarms": composites(30)})
    with soon():
        policies = load([path]).policies
        assert sum(isinstance(policy, CompositeAlarm) for policy in policies) == 31
        assert all(not found.unknown for found in audit(policies, TIMELINE))


def test_composite_alarms_in_a_long_chain_are_unknown_by_name(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", {"MetricAlarms": [ALARM], "CompositeAlarms": composites(2000)})
    with soon():
        unknown = [policy for policy in load([path]).policies if isinstance(policy, Unreplayed)]
    assert any("more than 50 deep" in policy.why for policy in unknown)


def cloudformation(**parts: Any) -> dict[str, Any]:
    properties = {key: value for key, value in ALARM.items() if key != "AlarmName"}
    alarm = {"Type": "AWS::CloudWatch::Alarm", "Properties": properties | parts.pop("changes", {})}
    resources = {"A": alarm | parts.pop("of_alarm", {}), **parts.pop("more", {})}
    return {"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources, **parts}


MULTIPLIED: dict[str, object] = {
    "defaults.json": cloudformation(
        changes={"Threshold": {"Ref": "P0"}},
        Parameters={
            f"P{at}": {"Type": "String", "Default": {"Fn::Sub": f"${{P{at + 1}}}${{P{at + 1}}}"}}
            for at in range(38)
        },
    ),
    "lists.json": cloudformation(
        changes={"Threshold": {"Ref": "P0"}},
        Parameters={f"P{at}": {"Default": [{"Ref": f"P{at + 1}"}] * 9} for at in range(30)},
    ),
    "conditions.json": cloudformation(
        of_alarm={"Condition": "C0"},
        Conditions={
            f"C{at}": {"Fn::And": [{"Condition": f"C{at + 1}"}, {"Condition": f"C{at + 1}"}]}
            for at in range(39)
        },
    ),
    "ifs.json": cloudformation(
        changes={"Threshold": {"Fn::If": ["C0", 1, 2]}},
        Conditions={f"C{at}": {"Fn::Or": [{"Condition": f"C{at + 1}"}] * 5} for at in range(30)},
    ),
    "itself.json": cloudformation(changes={"AlarmName": {"Ref": "A"}}),
    "each other.json": cloudformation(
        changes={"AlarmName": {"Ref": "B"}},
        more={"B": {"Type": "AWS::CloudWatch::Alarm", "Properties": ALARM | {"AlarmName": {"Ref": "A"}}}},
    ),
    "joined.json": cloudformation(
        changes={"Threshold": {"Fn::Join": ["", [{"Ref": "P"}] * 9000]}},
        Parameters={"P": {"Type": "String", "Default": "x" * 9000}},
    ),
}
TERRAFORM = """
resource "aws_cloudwatch_metric_alarm" "a" {{
  alarm_name          = "a"
  namespace           = "AWS/ApplicationELB"
  metric_name         = "HTTPCode_Target_5XX_Count"
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 1
  threshold           = local.l0
  comparison_operator = "GreaterThanThreshold"
}}
locals {{
{}
}}
"""
DOUBLED = TERRAFORM.format(
    "\n".join(f'l{at} = "${{local.l{at + 1}}}${{ local.l{at + 1} }}"' for at in range(19))
)
LISTED = TERRAFORM.format("\n".join(f"l{at} = [{', '.join([f'local.l{at + 1}'] * 9)}]" for at in range(19)))
LONG = TERRAFORM.format(f'l0 = "{"${local.l1}" * 900}"\nl1 = "{"x" * 9000}"')


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "content"),
    [*MULTIPLIED.items(), ("doubled.tf", DOUBLED), ("listed.tf", LISTED), ("long.tf", LONG)],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else "",
)
def test_references_that_multiply_or_go_around_end(name: str, content: object, tmp_path: Path) -> None:
    path = written(tmp_path / name, content)
    with soon():
        found = find([path])
        assert all(str(path) in problem for problem in found.problems)
        if not found.problems:
            with suppress(UsageError):
                assert all(len(str(policy)) < 5_000_000 for policy in load([path]).policies)


@pytest.mark.parametrize("value", ['local[""]', "local[*]", 'var[""][""]', 'local.l1[""]', '"${local[""]}"'])
def test_a_reference_to_nothing_is_unknown(value: str, tmp_path: Path) -> None:
    path = written(tmp_path / "alarms.tf", TERRAFORM.format("l1 = 3").replace("local.l0", value))
    [policy] = load([path]).policies
    assert isinstance(policy, Unreplayed)


def grafana(count: int, reads: int) -> dict[str, Any]:
    """Each expression reads the next one several times."""
    data: list[dict[str, Any]] = [
        {
            "refId": f"E{at}",
            "datasourceUid": "__expr__",
            "model": {"type": "math", "expression": " + ".join([f"$E{at + 1}"] * reads)},
        }
        for at in range(count)
    ]
    query = {"refId": f"E{count}", "datasourceUid": "p", "model": {"expr": "up"}}
    rule = {"uid": "u", "title": "deep", "condition": "E0", "data": [*data, query], "for": "1m"}
    return {"apiVersion": 1, "groups": [{"name": "g", "folder": "f", "interval": "1m", "rules": [rule]}]}


def nested(depth: int, *, in_lists: bool) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value] if in_lists else {"a": value}
    return value


@pytest.mark.parametrize("in_lists", [True, False])
@pytest.mark.parametrize("depth", [110, 500, 900])
@pytest.mark.parametrize(
    ("name", "holding"),
    [
        ("a.json", lambda value: {"MetricAlarms": [ALARM | {"Threshold": value}]}),
        ("a.json", lambda value: {"MetricAlarms": [ALARM | {"Tags": value}]}),
        ("a.json", lambda value: cloudformation(changes={"Threshold": value})),
        ("a.tf.json", lambda value: {"resource": {"aws_cloudwatch_metric_alarm": {"a": {"x": value}}}}),
        ("a.json", lambda value: {"planned_values": {"root_module": value}}),
        ("alertmanager.yml", lambda value: ROUTES | {"inhibit_rules": value}),
        ("rules.yml", lambda value: {"groups": value}),
    ],
)
def test_documents_that_are_deep_are_refused(
    name: str, holding: Any, depth: int, *, in_lists: bool, tmp_path: Path
) -> None:
    path = written(tmp_path / name, holding(nested(depth, in_lists=in_lists)))
    [problem] = find([path]).problems
    assert problem.startswith(f"{path}:1: ")
    assert "nested too deeply" in problem


@pytest.mark.parametrize("reads", [2, 10])
def test_expressions_of_grafana_that_multiply_are_unknown(reads: int, tmp_path: Path) -> None:
    path = written(tmp_path / "rules.yaml", grafana(20, reads))
    with soon():
        [policy] = load([path]).policies
    assert isinstance(policy, Unreplayed)
    assert "are the most" in policy.why or "more than 100,000 characters" in policy.why


ROUTES: dict[str, Any] = {
    "route": {"receiver": "r", "group_wait": "30s", "group_interval": "5m", "repeat_interval": "4h"},
    "receivers": [{"name": "r"}],
}


@pytest.mark.parametrize("given", ["0", "0s", "1ms", "999ms", "9" * 5000 + "s", "9" * 13 + "y", "-5m", 5])
@pytest.mark.parametrize("key", ["group_interval", "repeat_interval"])
def test_intervals_that_never_let_time_pass_are_refused(key: str, given: object, tmp_path: Path) -> None:
    path = written(tmp_path / "alertmanager.yml", ROUTES | {"route": ROUTES["route"] | {key: given}})
    assert any(f"{path}:1: {key} " in problem for problem in find([path]).problems)


@pytest.mark.parametrize("value", [5, True, "x", {"a": 1}])
@pytest.mark.parametrize(
    "place",
    [
        lambda value: {"route": ROUTES["route"] | {"mute_time_intervals": value}},
        lambda value: {"route": ROUTES["route"] | {"active_time_intervals": value}},
        lambda value: {"route": ROUTES["route"] | {"object_matchers": value}},
        lambda value: {"inhibit_rules": [{"equal": value}]},
        lambda value: {"time_intervals": [{"name": "n", "time_intervals": [{"weekdays": value}]}]},
        lambda value: {"time_intervals": [{"name": "n", "time_intervals": [{"years": value}]}]},
    ],
)
def test_what_is_no_list_is_refused_with_its_line(place: Any, value: object, tmp_path: Path) -> None:
    path = written(tmp_path / "alertmanager.yml", ROUTES | place(value))
    assert any("must be a list" in problem for problem in find([path]).problems)


def rules(**changes: Any) -> dict[str, Any]:
    rule = {"alert": "a", "expr": "rate(http_requests_total[5m]) > 1", "for": "1m"}
    group = {"name": "g", "rules": [rule | changes.pop("rule", {})]}
    return {"groups": [group | changes]}


def test_a_rule_that_looks_back_for_years_is_unknown_and_the_others_are_not(tmp_path: Path) -> None:
    content = rules(rule={"expr": "rate(http_requests_total[100000d]) > 1"})
    content["groups"] += rules(name="h", rule={"alert": "b"})["groups"]
    policies = load([written(tmp_path / "rules.yml", content)]).policies
    first, second = (policy for policy in policies if policy.name in ("a", "b"))
    assert isinstance(first, RoutedAlert)
    assert isinstance(second, RoutedAlert)
    assert "looks back 100,000 days; 31 are the most" in first.pipeline.unknown[first.rules[0]]
    assert second.pipeline._before_ms(evening()) < 7_200_000


@pytest.mark.parametrize("key", ["for", "keep_firing_for"])
def test_a_rule_that_waits_for_years_is_unknown_and_the_others_are_not(key: str, tmp_path: Path) -> None:
    content = rules(rule={key: "99999999y"})
    content["groups"] += rules(name="h", rule={"alert": "b"})["groups"]
    first, second = load([written(tmp_path / "rules.yml", content)]).policies
    assert isinstance(first, RoutedAlert)
    assert isinstance(second, RoutedAlert)
    assert "days; 31 are the most" in first.pipeline.unknown[first.rules[0]]
    assert second.pipeline._before_ms(evening()) < 7_200_000


@pytest.mark.parametrize("interval", ["2h", "99999999y", "9" * 5000 + "s"])
def test_a_group_that_is_hardly_ever_evaluated_is_refused(interval: str, tmp_path: Path) -> None:
    path = written(tmp_path / "rules.yml", rules(interval=interval))
    assert any(f"{path}:1: interval " in problem for problem in find([path]).problems)


@pytest.mark.parametrize("text", ["9" * 400 + "s", "99999999999h"])
def test_no_duration_is_longer_than_thirty_years(text: str) -> None:
    with pytest.raises(ValueError, match="longer than 30 years"):
        seconds_of(text)
    assert seconds_of("24h") == 86_400


@pytest.mark.parametrize("key", ["Threshold", "Period", "EvaluationPeriods"])
def test_a_number_beyond_a_float_is_no_number(key: str, tmp_path: Path) -> None:
    path = written(tmp_path / "alarms.json", {"MetricAlarms": [ALARM | {key: 10**400}]})
    with pytest.raises(UsageError, match=f"{key} 1000"):
        load([path])


def test_lines_of_a_large_document_are_found_or_left_out_soon(tmp_path: Path) -> None:
    text = json.dumps({"MetricAlarms": [ALARM | {"AlarmDescription": "x" * 3_000_000}]}, indent=1)
    [node] = documents(tmp_path / "a.json", text)
    with soon():
        assert node.line(("MetricAlarms", 0)) == 1
