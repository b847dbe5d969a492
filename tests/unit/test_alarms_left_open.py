"""Alarms in idioms that teams use, of which a part is not known here: they are unknown by name, never silent.

The evening: a request fails every 12 s for three hours; expectations are from the systems' documentation.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from rushhour.alarms import promtool
from rushhour.alarms.audit import Audit, audit
from rushhour.alarms.events import Policy
from rushhour.alarms.policies import load
from rushhour.alarms.promql_times import (
    all_look_back_s,
    cannot_be_replayed,
    looks_back_s,
    with_offsets_of_at_most,
)
from rushhour.alarms.unreplayed import Unreplayed
from rushhour.errors import UsageError
from tests.unit.test_alarms_formats_cloudwatch import evening

ALARM: dict[str, Any] = {
    "AlarmName": "a",
    "Namespace": "AWS/ApplicationELB",
    "MetricName": "HTTPCode_Target_5XX_Count",
    "Statistic": "Sum",
    "Period": 60,
    "EvaluationPeriods": 1,
    "Threshold": 5,
    "ComparisonOperator": "GreaterThanOrEqualToThreshold",
    "AlarmActions": ["arn:aws:sns:eu-west-1:1:oncall"],
}
TERRAFORM: dict[str, Any] = {
    "alarm_name": "a",
    "namespace": "AWS/ApplicationELB",
    "metric_name": "HTTPCode_Target_5XX_Count",
    "statistic": "Sum",
    "period": 60,
    "evaluation_periods": 1,
    "threshold": 5,
    "comparison_operator": "GreaterThanOrEqualToThreshold",
    "actions_enabled": True,
}
FAILING = 'sum by (job, namespace) (rate(http_requests_total{code=~"5.."}[5m])) > 0'
ROUTES = """
route:
  receiver: rest
  routes:
  - { receiver: prod, matchers: ['namespace="prod"'] }
  - { receiver: eu, matchers: ['cluster=~"eu-.*"'] }
