"""Real pages beside the predicted: what a real Prometheus is given, what matched, and what stays unknown."""

import dataclasses
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rushhour.alarms.alertmanager import Labels, Sent
from rushhour.alarms.events import Kind
from rushhour.alarms.prom_series import input_series
from rushhour.alarms.prometheus import PrometheusPolicy
from rushhour.alarms.promtool import find_promtool
from rushhour.alarms.real_config import AGENT, Addresses, RealAlerting, contradictions
from rushhour.alarms.real_pages import (
    ABSENT,
    AS_PREDICTED,
    ELSEWHEN,
    TOO_LATE,
    UNKNOWN,
    UNPREDICTED,
    BesideReal,
    beside_real,
    matched,
    sent_to,
)
from rushhour.alarms.sources import pools_of_stretch
from rushhour.errors import UsageError
from rushhour.judging.alarms import real_alerting
from rushhour.report.real_pages import real_line, row_cells
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.scenario.model import Scenario
from rushhour.stack.compose.alerting import sums_of
from tests.unit import histories
from tests.unit.test_alarms_cloudwatch import timeline

ROOT = Path(__file__).parents[2]
TO = Addresses("service:9464", "service:8000", "alertmanager:9093", "pager:9095")
POOL: Labels = (("alertname", "PoolTimeouts"), ("pool", "replica"))
WALL_S = 1.7e9
FIRST, AGAIN, OVER = Kind.ALARM, Kind.REPEAT, Kind.RESOLVED


@pytest.fixture
def shipped() -> Scenario:
    scenario = histories.rush_hour()
    return replace(scenario, target=replace(scenario.target, root=str(ROOT)))


def policy(**changes: Any) -> PrometheusPolicy:
    rules = (str(ROOT / "infra/alerts/rules/pool.yml"),)
    return replace(
        PrometheusPolicy(name="p", rules=rules, scrape_interval=5.0, evaluation_interval=5.0), **changes
    )


def sent(kind: Kind, group: Labels = POOL) -> Sent:
    firing = frozenset() if kind is OVER else frozenset({group})
    return Sent(0.0, kind, group, firing, frozenset({group}) if kind is OVER else frozenset())


def beside(predicted: list[tuple[float, Sent]], real: list[tuple[float, Sent]]) -> BesideReal:
    return matched(policy(), predicted, real, ended_s=100.0)


def states(item: BesideReal) -> list[str]:
    return [row.state for row in item.rows]


def test_the_shipped_policies_become_one_prometheus_and_one_alertmanager(shipped: Scenario) -> None:
    alerting = real_alerting(shipped)
    prometheus, manager = json.loads(alerting.prometheus(TO)), json.loads(alerting.alertmanager(TO))
    assert prometheus["global"]["scrape_interval"] == "15000ms"
    assert prometheus["rule_files"] == ["rules/0-incident.yml", "rules/1-pool.yml"]
    [scraped] = prometheus["scrape_configs"]
    assert [static_config["targets"] for static_config in scraped["static_configs"]] == [
        ["service:9464"],
        ["pager:9095"],
    ]
    by_name = {route["receiver"]: route for route in manager["route"]["routes"]}
    assert by_name["policy prom-5xx"]["matchers"] == ['alertname=~"ServerErrors"']
    pool = by_name["policy prom-pool"]
    assert pool["matchers"] == ['alertname=~"PoolFull|PoolTimeouts"', 'severity="page"']
    assert (pool["group_wait"], pool["group_interval"], pool["repeat_interval"]) == (
        "30000ms",
        "300000ms",
        "300000ms",
    )
    assert all(item["continue"] for item in by_name.values())
    [hook] = next(receiver for receiver in manager["receivers"] if receiver["name"] == "policy prom-pool")[
        "webhook_configs"
    ]
    assert hook["url"] == "http://pager:9095/prom-pool"
    texts = [Path(ROOT / "infra/alerts/rules" / name).read_text() for name in ("incident.yml", "pool.yml")]
    assert list(alerting.rule_files().values()) == texts  # as they are
    assert alerting.settles_s == 15 + 15 + 30 + 3


