"""The main job through the public commands, on real PostgreSQL, gunicorn and Locust: small scenarios."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from rushhour.cli.main import _exit_of
from rushhour.process.reaper import is_alive
from tests.judged_runs import ROOT, TIMEOUT_S, Ended, hold_against_access_log, read, run, rushhour, told

GONE_WITHIN_S = 60
SHORTER = "--duration=6s"  # the pool is full after three
LONGER = "--duration=120s"  # still under load when it is interrupted, on whatever machine

FILES = {
    "scenario.json",
    "environment.json",
    "requests.jsonl",
    "generator.jsonl",
    "pool.jsonl",
    "postgres.jsonl",
    "host.jsonl",
    "events.jsonl",
    "verdict.json",
    "report.html",
    "junit.xml",
    "summary.md",
    "locust.html",
    "logs",
}


@pytest.fixture(scope="module")
def leak(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ended, Path]:
    return run(tmp_path_factory.mktemp("leak"), "smoke-leak", SHORTER)


@pytest.fixture(scope="module")
def hotfix(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ended, Path]:
    return run(tmp_path_factory.mktemp("hotfix"), "smoke-hotfix", "--workers=2", SHORTER)


@pytest.mark.alone
def test_the_leak_is_exhausted_and_its_line_named(leak: tuple[Ended, Path]) -> None:
    _, folder = leak
    verdict = told(leak)
    assert verdict["observed"] == "exhausted"
    assert verdict["diagnosis"]["cause"] == "scope-never-removed"
    site = verdict["diagnosis"]["call_sites"][0]
    line = (ROOT / site["file"]).read_text(encoding="utf-8").splitlines()[site["line"] - 1]
    assert site["file"].startswith("app/")
    assert "session" in line
    assert site["held"] == verdict["metrics"]["leaked_connections"] == 5
    assert verdict["metrics"]["queuepool_timeouts"] > 0
    log = (folder / "logs/service.log").read_text(encoding="utf-8")
    assert "QueuePool limit of size 3 overflow 2 reached, connection timed out, timeout 2.00" in log
    assert {path.name for path in folder.iterdir()} >= FILES


@pytest.mark.alone
def test_every_request_of_the_access_log_was_recorded(
    leak: tuple[Ended, Path], hotfix: tuple[Ended, Path]
) -> None:
    """By one process, and by a master and two workers."""
    for _, folder in (leak, hotfix):
        hold_against_access_log(folder)
    rows = (hotfix[1] / "requests.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(row)["worker"] for row in rows} == {"worker-0", "worker-1"}


@pytest.mark.alone
def test_the_hotfix_is_healthy_under_the_same_load(hotfix: tuple[Ended, Path]) -> None:
    verdict = told(hotfix)
    assert verdict["observed"] in {"healthy", "unknown"}
    assert verdict["diagnosis"]["cause"] != "scope-never-removed"
    assert verdict["metrics"]["leaked_connections"] == 0


@pytest.mark.alone
def test_a_saved_run_whose_expectation_was_edited_is_unknown(hotfix: tuple[Ended, Path]) -> None:
    _, folder = hotfix
    kept = (folder / "scenario.json").read_text(encoding="utf-8")
    try:
        changed = read(folder / "scenario.json") | {"expect": "exhausted", "cause": "scope-never-removed"}
        (folder / "scenario.json").write_text(json.dumps(changed), encoding="utf-8")
        ended = rushhour("judge", str(folder))
    finally:
        (folder / "scenario.json").write_text(kept, encoding="utf-8")
    assert ended.returncode == 2
    assert ended.stdout.startswith("UNKNOWN")
    assert "scenario.json: " in " ".join(ended.stdout.split())


@pytest.mark.parametrize(
    ("release", "code"), [("1.1", 1), ("1.1.1", 0), pytest.param("1.0", 0, marks=pytest.mark.long)]
)
def test_check_names_the_line_of_a_connection_that_stays_out(
    cache: Path, tmp_path: Path, release: str, code: int
) -> None:
    sarif = tmp_path / "check.sarif"
    formats = ("--annotate", "github", "--annotate", f"sarif={sarif}")
    ended = rushhour("check", "--release", release, "--runs", str(tmp_path), *formats)
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert ("app/referrals.py:" in ended.stdout) == (code == 1)
    commands = [line for line in ended.stdout.splitlines() if line.startswith("::")]
    assert len(json.loads(sarif.read_text())["runs"][0]["results"]) == len(commands) == code
    for command in commands:
        found = re.match(r"::error file=app/referrals\.py,line=(\d+),title=check of ", command)
        assert found is not None, command
        assert f"app/referrals.py:{found[1]}" in ended.stdout


@pytest.fixture
def under_load(cache: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A harness in the middle of a run."""
    harness = subprocess.Popen(
        [sys.executable, "-m", "rushhour", "run", "smoke-leak", LONGER, "--runs", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    events = tmp_path / "latest/events.jsonl"
    try:
        wait_until(
            lambda: events.exists() and "load_started" in events.read_text(), TIMEOUT_S, "the load to start"
        )
        yield harness
    finally:
        harness.kill()
        harness.wait(TIMEOUT_S)
        assert harness.stdout is not None
        harness.stdout.close()


def wait_until(condition: Callable[[], object], within_s: float, what: str) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, f"waited {within_s:g} s for {what}"
        time.sleep(0.1)


def living(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if is_alive(process)]


def test_nothing_survives_kill_9_and_the_run_judges_unknown(
    under_load: subprocess.Popen[str], tmp_path: Path
) -> None:
    family = psutil.Process(under_load.pid).children(recursive=True)
    assert len(family) >= 8  # PostgreSQL's, gunicorn's, Locust, the guard
    os.kill(under_load.pid, signal.SIGKILL)
    wait_until(lambda: not living(family), GONE_WITHIN_S, f"{living(family)} to end")
    ended = rushhour("judge", str(tmp_path / "latest"))
    assert ended.returncode == 2
    assert ended.stdout.startswith("UNKNOWN")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_stops_everything_and_keeps_what_it_saw(
    under_load: subprocess.Popen[str], tmp_path: Path, signum: signal.Signals
) -> None:
    family = psutil.Process(under_load.pid).children(recursive=True)
    under_load.send_signal(signum)
    output, _ = under_load.communicate(timeout=TIMEOUT_S)
    assert under_load.returncode == 130
    assert "rushhour: interrupted; what was started has been stopped" in output
    assert "Traceback" not in output
    wait_until(lambda: not living(family), GONE_WITHIN_S, f"{living(family)} to end")
    assert read(tmp_path / "latest/verdict.json")["verdict"] == "unknown"


BAD_USAGE = (
    (("run", "rush-huor"), "did you mean rush-hour?"),
    (("run", "gate", "--release", "9"), "referrals has no such release; known: 1.0, 1.1, 1.1.1"),
    (("run", "gate", "--scenarios", "missing.yaml"), "missing.yaml: no such file"),
    (("run", "gate", "--stack", "moon"), "'moon' is not one of"),
    (("run",), "no scenario named"),
    (("judge", "docs"), "no scenario.json; this is not a run directory"),
)


def test_bad_usage_is_reported_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    for arguments, words in BAD_USAGE:
        assert _exit_of(list(arguments)) == 64
        said = capsys.readouterr().err
        assert words in said
        assert "Traceback" not in said
    arguments, words = BAD_USAGE[0]
    ended = rushhour(*arguments)
    assert ended.returncode == 64
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
