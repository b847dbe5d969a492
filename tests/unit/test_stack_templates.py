"""Locks, work directories and templates of the embedded stack."""

import os
from pathlib import Path

import pytest

from rushhour.errors import StackError
from rushhour.stack.locks import is_free, locked, try_lock
from rushhour.stack.postgres.kept import remove_kept, remove_unused
from rushhour.stack.postgres.template import read_template, templates_root
from rushhour.stack.work import in_use, require_room, sweep


def test_lock_excludes_and_is_freed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert is_free(path)
    with locked(path, timeout_s=1):
        assert not is_free(path)
        with try_lock(path) as ours:
            assert not ours
        with pytest.raises(StackError, match="waited 0 s for the lock"), locked(path, timeout_s=0):
            pass
    assert is_free(path)
    with try_lock(path, shared=True) as first, try_lock(path, shared=True) as second:
        assert first
        assert second


def test_sweep_touches_only_what_nobody_uses(tmp_path: Path) -> None:
    for name in ("dead", "locked", "serving"):
        (tmp_path / name / "primary").mkdir(parents=True)
    serving = tmp_path / "serving" / "primary"
    before = Path.cwd()
    os.chdir(serving)  # as a postmaster does
    try:
        (serving / "postmaster.pid").write_text(f"{os.getpid()}\n/data\n")
        assert in_use(serving)
        with locked(tmp_path / "locked" / "lock", timeout_s=1):
            assert sweep(tmp_path) == [tmp_path / "dead"]
    finally:
        os.chdir(before)
    assert not in_use(serving)  # the number is in use, by a process that is no server of this directory
    assert sorted(path.name for path in sweep(tmp_path)) == ["locked", "serving"]


def test_pid_file_that_cannot_be_understood_keeps_the_directory(tmp_path: Path) -> None:
    (tmp_path / "postmaster.pid").write_text("")
    assert in_use(tmp_path)


def test_too_little_disk_space_is_reported_with_the_numbers(tmp_path: Path) -> None:
    require_room(tmp_path, 1, "a byte")
    with pytest.raises(StackError, match=r"cloning needs 1000000000000 MB in .*, where \d+ MB are free"):
        require_room(tmp_path, 10**18, "cloning")


def test_a_template_without_a_manifest_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"is not a whole template .*rushhour down --templates"):
        read_template(tmp_path)


def test_templates_are_removed_with_what_dead_builds_left(tmp_path: Path) -> None:
    templates = tmp_path / "templates"
    (templates / "small-1").mkdir(parents=True)
    (templates / ".building-small-1-abc").mkdir()
    (templates / "small-1.lock").touch()
    assert remove_kept(templates_root(tmp_path)) == ([templates / "small-1"], [])
    assert [path.name for path in templates.iterdir()] == ["small-1.lock"]


def test_only_templates_unused_for_long_are_removed(tmp_path: Path) -> None:
    for name in ("old", "old-in-use", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.lock").touch()
    for name in ("old", "old-in-use"):
        os.utime(tmp_path / name, (0, 0))
    with locked(tmp_path / "old-in-use.lock", shared=True, timeout_s=1):
        assert remove_unused(tmp_path) == [tmp_path / "old"]
    assert (tmp_path / "new").exists()
    assert (tmp_path / "old-in-use").exists()