receivers:
- { name: rest, webhook_configs: [{ url: x }] }
- { name: prod, webhook_configs: [{ url: x }] }
- { name: eu, webhook_configs: [{ url: x }] }
"""


def audited(folder: Path, **files: object) -> dict[str, Audit]:
    places = []
    for name, content in files.items():
        place = folder / name.replace("__", ".")
        place.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        places.append(place)
    return {item.policy.name: item for item in audit(list(load(places).policies), evening())}


def load_policies_of(folder: Path, content: object) -> list[Policy]:
    place = folder / "policies.json"
    place.write_text(json.dumps(content), encoding="utf-8")
    return list(load([place]).policies)


def notes_of(folder: Path, name: str, content: object) -> str:
    place = folder / name
    place.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return "\n".join(load([place]).notes)


# CloudWatch


def plan(values: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    address, kind = "module.x.aws_cloudwatch_metric_alarm.a", "aws_cloudwatch_metric_alarm"
    resource = {"address": address, "mode": "managed", "type": kind, "name": "a", "values": values}
    change = {"address": address, "change": {"actions": ["create"], "after_unknown": later}}
    return {
        "format_version": "1.2",
        "planned_values": {"root_module": {"child_modules": [{"resources": [resource]}]}},
        "resource_changes": [change],
    }


@pytest.mark.parametrize(
    ("values", "later"),
    [
        (TERRAFORM, {"alarm_actions": True, "id": True, "evaluate_low_sample_count_percentiles": True}),
        (TERRAFORM | {"alarm_actions": [None]}, {"alarm_actions": [True]}),
    ],
)
def test_a_receiver_that_a_plan_does_not_know_yet_is_notified(
    values: dict[str, Any], later: dict[str, Any], tmp_path: Path
) -> None:
    [item] = audited(tmp_path, plan__json=plan(values, later)).values()
    assert [page.t_s for page in item.pages] == [60.0]


@pytest.mark.parametrize("key", ["threshold", "period", "metric_name", "comparison_operator"])
def test_what_a_plan_does_not_know_yet_makes_the_alarm_unknown(key: str, tmp_path: Path) -> None:
    values = {name: value for name, value in TERRAFORM.items() if name != key}
    [item] = audited(tmp_path, plan__json=plan(values, {key: True})).values()
    assert "known only after the plan was applied" in item.unknown


def template(more: dict[str, Any], **properties: Any) -> dict[str, Any]:
    alarm = {"Type": "AWS::CloudWatch::Alarm", "Properties": {**ALARM, **properties}} | more
    parameters = {
        "Open": {"Type": "String"},
        "Stored": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/svc/threshold"},
    }
    conditions = {"IsOpen": {"Fn::Equals": [{"Ref": "Open"}, "prod"]}}
    return {"Parameters": parameters, "Conditions": conditions, "Resources": {"Alarm": alarm}}


@pytest.mark.parametrize(
    "content",
    [
        template({}, Threshold={"Ref": "Stored"}),
        template({}, Threshold="{{resolve:ssm:/svc/threshold:1}}"),
        template({}, Threshold={"Fn::Sub": "${Open}0"}),
        template({}, TreatMissingData={"Fn::Sub": "not${Open}"}),
        template({}, ComparisonOperator={"Fn::Sub": "GreaterThan${Open}"}),
        template({"Condition": "IsOpen"}),
    ],
)
def test_what_only_a_deployment_says_makes_an_alarm_of_a_template_unknown(
    content: dict[str, Any], tmp_path: Path
) -> None:
    [item] = audited(tmp_path, template__json=content).values()
    assert "leaves open" in item.unknown or "Systems Manager" in item.unknown


@pytest.mark.parametrize("word", ["no", "Off", "FALSE", "'false'"])
def test_a_flag_is_read_as_yaml_1_1_has_it(word: str, tmp_path: Path) -> None:
    """So do the programs whose files these are: an alarm whose actions are off notifies nobody."""
    properties = "\n".join(
        f"      {key}: {json.dumps(value)}" for key, value in ALARM.items() if key != "AlarmName"
    )
    text = f"Resources:\n  A:\n    Type: AWS::CloudWatch::Alarm\n    Properties:\n{properties}\n"
    [item] = audited(tmp_path, on__yaml=text + "      ActionsEnabled: yes\n").values()
    assert item.pages
    [item] = audited(tmp_path, off__yaml=text + f"      ActionsEnabled: {word}\n").values()
    assert (item.unknown, item.pages) == ("", ())


def test_an_alarm_by_promql_is_unknown_and_the_others_are_replayed(tmp_path: Path) -> None:
    criteria = {"PromQLCriteria": {"Query": "up == 0", "PendingPeriod": 60}}
    by_promql = {"AlarmName": "p", "EvaluationCriteria": criteria, "EvaluationInterval": 60}
    found = audited(tmp_path, all__json={"MetricAlarms": [by_promql, ALARM]})
    assert "is evaluated by EvaluationCriteria" in found["p"].unknown
    assert found["a"].pages


def test_returned_data_may_be_said_in_text(tmp_path: Path) -> None:
    metric = {"Namespace": ALARM["Namespace"], "MetricName": ALARM["MetricName"]}
    queries = [
        {"Id": "m", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}, "ReturnData": "false"},
        {"Id": "e", "Expression": "m * 1", "ReturnData": "true"},
    ]
    plain = {key: ALARM[key] for key in ALARM.keys() - {"Namespace", "MetricName", "Statistic", "Period"}}
    [item] = audited(tmp_path, maths__json={"MetricAlarms": [{**plain, "Metrics": queries}]}).values()
    assert item.pages


def test_what_brings_alarms_from_elsewhere_is_named(tmp_path: Path) -> None:
    content = template({})
    content["Transform"] = ["AWS::LanguageExtensions", "Company::Alarms"]
    content["Resources"] |= {
        "Nested": {"Type": "AWS::CloudFormation::Stack", "Properties": {"TemplateURL": "x"}},
        "Fn::ForEach::Each": ["N", ["x", "y"], {"Alarm${N}": template({})["Resources"]["Alarm"]}],
    }
    notes = notes_of(tmp_path, "t.json", content)
    assert "AWS::CloudFormation::Stack Nested is not followed" in notes
    assert "the transform Company::Alarms is not followed" in notes
    found = audited(tmp_path, t__json=content)
    assert "is not repeated here" in found["Alarm${N}"].unknown
    assert not found["a"].unknown


def test_the_rest_of_an_answer_in_parts_is_named(tmp_path: Path) -> None:
    answer = {"MetricAlarms": [ALARM], "NextToken": "x"}
    assert "its NextToken asks for the others" in notes_of(tmp_path, "d.json", answer)


def test_a_topic_that_is_named_as_a_scaling_policy_notifies(tmp_path: Path) -> None:
    topic = "arn:aws:sns:eu-west-1:1:AutoScalingPolicyAlerts"
    policy = "arn:aws:autoscaling:eu-west-1:1:scalingPolicy:x:autoScalingGroupName/a:policyName/b"
    alarms = [ALARM | {"AlarmActions": [topic]}, ALARM | {"AlarmName": "b", "AlarmActions": [policy]}]
    found = audited(tmp_path, d__json={"MetricAlarms": alarms})
    assert (len(found["a"].pages), len(found["b"].pages)) == (1, 0)


@pytest.mark.parametrize(("unit", "pages"), [("Count", 1), ("Percent", None), ("None", None)])
def test_an_alarm_that_asks_for_another_unit_than_its_metric_has_gets_no_data(
    unit: str, pages: int | None, tmp_path: Path
) -> None:
    metric = {key: ALARM[key] for key in ("Namespace", "MetricName")}
    stat = {"Metric": metric, "Period": 60, "Stat": "Sum", "Unit": unit}
    plain = {key: item for key, item in ALARM.items() if key not in (*metric, "Statistic", "Period")}
    maths = plain | {"AlarmName": "b", "Metrics": [{"Id": "e", "MetricStat": stat}]}
    found = audited(tmp_path, d__json={"MetricAlarms": [ALARM | {"Unit": unit}, maths]})
    for item in found.values():
        assert (None if item.unknown else len(item.pages)) == pages
        assert pages is not None or f"unit {unit}" in item.unknown


@pytest.mark.parametrize(("period", "pages"), [(60, 1), ("60", 1), (30, None), (10, None)])
def test_an_alarm_that_looks_more_often_than_aws_publishes_is_unknown(
    period: Any, pages: int | None, tmp_path: Path
) -> None:
    metric = {key: ALARM[key] for key in ("Namespace", "MetricName")}
    stat = {"Metric": metric, "Period": period, "Stat": "Sum"}
    plain = {key: item for key, item in ALARM.items() if key not in (*metric, "Statistic", "Period")}
    maths = plain | {"AlarmName": "b", "Metrics": [{"Id": "e", "MetricStat": stat}]}
    found = audited(tmp_path, d__json={"MetricAlarms": [ALARM | {"Period": period}, maths]})
    for item in found.values():
        assert (None if item.unknown else len(item.pages)) == pages
        assert pages is not None or "publishes it once a minute" in item.unknown


@pytest.mark.parametrize(
    ("expression", "named"),
    [("FILL(e, REPEAT)", "REPEAT"), ("SUM([e, e])", "SUM()"), ("SEARCH('{X} y', 'Sum', 60)", "SEARCH()")],
)
def test_maths_that_is_not_replayed_is_named(expression: str, named: str, tmp_path: Path) -> None:
    metric = {key: ALARM[key] for key in ("Namespace", "MetricName")}
    stat = {"Id": "e", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}, "ReturnData": False}
    plain = {key: item for key, item in ALARM.items() if key not in (*metric, "Statistic", "Period")}
    queries = [stat, {"Id": "x", "Expression": expression}]
    [item] = audited(tmp_path, d__json={"MetricAlarms": [plain | {"Metrics": queries}]}).values()
    assert named in item.unknown
    assert "cannot be read" not in item.unknown


def test_a_rule_in_lines_with_an_index_is_read_as_lines(tmp_path: Path) -> None:
    composite = (
        'resource "aws_cloudwatch_composite_alarm" "c" {\n  alarm_name = "c"\n  alarm_rule = <<-EOF\n'
        '    ALARM("${aws_cloudwatch_metric_alarm.each["a"].alarm_name}")\n  EOF\n}\n'
    )
    [item] = audited(tmp_path, main__tf=composite).values()
    assert "no file holds it" in item.unknown


# Other tools


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"name": "x", "type": "query alert", "query": "avg(x) > 1", "options": {}}, "Datadog"),
        ({"monitors": [{"type": "metric alert", "query": "x", "message": "m"}]}, "Datadog"),
        ({"policies": [{"name": "x", "conditions": [{"nrql": {"query": "SELECT 1"}}]}]}, "New Relic"),
        ({"apiVersion": "operator.victoriametrics.com/v1beta1", "kind": "VMRule", "spec": {}}, "VMRule"),
        ({"resources": [{"type": "Microsoft.Insights/metricAlerts"}]}, "Azure"),
        ({"displayName": "x", "conditions": [{"conditionThreshold": {}}]}, "Google Cloud"),
        ({"version": "prometheus/v1", "service": "x", "slos": []}, "Sloth"),
        ({"version": 4, "terraform_version": "1.9", "resources": []}, "terraform show -json"),
        ({"panels": [], "schemaVersion": 30}, "dashboard"),
        ({"AlarmHistoryItems": []}, "describe-alarms"),
    ],
)
def test_a_file_of_another_tool_is_refused_by_the_tools_name(
    content: dict[str, Any], named: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        audited(tmp_path, f__json=content)
    assert named in caught.value.problems[0]


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("datadog_monitor", "Datadog"),
        ("newrelic_nrql_alert_condition", "New Relic"),
        ("google_monitoring_alert_policy", "Google Cloud"),
        ("azurerm_monitor_metric_alert", "Azure"),
        ("grafana_rule_group", "Grafana"),
    ],
)
def test_alarms_of_other_tools_in_terraform_are_named(kind: str, named: str, tmp_path: Path) -> None:
    lines = "".join(f"  {key} = {json.dumps(value)}\n" for key, value in TERRAFORM.items())
    own = f'resource "aws_cloudwatch_metric_alarm" "a" {{\n{lines}}}\n'
    notes = notes_of(tmp_path, "main.tf", f'{own}resource "{kind}" "m" {{\n  name = "m"\n}}\n')
    assert f"{kind} m is left out: alarms of {named} are not read" in notes


# Prometheus


@pytest.mark.parametrize(
    "expression",
    [
        "x > 0 and on() hour() > 8",
        "x > 0 and on() (day_of_week ( timestamp(x) ) == 2)",
        "x > 0 and on() vector(time()) % 86400 > 3600",
        "rate(x[5m] @ 1700000000) > 0",
        "x > 2 * (x offset -1h)",
    ],
)
def test_what_no_replay_has_is_named(expression: str) -> None:
    assert cannot_be_replayed(expression)


@pytest.mark.parametrize(
    "expression",
    [
        'x{a="hour() @ 5 offset -1h"} > 0',
        "time() - timestamp(x) > 60",
        "sum by (hour) (x) > 0",
        "x @ end() > 0",
        "x > 0 # at any hour()",
    ],
)
def test_what_a_replay_has_is_replayed(expression: str) -> None:
    assert not cannot_be_replayed(expression)


def test_offsets_count_for_how_far_a_rule_looks_back() -> None:
    assert looks_back_s("rate(x[5m] offset 1d) > max_over_time(rate(x[1m])[1h:1m])") == 90_360
    assert all_look_back_s([("r", "rate(x[1h])", ["x"]), ("A", "avg_over_time(r[1h]) > 0", ["r"])]) == 7200


def test_an_offset_beyond_the_timeline_reads_the_same_even_traffic() -> None:
    text = 'x{a="offset 1w"} > 2 * (x offset 1w) + (x offset 5m)'
    assert with_offsets_of_at_most(text, 3600) == 'x{a="offset 1w"} > 2 * (x offset 3600s) + (x offset 5m)'


class Evaluated:
    """Stands for promtool: every alert fires from the timeline's second 60 on, with these labels."""

    def __init__(self, **labels: str) -> None:
        self.labels = labels
        self.asked: list[promtool.Question] = []

    def __call__(self, question: promtool.Question) -> tuple[tuple[int, Any], ...]:
        self.asked.append(question)
        alert = tuple(sorted(self.labels.items()))
        return tuple(
            (at, frozenset({alert})) for at in range(question.from_ms + 60_000, question.to_ms, 15_000)
        )


