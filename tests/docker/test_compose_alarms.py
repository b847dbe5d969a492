"""A real Prometheus and Alertmanager beside a run: real pages beside predicted ones, and nothing is left."""

import json
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient

from rushhour.alarms.prometheus import PrometheusPolicy
from rushhour.alarms.promtool import find_promtool
from rushhour.alarms.real_config import RealAlerting
from rushhour.errors import StackError
from rushhour.process.guard import Guard
from rushhour.rundir import RunDir
from rushhour.scenario.model import Scenario
from rushhour.stack.compose.project import PROJECT_LABEL
from rushhour.stack.compose.running import ComposeRunning
from rushhour.stack.compose.stack import ComposeStack
from tests.docker.compose_subject import ROOT, quiet, wait_until
from tests.judged_runs import read, told
from tests.judged_runs import run as run_scenario

pytestmark = pytest.mark.usefixtures("nothing_left")

RULES = ROOT / "infra/alerts/rules"
# The shipped rules and routes, with seconds for minutes where waiting is.
ALERTS = f"""system: prometheus
defaults:
  scrape_interval: 2s
  evaluation_interval: 2s
  group_wait: 2s
  group_interval: 4s
  repeat_interval: 6s
alarms:
  prom-5xx: {{ rules: ["{RULES}/incident.yml"] }}
  prom-pool:
    rules: ["{RULES}/pool.yml"]
    match: {{ severity: page }}
    group_by: [alertname, db_client_connection_pool_name]
"""
SCENARIO = """
  alarmed:
    description: The leak in two processes, with alarms of seconds.
    extends: smoke-leak
    service: { workers: 2 }
    load: { duration: 10s }

"""


@pytest.fixture
def team(tmp_path: Path) -> Path:
    """A team's folder: its scenarios, its rules' routes, its service."""
    scenarios = (ROOT / "scenarios.yaml").read_text()
    at = scenarios.index("\n  # The zoo")
    (tmp_path / "scenarios.yaml").write_text(scenarios[:at] + SCENARIO + scenarios[at:])
    for name in ("app", "locustfiles"):
        (tmp_path / name).symlink_to(ROOT / name)
    alerts = tmp_path / "infra/alerts"
    alerts.mkdir(parents=True)
    (alerts / "prometheus.yaml").write_text(ALERTS)
    return tmp_path


@pytest.mark.skipif(find_promtool() is None, reason="no promtool to predict with: make alert-tools")
def test_real_pages_are_shown_beside_predicted_pages(team: Path) -> None:
    options = ("--stack=compose", "--observability", "--await-pages=12s")
    ended, folder = run_scenario(team / "runs", "alarmed", f"--scenarios={team / 'scenarios.yaml'}", *options)
    told((ended, folder))  # a busy machine makes the run unknown, and its pages no less real
    lines = (folder / "notifications.jsonl").read_text().splitlines()
    assert {json.loads(line)["policy"] for line in lines} == {"prom-5xx", "prom-pool"}
    real = {item["policy"]: item for item in read(folder / "alarms.json")["real"]}
    for name, item in real.items():
        assert item["unknown"] == "", name
        assert item["in_order"], item
        first, again, *_ = item["rows"]
        assert (first["kind"], again["kind"]) == ("alarm", "repeat"), item
        assert first["state"] == "as predicted", item
        assert first["predicted_s"] is not None
        assert first["real_s"] is not None
        assert [row for row in item["rows"] if row["state"] in ("never came", "not predicted")] == [], item
    assert "Real pages" in ended.stdout
    assert "Real pages and predicted pages" in (folder / "report.html").read_text()
    # Prometheus saw both gunicorn workers' pools as one service.
    events = [json.loads(row) for row in (folder / "events.jsonl").read_text().splitlines()]
    [last] = [event["detail"] for event in events if event["name"] == "alerting_ended"]
    assert {"rushhour_agent_processes", "http_requests_5xx_total"} <= set(last["metrics"])
    assert {target["health"] for target in last["targets"]} == {"up"}


def policy(**changes: object) -> PrometheusPolicy:
    plain = PrometheusPolicy(name="p", rules=(str(RULES / "pool.yml"),), scrape_interval=2.0)
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_alerting_listens_on_loopback_and_its_end_is_reported(
    client: DockerClient, cache: Path, scenario: Scenario, run: RunDir, guard: Guard
) -> None:
    stack = ComposeStack(guard, cache=cache, alerting=RealAlerting((policy(),)))
    with stack.up(scenario, run, quiet) as running:
        alerting = running.alerting
        assert alerting is not None
        for host, port in alerting.urls.values():
            with urllib.request.urlopen(f"http://{host}:{port}/-/ready", timeout=60) as answer:
                assert answer.status == 200
        # By this label the guard removes them after a kill -9, like the others.
        found = client.containers.list(filters={"label": f"{PROJECT_LABEL}={running.project}"})
        ports = [item for each in found for bound in each.ports.values() for item in bound or ()]
        assert (len(found), len(ports)) == (6, 6)
        assert {item["HostIp"] for item in ports} == {"127.0.0.1"}
        wait_until("both targets", lambda: both_up(alerting.ended()), 120)
        next(item for item in found if "alertmanager" in str(item.name)).kill()
        told = wait_for_error(running)
    assert "the container of alertmanager is exited" in str(told)
    assert told.log_tail
    assert run.notifications.read_text() == ""  # nobody was told of anything, and that is known
    assert (run.logs / "prometheus.log").stat().st_size > 0


def wait_for_error(running: ComposeRunning) -> StackError:
    """What `check_alive` says when it notices."""
    found: list[StackError] = []

    def noticed() -> bool:
        try:
            running.check_alive()
        except StackError as error:
            found.append(error)
        return bool(found)

    wait_until("an end to be noticed", noticed)
    return found[0]


def both_up(detail: dict[str, Any]) -> bool:
    """Raises what is wrong, for the wait to tell."""
    down = [target for target in detail["targets"] if target["health"] != "up"]
    if down or len(detail["targets"]) != 2:
        raise LookupError(detail["targets"])
    return True


def test_rules_that_prometheus_refuses_are_reported_with_its_last_lines(
    cache: Path, scenario: Scenario, run: RunDir, guard: Guard, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text("groups:\n  - name: a\n    rules:\n      - {alert: Broken, expr: 'sum(('}\n")
    stack = ComposeStack(guard, cache=cache, alerting=RealAlerting((policy(rules=(str(rules),)),)))
    with (
        pytest.raises(StackError, match="for prometheus to be ready; its container is exited") as error,
        stack.up(scenario, run, quiet),
    ):
        pytest.fail("it came up")
    assert any("parse error" in line for line in error.value.log_tail), error.value.log_tail
