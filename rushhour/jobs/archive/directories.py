"""Where run directories lie: `runs/<start>-<scenario>/`, and those of a night in `runs/nightly/<start>/`."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rushhour.rundir import RunDir

NIGHTLY: Final = "nightly"
NIGHT_FILES: Final = ("night.json", "summary.md", "junit.xml")  # of a night, beside its runs
SEARCH_FILE: Final = "capacity.json"
STAMP: Final = "%Y%m%dT%H%M%SZ"

_NIGHT: Final = re.compile(r"\d{8}T\d{6}Z(-\d{1,2})?")
_RUN: Final = re.compile(r"\d{8}T\d{6}Z-.+")


def is_run(path: Path) -> bool:
    """Whether this is the directory of a run, by its name and by what every run holds from its start."""
    return (
        _RUN.fullmatch(path.name) is not None
        and path.is_dir()
        and not path.is_symlink()
        and (path / "scenario.json").is_file()
    )


def is_search(path: Path) -> bool:
    """Whether this is the folder of a search for a capacity, by its name and its file."""
    return (
        _RUN.fullmatch(path.name) is not None
        and path.is_dir()
        and not path.is_symlink()
        and (path / SEARCH_FILE).is_file()
    )


def is_night(path: Path) -> bool:
    """Return whether this is the directory of a night, by its name."""
    return _NIGHT.fullmatch(path.name) is not None and path.is_dir() and not path.is_symlink()


def nights(runs: Path) -> list[Path]:
    """List the directories of nights, oldest first."""
    folder = runs / NIGHTLY
    return sorted(path for path in folder.iterdir() if is_night(path)) if folder.is_dir() else []


def runs_in(folder: Path) -> list[RunDir]:
    """Run directories right below a folder, oldest first."""
    return [RunDir(path) for path in sorted(folder.iterdir()) if is_run(path)] if folder.is_dir() else []


def find_runs(runs: Path) -> Iterator[RunDir]:
    """Yield all run directories below a runs folder, those of nights included."""
    yield from runs_in(runs)
    for night in nights(runs):
        yield from runs_in(night)


def night_of(run: RunDir) -> str | None:
    """Return the night that a run belongs to; None for a run that was started by itself."""
    night = run.path.resolve().parent
    return night.name if night.parent.name == NIGHTLY and is_night(night) else None


def runs_folder_of(run: RunDir) -> Path:
    """Return the runs folder that a run directory lies in."""
    parent = run.path.resolve().parent
    return parent.parent.parent if night_of(run) else parent


def point_latest(folder: Path) -> None:
    """Let `latest`, beside a directory, point at it."""
    link = folder.parent / f".latest.{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(folder.name)
    link.replace(folder.parent / "latest")


def kept(runs: Path) -> set[str]:
    """Return the nights, and their runs as `night/run`, that are still there."""
    found = nights(runs)
    return {night.name for night in found} | {
        f"{night.name}/{run.path.name}" for night in found for run in runs_in(night)
    }
