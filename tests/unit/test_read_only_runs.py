"""Saved runs whose files cannot be written: they are judged, and what could not be saved is said."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from rushhour.cli.main import _exit_of
from rushhour.process import regular
from rushhour.rundir import RunDir, directory
from rushhour.rundir.encoding import FACT_FILES
from tests.unit import histories as h
from tests.unit.saved_runs import save
from tests.unit.test_drill_losses import drill_at

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