def test_policies_that_one_prometheus_cannot_run_are_refused_before_anything_starts(tmp_path: Path) -> None:
    copy = tmp_path / "other.yml"
    copy.write_text((ROOT / "infra/alerts/rules/pool.yml").read_text())
    others = policy(name="q", rules=(str(copy),), scrape_interval=10.0)
    problems = contradictions([policy(), others])
    assert problems[0] == "one Prometheus has one scrape_interval: p has 5 s, q has 10 s"
    assert [problem.split(" of ")[0] for problem in problems[1:]] == [
        "one Alertmanager cannot tell apart alert PoolTimeouts",
        "one Alertmanager cannot tell apart alert PoolFull",
    ]
    assert contradictions([policy(), policy(name="again")]) == []


def test_without_prometheus_policies_it_is_bad_usage(tmp_path: Path, shipped: Scenario) -> None:
    bare = replace(shipped, target=replace(shipped.target, root=str(tmp_path)))
    with pytest.raises(UsageError, match="no policy of `system: prometheus`"):
        real_alerting(bare)


def test_what_came_within_the_intervals_is_as_predicted() -> None:
    predicted = [(20.0, sent(FIRST)), (40.0, sent(AGAIN)), (60.0, sent(OVER))]
    compared = beside(predicted, [(27.5, sent(FIRST)), (47.0, sent(AGAIN)), (55.0, sent(OVER))])
    assert states(compared) == [AS_PREDICTED] * 3
    assert compared.as_predicted is True
    assert [row.off_s for row in compared.rows] == [7.5, 7.0, -5.0]
    assert real_line(compared) == "p: 3 came, 3 were predicted, 3 of them as predicted (within 8 s)"
    assert row_cells(compared.rows[0]) == (
        "alarm",
        "PoolTimeouts",
        "replica",
        "20.0 s",
        "27.5 s",
        "+7.5 s",
        AS_PREDICTED,
    )


@pytest.mark.parametrize(
    ("predicted", "real", "expected"),
    [
        ([(20.0, sent(FIRST))], [(28.5, sent(FIRST))], [ELSEWHEN]),
        ([(20.0, sent(FIRST))], [(11.5, sent(FIRST))], [ELSEWHEN]),
        ([(20.0, sent(FIRST))], [], [ABSENT]),
        ([], [(20.0, sent(FIRST))], [UNPREDICTED]),
        ([(20.0, sent(FIRST))], [(21.0, sent(OVER))], [ABSENT, UNPREDICTED]),
    ],
)
def test_a_difference_is_reported(
    predicted: list[tuple[float, Sent]], real: list[tuple[float, Sent]], expected: list[str]
) -> None:
    compared = beside(predicted, real)
    assert states(compared) == expected
    assert compared.as_predicted is False


def test_what_was_due_as_the_run_ended_is_neither_missing_nor_matched() -> None:
    compared = beside([(20.0, sent(FIRST)), (95.0, sent(AGAIN))], [(21.0, sent(FIRST))])
    assert states(compared) == [AS_PREDICTED, TOO_LATE]
    assert compared.as_predicted is True
    assert "1 came, 1 were predicted, 1 of them as predicted" in real_line(compared)


def test_another_order_within_a_group_is_a_difference_and_between_groups_is_not() -> None:
    full: Labels = (("alertname", "PoolFull"), ("pool", "replica"))
    predicted = [(20.0, sent(FIRST)), (22.0, sent(FIRST, full))]
    assert beside(predicted, [(21.0, sent(FIRST, full)), (24.0, sent(FIRST))]).in_order
    compared = beside([(20.0, sent(FIRST)), (22.0, sent(OVER))], [(21.0, sent(OVER)), (24.0, sent(FIRST))])
    assert not compared.in_order
    assert compared.as_predicted is False
    assert ", in another order" in real_line(compared)


def told(at_s: float, status: str = "firing", name: str = "p") -> f.Notification:
    labels = dict(POOL)
    alert = f.NotifiedAlert(status, labels, "2025-01-01T18:00:00Z", "")
    return f.Notification("2025-01-01T18:00:00Z", 1000.0 + at_s, name, status, labels, (alert,))


