"""Terraform files: the JSON syntax, variables as Terraform loads them, and values that a plan knows."""

import json
from pathlib import Path
from typing import Any

import pytest

from rushhour.alarms.audit import Audit, audit
from rushhour.alarms.policies import load, load_policies
from rushhour.alarms.sources import of_run
from rushhour.alarms.study import Scale
from rushhour.errors import UsageError
from tests.unit import histories

ALARM: dict[str, Any] = {
    "alarm_name": "errors",
    "alarm_actions": ["${aws_sns_topic.on_call.arn}"],
    "namespace": "AWS/ApplicationELB",
    "metric_name": "HTTPCode_Target_5XX_Count",
    "statistic": "Sum",
    "period": 60,
    "evaluation_periods": 1,
    "threshold": 1,
    "comparison_operator": "GreaterThanOrEqualToThreshold",
}


def alarm(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in (ALARM | changes).items() if value is not None}


def module(*blocks: dict[str, Any], **alarms: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {"resource": {"aws_cloudwatch_metric_alarm": alarms}}
    for block in blocks:
        content |= block
    return content


def write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2))


def audited(*places: Path) -> dict[str, Audit]:
    run = of_run(histories.incident(), "incident")
    assert run is not None
    return {found.policy.name: found for found in audit(load_policies(list(places)), Scale().of(run))}


@pytest.mark.parametrize("name", ["alarms.tf.json", "cdk.json"])
@pytest.mark.parametrize("listed", [False, True])
def test_the_json_syntax_is_read_by_name_and_by_content(name: str, listed: bool, tmp_path: Path) -> None:
    """Where a block may be repeated, an object and a list of objects mean the same."""
    resource: Any = {"aws_cloudwatch_metric_alarm": {"x": alarm(threshold="${var.least * 2}")}}
    variable: Any = {"least": {"default": 1}}
    content = {"//": "made by a program", "resource": resource, "variable": variable}
    if listed:
        content |= {
            "resource": [
                {"aws_cloudwatch_metric_alarm": [{"x": [resource["aws_cloudwatch_metric_alarm"]["x"]]}]}
            ]
        }
        content |= {"variable": [variable]}
    write(tmp_path / name, content)
    found = audited(tmp_path)["errors"]
    assert not found.unknown
    assert found.pages
    assert "aws_sns_topic.on_call" in str(found.pages[0])
    assert any("Terraform (metric alarms: 1" in note for note in load([tmp_path]).notes)


def test_both_syntaxes_of_a_folder_are_read_as_one(tmp_path: Path) -> None:
    (tmp_path / "variables.tf").write_text(
        'variable "least" {\n  default = 3\n}\nlocals {\n  all = { web = { n = 2 } }\n}\n'
    )
    write(
        tmp_path / "alarms.tf.json",
        module(
            a=alarm(alarm_name="a", threshold="${var.least}"),
            b=alarm(alarm_name="b", threshold="${local.all.web.n}"),
            c=alarm(alarm_name="c", threshold='${local.all["web"]["n"]}'),
        ),
    )
    policies = {policy.name: policy for policy in load_policies([tmp_path])}
    assert [getattr(policies[name], "threshold", None) for name in "abc"] == [3, 2, 2]


