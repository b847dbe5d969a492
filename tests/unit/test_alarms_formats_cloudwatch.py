"""CloudWatch alarms in the files that teams have, over the evening of the incident.

The evening: a request fails every 12 s, from second 11 on, for three hours (900 in all); 5,025 requests a
minute; up to 15 waiters. The expectations were written before the readers.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from rushhour.alarms.audit import Audit, audit
from rushhour.alarms.composite import RuleError, parsed_rule
from rushhour.alarms.formats.documents import documents
from rushhour.alarms.maths import MathsError, parsed
from rushhour.alarms.policies import load, load_policies
from rushhour.alarms.rule_file import rule_files
from rushhour.alarms.sources import of_run
from rushhour.alarms.study import Scale, study
from rushhour.alarms.timeline import Timeline
from rushhour.errors import UsageError
from tests.unit import histories

FILES = Path(__file__).parent / "alarm_files"
NAMES = "names: { Referrals/PoolWaiters: pool_waiters }\n"


@dataclass(frozen=True, slots=True)
class Expected:
    """`first_s` counts from the evening's start; None: never. `unknown` is a word of the reason."""

    pages: int = 0
    first_s: float | None = None
    unannounced: int = 0
    unknown: str = ""


ONCE = Expected(1, 60.0, 895)  # the failures of the first minute, five, are announced
NEVER = Expected(0, None, 900)
EXPECTED = {
    "svc-5xx": ONCE,
    "svc-error-rate": ONCE,  # 100 * 5 / 5,025 = 0.0995
    "svc-5xx-average": NEVER,  # each failure is a sample of 1
    "pool-waiters-p99": Expected(1, 180.0, 885),  # three minutes in a row
    "svc-scales": NEVER,  # a scaling policy tells nobody
    "svc-latency": Expected(
        unknown="reads AWS/ApplicationELB/TargetResponseTime, which nothing here stands for"
    ),
    "svc-anomaly": Expected(unknown="anomaly detection"),
    "svc-page": ONCE,
    "svc-hushed": NEVER,  # its suppressor is in alarm from 60 s on
    "svc-depends": Expected(unknown="svc-latency"),
    "svc-either": ONCE,  # true whatever the latency is
}


def evening() -> Timeline:
    run = of_run(histories.incident(), "incident")
    assert run is not None
    return Scale().of(run)


def audited(*places: Path) -> dict[str, Audit]:
    return {item.policy.name: item for item in audit(load_policies(places), evening())}


def check(item: Audit, expected: Expected) -> None:
    assert bool(expected.unknown) == bool(item.unknown), item.unknown
    assert expected.unknown in item.unknown
    if not expected.unknown:
        first_s = item.pages[0].t_s if item.pages else None
        assert (len(item.pages), first_s, item.unannounced) == (
            expected.pages,
            expected.first_s,
            expected.unannounced,
        )


@pytest.fixture
def names(tmp_path: Path) -> Path:
    file = tmp_path / "names.yaml"
    file.write_text(NAMES)
    return file


def test_every_alarm_of_describe_alarms_does_what_was_expected(names: Path) -> None:
    found = audited(FILES / "describe-alarms.json", names)
    assert found.keys() == EXPECTED.keys()
    for name, item in found.items():
        check(item, EXPECTED[name])


@pytest.mark.parametrize(
    ("file", "alarms"),
    [
        ("template.yaml", ("svc-5xx", "svc-error-rate", "svc-page", "svc-latency")),
        ("alarms.tf", ("svc-5xx", "svc-error-rate", "svc-page", "svc-latency")),
        ("plan.json", ("svc-5xx", "svc-page")),
    ],
)
def test_a_template_and_terraform_hold_the_same_alarms(file: str, alarms: tuple[str, ...]) -> None:
    found = audited(FILES / file)
    assert set(found) == set(alarms)
    for name, item in found.items():
        if name == "svc-latency":  # its threshold is open, or its metric is unknown
            assert item.unknown
        else:
            check(item, EXPECTED[name])


def test_a_template_as_json_is_read_as_the_yaml_is(tmp_path: Path) -> None:
    alarm = {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {
            "AlarmActions": [{"Ref": "Topic"}],
            "Namespace": "AWS/ApplicationELB",
            "MetricName": "HTTPCode_Target_5XX_Count",
            "Statistic": "Sum",
            "Period": {"Fn::Select": [1, ["60", "300"]]},
            "EvaluationPeriods": 1,
            "Threshold": {"Fn::Select": [0, {"Fn::Split": [",", "2,3"]}]},
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        },
    }
    file = tmp_path / "t.template"
    file.write_text(json.dumps({"Resources": {"Http5xx": alarm, "Topic": {"Type": "AWS::SNS::Topic"}}}))
    check(audited(file)["Http5xx"], ONCE)


def test_what_a_file_leaves_open_makes_the_alarm_unknown_by_name(tmp_path: Path) -> None:
    text = (FILES / "alarms.tf").read_text()
    (tmp_path / "a.tf").write_text(
        text.replace("local.least", "var.slow").replace(
            '"svc-error-rate"\n', '"svc-error-rate"\n  for_each = var.all\n'
        )
    )
    (tmp_path / "b.tf").write_text(
        'resource "aws_cloudwatch_composite_alarm" "any" {\n  alarm_name = "any"\n'
        '  alarm_rule = join(" OR ", [for one in var.all : "ALARM(${one})"])\n}\n'
    )
    found = audited(tmp_path)
    assert "AlarmRule is ${join(" in found["any"].unknown
    assert "var.slow" in found["svc-5xx"].unknown
    assert "terraform show -json" in found["svc-error-rate"].unknown
    assert "svc-5xx" in found["svc-page"].unknown
    (tmp_path / "terraform.tfvars").write_text("slow = 2\n")
    check(audited(tmp_path)["svc-5xx"], ONCE)


