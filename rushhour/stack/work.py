"""Directories that belong to one run: locked while it lives, removed at its end, swept when it died."""

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
    """A new directory under the cache's `work/`, gone at the end, whatever happens."""
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
    """Remove what dead runs left; one whose lock is held, or in which a server still runs, is not touched."""
    removed = []
    for path in works.iterdir():
        if is_free(path / "lock") and not any(in_use(path / name) for name in CLUSTERS):
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path)
    return removed


def in_use(data: Path) -> bool:
    """Whether a server runs in this data directory: by its postmaster.pid and that process's directory."""
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
    """Room left on the file system of `path`."""
    return shutil.disk_usage(path).free


def require_room(path: Path, needed_bytes: int, what: str) -> None:
    """Raises StackError, with the numbers, when the file system has less room than that."""
    free = free_bytes(path)
    if free < needed_bytes:
        raise StackError(
            f"{what} needs {needed_bytes / 1e6:.0f} MB in {path}, where {free / 1e6:.0f} MB are free; "
            "make room, or set RUSHHOUR_CACHE to a larger disk"
        )
