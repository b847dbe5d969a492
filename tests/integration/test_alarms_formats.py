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
from pathlib import Path

import pytest

from rushhour.alarms.audit import Audit, audit
from rushhour.alarms.policies import load_policies
from rushhour.alarms.timeline import Timeline
from tests.unit.test_alarms_formats_cloudwatch import FILES, evening

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool: make alert-tools")
RULES, ROUTES = FILES / "prometheusrule.yaml", FILES / "alertmanager.yml"


def audited(*places: Path, timeline: Timeline | None = None) -> dict[str, Audit]:
    return {one.policy.name: one for one in audit(load_policies(places), timeline or evening())}


def test_routes_and_an_inhibition_tell_whom_they_should_and_when() -> None:
    found = audited(RULES, ROUTES)
    errors, pool = found["ServerErrors"], found["PoolTimeouts"]
    assert {page.to for page in errors.pages} == {("pager",)}
    assert {page.to for page in pool.pages} == {("chat",)}
    assert errors.pages[0].t_s == pytest.approx(300, abs=15)
    gaps = {round(b.t_s - a.t_s) for a, b in zip(errors.pages, errors.pages[1:], strict=False)}
    assert (len(errors.pages), gaps) == (12, {900})
    assert [page.t_s for page in pool.pages] == [45.0]
    assert pool.sleeps
    assert not errors.sleeps
    assert found["ServiceDown"].pages == ()
    assert not found["ServiceDown"].unknown


def test_without_the_inhibition_chat_hears_of_it_again(tmp_path: Path) -> None:
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
    assert {name for name, one in found.items() if one.unknown} == {"NoTraffic", "SlowAnswers"}


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
    [one] = audited(tmp_path / "rules.yml").values()
    assert len(one.pages) == 1  # again after four hours
    assert 45 <= one.pages[0].t_s <= 75


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
