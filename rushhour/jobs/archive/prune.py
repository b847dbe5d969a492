"""Removes old nights: only run directories, and the few files that a night has beside them."""

import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rushhour.jobs.archive.directories import NIGHT_FILES, is_search, nights, runs_in
from rushhour.rundir import RunDir
from rushhour.rundir.directory import is_under_way

# A directory is renamed before it is removed: one that was removed in part must not look like a run.
_DOOMED: Final = ".pruned-"


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed, and what was left although it is old."""

    removed: tuple[str, ...]  # nights
    left: tuple[str, ...]  # "20250101T030000Z: holds notes.txt, which is not of a run"


def prune_nights(runs: Path, keep: int, spare: Collection[str] = ()) -> Pruned:
    """Remove all but the last `keep` nights and those to `spare`.

    A run that is under way stays, as does anything that is not a run directory, and with it its night.
    """
    removed, left = [], []
    old = nights(runs)
    for night in old[: max(0, len(old) - keep)]:
        if night.name in spare:
            continue
        problems = [*_prune(night)]
        if problems:
            left.append(f"{night.name}: {'; '.join(problems)}")
        else:
            removed.append(night.name)
    return Pruned(tuple(removed), tuple(left))


def _prune(night: Path) -> Iterator[str]:
    """Remove a night with its content; yields why it could not be."""
    found = runs_in(night)
    if busy := [run.path.name for run in found if is_under_way(run)]:
        yield f"{', '.join(busy)} is under way"
        return
    strange = sorted(path.name for path in night.iterdir() if not _known(path, found))
    if strange:
        yield f"holds {', '.join(strange[:3])}, which is not of a run"
        return
    try:
        for run in found:
            run.path.rename(night / f"{_DOOMED}{run.path.name}")
        for path in night.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        night.rmdir()
    except OSError as error:
        yield f"cannot be removed: {error}"


def _known(path: Path, found: list[RunDir]) -> bool:
    if path.is_symlink():
        return path.name == "latest"
    if path.is_dir():
        return path.name.startswith(_DOOMED) or is_search(path) or any(run.path == path for run in found)
    return path.name in NIGHT_FILES or path.name in {f".{name}.tmp" for name in NIGHT_FILES}
