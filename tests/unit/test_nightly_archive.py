"""What is kept of past runs: the database, the lock, and which nights are pruned."""

import fcntl
import json
import multiprocessing
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from rushhour.errors import UnavailableError
from rushhour.jobs.archive import RunHistory, night_of, read_row, remember, row_of, runs_folder_of
from rushhour.jobs.archive.lock import held
from rushhour.jobs.archive.prune import prune_nights
from rushhour.judging.saved import read_verdict
from rushhour.rundir import Recorder, RunDir
from rushhour.rundir.directory import is_under_way
from tests.unit import histories
from tests.unit.saved_runs import save

RUN = "20250102T030000Z-gate"
NIGHT = "20250102T025958Z"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run of the incident, judged."""
    scenario = histories.scenario()
    return save(tmp_path_factory.mktemp("built") / RUN, histories.incident(), scenario)


def put(built: RunDir, path: Path) -> RunDir:
    """The same run at another place; the few files that the history reads."""
    path.mkdir(parents=True)
    for name in ("scenario.json", "environment.json", "verdict.json", "events.jsonl"):
        (path / name).write_bytes(built.file(name).read_bytes())
    return RunDir(path)


def test_a_row_says_what_a_run_came_to(tmp_path: Path, built: RunDir) -> None:
    run = put(built, tmp_path / "runs" / "nightly" / NIGHT / RUN)
    row = read_row(run)
    assert row is not None
    assert row.run == f"nightly/{NIGHT}/{RUN}"
    assert (row.night, night_of(run), runs_folder_of(run)) == (NIGHT, NIGHT, tmp_path / "runs")
    assert (row.scenario, row.release, row.verdict, row.observed) == ("gate", "1.1", "fail", "exhausted")
    assert (row.cause, row.site) == ("scope-never-removed", "app/referrals.py:88 list_referrals")
    assert (row.started_at, row.code_commit) == ("2025-01-01T18:00:00+00:00", "0123abc")
    assert (row.leaked_connections, row.queuepool_timeouts, row.pool_capacity) == (30, 15, 30)


def test_without_an_environment_the_start_is_in_the_name(tmp_path: Path, built: RunDir) -> None:
    run = put(built, tmp_path / "runs" / RUN)
    run.file("environment.json").unlink()
    row = read_row(run)
    assert row is not None
    assert (row.started_at, row.night) == ("2025-01-02T03:00:00+00:00", None)


def test_rows_come_back_in_order_and_outlive_their_runs(tmp_path: Path, built: RunDir) -> None:
    history = RunHistory(tmp_path)
    first = put(built, tmp_path / RUN)
    verdict = read_verdict(first)
    assert verdict is not None
    history.record(row_of(first, verdict))
    history.record(row_of(first, verdict))  # judged again: still one row
    second = put(built, tmp_path / "20250103T030000Z-gate")
    second.file("environment.json").unlink()
    history.record(row_of(second, verdict))
    assert [row.run for row in history.rows()] == [RUN, second.path.name]
    assert history.rows()[0] == read_row(first)
    assert [row.run for row in history.rows(limit=1)] == [second.path.name]
    assert history.rows(scenario="soak") == []
    first.file("verdict.json").unlink()
    assert str(history.rebuild()) == "1 judged run, 1 never judged and left out"
    assert len(history.rows()) == 2
    assert history.notes == []


def test_a_missing_database_is_built_anew_and_that_is_said(tmp_path: Path, built: RunDir) -> None:
    put(built, tmp_path / RUN)
    put(built, tmp_path / "nightly" / NIGHT / RUN)
    broken = put(built, tmp_path / "20250104T030000Z-gate")
    broken.file("verdict.json").write_text("{")
    new = put(built, tmp_path / "20250105T030000Z-gate")
    verdict = read_verdict(new)
    assert verdict is not None
    (note,) = remember(new, verdict)
    assert "history.sqlite3 is built anew from the run directories: 2 judged runs, 1 that cannot" in note
    assert len(RunHistory(tmp_path).rows()) == 3
    assert remember(new, verdict) == []


def test_the_first_run_of_all_is_no_rebuild(tmp_path: Path, built: RunDir) -> None:
    run = put(built, tmp_path / RUN)
    verdict = read_verdict(run)
    assert verdict is not None
    assert remember(run, verdict) == []


@pytest.mark.parametrize("content", [b"this is no database at all, " * 200, None])
def test_a_broken_database_is_kept_aside_and_built_anew(
    tmp_path: Path, built: RunDir, content: bytes | None
) -> None:
    run = put(built, tmp_path / RUN)
    verdict = read_verdict(run)
    assert verdict is not None
    remember(run, verdict)
    path = tmp_path / "history.sqlite3"
    if content is None:  # a page in its middle is gone
        whole = bytearray(path.read_bytes())
        whole[4096:8192] = b"\xff" * 4096
        content = bytes(whole)
    path.write_bytes(content)
    history = RunHistory(tmp_path)
    assert [row.run for row in history.rows()] == [RUN]
    assert len(history.notes) == 2
    assert "is broken" in history.notes[0]
    (aside,) = tmp_path.glob("history.sqlite3.broken-*")
    assert aside.read_bytes() == content


def test_a_locked_database_loses_no_run(tmp_path: Path, built: RunDir) -> None:
    run = put(built, tmp_path / RUN)
    verdict = read_verdict(run)
    assert verdict is not None
    remember(run, verdict)
    with closing(sqlite3.connect(tmp_path / "history.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        (note,) = remember(run, verdict, busy_timeout_s=0.1)
    assert note.startswith("this run is not in the history of runs:")
    assert "database is locked" in note
    assert read_verdict(run) == verdict


def test_a_newer_database_is_left_alone(tmp_path: Path, built: RunDir) -> None:
    run = put(built, tmp_path / RUN)
    with closing(sqlite3.connect(tmp_path / "history.sqlite3")) as newer:
        newer.execute("PRAGMA user_version = 7")
    before = (tmp_path / "history.sqlite3").read_bytes()
    verdict = read_verdict(run)
    assert verdict is not None
    (note,) = remember(run, verdict)
    assert "was written by a newer rushhour (schema 7; this one knows 1)" in note
    assert (tmp_path / "history.sqlite3").read_bytes() == before


def test_the_last_nights_are_asked_for(tmp_path: Path, built: RunDir) -> None:
    for day in (1, 2, 3):
        put(built, tmp_path / "nightly" / f"2025010{day}T030000Z" / f"2025010{day}T030001Z-gate")
    put(built, tmp_path / RUN)
    nights = [row.night for row in RunHistory(tmp_path).nights(2)]
    assert sorted(nights, key=str) == ["20250102T030000Z", "20250103T030000Z"]


def _hold(path: Path, ready: Path, until: Path) -> None:
    with held(path, "nightly"):
        ready.touch()
        deadline = time.monotonic() + 30
        while not until.exists() and time.monotonic() < deadline:
            time.sleep(0.01)


@contextmanager
def holder(path: Path, folder: Path) -> Iterator[int]:
    """Another process that holds the lock."""
    ready, until = folder / "ready", folder / "until"
    process = multiprocessing.get_context("spawn").Process(target=_hold, args=(path, ready, until))
    process.start()
    deadline = time.monotonic() + 30
    while not ready.exists():
        assert time.monotonic() < deadline, "waited 30 s for the other process to hold the lock"
        time.sleep(0.01)
    try:
        yield process.pid or 0
    finally:
        until.touch()
        process.join(30)


def test_the_second_is_told_who_holds_the_lock_and_since_when(tmp_path: Path) -> None:
    path = tmp_path / "nightly" / ".lock"
    path.parent.mkdir()
    with (
        holder(path, tmp_path) as pid,
        pytest.raises(
            UnavailableError, match=rf"another nightly \(process {pid} on .*, since 20.*, for \d+ s\)"
        ),
        held(path, "nightly"),
    ):
        pytest.fail("the lock was given twice")
    with held(path, "nightly"):  # free again
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert path.read_text() == ""


def test_a_lock_whose_holder_died_is_free(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    path.write_text('{"what": "nightly", "pid": 1, "host": "gone", "since": "2025-01-01T00:00:00+00:00"}\n')
    with held(path, "nightly"):
        pass


def test_a_run_is_under_way_until_its_recorder_is_closed(tmp_path: Path) -> None:
    run = RunDir(tmp_path / RUN)
    run.path.mkdir()
    assert not is_under_way(run)
    recorder = Recorder(run)
    assert is_under_way(run)
    recorder.close()
    assert not is_under_way(run)


def night(folder: Path, built: RunDir, day: int) -> RunDir:
    start = f"2025010{day}T0300"
    path = folder / "nightly" / f"{start}00Z"
    run = put(built, path / f"{start}01Z-gate")
    run.logs.mkdir()
    (run.logs / "service.log").write_text("started\n")
    for name in ("night.json", "summary.md", "junit.xml"):
        (path / name).write_text("")
    (path / "latest").symlink_to(run.path.name)
    return run


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "nightly").iterdir())


def test_the_last_nights_and_those_to_spare_stay(tmp_path: Path, built: RunDir) -> None:
    for day in range(1, 6):
        night(tmp_path, built, day)
    other = put(built, tmp_path / RUN)  # no run of a night
    pruned = prune_nights(tmp_path, 2, {"20250101T030000Z"})
    assert names(tmp_path) == ["20250101T030000Z", "20250104T030000Z", "20250105T030000Z"]
    assert pruned.removed == ("20250102T030000Z", "20250103T030000Z")
    assert pruned.left == ()
    assert other.path.is_dir()
    assert prune_nights(tmp_path, 2, {"20250101T030000Z"}).removed == ()


def test_nothing_else_is_touched(tmp_path: Path, built: RunDir) -> None:
    """Neither what only lies there, nor what a link points at, nor a run that is under way."""
    elsewhere = put(built, tmp_path / "elsewhere" / RUN)
    strange, linked, busy = (night(tmp_path, built, day) for day in (1, 2, 3))
    (strange.path.parent / "notes.txt").write_text("mine")
    (linked.path.parent / "20250102T040000Z-gate").symlink_to(elsewhere.path)
    for name in ("backups", "20250101", "trend.html"):
        (tmp_path / "nightly" / name).mkdir()
    night(tmp_path, built, 4)
    with busy.file("events.jsonl").open() as events:
        fcntl.flock(events, fcntl.LOCK_SH)
        pruned = prune_nights(tmp_path, 1)
    assert pruned.removed == ()
    assert pruned.left == (
        "20250101T030000Z: holds notes.txt, which is not of a run",
        "20250102T030000Z: holds 20250102T040000Z-gate, which is not of a run",
        "20250103T030000Z: 20250103T030001Z-gate is under way",
    )
    assert all(run.file("verdict.json").exists() for run in (strange, linked, busy, elsewhere))
    assert prune_nights(tmp_path, 1).removed == ("20250103T030000Z",)
    assert {"backups", "20250101", "trend.html"} <= set(names(tmp_path))


def test_a_removal_that_was_cut_short_is_finished(tmp_path: Path, built: RunDir) -> None:
    run = night(tmp_path, built, 1)
    doomed = run.path.rename(run.path.with_name(f".pruned-{run.path.name}"))
    (doomed / "scenario.json").unlink()
    night(tmp_path, built, 2)
    assert prune_nights(tmp_path, 1).removed == ("20250101T030000Z",)
    assert names(tmp_path) == ["20250102T030000Z"]


def test_the_folder_of_a_search_for_a_capacity_goes_with_its_night(tmp_path: Path, built: RunDir) -> None:
    run = night(tmp_path, built, 1)
    search = run.path.parent / "20250101T031000Z-capacity-gate"
    (search / "steps" / RUN).mkdir(parents=True)
    (search / "capacity.json").write_text("[]")
    night(tmp_path, built, 2)
    assert prune_nights(tmp_path, 1).removed == ("20250101T030000Z",)
    assert names(tmp_path) == ["20250102T030000Z"]
