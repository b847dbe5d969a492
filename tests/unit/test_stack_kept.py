"""Kept data: built once, held while it is used, removed only when no run uses it."""

import threading
import time
from pathlib import Path

import pytest

from rushhour.errors import StackError
from rushhour.process.guard import Guard
from rushhour.stack.postgres.kept import KeptData, bring_down_kept, lock_of, remove_kept


class Noting(Guard):
    """A guard that only notes what it should remove."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[Path] = []

    def remove_at_death(self, path: Path) -> None:
        self.noted.append(path)


def quiet(step: str, done: float = 0.0, total: float | None = None, unit: str = "") -> None:
    """Progress that nobody reads."""


def test_data_is_built_beside_its_place_and_then_used_again(tmp_path: Path) -> None:
    guard, built = Noting(), []
    kept = KeptData(tmp_path / "kept", guard)

    def build(path: Path) -> None:
        built.append(path)
        assert not (kept.root / "small").exists()
        (path / "rows").write_text("7")

    for _ in range(2):
        with kept.held("small", build, "small data", quiet) as path:
            assert path == kept.root / "small"
            assert (path / "rows").read_text() == "7"
    assert built == guard.noted  # a harness that dies meanwhile leaves nothing of it
    assert len(built) == 1
    assert sorted(path.name for path in kept.root.iterdir()) == ["small", "small.lock"]


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    kept = KeptData(tmp_path, Noting())

    def build(path: Path) -> None:
        (path / "rows").write_text("half")
        raise StackError("no disk")

    with pytest.raises(StackError, match="no disk"), kept.held("small", build, "small data", quiet):
        pytest.fail("it was built")
    assert [path.name for path in tmp_path.iterdir()] == ["small.lock"]


def test_a_disk_error_of_a_build_is_said_in_words(tmp_path: Path) -> None:
    kept = KeptData(tmp_path, Noting())

    def build(path: Path) -> None:
        (path / "none" / "rows").write_text("7")

    with (
        pytest.raises(StackError, match=r"cannot be built in .*\.building-small-.*No such file"),
        kept.held("small", build, "small data", quiet),
    ):
        pytest.fail("it was built")


def test_a_second_run_waits_for_the_first_to_build(tmp_path: Path) -> None:
    kept = KeptData(tmp_path, Noting())
    building, go = threading.Event(), threading.Event()
    said: list[str] = []

    def build(path: Path) -> None:
        building.set()
        assert go.wait(60)
        (path / "rows").write_text("7")

    def first() -> None:
        with kept.held("small", build, "small data", quiet):
            pass

    def say(step: str, done: float = 0.0, total: float | None = None, unit: str = "") -> None:
        said.append(step)
        go.set()

    thread = threading.Thread(target=first)
    thread.start()
    assert building.wait(60)
    with kept.held("small", lambda _: pytest.fail("built twice"), "small data", say) as path:
        assert (path / "rows").read_text() == "7"
    thread.join(60)
    assert set(said) == {"another run builds the small data"}


def test_data_in_use_is_left_and_its_age_starts_again(tmp_path: Path) -> None:
    kept = KeptData(tmp_path, Noting())
    began_s = time.time()
    with kept.held("small", lambda _: None, "small data", quiet) as path:
        assert remove_kept(tmp_path) == ([], [path])
        assert bring_down_kept(tmp_path) == ["left the kept databases small: a run uses them"]
        assert path.stat().st_mtime >= began_s - 1
    assert bring_down_kept(tmp_path) == ["removed the kept databases small"]
    assert [path.name for path in tmp_path.iterdir()] == [lock_of(path).name]


def test_the_root_of_private_data_is_closed_to_others(tmp_path: Path) -> None:
    kept = KeptData(tmp_path / "kept", Noting(), mode=0o700)
    with kept.held("small", lambda _: None, "small data", quiet):
        assert kept.root.stat().st_mode & 0o077 == 0