def test_a_metric_query_may_be_an_object(tmp_path: Path) -> None:
    query = {
        "id": "errors",
        "return_data": True,
        "metric": {
            "namespace": "AWS/ApplicationELB",
            "metric_name": "HTTPCode_Target_5XX_Count",
            "period": 60,
            "stat": "Sum",
        },
    }
    single = alarm(namespace=None, metric_name=None, statistic=None, period=None, metric_query=query)
    write(tmp_path / "x.tf.json", module(x=single))
    assert audited(tmp_path)["errors"].pages


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"threshold": "${max(5, var.least)}"}, "Threshold is ${max(5, var.least)}, whose function max()"),
        (
            {"threshold": "${var.least}"},
            "Threshold is ${var.least}, a variable without a value: set least in",
        ),
        ({"threshold": "${var.least * 2}"}, "because of ${var.least}, a variable without a value"),
        ({"threshold": "${var.nowhere}"}, "which no file here declares"),
        ({"threshold": "${data.aws_ssm_parameter.x.value}"}, "which only a plan knows"),
        ({"threshold": "${module.limits.errors}"}, "which only a plan knows"),
        ({"threshold": "${var.quiet ? 5 : 50}"}, "whose condition is not evaluated here"),
        ({"threshold": "${local.limits.api}"}, "of which no file here has this part"),
        ({"threshold": "${local.around}"}, "goes around in circles"),
        ({"period": '${tonumber("60")}'}, "Period is"),
        ({"evaluation_periods": "${length(var.list)}"}, "whose function length()"),
        ({"statistic": "p${var.least}"}, "Statistic is p${var.least}, because of ${var.least}"),
        ({"statistic": None, "extended_statistic": "p${var.least}"}, "ExtendedStatistic is"),
        ({"metric_name": '${lower("X")}'}, "MetricName is"),
        ({"namespace": "${var.team}/App"}, "Namespace is"),
        ({"treat_missing_data": '${var.quiet ? "missing" : "breaching"}'}, "TreatMissingData is"),
        ({"comparison_operator": "${var.how}"}, "ComparisonOperator is"),
        ({"datapoints_to_alarm": "${var.least}"}, "DatapointsToAlarm is"),
        ({"actions_enabled": "${!var.quiet}"}, "ActionsEnabled is"),
        ({"alarm_actions": "${concat(var.a, var.b)}"}, "AlarmActions is"),
        ({"for_each": "${var.all}"}, "which for_each may vary"),
        ({"count": "${var.on ? 1 : 0}"}, "which count may vary"),
        ({"dynamic": {"metric_query": {"for_each": "${var.q}", "content": {}}}}, "which dynamic may vary"),
        ({"threshold": "%{ if var.quiet }5%{ else }9%{ endif }"}, "Threshold is"),
    ],
)
def test_a_value_that_cannot_be_evaluated_makes_that_alarm_unknown_by_name(
    changes: dict[str, Any], missing: str, tmp_path: Path
) -> None:
    blocks = {
        "variable": {"least": {}, "quiet": {}, "team": {}, "list": {}},
        "locals": {"limits": {}, "around": "${local.around}"},
    }
    write(tmp_path / "x.tf.json", module(blocks, x=alarm(**changes), y=alarm(alarm_name="whole")))
    found = audited(tmp_path)
    assert missing in found["errors"].unknown
    assert found["whole"].pages
    assert not found["whole"].unknown


def test_the_same_expressions_in_hcl_are_unknown_as_well(tmp_path: Path) -> None:
    (tmp_path / "x.tf").write_text(
        'variable "least" {}\nresource "aws_cloudwatch_metric_alarm" "x" {\n'
        '  alarm_name = "x-${lower("A")}"\n'
        + "".join(
            f"  {key} = {json.dumps(value)}\n"
            for key, value in ALARM.items()
            if key not in ("alarm_name", "alarm_actions", "threshold")
        )
        + "  threshold = max(5, var.least)\n}\n"
    )
    [found] = audited(tmp_path).values()
    assert "whose function max() is not evaluated here: `terraform show -json PLAN` holds it" in found.unknown


def test_what_names_an_alarm_or_its_receiver_does_not_make_it_unknown(tmp_path: Path) -> None:
    named = alarm(
        alarm_name="x-${var.team}",
        alarm_description="for ${upper(var.team)}",
        alarm_actions=["${module.topics.arn}"],
        dimensions={"LoadBalancer": "${aws_lb.main.arn_suffix}"},
    )
    write(tmp_path / "x.tf.json", module({"variable": {"team": {}}}, x=named))
    [found] = audited(tmp_path).values()
    assert found.policy.name == "x-${var.team}"
    assert found.pages
    assert not found.unknown


def test_names_that_refer_to_each_other_end(tmp_path: Path) -> None:
    around = "${aws_cloudwatch_metric_alarm.%s.alarm_name}"
    alarms = {"a": alarm(alarm_name=around % "b"), "b": alarm(alarm_name=around % "a"), "c": alarm()}
    write(tmp_path / "x.tf.json", module(**alarms))
    with pytest.raises(UsageError, match="more than once"):
        load_policies([tmp_path])


def test_an_alarm_of_which_there_is_none_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "x.tf.json", module(x=alarm(count=0), y=alarm(alarm_name="whole", count=1)))
    assert set(audited(tmp_path)) == {"whole"}


