"""Rule files as policies: what is refused, what promtool gets to see, and what is unknown without it."""

import errno
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rushhour.alarms.policies import load_policies
from rushhour.alarms.prom_series import SERIES, input_series
from rushhour.alarms.prometheus import PrometheusPolicy
from rushhour.alarms.promtool import milliseconds
from rushhour.alarms.study import Scale, study
from rushhour.errors import UsageError
from rushhour.judging.alarms import alarms_not_replayed
from rushhour.judging.judge import judge_run, read_scenario
from rushhour.report.alarms import headline
from tests.unit import histories
from tests.unit.saved_runs import save
from tests.unit.test_alarms_cloudwatch import timeline

ROOT = Path(__file__).parents[2]
RULES = "groups:\n  - name: a\n    rules:\n      - { alert: Down, expr: up == 0 }\n"


def series(gaps: str = "zero") -> dict[str, str]:
    line = timeline({5: 2, 25: 1}, 60, pool_in_use={29: 0.5})
    line = replace(line, series=line.series | {"pool_waiters": (None,) * 30 + (1.0,) * 30})
    found = input_series(line, {"mine": "http_5xx"}, scrape_s=10.0, healthy=3, capacity=30, gaps=gaps)
    return {item.name: item.values for item in found}


def named(part: str, found: dict[str, str]) -> str:
    [values] = [values for name, values in found.items() if part in name]
    return values


def test_the_timeline_comes_after_healthy_traffic_by_the_scrape() -> None:
    found = series()
    assert found["mine"] == "0+0x3 2 2 3 3 3 3"
    assert named('code="200"', found) == "0+99.5x3 396.5 496.5 595.5 695.5 795.5 895.5"
    assert named("pending", found) == "0x3 _ _ _ 1 1 1"
    assert named('state="used"', found) == "0x3 0 0 15 0 0 0"
    assert named("connection_max", found) == "30x3 30 30 30 30 30 30"
    assert set(found) == {*SERIES, "mine"}


def test_a_counter_may_begin_with_its_first_event() -> None:
    assert series(gaps="missing")["mine"] == "_x4 2 2 3 3 3 3"
    assert named("timeouts", series(gaps="missing")) == "_x4 _ _ _ _ _ _"


def test_the_documentation_names_every_series_and_every_key() -> None:
    page = (ROOT / "docs/alarms.md").read_text(encoding="utf-8")
    assert [name for name in SERIES if name.split("{")[0] not in page] == []
    keys = PrometheusPolicy.__dataclass_fields__.keys() - {"name", "description", "system"}
    assert [key for key in keys if f"`{key}`" not in page] == []


def test_without_promtool_it_is_unknown_and_never_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    policies = load_policies([ROOT / "infra/alerts/prometheus.yaml"])
    assert [policy.name for policy in policies] == ["prom-5xx", "prom-pool"]
    studied = study(policies, timeline({75: 4}, 105), Scale())
    assert [each.unknown.split(",")[0] for each in studied.audits] == ["promtool is not on PATH"] * 2
    assert studied.announced is None
    assert headline(studied).endswith("failures; 2 of 2 policies are unknown")
    assert alarms_not_replayed(["prom-pool"], studied)[0].startswith(
        "alarm prom-pool is unknown: promtool is not on PATH"
    )
    assert alarms_not_replayed(["another"], studied) == ()
    assert not studied.advice


def test_without_room_for_promtools_files_it_is_unknown_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "promtool"
    tool.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    policies = load_policies([ROOT / "infra/alerts/prometheus.yaml"])

    def full(**_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryDirectory", full)
    studied = study(policies, timeline({75: 4}, 105), Scale())
    assert all("No space left on device; free space there" in each.unknown for each in studied.audits)
    assert studied.announced is None


def test_a_pass_is_unknown_where_the_expected_alarm_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    run = save(tmp_path / "leak", histories.incident(), histories.rush_hour())
    scenario = read_scenario(run)
    target = replace(scenario.target, root=str(ROOT))
    run.write_json("scenario.json", replace(scenario, target=target, expect_alarms=("prom-pool",)))
    judged = judge_run(run).verdict
    assert judged.verdict == "unknown"
    assert "alarm prom-pool is unknown: promtool is not on PATH" in judged.reasons[0]
    assert "unknown: promtool is not on PATH" in run.file("report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rules: [none.yml]", "4: p.rules: "),
        ("rules: []", "4: p.rules: "),
        ("rules: [r.yml]\n    group_wate: 3s", "5: p.group_wate: unknown key"),
        (
            "rules: [r.yml]\n    scrape_interval: 500ms",
            "3: p: evaluation_interval 15 s and scrape_interval 0.5 s",
        ),
        ("rules: [r.yml]\n    series: { x: http_6xx }", "5: p.series.x"),
        ("rules: [list.yml]", "list.yml:1: a rule file has a list `groups:`"),
        ("rules: [broken.yml]", "broken.yml:3: not YAML"),
    ],
)
def test_bad_policies_are_reported_with_their_lines(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "r.yml").write_text(RULES)
    (tmp_path / "list.yml").write_text("groups: 3\n")
    (tmp_path / "broken.yml").write_text("groups:\n  - [a\n")
    file = tmp_path / "prom.yaml"
    file.write_text(f"system: prometheus\nalarms:\n  p:\n    {text}\n")
    with pytest.raises(UsageError) as caught:
        load_policies([file])
    assert any(told in problem for problem in caught.value.problems), caught.value.problems


def test_durations_as_promtool_writes_them() -> None:
    assert milliseconds("1d2h15s") == 93_615_000
    assert milliseconds("1500ms") == 1500
