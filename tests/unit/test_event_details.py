"""Details of events: what is computed from them is checked as they are read, and the rest may be anything."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rushhour.alarms.policies import load_policies
from rushhour.cli.main import _exit_of
from rushhour.errors import RunDataError
from rushhour.judging.judge import judge_run
from rushhour.rundir import RunDir, load_history
from rushhour.rundir import facts as f
from tests.unit import histories as h
from tests.unit.saved_runs import save

ALERTING: dict[str, Any] = {"targets": [], "rules": [], "metrics": [], "lost": {}}
TARGET = {"target": "t", "of": "agent", "health": "up", "error": "", "scraped_s": 1.0}
RULE = {"alert": "a", "health": "ok", "error": "", "evaluated_s": 1.0}
OF_KEYS: dict[tuple[str, str], tuple[Any, ...]] = {
    (f.ANCHOR, "wall_s"): ("x", [], True, -1.0, 1e300, "1.0"),
    (f.ANCHOR, "monotonic_s"): ("x", {}, 1e300),
    (f.STACK_BROKE, "log_tail"): (5, "text", [5], {"a": "b"}),
    **{(f.STACK_BROKE, name): (["x"],) for name in ("what", "part", "how")},
    (f.LOG_ERRORS, "queuepool_timeouts"): ("3", -1, 1.5, None, 10**30),
    (f.LOG_ERRORS, "kinds"): ("x", 5, ["a"], {"backend_lost": "1"}, {"a": -1}),
    (f.LOCUSTFILE_ERROR, "count"): ("x", None, -3, [], 10**400),
    **{(f.OBSERVER_FAULT, name): ({},) for name in ("observer", "error")},
    **{(f.FAULT, name): ([],) for name in ("server", "do", "table")},
}
WRONG: list[tuple[str, dict[str, Any]]] = [
    *((name, {key: value}) for (name, key), values in OF_KEYS.items() for value in values),
    (f.ALERTING_UP, {}),
    (f.ALERTING_UP, {"policies": 5, "pools": {}}),
    (f.ALERTING_UP, {"policies": {}}),
    (f.ALERTING_ENDED, {}),
    *((f.ALERTING_ENDED, ALERTING | {name: 5}) for name in ALERTING),
    (f.ALERTING_ENDED, ALERTING | {"targets": [{}]}),
    (f.ALERTING_ENDED, ALERTING | {"targets": [TARGET | {"scraped_s": "x"}]}),
    (f.ALERTING_ENDED, ALERTING | {"rules": [RULE | {"evaluated_s": None}]}),
    (f.ALERTING_ENDED, ALERTING | {"lost": {"a": "b"}}),
]
JUNK: tuple[Any, ...] = (None, "x", 5, -1.5, [], {}, [[]], {"a": {"b": []}}, True, "\u0000\u202e", 10**14)
CHECKED = {name for name, _ in WRONG}
KEYS = (
    *("pool", "pid", "checked_out", "capacity", "leaked", "endpoint", "site", "waiting", "queued_s", "users"),
    *("worker", "took_s", "exit_code", "completed", "asked", "answered", "planned_s", "lasted_s", "state"),
    *("signal", "seconds", "target", "by", "hotfix"),
)
NAMES = sorted(
    {value for name, value in vars(f).items() if name.isupper() and isinstance(value, str)}
    - CHECKED
    - {f.ROLLOUT, f.SAME_LATENCY}
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("saved") / "run", h.incident(), h.scenario()).path


@pytest.fixture
def run(saved: Path, tmp_path: Path) -> RunDir:
    return RunDir(Path(shutil.copytree(saved, tmp_path / "20250101T180000Z-gate")))


def add(run: RunDir, name: str, detail: object, t_s: float = 30.0) -> int:
    """Append an event; return its line."""
    path = run.file("events.jsonl")
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"t_s": t_s, "name": name, "detail": detail}) + "\n")
    return len(path.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize(("name", "detail"), WRONG, ids=[f"{n}-{json.dumps(d)[:60]}" for n, d in WRONG])
def test_a_detail_of_another_kind_is_refused_with_its_line(
    name: str, detail: dict[str, Any], run: RunDir
) -> None:
    line = add(run, name, detail)
    with pytest.raises(RunDataError) as caught:
        load_history(run)
    where = f"{run.file('events.jsonl')}:{line}: "
    # A number that no run has is refused wherever it stands, before anything else is asked of it.
    assert str(caught.value).startswith((f"{where}the detail of {name}: ", f"{where}not a Event: 1"))


@pytest.mark.long
@pytest.mark.parametrize("value", JUNK, ids=[repr(value) for value in JUNK])
def test_details_that_nothing_is_computed_from_may_be_anything(value: object, run: RunDir) -> None:
    for name in NAMES:
        if name != f.RUN_ENDED:
            add(run, name, dict.fromkeys(KEYS, value), t_s=79.0)
    judge_run(run)
    assert run.file("report.html").is_file()


def test_details_of_older_runs_may_lack_every_key(run: RunDir) -> None:
    for name in sorted(CHECKED - {f.ALERTING_UP, f.ALERTING_ENDED, f.STACK_BROKE}):
        add(run, name, {})
    assert load_history(run).event(f.FAULT) is not None


def test_notifications_without_the_runs_clocks_are_refused(
    run: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = {"at": "2025-01-01T18:00:00Z", "monotonic_s": 5.0, "policy": "p", "status": "firing"}
    run.file("notifications.jsonl").write_text(json.dumps(sent | {"group": {}, "alerts": []}) + "\n")
    for command in ("judge", "alarms", "report"):
        assert _exit_of([command, str(run.path)]) == 64
        assert "wall_s and monotonic_s missing" in capsys.readouterr().err


def test_an_audit_at_the_end_of_the_calendar_is_no_fault(
    run: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run.file("events.jsonl")
    anchor = {"t_s": 0.0, "name": f.ANCHOR, "detail": {"wall_s": 2e11, "monotonic_s": 1.0}}
    path.write_text(json.dumps(anchor) + "\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    assert load_policies([Path("infra/alerts")])
    assert _exit_of(["alarms", str(run.path)]) == 2
    assert "a fault of rushhour" not in capsys.readouterr().err