def test_kinds_of_real_notifications_are_those_of_the_model() -> None:
    events = (f.Event(0.0, f.ANCHOR, {"monotonic_s": 1000.0, "wall_s": 0.0}),)
    notes = (told(10), told(30), told(40, name="another"), told(50, "resolved"), told(70))
    found = sent_to(History(None, events=events, notifications=notes), "p")
    assert [(t_s, item.kind) for t_s, item in found] == [(10, FIRST), (30, AGAIN), (50, OVER), (70, FIRST)]


def target(scraped_s: float = 147.0, **changes: str) -> dict[str, Any]:
    """One that Prometheus scraped for the last time then."""
    plain = {"target": "http://service:9464/metrics", "of": AGENT, "health": "up", "error": ""}
    return plain | {"scraped_s": WALL_S + scraped_s} | changes


def with_alarms(history: History, prometheus_policy: PrometheusPolicy, **changes: Any) -> History:
    """The run had real alarms, which saw everything; `changes` to what Prometheus knew at its end."""
    ended = {
        "targets": [target()],
        "rules": [{"alert": "PoolTimeouts", "health": "ok", "error": "", "evaluated_s": WALL_S + 148.0}],
        "metrics": [
            "db_client_connection_count",
            "db_client_connection_max",
            "db_client_connection_timeouts_total",
        ],
        "lost": {},
    }
    up = {
        "policies": RealAlerting((prometheus_policy,)).digests(),
        "pools": {"replica": "replica:5432/referrals"},
    }
    events = [event for event in history.events if event.name != f.ANCHOR]
    events += [
        f.Event(0.0, f.ANCHOR, {"monotonic_s": 1000.0, "wall_s": WALL_S}),
        f.Event(2.0, f.ALERTING_UP, up),
        f.Event(150.0, f.ALERTING_ENDED, ended | changes),
    ]
    return dataclasses.replace(history, events=tuple(events))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"targets": [target(health="down", error="refused")]},
            "could not scrape http://service:9464/metrics: refused",
        ),
        (
            {"rules": [{"alert": "PoolFull", "health": "err", "error": "many-to-many", "evaluated_s": 0.0}]},
            "could not evaluate PoolFull: many-to-many",
        ),
        ({"metrics": ["up"]}, "never saw db_client_connection_count, db_client_connection_max"),
        ({"lost": {"alertmanager_notifications_failed_total": 2.0}}, "failed_total is 2"),
    ],
)
def test_what_was_not_seen_makes_it_unknown_and_never_a_match(changes: dict[str, Any], why: str) -> None:
    wanted = policy()
    run = replace(with_alarms(histories.healthy(), wanted, **changes), notifications=(told(60),))
    [found] = beside_real([wanted], run)
    assert why in found.unknown
    assert found.as_predicted is None
    assert real_line(found).startswith("p: 1 came; whether as predicted is unknown, since ")
    [row] = found.rows  # what came is told all the same
    assert (row.real_s, row.predicted_s, row.state) == (60 - histories.STARTED_S, None, UNKNOWN)


def test_a_run_that_broke_off_or_other_rules_are_unknown() -> None:
    wanted = policy()
    run = with_alarms(histories.healthy(), wanted)
    cut = dataclasses.replace(run, events=tuple(e for e in run.events if e.name != f.ALERTING_ENDED))
    assert "broke off" in beside_real([wanted], cut)[0].unknown
    assert "are not those that ran" in beside_real([policy(repeat_interval=60.0)], run)[0].unknown
    assert "not among" in beside_real([policy(name="another")], run)[0].unknown
    assert beside_real([wanted], histories.healthy()) == ()  # no real alarms, nothing to say
    lost = dataclasses.replace(run, losses=(f.Loss("notifications.jsonl", "holds 1 of the 2 rows"),))
    assert beside_real([wanted], lost)[0].unknown == "notifications.jsonl: holds 1 of the 2 rows"


def test_a_missing_access_log_is_named(shipped: Scenario) -> None:
    [wanted] = [item for item in real_alerting(shipped).policies if item.name == "prom-5xx"]
    [found] = beside_real([wanted], with_alarms(histories.healthy(), wanted))
    assert "never saw http_requests_5xx_total: answers are counted in logs/access.log" in found.unknown


