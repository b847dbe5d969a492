"""alertmanager.yml as a configuration: routes, matchers, time intervals, what is wrong with it; and names."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

from rushhour.alarms.formats import prometheus_rules
from rushhour.alarms.formats.alertmanager_yml import read
from rushhour.alarms.formats.documents import documents
from rushhour.alarms.formats.names import Names, StandsFor
from rushhour.alarms.formats.prom_names import resolve
from rushhour.alarms.policies import load_policies
from rushhour.alarms.routing import Configuration
from rushhour.alarms.selectors import selectors
from rushhour.alarms.time_intervals import TimeInterval
from rushhour.errors import UsageError

RULES = "groups:\n- name: g\n  rules:\n  - {{ alert: A, expr: '{}' }}\n"


def configuration(text: str) -> Configuration:
    [document] = documents(Path("am.yml"), text)
    found, problems = read(document, "am.yml")
    assert problems == []
    assert found is not None
    return found


def problems_of(text: str) -> list[str]:
    [document] = documents(Path("am.yml"), text)
    return read(document, "am.yml")[1]


def test_a_route_inherits_what_it_does_not_say() -> None:
    found = configuration(
        "route:\n  receiver: a\n  group_by: [x]\n  group_wait: 1m30s\n  repeat_interval: 1h\n  routes:\n"
        "  - matchers: ['team=db']\n    repeat_interval: 2h\n    mute_time_intervals: [n]\n    routes:\n"
        "    - receiver: b\n      match: {deep: 'yes'}\n      group_by: []\n"
        "receivers: [{name: a}, {name: b, email_configs: [{to: x}]}]\n"
        "time_intervals: [{name: n, time_intervals: [{weekdays: [saturday]}]}]\n"
    )
    [deep] = found.root.matched({"team": "db", "deep": "yes"})
    assert (deep.receiver, deep.timing.group_by, deep.timing.group_wait_s) == (
        "b",
        ("x",),
        90.0,
    )  # an empty list says nothing
    assert (deep.timing.repeat_interval_s, deep.muted) == (7200.0, ())  # muted times are not inherited
    assert not deep.timing.send_resolved  # as e-mail has it
    [middle] = found.root.matched({"team": "db"})
    assert (middle.receiver, middle.muted, middle.timing.group_by) == ("a", ("n",), ("x",))
    assert found.receivers == {"a": False, "b": True}


REFUSED = {  # what a real Alertmanager does not load, so that nobody is notified by it
    "receiver: a, matchers: [x=y]": "the first route takes every alert",
    "receiver: a, match_re: {x: y}": "the first route takes every alert",
    "receiver: a, continue: yes": "the first route takes every alert",
    "receiver: a, mute_time_intervals: [n]": "the first route takes every alert",
    "receiver: a, active_time_intervals: [n]": "the first route takes every alert",
    "receiver: a, repeat_intervall: 1h": "unknown key 'repeat_intervall'",
    "receiver: a, routes: [{matcher: [x=y]}]": "unknown key 'matcher'",
    "receiver: a, group_by: [x, '...']": "group_by holds",
    "receiver: a, group_by: [x, x]": "group_by holds",
    "receiver: a, group_wait: 1m1h": "is not a duration",
    "receiver: a, routes: [{matchers: 'x=y'}]": "matchers must be a list",
    "receiver: a, routes: [{matchers: ['x=~\"(?!y).*\"']}]": "Alertmanager reads (RE2)",
    "receiver: a, routes: [{match_re: {x: '(y)\\1'}}]": "Alertmanager reads (RE2)",
}
REFUSED_INTERVALS = {
    "weekdays: ['friday:monday']": "ends before it begins",
    "weekdays: ['1:5']": "neither a value nor a range",
    "days_of_month: ['0']": "neither a value nor a range",
    "days_of_month: ['32']": "neither a value nor a range",
    "days_of_month: ['-32']": "neither a value nor a range",
    "days_of_month: ['5:1']": "ends before it begins",
    "days_of_month: ['-1:5']": "ends before it begins",
    "days_of_month: ['-1:-5']": "ends before it begins",
    "days_of_month: ['31:-31']": "ends before it begins",
    "months: ['december:january']": "ends before it begins",
    "years: ['2030:2020']": "ends before it begins",
    "times: [{start_time: '09:00', end_time: '10:00', zone: x}]": "nothing else",
    "time_zone: Europe/Berlin": "unknown key 'time_zone'",
}
REFUSED_BESIDE = {
    "inhibit_rule: []": "unknown key 'inhibit_rule'",
    "time_intervals: [{name: n, times: []}]": "unknown key 'times'",
    "inhibit_rules: [{source_matcher: [a=b], target_matchers: [a=c]}]": "unknown key 'source_matcher'",
    "inhibit_rules: [{sources: [{matchers: [a=b]}], target_matchers: [a=c]}]": "unknown key 'sources'",
    "time_intervals: [{time_intervals: [{months: ['1']}]}]": "has no name",
    "time_intervals: [{name: n}]\nmute_time_intervals: [{name: n}]": "stands there twice",
}
TREE = "route: {{ {} }}\nreceivers: [{{ name: a }}]\n{}\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        *((TREE.format(text, "time_intervals: [{name: n}]"), why) for text, why in REFUSED.items()),
        *(
            (TREE.format("receiver: a", f"time_intervals: [{{name: n, time_intervals: [{{{text}}}]}}]"), why)
            for text, why in REFUSED_INTERVALS.items()
        ),
        *((TREE.format("receiver: a", text), why) for text, why in REFUSED_BESIDE.items()),
        ("route: {receiver: a}\nreceivers: [{name: a, webhooks_configs: []}]\n", "key 'webhooks_configs'"),
        ("route: {receiver: a}\nreceivers: [{name: a, webhook_configs: {url: x}}]\n", "must be a list"),
        ("route: {receiver: a}\nreceivers: [{name: a}, {webhook_configs: []}]\n", "has no name"),
    ],
)
def test_what_alertmanager_refuses_is_refused(text: str, why: str) -> None:
    [problem] = problems_of(text)
    assert why in problem


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("rules: []\ngroups: []\n", 1, "unknown key 'rules'"),
        ("groups:\n- name: g\n  intervall: 1m\n  rules:\n", 3, "unknown key 'intervall'"),
        ("groups:\n- rules: [{alert: A, expr: up}]\n", 2, "a group has no name"),
        ("groups:\n- name: g\n- name: g\n", 3, "group g stands there twice"),
        ("groups:\n- name: g\n  rules:\n  - {alert: A, expr: up, annotation: {}}\n", 4, "key 'annotation'"),
        ("groups:\n- name: g\n  rules:\n  - {record: a, expr: up, for: 5m}\n", 4, "only an alert has for"),
        ("groups:\n- name: g\n  limit: a\n  rules:\n  - {alert: A, expr: up}\n", 3, "is no whole number"),
        ("groups:\n- name: g\n  rules:\n  - {alert: A, expr: up, for: 1m1h}\n", 4, "is not a duration"),
        ("groups:\n- name: g\n  rules:\n  - {alert: A, expr: up, labels: {a: [1]}}\n", 4, "'a' is no label"),
        (
            "kind: PrometheusRule\nspec:\n  groups: [{name: g, rules: [{alert: A, expr: up, fors: 5m}]}]\n",
            3,
            "unknown key 'fors'",
        ),
    ],
)
def test_what_prometheus_refuses_is_refused(text: str, line: int, why: str) -> None:
    [document] = documents(Path("rules.yml"), text)
    [problem] = prometheus_rules.read(document, "rules.yml")[1]
    assert problem.startswith(f"rules.yml:{line}: ")
    assert why in problem


@pytest.mark.parametrize("key", ["for: 0s", "keep_firing_for: 0", "for: ", "annotations: {}"])
def test_a_recording_rule_may_have_an_alerts_keys_that_say_nothing(key: str) -> None:
    text = f"groups: [{{name: g, rules: [{{record: a, expr: up, {key}}}]}}]"
    [document] = documents(Path("rules.yml"), text)
    assert prometheus_rules.read(document, "rules.yml")[1] == []


@pytest.mark.parametrize("key", ["continue: no", "continue: off", "continue: false", "matchers: []"])
def test_the_first_route_may_say_that_it_takes_everything(key: str) -> None:
    assert problems_of(f"route: {{receiver: a, {key}}}\nreceivers: [{{name: a}}]\n") == []


@pytest.mark.parametrize("word", ["yes", "on", "Yes", "TRUE"])
def test_flags_are_read_as_alertmanager_reads_them(word: str) -> None:
    found = configuration(
        f"route: {{receiver: a, routes: [{{receiver: b, continue: {word}}}, {{receiver: c}}]}}\n"
        "receivers: [{name: a}, {name: b}, {name: c}]\n"
    )
    assert [node.receiver for node in found.root.matched({})] == ["b", "c"]


@pytest.mark.parametrize("value", ["true", "True", "yes", "1e3", "010", "1.0", "7"])
def test_labels_are_compared_as_they_are_spelled(value: str, tmp_path: Path) -> None:
    found = configuration(
        f"route: {{receiver: a, routes: [{{receiver: b, match: {{page: {value}}}}}]}}\n"
        "receivers: [{name: a}, {name: b}]\n"
    )
    assert found.root.matched({"page": value})[0].receiver == "b"
    rules = tmp_path / "rules.yml"
    rule_text = f"{{alert: A, expr: up, labels: {{page: {value}}}}}"
    rules.write_text(f"groups: [{{name: g, labels: {{of: {value}}}, rules: [{rule_text}]}}]\n")
    [rule] = prometheus_rules.rules_of(rules)
    assert rule.labels == (("of", value), ("page", value))


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ('severity="page"', {"severity": "page"}, True),
        ("severity=page", {"severity": "pages"}, False),
        ('severity=~"pa.*|x"', {"severity": "page"}, True),
        ('severity=~"ag"', {"severity": "page"}, False),  # as a whole
        ("severity!=page", {}, True),
        ('severity!~"p.*"', {"severity": "page"}, False),
        ('severity=""', {}, True),
        ('{a="1", b=~"2|3"}', {"a": "1", "b": "3"}, True),
        ('{a="1", b="x,y"}', {"a": "1", "b": "x,y"}, True),
        ("a = b c", {"a": "b c"}, True),
        ("a=b{c},d=e", {"a": "b{c}", "d": "e"}, True),
        (r'host=~"web\d+"', {"host": "web1"}, True),  # no escape of a text: it stays in the expression
        (r'host=~"web\\d+"', {"host": "web1"}, True),
        (r"host=~web\d+", {"host": "web1"}, True),
        (r'host=~"a\.b"', {"host": "axb"}, False),
        (r'path="C:\data"', {"path": r"C:\data"}, True),
        (r'a="x\ty", b="\\"', {"a": "x\ty", "b": "\\"}, True),
        (r'a="x\ty", b="\d"', {"a": r"x\ty", "b": r"\d"}, True),  # the older parser reads the whole text
        (r"a=x\ny", {"a": "x\ny"}, True),
        (r'a="say \"hi\""', {"a": 'say "hi"'}, True),
    ],
)
def test_matchers(text: str, labels: dict[str, str], matches: bool) -> None:
    found = configuration(
        f"route: {{receiver: a, routes: [{{receiver: b, matchers: ['{text}']}}]}}\n"
        "receivers: [{name: a}, {name: b}]\n"
    )
    assert (found.root.matched(labels)[0].receiver == "b") is matches


def test_every_problem_is_reported_with_its_line() -> None:
    found = problems_of(
        "route:\n  receiver: nope\n  group_wait: soon\n  routes:\n"
        "  - matchers: ['=x']\n  - match_re: {a: '('}\n"
        "  - mute_time_intervals: [gone]\nreceivers: [{name: a}]\n"
        "time_intervals:\n- name: n\n  time_intervals:\n  - {weekdays: [someday], location: Nowhere/At_All}\n"
        "  - times: [{start_time: '9:00', end_time: '08:00'}]\n"
    )
    for line, what in (
        (2, "no receiver 'nope'"), (3, "'soon'"), (5, "'=x'"), (6, "'('"), (7, "'gone'"),
        (12, "'someday'"), (12, "Nowhere/At_All"), (13, "start_time"),
    ):  # fmt: skip
        assert any(item.startswith(f"am.yml:{line}: ") and what in item for item in found), (
            line,
            what,
            found,
        )


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_time_intervals() -> None:
    office = TimeInterval(times=((540, 1020),), weekdays=((1, 5),))
    assert office.holds(at("2026-11-27 09:00"))  # a Friday
    assert not office.holds(at("2026-11-27 17:00"))
    assert not office.holds(at("2026-11-28 12:00"))
    last_days = TimeInterval(days_of_month=((-2, -1),))
    assert [last_days.holds(at(f"2026-11-{day} 00:00")) for day in (28, 29, 30)] == [False, True, True]
    assert not TimeInterval(months=((1, 3),)).holds(at("2026-11-28 12:00"))
    assert TimeInterval(years=((2026, 2026),)).holds(at("2026-11-28 12:00"))
    assert not TimeInterval(days_of_month=((31, 31),)).holds(at("2026-11-30 12:00"))


def series(*texts: str, names: Names | None = None) -> tuple[dict[str, str], list[str]]:
    found = resolve([item for text in texts for item in selectors(text)], names or Names())
    return dict(found.series), list(found.unknown.values())


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ('http_server_requests_total{status=~"5.."}', ('status="200"', 'status="500"')),
        ('http_requests_total{status="5xx"}', ('status="2xx"', 'status="5xx"')),
        ('nginx_ingress_controller_requests{status=~"[5].*"}', ('status="200"', 'status="500"')),
        (
            'http_server_requests_seconds_count{outcome="SERVER_ERROR"}',
            ('outcome="SUCCESS"', 'outcome="SERVER_ERROR"'),
        ),
        ('envoy_cluster_upstream_rq_xx{envoy_response_code_class="5"}', ('class="2"', 'class="5"')),
        ('http_requests_total{code!~"2.."}', ('code="200"', 'code="500"')),
    ],
)
def test_a_counter_of_requests_is_parted_by_the_status_that_a_rule_reads(
    text: str, labels: tuple[str, str]
) -> None:
    found, unknown = series(text)
    assert unknown == []
    assert sorted(found.values()) == ["http_5xx", "http_ok"]
    for label, source in zip(labels, ("http_ok", "http_5xx"), strict=True):
        assert any(label in name and of == source for name, of in found.items()), found


@pytest.mark.parametrize(
    "text",
    [
        'http_requests_total{code="503"}',  # one of the 5xx
        'http_requests_total{code=~"4.."}',
        'http_requests_total{code=~"4..|5.."}',
        'http_requests_total{code=~"5..|429"}',
        'http_requests_total{status=~"4xx|5xx"}',
        'http_server_requests_seconds_count{outcome=~"(CLIENT|SERVER)_ERROR"}',
        'http_requests_total{code=~"50[23]"}',
        'http_requests_total{handler="/login"}',
        'http_requests_total{method=~"GET|POST"}',
        "http_request_duration_seconds_bucket",
        "nginx_http_requests_total",
        "node_cpu_seconds_total",
        'db_client_connection_count{db_client_connection_state="idle"}',
        '{__name__=~"http_.*"}',
    ],
)
def test_a_part_of_the_whole_or_something_else_stands_for_nothing(text: str) -> None:
    found, [why] = series(text)
    assert found == {}
    assert text.partition("{")[0] in why


def test_rules_of_two_services_ask_which_is_this_one() -> None:
    texts = ('up{job="api"}', 'http_requests_total{job="web"}')
    found, [why] = series(*texts)
    assert "labels: { job: ... }" in why
    found, [why] = series(*texts, names=Names(labels={"job": "web"}))
    assert all('job="web"' in name for name in found)
    assert "job is 'web'" in why


def test_a_mapping_with_labels_stands_for_that_part_alone() -> None:
    names = Names(
        {
            'shop_events_total{kind="failed"}': StandsFor("http_5xx"),
            "nginx_http_requests_total": StandsFor("requests"),
        }
    )
    found, unknown = series('shop_events_total{kind="failed"}', "nginx_http_requests_total", names=names)
    assert unknown == []
    assert sorted(found.values()) == ["http_5xx", "http_5xx", "http_ok"]
    _, [why] = series('shop_events_total{kind="sold"}', names=names)
    assert "nothing here stands for" in why


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.yaml", "kind: Deployment\n", 1),
        ("a.yaml", "- 1\n", 1),
        ("a.json", "[]", 1),
        ("a.json", '{"a":\n 1,}', 2),
        ("a.yaml", RULES.format("sum(rate("), 4),
        ("a.yaml", "groups:\n- rules: 1\n", 2),
        ("a.yaml", "groups:\n- name: g\n  rules:\n  - {alert: A, expr: up, for: soon}\n", 4),
        ("a.yaml", "MetricAlarms:\n- 1\n", 2),
        ("a.yaml", "Resources:\n  A: {Type: 'AWS::CloudWatch::Alarm'}\n", 2),
        ("a.yaml", "names: {a: nothing}\n", 1),
        ("a.yaml", "route: {receiver: a}\nreceivers: 3\n", 2),
        ("a.tf", 'resource "aws_cloudwatch_metric_alarm" "a" {\n', 2),
        ("a.tf", 'variable "x" {}\n\nresource "aws_cloudwatch_metric_alarm" "a" {\n}\n', 3),
        ("a.yaml", "a: " + "[" * 5000, 1),
        ("a.json", "[" * 100_000, 1),
    ],
)
def test_a_broken_file_or_one_of_another_kind_is_refused_with_its_line(
    tmp_path: Path, name: str, text: str, line: int
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError) as caught:
        load_policies([tmp_path / name])
    assert any(item.startswith(f"{tmp_path / name}:{line}: ") for item in caught.value.problems), (
        caught.value.problems
    )


SAMPLES = sorted((Path(__file__).parent / "alarm_files").glob("*.*"))
JUNK: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1e308,
    "",
    "${x}",
    "\u00e9",
    [],
    {},
    [[]],
    [None],
    {"a": 1},
    {"Ref": "A"},
)


def mutated(plain: Any, chance: Random) -> Any:
    """One value somewhere in it replaced by junk, left out, or doubled."""
    if isinstance(plain, dict) and plain and chance.random() < 0.9:
        key = chance.choice(list(plain))
        if chance.random() < 0.1:
            return {name: item for name, item in plain.items() if name != key}
        return {name: mutated(item, chance) if name == key else item for name, item in plain.items()}
    if isinstance(plain, list) and plain and chance.random() < 0.9:
        at = chance.randrange(len(plain))
        return [mutated(item, chance) if number == at else item for number, item in enumerate(plain)]
    return chance.choice(JUNK)


@pytest.mark.long
@pytest.mark.parametrize(
    "sample", [item for item in SAMPLES if item.suffix != ".tf"], ids=lambda item: item.name
)
def test_a_mutated_file_is_read_or_refused_in_words(sample: Path, tmp_path: Path) -> None:
    chance = Random(sample.name)  # noqa: S311 - a seed, so that it can be repeated
    [document] = documents(sample, sample.read_text())
    file = tmp_path / "mutated.json"
    for _ in range(150):
        file.write_text(json.dumps(mutated(document.plain, chance)))
        with suppress(UsageError):  # anything else is a fault
            assert all(item.name and item.rule for item in load_policies([file]))


def test_two_alertmanager_files_are_refused(tmp_path: Path) -> None:
    for name in ("a.yml", "b.yml"):
        (tmp_path / name).write_text("route: {receiver: a}\nreceivers: [{name: a}]\n")
    with pytest.raises(UsageError, match="the routes of one file"):
        load_policies([tmp_path])


def test_alarms_of_the_same_name_in_two_systems_are_distinguished(tmp_path: Path) -> None:
    files = Path(__file__).parent / "alarm_files"
    (tmp_path / "r.yml").write_text(
        "groups: [{name: g, rules: [{alert: svc-5xx, expr: up == 0}, {alert: Paused, expr: up == 0}]}]\n"
    )
    names = {item.name for item in load_policies([tmp_path, files / "plan.json", files / "grafana.yaml"])}
    assert {"svc-5xx (cloudwatch)", "svc-5xx (alertmanager)", "Paused (grafana)", "svc-page"} <= names
    with pytest.raises(UsageError, match=r"policy svc-5xx stands there more than once, at .*alarms\.tf:"):
        load_policies([files / "plan.json", files / "alarms.tf"])