def rules(expression: str = FAILING, **more: Any) -> dict[str, Any]:
    return {"groups": [{"name": "g", "rules": [{"alert": "A", "expr": expression, **more}]}]}


def test_the_healthy_time_before_is_longer_than_what_rules_wait_and_look_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    evaluated = Evaluated(alertname="A")
    monkeypatch.setattr(promtool, "firing", evaluated)
    audited(tmp_path, r__yml=rules("x_total > 0 * (http_requests_total offset 1d)"))
    assert not evaluated.asked  # x_total stands for nothing
    audited(tmp_path, r__yml=rules("up > 0 * (up offset 1h)", **{"for": "2h", "keep_firing_for": "1h"}))
    assert evaluated.asked[0].from_ms >= (1 + 2 + 1) * 3_600_000


@pytest.mark.parametrize(
    ("labels", "more", "expected"),
    [
        (
            {"namespace": "service"},
            {},
            "depends on the label",
        ),  # what this service's namespace is, no file says
        ({}, {}, "depends on the label cluster"),  # Prometheus itself may add it
        ({"namespace": "prod"}, {"n__yml": {"names": {}, "labels": {"namespace": "prod"}}}, "prod"),
        ({}, {"p__yml": {"global": {"external_labels": {"cluster": "eu-1"}}, "scrape_configs": []}}, "eu"),
        ({}, {"p__yml": {"global": {"external_labels": {"cluster": "us-1"}}, "scrape_configs": []}}, "rest"),
        (
            {},
            {"p__yml": {"alerting": {"alert_relabel_configs": [{"action": "drop"}]}, "scrape_configs": []}},
            "alert_relabel_configs",
        ),
    ],
)
def test_a_route_by_a_label_that_nothing_here_says_is_unknown(
    labels: dict[str, str],
    more: dict[str, Any],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(promtool, "firing", Evaluated(alertname="A", **labels))
    found = audited(tmp_path, r__yml=rules(), am__yml=ROUTES, **more)
    if " " in expected or "_" in expected:
        assert all(expected in item.unknown for item in found.values())
    else:
        paged = {name for name, item in found.items() if item.pages}
        assert paged == {f"A to {expected}"}
        assert not any(item.unknown for item in found.values())


def test_what_a_group_says_counts_for_its_rules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    evaluated = Evaluated(alertname="A", severity="page")
    monkeypatch.setattr(promtool, "firing", evaluated)
    content = rules()
    content["groups"][0]["labels"] = {"severity": "page"}
    audited(tmp_path, r__yml=content)
    assert '"severity": "page"' in evaluated.asked[0].rules[0]
    content["groups"][0]["limit"] = 1  # a rule that gives more alerts gives none: promtool evaluates that
    audited(tmp_path, r__yml=content)
    assert '"limit": 1' in evaluated.asked[1].rules[0]
    content["groups"][0]["query_offset"] = "2m"
    [item] = audited(tmp_path, r__yml=content).values()
    assert "query_offset" in item.unknown
    [item] = audited(tmp_path, r__yml=rules(labels={"c": "{{ $externalLabels.c }}"})).values()
    assert "external labels" in item.unknown


def test_what_parts_failures_from_all_others_is_a_part_also_where_it_is_excluded(tmp_path: Path) -> None:
    text = 'sum(rate(http_server_requests_seconds_count{exception!="None"}[1m])) > 0'
    [item] = audited(tmp_path, r__yml=rules(text)).values()
    assert "a part by exception" in item.unknown


def test_a_query_of_logs_is_refused_by_its_language(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        audited(tmp_path, r__yml=rules('sum(rate({app="x"} |= "error" [5m])) > 5'))
    assert "LogQL of Loki" in caught.value.problems[0]


# Grafana


def test_what_is_provisioned_beside_alert_rules_is_left_out_and_named(tmp_path: Path) -> None:
    (tmp_path / "contact.yaml").write_text("apiVersion: 1\ncontactPoints: [{ name: x }]\n", encoding="utf-8")
    (tmp_path / "rules.json").write_text(json.dumps(grafana(query("A", ALL), threshold())), encoding="utf-8")
    loaded = load([tmp_path])
    assert [policy.name for policy in loaded.policies] == ["A"]
    assert any("contactPoints, left out" in note for note in loaded.notes)


MUTED = {
    "policies": [
        {
            "receiver": "chat",
            "routes": [
                {"receiver": "oncall", "matchers": ["team = db"], "mute_time_intervals": ["always"]},
                {"receiver": "shop", "matchers": ["team = shop"]},
            ],
        }
    ],
    "muteTimes": [{"name": "always", "time_intervals": [{"years": ["1970:9999"]}]}],
    "contactPoints": [{"name": "oncall"}],
}


@pytest.mark.parametrize("together", [(), ("policies", "muteTimes"), ("groups", "policies", "muteTimes")])
@pytest.mark.parametrize("team", ["db", "shop"])
def test_grafana_provisions_rules_policies_and_mute_times_from_one_file_or_several(
    together: tuple[str, ...], team: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(promtool, "firing", Evaluated(alertname="A", grafana_folder="f", team=team))
    parts = grafana(query("A", ALL), threshold(), labels={"team": team}) | MUTED
    del parts["apiVersion"]
    joint = {key: parts.pop(key) for key in together}
    files = {f"{key}__json": {"apiVersion": 1, key: part} for key, part in parts.items()}
    [item] = audited(tmp_path, **files, joint__json={"apiVersion": 1, "templates": [], **joint}).values()
    assert bool(item.pages) is (team == "shop")
    assert ("time of day" in item.unknown) is (team == "db")  # its receiver is muted at times


BY_JOB = 'sum by (job) (rate(http_requests_total{code=~"5.."}[5m]))'
ALL = "sum(rate(http_requests_total[5m]))"


def query(name: str, text: str, to: int = 0) -> dict[str, Any]:
    span = {"from": 600, "to": to}
    return {"refId": name, "datasourceUid": "P", "relativeTimeRange": span, "model": {"expr": text}}


def maths(name: str, text: str) -> dict[str, Any]:
    return {"refId": name, "datasourceUid": "__expr__", "model": {"type": "math", "expression": text}}


def threshold(**more: Any) -> dict[str, Any]:
    condition = {"evaluator": {"type": "gt", "params": [0]}, **more}
    model = {"type": "threshold", "expression": "A", "conditions": [condition]}
    return {"refId": "C", "datasourceUid": "__expr__", "model": model}


def grafana(*data: dict[str, Any], **more: Any) -> dict[str, Any]:
    rule = {"title": "A", "condition": "C", "data": data, "noDataState": "OK", **more}
    return {"apiVersion": 1, "groups": [{"name": "g", "folder": "f", "interval": "1m", "rules": [rule]}]}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (grafana(query("A", BY_JOB), query("B", ALL), maths("C", "$A / $B > 0")), "different labels"),
        (grafana(query("A", ALL), threshold(unloadEvaluator={"type": "lt", "params": [0]})), "another value"),
        (grafana(query("A", f"{ALL} > 0"), threshold(), noDataState="KeepLast"), "keeps its last state"),
        (
            grafana(query("A", ALL), threshold(), notification_settings={"receiver": "x"}),
            "notification_settings",
        ),
    ],
)
def test_what_grafana_does_and_promql_does_not_is_unknown(
    content: dict[str, Any], named: str, tmp_path: Path
) -> None:
    [item] = audited(tmp_path, g__json=content).values()
    assert named in item.unknown


@pytest.mark.parametrize("mode", ["dropNN", "replaceNN"])
def test_a_reduction_that_takes_nan_for_something_is_unknown_where_there_may_be_any(
    mode: str, tmp_path: Path
) -> None:
    settings = {"mode": mode, "replaceWithValue": 9}
    reduced = {"type": "reduce", "expression": "A", "reducer": "last", "settings": settings}
    last = {"refId": "B", "datasourceUid": "__expr__", "model": reduced}
    content = grafana(query("A", f"{ALL} / {ALL}"), last, maths("C", "$B > 0"))
    [item] = audited(tmp_path, g__json=content).values()
    assert f"in mode {mode}" in item.unknown
    content = grafana(query("A", ALL), last, maths("C", "$B > 0"))
    [policy] = load_policies_of(tmp_path, content)
    assert not isinstance(policy, Unreplayed)


def test_rules_that_record_stand_beside_those_that_alert(tmp_path: Path) -> None:
    content = grafana(query("A", ALL), threshold())
    content["groups"][0]["rules"].append(
        {"title": "R", "data": [query("A", ALL)], "record": {"metric": "m", "from": "A"}}
    )
    assert "alert rules (1); left out: 1 that record a series" in notes_of(tmp_path, "g.json", content)


def test_a_prometheus_without_an_alertmanager_is_noted(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(
        "groups: [{ name: g, rules: [{ alert: A, expr: up == 0 }] }]\n", encoding="utf-8"
    )
    (tmp_path / "prometheus.yml").write_text("scrape_configs: []\n", encoding="utf-8")
    assert any("it names no Alertmanager" in note for note in load([tmp_path]).notes)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (grafana(query("A", BY_JOB), query("B", BY_JOB), maths("C", "$A / $B > 0")), "/"),
        (grafana(query("A", ALL), maths("C", "$A ** 2 > 0")), "^ 2"),
        (grafana(query("A", ALL, to=60), threshold()), "[15s:15s] offset 60s"),
    ],
)
def test_what_promql_can_say_is_replayed(
    content: dict[str, Any], text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    evaluated = Evaluated(alertname="A", grafana_folder="f")
    monkeypatch.setattr(promtool, "firing", evaluated)
    [item] = audited(tmp_path, g__json=content).values()
    assert len(item.pages) == 1
    assert text in evaluated.asked[0].rules[0]
