"""Kept data: built once, used by many runs, and never removed while a run uses it."""

import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rushhour.errors import StackError
from rushhour.process.guard import Guard
from rushhour.process.waiting import wait_until
from rushhour.stack import Progress
from rushhour.stack.locks import POLL_S, locked, try_lock
from rushhour.stack.work import CLUSTERS, in_use

BUILD_TIMEOUT_S: Final = 3600.0
UNUSED_S: Final = 14 * 86_400.0


@dataclass(frozen=True, slots=True)
class KeptData:
    """Kept directories below a root; locks keep runs from building or removing the same directory."""

    root: Path
    guard: Guard
    mode: int = 0o777  # of the root, less the umask

    @contextmanager
    def held(self, name: str, build: Callable[[Path], None], what: str, progress: Progress) -> Iterator[Path]:
        """Hold the directory of this name, built when it is missing; it is not removed while this lasts.

        `build` fills an empty directory, which takes its place once it is whole; `what` it holds, in words.
        """
        self.root.mkdir(mode=self.mode, exist_ok=True)
        path = self.root / name

        def missing() -> str | None:
            with try_lock(lock_of(path)) as ours:
                if ours and not path.exists():
                    remove_unused(self.root)
                    self._build(path, build)
            if path.exists():
                return None
            progress(f"another run builds the {what}")
            return "its lock is taken"

        while True:
            if not path.exists():
                advice = "end that run, or wait for it"
                wait_until(f"another run to build {path}", missing, BUILD_TIMEOUT_S, advice, poll_s=POLL_S)
            with locked(lock_of(path), shared=True, timeout_s=BUILD_TIMEOUT_S):
                if path.exists():  # else it was removed in between, on request
                    os.utime(path)  # what nobody used for long is removed some day
                    yield path
                    return

    def _build(self, path: Path, build: Callable[[Path], None]) -> None:
        """Build in a directory of its own and rename it when whole; the caller holds the lock."""
        remove_dead_builds(path)
        building = path.with_name(f".building-{path.name}-{uuid.uuid4().hex[:8]}")
        building.mkdir()
        self.guard.remove_at_death(building)
        try:
            build(building)
            building.rename(path)
        except OSError as error:
            raise StackError(f"the template cannot be built in {building}: {error}") from error
        finally:
            shutil.rmtree(building, ignore_errors=True)


def lock_of(path: Path) -> Path:
    """Return the file that is locked while a kept directory is built, used or removed."""
    return path.with_name(path.name + ".lock")


def remove_dead_builds(path: Path) -> None:
    """Remove what interrupted builds of this directory left. The caller holds its lock: no build is live."""
    for dead in path.parent.glob(f".building-{path.name}*"):
        if not any(in_use(dead / name) for name in CLUSTERS):
            shutil.rmtree(dead, ignore_errors=True)


def remove_unused(root: Path, unused_s: float = UNUSED_S) -> list[Path]:
    """Remove what no run has used for so long: each change of schema or seeding leaves one."""
    removed = []
    for path in _kept(root):
        with try_lock(lock_of(path)) as ours:
            if ours and path.exists() and time.time() - path.stat().st_mtime > unused_s:
                shutil.rmtree(path, ignore_errors=True)
                removed.append(path)
    return removed


def remove_kept(root: Path) -> tuple[list[Path], list[Path]]:
    """Remove everything below this root that no run uses; returns what was removed, and what is in use."""
    removed, used = [], []
    for path in _kept(root):
        with try_lock(lock_of(path)) as ours:
            if not ours:
                used.append(path)
                continue
            remove_dead_builds(path)
            if path.exists():
                shutil.rmtree(path)
                removed.append(path)
    return removed, used


def bring_down_kept(root: Path) -> list[str]:
    """Remove everything below this root that no run uses; a line for each thing done, or left."""
    removed, used = remove_kept(root)
    return [
        *(f"removed the kept databases {path.name}" for path in removed),
        *(f"left the kept databases {path.name}: a run uses them" for path in used),
    ]


def _kept(root: Path) -> list[Path]:
    return [lock.with_name(lock.name.removesuffix(".lock")) for lock in sorted(root.glob("*.lock"))]
