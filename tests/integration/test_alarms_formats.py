"""A PrometheusRule and an alertmanager.yml over the evening of the incident, evaluated by the real promtool.

The expectations were written by hand. A request fails every 12 s from second 11 on; evaluations are 15 s
apart.
- ServerErrors: half of the five-minute window must have failed (150 s), for two minutes, so it fires at about
  270 s. The pager hears of it 30 s later, and again at the first tick more than 10 minutes on: every 15.
- PoolTimeouts fires at 15 s and chat hears of it at 45 s. Its next time would come more than five minutes
  later, at 405 s, and ServerErrors inhibits it by then.
"""

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from rushhour.alarms.audit import Audit, audit
from rushhour.alarms.policies import load, load_policies
from rushhour.alarms.sources import of_run
from rushhour.alarms.study import Scale, study
from rushhour.alarms.timeline import Timeline
from tests.unit import histories
from tests.unit.test_alarms_formats_cloudwatch import FILES, evening

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool: make alert-tools")
RULES, ROUTES = FILES / "prometheusrule.yaml", FILES / "alertmanager.yml"


def audited(*places: Path, timeline: Timeline | None = None) -> dict[str, Audit]:
    return {item.policy.name: item for item in audit(load_policies(places), timeline or evening())}


def test_routes_and_an_inhibition_notify_the_right_receivers_in_time() -> None:
    found = audited(RULES, ROUTES)
    errors, pool = found["ServerErrors"], found["PoolTimeouts"]
    assert {page.to for page in errors.pages} == {("pager",)}
    assert {page.to for page in pool.pages} == {("chat",)}
    assert errors.pages[0].t_s == pytest.approx(300, abs=15)
    gaps = {round(b.t_s - a.t_s) for a, b in pairwise(errors.pages)}
    assert (len(errors.pages), gaps) == (12, {900})
    assert [page.t_s for page in pool.pages] == [45.0]
    assert pool.sleeps
    assert not errors.sleeps
    assert found["ServiceDown"].pages == ()
    assert not found["ServiceDown"].unknown


def test_without_the_inhibition_chat_is_notified_again(tmp_path: Path) -> None:
    text = ROUTES.read_text()
    start, end = text.index("inhibit_rules:"), text.index("receivers:")
    (tmp_path / "am.yml").write_text(text[:start] + text[end:])
    pages = audited(RULES, tmp_path / "am.yml")["PoolTimeouts"].pages
    assert [page.t_s for page in pages[:3]] == [45.0, 405.0, 765.0]


def test_what_nothing_stands_for_is_unknown_by_name_and_the_rest_is_replayed() -> None:
    found = audited(RULES, ROUTES)
    assert (
        "reads nginx_http_requests_total, which nothing here stands for; map it in"
        in found["NoTraffic"].unknown
    )
    assert "reads http_request_duration_seconds_bucket" in found["SlowAnswers"].unknown
    assert {name for name, item in found.items() if item.unknown} == {"NoTraffic", "SlowAnswers"}


def test_an_unknown_alert_that_may_inhibit_makes_its_targets_unknown(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RULES.read_text().replace("service: nginx", "service: referrals"))
    found = audited(tmp_path / "r.yaml", ROUTES)
    assert "may be inhibited by NoTraffic" in found["PoolTimeouts"].unknown
    assert not found["ServerErrors"].unknown


def test_a_mapping_makes_a_rule_replayable(tmp_path: Path) -> None:
    (tmp_path / "names.yaml").write_text("names: { nginx_http_requests_total: requests }\n")
    found = audited(RULES, ROUTES, tmp_path / "names.yaml")
    assert found["NoTraffic"].unknown == ""
    assert found["NoTraffic"].pages == ()


def test_a_bare_rule_file_takes_alertmanagers_default_route(tmp_path: Path) -> None:
    expr = "sum(increase(http_requests_total{code=~'5..'}[5m])) > 1"
    text = f"groups:\n- name: g\n  rules:\n  - alert: E\n    expr: {expr}\n"
    (tmp_path / "rules.yml").write_text(text)
    [item] = audited(tmp_path / "rules.yml").values()
    assert len(item.pages) == 1  # again after four hours
    assert 45 <= item.pages[0].t_s <= 75


def test_a_muted_route_depends_on_the_time_of_day(tmp_path: Path) -> None:
    text = ROUTES.read_text().replace(
        "      repeat_interval: 10m\n", "      repeat_interval: 10m\n      mute_time_intervals: [night]\n"
    )
    night = "times: [{start_time: '22:00', end_time: '24:00'}]"
    intervals = f"time_intervals:\n  - name: night\n    time_intervals:\n      - {night}\n"
    (tmp_path / "am.yml").write_text(text + intervals)
    unknown_time = replace(evening(), starts_at=None)
    assert "give --at" in audited(RULES, tmp_path / "am.yml", timeline=unknown_time)["ServerErrors"].unknown
    for hour, pages in ((12, 12), (21, 4)):  # from 21:00 on an hour is left: 300, 1200, 2100, 3000 s
        at = replace(evening(), starts_at=datetime(2026, 11, 24, hour, tzinfo=UTC).timestamp())
        found = audited(RULES, tmp_path / "am.yml", timeline=at)
        assert len(found["ServerErrors"].pages) == pages, hour