def test_each_pool_has_its_own_series_under_its_own_label() -> None:
    pools = {
        "a:1/x": timeline({}, 30, pool_in_use=dict.fromkeys(range(30), 0.5), queuepool_timeouts={12: 2}),
        "b:1/x": timeline({}, 30),
    }
    found = {
        series.name: series.values
        for series in input_series(
            timeline({}, 30), {}, scrape_s=10.0, healthy=1, capacity=4, gaps="zero", pools=pools
        )
    }
    label = 'db_client_connection_pool_name="a:1/x"'
    [used] = [values for name, values in found.items() if label in name and 'state="used"' in name]
    [timeouts] = [values for name, values in found.items() if label in name and "timeouts" in name]
    assert used == "0x1 2 2 2"
    assert timeouts == "0+0x1 0 2 2"
    assert sum('pool_name="b:1/x"' in name for name in found) == 4
    assert not any('pool_name="replica"' in name for name in found)


def test_pools_are_added_up_over_the_services_processes() -> None:
    history = histories.incident()
    doubled = tuple(replace(pool, pid=pool.pid + 1) for pool in history.pools)
    twice = pools_of_stretch(replace(history, pools=history.pools + doubled), 5, 60, 5.0)
    once = pools_of_stretch(history, 5, 60, 5.0)
    assert once.keys() == twice.keys() == {pool.pool for pool in history.pools}
    assert once["replica"].series["pool_in_use"] == twice["replica"].series["pool_in_use"]
    assert once["replica"].total("queuepool_timeouts") == len(
        [
            pool_timeout
            for pool_timeout in history.pool_timeouts
            if pool_timeout.pool == "replica" and 5 <= pool_timeout.t_s < 65
        ]
    )
    [waiters, both] = [item["replica"].total("pool_waiters") for item in (once, twice)]
    assert both == 2 * waiters


def test_a_pool_that_came_after_the_first_scrapes_begins_where_it_was_seen() -> None:
    history = histories.incident()  # its first sample is at 5 s
    line = timeline({}, 60)

    def values(known_from_s: float) -> list[str]:
        pools = pools_of_stretch(history, 0, 60, known_from_s)
        found = input_series(line, {}, scrape_s=3.0, healthy=1, capacity=30, gaps="zero", pools=pools)
        return [item.values for item in found if 'pool_name="replica"' in item.name]

    assert [item.split()[:3] for item in values(2.0)] == [["_x2", "_", "0"]] * 3 + [["_x2", "30", "30"]]
    assert [item.split()[1:3] for item in values(6.0)] == [["0", "0"]] * 3 + [["30", "30"]]


@pytest.mark.skipif(find_promtool() is None, reason="no promtool: make alert-tools")
@pytest.mark.parametrize(("scraped_s", "evaluated_s"), [(147.0, 148.0), (146.0, 147.0), (143.0, 147.0)])
def test_the_prediction_evaluates_when_the_real_one_did(scraped_s: float, evaluated_s: float) -> None:
    """The first time-out is known to the real one at its first evaluation after the scrape that has it."""
    wanted = policy(group_wait=1.0, group_by=("alertname", "db_client_connection_pool_name"))
    history = histories.incident()
    first_s = min(item.t_s for item in history.pool_timeouts)
    rule = {"alert": "PoolTimeouts", "health": "ok", "error": "", "evaluated_s": WALL_S + evaluated_s}
    run = with_alarms(history, wanted, rules=[rule], targets=[target(scraped_s)])
    [found] = beside_real([wanted], run)
    assert found.unknown == ""
    scrape_s = min(t_s for k in range(40) if (t_s := scraped_s - 5 * k) > first_s)
    expected = scrape_s + (evaluated_s - scraped_s) + wanted.group_wait - histories.STARTED_S
    [page] = [row for row in found.rows if row.alerts == "PoolTimeouts" and row.kind is FIRST]
    assert page.predicted_s == expected
    assert page.state == ABSENT
    assert page.group == "replica:5432/referrals"


def test_lost_notifications_are_summed_over_their_labels() -> None:
    text = 'a_total{integration="webhook"} 2\na_total{integration="email"} 1e+00\n# a_total 9\nb_total 4\n'
    assert sums_of(text, ("a_total", "c_total")) == {"a_total": 3.0, "c_total": 0.0}
