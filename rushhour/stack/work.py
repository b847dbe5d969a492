"""Work directories of runs: locked during the run, removed at its end, or later if the run died."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import psutil

from rushhour.errors import StackError
from rushhour.process.guard import Guard
from rushhour.stack.locks import is_free, locked

_LOCK_TIMEOUT_S: Final = 60.0
CLUSTERS: Final = ("primary", "replica")


@contextmanager
def work_dir(cache: Path, guard: Guard) -> Iterator[Path]:
    """Create a directory under the cache's `work/`, and remove it when the block ends."""
    works = cache / "work"
    with ExitStack() as stack:
        # The sweep and the making exclude each other: a directory is never seen before it is locked.
        with locked(cache / "work.lock", timeout_s=_LOCK_TIMEOUT_S):
            works.mkdir(exist_ok=True)
            sweep(works)
            path = works / f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
            path.mkdir()
            guard.remove_at_death(path)
            stack.callback(shutil.rmtree, path, ignore_errors=True)
            stack.enter_context(locked(path / "lock", timeout_s=1))
        yield path


def sweep(works: Path) -> list[Path]:
    """Remove the directories of dead runs, but none that is locked or in which a server runs."""
    removed = []
    for path in works.iterdir():
        if is_free(path / "lock") and not any(in_use(path / name) for name in CLUSTERS):
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path)
    return removed


def in_use(data: Path) -> bool:
    """Return whether a server runs in a data directory, from postmaster.pid and the process's directory."""
    try:
        pid = int((data / "postmaster.pid").read_text().splitlines()[0])
        return (
            Path(psutil.Process(pid).cwd()) == data.resolve()
        )  # a postmaster changes into its data directory
    except (FileNotFoundError, NotADirectoryError, psutil.NoSuchProcess):
        return False
    except (OSError, ValueError, IndexError, psutil.Error):
        return True  # there is a file that cannot be understood: leave it alone


def free_bytes(path: Path) -> int:
    """Return the free bytes of the file system of `path`."""
    return shutil.disk_usage(path).free


def require_room(path: Path, needed_bytes: int, what: str) -> None:
    """Raise StackError, with the numbers, if the file system has too little free space."""
    free = free_bytes(path)
    if free < needed_bytes:
        raise StackError(
            f"{what} needs {needed_bytes / 1e6:.0f} MB in {path}, where {free / 1e6:.0f} MB are free; "
            "make room, or set RUSHHOUR_CACHE to a larger disk"
        )
