"""Saved runs whose files cannot be written: they are judged, and what could not be saved is said."""

import errno
import os
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from rushhour.cli import common, run_commands
from rushhour.cli.main import _exit_of
from rushhour.judging.judge import JudgedRun, judge_run
from rushhour.process import regular
from rushhour.run import recording
from rushhour.rundir import RunDir, directory
from rushhour.rundir.encoding import FACT_FILES
from rushhour.scenario.model import Scenario
from tests.unit import histories as h
from tests.unit.saved_runs import save
from tests.unit.test_drill_losses import drill_at
from tests.unit.test_recording import NO_SCREEN

REFUSALS = (errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE)
FACTS = {"scenario.json", "environment.json", *FACT_FILES}
VERDICTS = {0: h.healthy, 1: h.incident}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def kept(run: RunDir, tmp_path: Path) -> RunDir:
    """Move a run to where nothing may be written."""
    (tmp_path / "kept").mkdir()
    return RunDir(run.path.rename(tmp_path / "kept" / run.path.name))


@pytest.fixture(params=REFUSALS, ids=errno.errorcode.get)
def refused(request: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """Refuse each write below a folder named `kept`; return the system's words."""
    words = os.strerror(request.param)

    def refuse(path: Path, content: bytes) -> None:
        if "kept" in path.parts:
            raise OSError(request.param, words, str(path))
        regular.write_new(path, content)

    monkeypatch.setattr(directory, "write_new", refuse)
    return words


@pytest.mark.parametrize("code", VERDICTS)
def test_a_read_only_run_is_judged_and_not_saved(
    code: int, refused: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = kept(save(tmp_path / "run", VERDICTS[code](), judged=False), tmp_path)
    before = contents(run.path)

    assert _exit_of(["judge", str(run.path)]) == code

    printed = capsys.readouterr()
    assert ("PASS" if code == 0 else "FAIL") in printed.out
    assert f"cannot be written: {refused}; the verdict is only printed" in printed.err
    assert "\nReport  " not in printed.out
    assert contents(run.path) == before


@pytest.mark.parametrize("room", range(1, 6))
def test_a_disk_that_fills_up_between_two_files_keeps_all_as_they_were(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = save(tmp_path / "run", h.incident(), judged=False)
    assert _exit_of(["judge", str(run.path)]) == 1
    for path in run.path.glob("*.*"):
        if path.name not in FACTS:
            path.write_text("of an earlier time", encoding="utf-8")
    before, written = contents(run.path), []

    def fill(path: Path, content: bytes) -> None:
        written.append(path.name)
        if len(written) <= room:
            return regular.write_new(path, content)
        path.write_bytes(content[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(directory, "write_new", fill)
    assert _exit_of(["judge", str(run.path)]) == 1

    assert len(written) == room + 1
    assert "No space left on device; the verdict is only printed" in capsys.readouterr().err
    assert contents(run.path) == before


SCENARIOS = """
service:
  { name: referrals, command: "gunicorn --bind {host}:{port}", health: /health, releases: ["1.0", "1.1"] }
scenarios:
  gate: &gate
    load: { users: 800, duration: 75s, locustfile: own.py }
    expect: healthy
    thresholds: [queuepool_timeouts == 0, http_5xx == 0]
  again: *gate
suites:
  all: [gate, again]
  nightly: [gate]
"""


def fill_up(path: Path, content: bytes) -> None:
    """Refuse what is written of a run once it has ended."""
    if path.name.removeprefix(".").removesuffix(".tmp") not in FACTS:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    regular.write_new(path, content)


class NewRuns:
    """Stands for runs whose facts were recorded, and whose verdict and reports meet a full disk."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / "scenarios.yaml").write_text(SCENARIOS, encoding="utf-8")
        (folder / "own.py").touch()
        monkeypatch.chdir(folder)
        monkeypatch.setattr(run_commands, "check_locustfiles", lambda *_: None)
        monkeypatch.setattr(run_commands, "open_for", lambda *_, **__: None)
        monkeypatch.setattr(common, "stack_of", lambda *_, **__: None)
        monkeypatch.setattr(common, "run_scenario", self._run)
        self.history = h.healthy()
        self._monkeypatch = monkeypatch
        self._numbers = count()

    def _run(self, scenario: Scenario, _: object, context: Any) -> tuple[RunDir, JudgedRun]:
        run = save(context.runs / f"{next(self._numbers)}-gate", self.history, scenario, judged=False)
        self._monkeypatch.setattr(directory, "write_new", fill_up)
        return run, judge_run(run)


@pytest.mark.parametrize("code", VERDICTS)
@pytest.mark.parametrize("command", [["run", "gate"], ["run", "all"], ["nightly"]], ids=" ".join)
def test_a_new_run_whose_report_cannot_be_written_ends_with_its_verdict(
    code: int,
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs = NewRuns(tmp_path, monkeypatch)
    runs.history = VERDICTS[code]()
    assert _exit_of([*command, "--runs", "runs"]) == code
    printed = capsys.readouterr()
    assert ("PASS" if code == 0 else "FAIL") in printed.out
    why = "No space left on device; the verdict is only printed; rushhour judge saves it later"
    assert why in printed.err
    assert "\nReport  " not in printed.out
    if command == ["run", "all"]:
        assert "junit.xml: cannot be written: No space left on device; the runs of the suite" in printed.err
    if command == ["nightly"]:
        assert "the night was not saved: " in printed.out


def test_an_interrupted_run_whose_report_cannot_be_written_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "write_new", fill_up)
    judged: list[JudgedRun] = []
    with (
        pytest.raises(KeyboardInterrupt),
        recording(h.scenario(), RunDir(tmp_path), NO_SCREEN, lambda run: judged.append(judge_run(run))),
    ):
        raise KeyboardInterrupt
    assert "cannot be written: No space left on device" in judged[0].not_saved


def test_a_read_only_run_does_not_keep_the_next_from_being_saved(
    refused: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = kept(save(tmp_path / "run", h.healthy(), judged=False), tmp_path)
    second = save(tmp_path / "other", h.healthy(), judged=False)

    assert _exit_of(["judge", str(first.path), str(second.path)]) == 0

    assert refused in capsys.readouterr().err
    assert not first.file("verdict.json").exists()
    assert second.file("verdict.json").exists()


def test_a_read_only_drill_is_judged_and_not_saved(
    refused: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = kept(drill_at(tmp_path / "drill"), tmp_path)
    before = contents(run.path)

    assert _exit_of(["judge", str(run.path)]) == 0

    assert f"{refused}; the verdict is only printed" in capsys.readouterr().err
    assert contents(run.path) == before


def test_reports_of_a_read_only_run_are_refused_and_those_of_the_next_are_written(
    refused: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = kept(save(tmp_path / "run", h.healthy()), tmp_path)
    second = save(tmp_path / "other", h.healthy())

    assert _exit_of(["report", str(first.path), str(second.path)]) == 64

    printed = capsys.readouterr()
    assert f"cannot be written: {refused}" in printed.err
    assert str(second.file("report.html")) in printed.out


def test_alarms_of_a_read_only_run_are_audited_and_not_saved(
    refused: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = kept(save(tmp_path / "run", h.incident(), judged=False), tmp_path)
    before = contents(run.path)
    alarms = Path(__file__).parents[2] / "infra" / "alerts"

    code = _exit_of(["alarms", str(run.path), "--policies", str(alarms)])

    printed = capsys.readouterr()
    assert code in {0, 1}
    assert "failures" in printed.out
    assert f"{refused}; the audit is only printed" in printed.err
    assert contents(run.path) == before