def test_variables_are_set_as_terraform_sets_them(tmp_path: Path) -> None:
    """Only files of certain names are loaded without `-var-file`; later ones count more."""
    write(
        tmp_path / "x.tf.json",
        module({"variable": {"least": {"default": 1}}}, x=alarm(threshold="${var.least}")),
    )

    def threshold(*more: Path) -> Any:
        [policy] = load_policies([tmp_path, *more])
        return getattr(policy, "threshold", None)

    assert threshold() == 1
    (tmp_path / "prod.tfvars").write_text("least = 50\n")
    assert threshold() == 1
    assert any("prod.tfvars: left out" in note for note in load([tmp_path]).notes)
    (tmp_path / "terraform.tfvars").write_text("least = 2\n")
    assert threshold() == 2
    write(tmp_path / "terraform.tfvars.json", {"least": 3})
    assert threshold() == 3
    (tmp_path / "a.auto.tfvars").write_text("least = 4\n")
    assert threshold() == 4
    assert threshold(tmp_path / "prod.tfvars") == 50


def test_a_module_that_is_not_followed_is_noted(tmp_path: Path) -> None:
    write(tmp_path / "x.tf.json", module({"module": {"more": {"source": "./more"}}}, x=alarm()))
    assert any("module more is not followed" in note for note in load([tmp_path]).notes)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{\n", "x.tf.json:2: not JSON"),
        ("[]", "x.tf.json:1: must be an object"),
        ('{\n"resource": {},\n"resources": {}}', "x.tf.json:3: 'resources' is no block of Terraform's"),
        ('{"a":' * 5000, "x.tf.json:1: "),
    ],
)
def test_a_broken_file_is_refused_with_its_line(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "x.tf.json").write_text(text)
    with pytest.raises(UsageError) as caught:
        load_policies([tmp_path])
    assert any(problem in found for found in caught.value.problems), caught.value.problems


@pytest.mark.parametrize(
    "shape",
    [{"resource": 7}, {"resource": {"aws_cloudwatch_metric_alarm": 7}}, {"variable": [7]}, {"locals": 7}],
)
def test_blocks_of_a_wrong_shape_hold_nothing(shape: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path / "x.tf.json", shape)
    write(tmp_path / "y.tf.json", module(x=alarm()))
    assert set(audited(tmp_path)) == {"errors"}


def test_override_files_change_the_alarms_of_the_others(tmp_path: Path) -> None:
    write(tmp_path / "a_override.tf.json", module(x={"threshold": 10_000}, y={"threshold": "${var.least}"}))
    write(tmp_path / "alarms.tf.json", module(x=alarm(), y=alarm(alarm_name="y")))
    write(tmp_path / "limits.tf.json", {"variable": {"least": {"default": 1}}})
    write(tmp_path / "override.tf.json", {"variable": {"least": {"default": 20_000}}})
    policies = {policy.name: policy for policy in load_policies([tmp_path])}
    assert {name: getattr(policy, "threshold", None) for name, policy in policies.items()} == {
        "errors": 10_000,
        "y": 20_000,
    }


@pytest.mark.parametrize(
    ("name", "why"),
    [("b.tf.json", "aws_cloudwatch_metric_alarm.x is at"), ("b_override.tf.json", "which no other file has")],
)
def test_a_resource_that_terraform_refuses_is_refused(name: str, why: str, tmp_path: Path) -> None:
    write(tmp_path / "alarms.tf.json", module(**({"x": alarm()} if name == "b.tf.json" else {"z": alarm()})))
    write(tmp_path / name, module(x=alarm(alarm_name="other")))
    with pytest.raises(UsageError, match=why):
        load_policies([tmp_path])


def test_a_unit_counts_in_terraform_too(tmp_path: Path) -> None:
    metric = {"namespace": ALARM["namespace"], "metric_name": ALARM["metric_name"], "period": 60}
    query = {"id": "e", "return_data": True, "metric": metric | {"stat": "Sum", "unit": "Seconds"}}
    of_maths = alarm(alarm_name="y", metric_name=None, namespace=None, statistic=None, period=None)
    write(tmp_path / "x.tf.json", module(x=alarm(unit="Seconds"), y=of_maths | {"metric_query": query}))
    found = audited(tmp_path)
    assert "with unit Seconds alone" in found["errors"].unknown
    assert "with unit Seconds alone" in found["y"].unknown