def test_the_kind_of_each_file_is_noted() -> None:
    file = FILES / "describe-alarms.json"
    [note] = load([file]).notes
    assert note == f"{file}: aws cloudwatch describe-alarms (metric alarms: 7, composite: 4)"


def test_all_problems_are_reported_at_once_with_file_and_line(tmp_path: Path) -> None:
    plain = json.loads((FILES / "describe-alarms.json").read_text())
    first, second, third = plain["MetricAlarms"][:3]
    first["ComparisonOperator"] = "Above"
    del second["Threshold"]
    third["Statistic"] = "Mean"
    file, other = tmp_path / "alarms.json", tmp_path / "other.yaml"
    file.write_text(json.dumps(plain, indent=2))
    other.write_text("apiVersion: v1\nkind: ConfigMap\n")
    (tmp_path / "broken.tf").write_text('resource "a" "b" {\n  x = \n}\n')
    with pytest.raises(UsageError) as caught:
        load_policies([tmp_path])
    notified = caught.value.problems
    for start, words in (
        ("alarms.json:3: svc-5xx: ", "'Above'"),
        ("alarms.json:", "Threshold is missing"),
        ("alarms.json:", "statistic 'Mean'"),
        ("other.yaml:1: ", "looked for"),
        ("broken.tf:2: ", "not HCL"),
    ):
        assert any(start in item and words in item for item in notified), (start, notified)


@pytest.mark.parametrize(
    ("text", "values", "result"),
    [
        ("1 + 2 * 3", {}, 7.0),
        ("-(a - b) ^ 2 / 4", {"a": 1.0, "b": 5.0}, 4.0),
        ("IF(a > 2 AND b <= 5, a, 0)", {"a": 3.0, "b": 5.0}, 3.0),
        ("FILL(a, 0) + 1", {"a": None}, 1.0),
        ("a / b", {"a": 1.0, "b": 0.0}, None),
        ("a + b", {"a": None, "b": 1.0}, None),
        ("2 ^ 9999 * 10 ^ 300", {}, None),
    ],
)
def test_plain_arithmetic(text: str, values: dict[str, float | None], result: float | None) -> None:
    assert parsed(text).value(values.__getitem__) == result


@pytest.mark.parametrize(
    "text",
    ["RATE(a)", "SUM(METRICS())", "a +", "(a", "a b", "a; b", "__import__('os')", "(" * 999, "SEARCH('x')"],
)
def test_other_maths_is_refused_in_words(text: str) -> None:
    with pytest.raises(MathsError):
        parsed(text)


@pytest.mark.parametrize(
    "text", ["", "ALARM()", "ALARM(a) AND", "alarm(a)", "AT_LEAST(1, ALARM, (a))", "(ALARM(a)"]
)
def test_a_rule_that_cannot_be_read_is_refused_in_words(text: str) -> None:
    with pytest.raises(RuleError):
        parsed_rule(text)


def test_advice_on_a_teams_alarm_is_a_file_that_is_read_again(names: Path, tmp_path: Path) -> None:
    run = of_run(histories.incident(), "incident")
    assert run is not None
    found = study(load_policies([FILES / "describe-alarms.json", names]), run, Scale())
    folder = tmp_path / "advice"
    folder.mkdir()
    for name, text in rule_files(found.advice).items():
        (folder / name).write_text(text, encoding="utf-8")
    again = {item.policy.name: item for item in audit(load_policies([folder]), found.timeline)}
    assert {"svc-5xx", "svc-error-rate", "pool-waiters-p99"} <= again.keys()
    for item in found.advice:
        assert item.closes
        assert len(again[item.after.policy.name].pages) == len(item.after.pages)


def test_metric_maths_in_a_file_of_ours(tmp_path: Path) -> None:
    file = tmp_path / "ours.yaml"
    maths = "expression: 100 * e / r, metrics: { e: { metric: http_5xx }, r: { metric: requests } }"
    file.write_text(
        "system: cloudwatch\ndefaults: { period: 60s, threshold: 0.09, actions: { alarm: [on-call] } }\n"
        f"alarms:\n  rate: {{ {maths} }}\n"
    )
    check(audited(file)["rate"], ONCE)
    file.write_text(
        "system: cloudwatch\ndefaults: { period: 60s, threshold: 1 }\nalarms:\n  none: {}\n"
        "  unknown: { expression: x + 1 }\n  both: { metric: http_5xx, expression: '1' }\n"
    )
    with pytest.raises(UsageError) as caught:
        load_policies([file])
    for line, words in ((4, "needs `metric`, or `expression`"), (5, "reads x"), (6, "not both")):
        assert any(f"ours.yaml:{line}: " in item and words in item for item in caught.value.problems), line


@pytest.mark.parametrize("own", ["<<: *base, y: 2", "y: 2, <<: *base", "<<: [*base, { y: 3 }], y: 2"])
def test_a_mappings_own_key_counts_before_one_that_is_merged_in(own: str) -> None:
    [document] = documents(Path("a.yaml"), f"base: &base {{ x: 1, y: 1 }}\nown: {{ {own} }}\n")
    assert document.plain["own"] == {"x": 1, "y": 2}


def test_the_first_of_several_mappings_that_are_merged_in_counts() -> None:
    [document] = documents(
        Path("a.yaml"), "a: &a { x: 1 }\nb: &b { <<: *a, x: 2, y: 2 }\nc: { <<: [*b, *a] }\n"
    )
    assert document.plain["c"] == {"x": 2, "y": 2}
