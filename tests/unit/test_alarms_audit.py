"""Silences, advice, burn rates, timelines: what the audit says of an evening."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushhour.alarms.audit import audit
from rushhour.alarms.burn_rate import BurnRateAlert
from rushhour.alarms.cloudwatch import Actions
from rushhour.alarms.exports import of_csv
from rushhour.alarms.policies import load_policies
from rushhour.alarms.rule_file import rule_files
from rushhour.alarms.study import Scale, as_json, study
from rushhour.alarms.timeline import METRICS, Timeline, stretched, tiled
from rushhour.errors import UsageError
from rushhour.judging.alarms import unknown_alarms
from rushhour.judging.judge import judge_run, read_scenario
from rushhour.report.alarms import advice_lines, headline, section
from rushhour.scenario.file import load_scenarios
from tests.unit import histories
from tests.unit.saved_runs import save
from tests.unit.test_alarms_cloudwatch import INFRA, timeline

ROOT = Path(__file__).parents[2]
EVENING = Scale()


def minute(failures: int = 7) -> Timeline:
    """A run of 105 s whose last half minute fails, as the rush hour does."""
    return timeline(
        {75 + 4 * n: 1 for n in range(failures)},
        105,
        queuepool_timeouts={75 + 4 * n: 1 for n in range(failures)},
    )


def test_the_incidents_alarm_pages_once_and_is_silent_for_the_evening() -> None:
    evening = study([INFRA], minute(), EVENING)
    [audited] = evening.audits
    assert evening.failures == 900  # 25 in five minutes for three hours, as whole failures
    assert len(audited.pages) == 1
    assert audited.silences[-1].end_s == pytest.approx(10_800, abs=60)
    assert audited.unannounced > 0.98 * evening.failures
    assert audited.silences[-1].in_alarm_s > 10_000
    assert not evening.announced
    assert headline(evening).startswith("infra-5xx: 1 page, then 2 h 5")


def test_the_shipped_policies_hold_one_that_leaves_no_blind_spot() -> None:
    evening = study(load_policies([ROOT / "infra/alerts"]), minute(), EVENING)
    told = {item.policy.name: item for item in evening.audits}
    assert told["infra-5xx"].sleeps
    for name in ("infra-5xx-again", "pool-timeouts"):
        assert not told[name].sleeps
        assert max(b.t_s - a.t_s for a, b in zip(told[name].pages, told[name].pages[1:], strict=False)) <= 900
    assert evening.announced


def test_nothing_pages_in_a_healthy_evening() -> None:
    healthy = study(load_policies([ROOT / "infra/alerts"]), timeline({}, 75), EVENING)
    assert [item.false_pages for item in healthy.audits] == [0] * len(healthy.audits)
    assert [item.pages for item in healthy.audits] == [()] * len(healthy.audits)
    assert healthy.announced


def test_each_advice_is_replayed_and_is_a_file_that_is_read_again(tmp_path: Path) -> None:
    evening = study([INFRA], minute(), EVENING)
    [advice] = evening.advice
    assert advice.closes
    for name, text in rule_files(evening.advice).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    [changed] = load_policies([tmp_path])
    assert not audit([changed], evening.timeline)[0].sleeps


def test_a_page_without_a_failure_is_false() -> None:
    noisy = timeline({}, 1800, pool_in_use=dict.fromkeys(range(600, 1200), 1.0))
    [full] = [policy for policy in load_policies([ROOT / "infra/alerts"]) if policy.name == "pool-full"]
    [audited] = audit([full], noisy)
    assert audited.false_pages == len(audited.pages) > 0


def test_a_burn_rate_alert_breaks_even_where_the_workbook_says() -> None:
    fast = BurnRateAlert(name="fast", objective=0.999, long=3600.0, short=300.0, burn=14.4)
    assert fast.break_even_per_minute(5) == pytest.approx(347.2, abs=0.1)


@given(st.integers(1, 30), st.integers(1, 60))
def test_it_goes_off_below_its_break_even_and_never_above(requests_s: int, failures_minute: int) -> None:
    alert = BurnRateAlert(name="a", objective=0.99, long=600.0, short=120.0, burn=5.0)
    seconds = 3600
    series = dict.fromkeys(METRICS, (0.0,) * seconds)
    series["requests"] = (float(requests_s),) * seconds
    series["http_5xx"] = tuple(float(failures_minute) if t_s % 60 == 30 else 0.0 for t_s in range(seconds))
    fired = bool(alert.replay(Timeline(dict(series), ())).notifications)
    share = failures_minute / (60 * requests_s)
    if abs(share - alert.error_share) > 1e-9:
        assert fired is (share > alert.error_share)


def test_stretching_keeps_every_failure_and_tiling_keeps_the_rate() -> None:
    run = minute()
    assert stretched(run, 3600).total("http_5xx") == run.total("http_5xx")
    assert stretched(run, 3600).total("requests") == run.total("requests")
    evening = tiled(run, 10_800, 25, 300)
    for start in range(0, 10_500, 300):
        assert 22 <= sum(value or 0 for value in evening.failures[start : start + 300]) <= 28
    assert set(evening.failures) <= {0.0, 1.0, 2.0}


def test_an_export_is_read_and_every_bad_line_is_reported(tmp_path: Path) -> None:
    good = tmp_path / "incident.csv"
    good.write_text("t_s,requests,http_5xx\n0,600,0\n60,600,5\n120,600,\n")
    read = of_csv(good)
    assert read.seconds == 180
    assert (read.total("requests"), read.total("http_5xx")) == (1800, 5)
    assert read.series["http_5xx"][120] is None
    bad = tmp_path / "bad.csv"
    bad.write_text("t_s,requests,http_5xx\n0,x,1\n60,1,-2\n30,1,1\n")
    with pytest.raises(UsageError) as caught:
        of_csv(bad)
    assert [problem.rsplit("bad.csv:", 1)[1].split(":")[0] for problem in caught.value.problems] == [
        "2",
        "3",
        "4",
    ]


def test_bad_policies_are_reported_at_once_with_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "alarms.yaml"
    file.write_text(
        "system: cloudwatch\nalarms:\n  one: { metric: http_6xx, period: 5m, threshold: 2 }\n"
        "  two: { metric: http_5xx, period: 90s, threshold: 2 }\n"
        "  three:\n    metric: http_5xx\n    period: 5m\n    threshold: 2\n    evaluation_periods: 2\n"
        "    datapoints_to_alarm: 3\n    colour: red\n"
    )
    with pytest.raises(UsageError) as caught:
        load_policies([file])
    told = caught.value.problems
    for line, what in (("3", "one.metric"), ("4", "90 s"), ("11", "three.colour")):
        assert any(f"alarms.yaml:{line}: " in item and what in item for item in told), told


@pytest.mark.parametrize("text", ["", "system: nagios\nalarms: {a: {}}\n", "system: cloudwatch\n", "a: [\n"])
def test_a_file_of_another_kind_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"a\.yaml:\d"):
        load_policies([tmp_path])


def test_the_picture_and_the_numbers_show_every_policy() -> None:
    evening = study(load_policies([ROOT / "infra/alerts"]), minute(), EVENING)
    picture = str(section(evening).picture)
    assert all(f">{item.policy.name}<" in picture for item in evening.audits)
    assert picture.count('class="page"') == sum(len(item.pages) for item in evening.audits)
    told = {policy["name"]: policy for policy in as_json(evening)["policies"]}
    assert (
        told["infra-5xx"]["unannounced_failures"]
        == evening.audits[[item.policy.name for item in evening.audits].index("infra-5xx")].unannounced
    )


def test_a_pass_fails_if_the_expected_alarms_are_silent(tmp_path: Path) -> None:
    run = save(tmp_path / "leak", histories.incident(), histories.rush_hour())
    scenario = read_scenario(run)
    for names, verdict in ((("pool-timeouts",), "pass"), (("infra-5xx",), "fail"), (("no-such",), "fail")):
        target = replace(scenario.target, root=str(ROOT))
        run.write_json("scenario.json", replace(scenario, target=target, expect_alarms=names))
        judged = judge_run(run).verdict
        assert judged.verdict == verdict, judged.reasons
        assert verdict == "pass" or names[0] in judged.reasons[0]


def test_an_unknown_alarm_is_reported_before_anything_starts() -> None:
    scenario = load_scenarios(ROOT / "scenarios.yaml").scenarios["rush-hour"]
    assert unknown_alarms(scenario) == []
    [problem] = unknown_alarms(replace(scenario, expect_alarms=("pool-timeout",)))
    assert "no policy 'pool-timeout'" in problem
    assert "pool-timeouts" in problem


@pytest.mark.parametrize("missing", ["missing", "ignore", "breaching", "notBreaching"])
@pytest.mark.parametrize("gaps", ["zero", "missing"])
def test_nothing_that_is_advised_pages_in_a_healthy_evening(missing: str, gaps: str) -> None:
    alarm = replace(INFRA, treat_missing_data=missing, gaps=gaps)  # type: ignore[arg-type]  # of the four
    evening = study([alarm], minute(), EVENING)
    [advice] = evening.advice
    assert advice.closes
    calm = study([advice.after.policy], timeline({}, 75), EVENING)
    assert calm.audits[0].pages == advice.healthy.pages == ()
    assert "none in" in next(advice_lines(evening))
    assert as_json(evening)["advice"][0]["healthy_pages"] == 0


def test_a_change_that_pages_in_health_is_refused_in_words() -> None:
    silent = dict.fromkeys(("queuepool_timeouts", "pool_waiters", "pool_in_use"), (None,) * 105)
    run = minute()
    always = replace(INFRA, metric="requests", threshold=1.0)  # in alarm as long as anybody asks
    evening = study([always], replace(run, series=run.series | silent), EVENING)
    assert evening.advice == ()
    [line] = advice_lines(evening)
    assert "not advised" in line
    assert "of health" in line
    [refused] = as_json(evening)["not_advised"]
    assert refused["healthy_pages"] > 10


def test_an_alarm_on_what_the_timeline_lacks_is_unknown_and_never_silent(tmp_path: Path) -> None:
    export = tmp_path / "incident.csv"
    export.write_text("t_s,requests,http_5xx\n0,600,0\n60,600,5\n120,600,5\n")
    found = study(load_policies([ROOT / "infra/alerts/cloudwatch.yaml"]), of_csv(export), Scale(None))
    unknown = {item.policy.name: item.unknown for item in found.audits if item.unknown}
    assert unknown.keys() == {"pool-timeouts", "pool-full"}
    assert "the timeline holds no queuepool_timeouts" in unknown["pool-timeouts"]
    assert all(advice.after.unknown == "" for advice in found.advice)


def test_an_alarm_without_actions_does_not_repeat_and_is_advised_to_have_an_action() -> None:
    silent = replace(INFRA, actions=Actions(), renotify=900.0)
    evening = study([silent], minute(), EVENING)
    [audited] = evening.audits
    assert audited.pages == ()
    [advice] = evening.advice
    assert advice.change.startswith("notify somebody")