def test_grafanas_rules_fire_as_they_would_there() -> None:
    found = audited(FILES / "grafana.yaml")
    # 0.083 a second from the first minute on; pending at 60 s, firing at 120 s, sent 30 s later
    assert [page.t_s for page in found["Server errors"].pages] == [150.0]
    assert found["Share of errors"].pages == ()  # 0.1 %
    assert found["Share of errors"].sleeps
    # without data it takes it for an alarm, and in health it has none
    assert "fires in healthy traffic already" in found["Filtered away"].unknown
    assert "cloudwatch" in found["Of CloudWatch"].unknown
    assert "paused" in found["Paused"].unknown


def test_grafanas_policies_route_its_rules(tmp_path: Path) -> None:
    (tmp_path / "policies.yaml").write_text(
        "apiVersion: 1\npolicies:\n  - orgId: 1\n    receiver: mail\n    routes:\n"
        "      - receiver: pager\n        object_matchers: [[team, '=', shop]]\n"
        "        repeat_interval: 10m\n"
    )
    found = audited(FILES / "grafana.yaml", tmp_path / "policies.yaml")
    pages = found["Server errors"].pages
    assert {page.to for page in pages} == {("pager",)}
    assert {round(b.t_s - a.t_s) for a, b in pairwise(pages)} == {900}


def test_a_policy_of_ours_that_reads_what_nothing_stands_for_is_unknown_where_it_is_silent(
    tmp_path: Path,
) -> None:
    rules = (
        "groups:\n- name: g\n  rules:\n"
        "  - { alert: N, expr: nginx_http_requests_total > 1, labels: { to: a } }\n"
    )
    (tmp_path / "r.yml").write_text(
        rules + "  - { alert: E, expr: http_requests_5xx_total > 1, labels: { to: b } }\n"
    )
    (tmp_path / "p.yaml").write_text(
        "system: prometheus\ndefaults: { repeat_interval: 5m, rules: [r.yml] }\nalarms:\n"
        "  both: {}\n  nginx: { match: { to: a } }\n  errors: { match: { to: b } }\n"
    )
    found = audited(tmp_path / "p.yaml")
    assert "rule N: reads nginx_http_requests_total" in found["nginx"].unknown
    assert not found["both"].unknown  # its pages stand
    assert not found["errors"].unknown
    assert found["errors"].pages


def test_advice_on_a_route_is_replayed_and_quiet_in_health(tmp_path: Path) -> None:
    expr = "sum(increase(http_requests_total{code=~'5..'}[5m])) > 1"
    (tmp_path / "rules.yml").write_text(f"groups:\n- name: g\n  rules:\n  - alert: E\n    expr: {expr}\n")
    run = of_run(histories.incident(), "incident")
    assert run is not None
    found = study(load_policies([tmp_path]), run, Scale())
    [advice] = found.advice
    assert "on the route to the default route: repeat_interval 5 min" in advice.change
    assert advice.closes
    assert advice.healthy.pages == ()


def test_a_rule_on_an_unknown_alert_is_unknown_too(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(
        "groups:\n- name: g\n  rules:\n"
        "  - { alert: Gone, expr: nginx_http_requests_total > 1 }\n"
        "  - { alert: Follows, expr: 'ALERTS{alertname=\"Gone\"} == 1' }\n"
        "  - { alert: Other, expr: 'ALERTS{alertname=\"Else\"} == 1' }\n"
    )
    found = audited(tmp_path)
    assert "Gone reads nginx" in found["Follows"].unknown
    assert not found["Other"].unknown


def test_a_rule_that_promtool_refuses_is_unknown_and_the_others_are_replayed(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(
        "groups:\n- name: g\n  rules:\n"
        "  - { alert: Good, expr: 'sum(increase(http_requests_total{code=~\"5..\"}[5m])) > 1' }\n"
        "  - { alert: Bad, expr: up == 0, labels: { a: '{{ nope }}' } }\n"
    )
    found = audited(tmp_path / "rules.yml")
    assert "promtool refuses it" in found["Bad"].unknown
    assert found["Good"].pages


def test_an_alert_that_fires_in_healthy_traffic_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(
        "groups:\n- name: g\n  rules:\n  - { alert: Watchdog, expr: vector(1) }\n"
        "  - { alert: Busy, expr: 'sum(rate(http_requests_total[1m])) > 1' }\n"
        "  - { alert: Down, expr: up == 0 }\n"
    )
    found = audited(tmp_path)
    assert "fires in healthy traffic already" in found["Watchdog"].unknown
    assert "fires in healthy traffic already" in found["Busy"].unknown
    assert not found["Down"].unknown


def test_a_folder_of_prometheus_and_of_kubernetes_is_read_as_it_lies_there(tmp_path: Path) -> None:
    expr = "sum(increase(http_requests_total{code=~'5..'}[5m])) > 1"
    (tmp_path / "prometheus.yml").write_text(
        "global: { evaluation_interval: 2m }\nscrape_configs: []\n"
        "alerting: { alertmanagers: [{ static_configs: [{ targets: [am:9093] }] }] }\n"
    )
    rules = f'groups: [{{ name: g, rules: [{{ alert: E, expr: "{expr}" }}] }}]'
    (tmp_path / "k8s.yaml").write_text(
        "apiVersion: apps/v1\nkind: Deployment\nspec: {}\n---\n"
        f"apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nspec: {{ {rules} }}\n"
    )
    loaded = load([tmp_path])
    assert [note.partition(": ")[2] for note in loaded.notes] == [
        "PrometheusRule (alerting rules: 1, recording: 0)",
        "a Deployment, left out",
        "prometheus.yml (evaluates every 120 s)",
    ]
    [item] = audit(loaded.policies, evening())
    assert [page.t_s for page in item.pages] == [150.0]  # evaluated at 120 s, sent 30 s later
