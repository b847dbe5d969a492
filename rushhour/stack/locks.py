"""File locks between runs; the kernel frees a lock when its holder ends, however it ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rushhour.errors import StackError
from rushhour.process.waiting import came_true

POLL_S = 0.1


@contextmanager
def try_lock(path: Path, *, shared: bool = False) -> Iterator[bool]:
    """Try to take a lock without waiting; yield whether it is held until the block ends."""
    descriptor = _open(path)
    try:
        yield _take(descriptor, shared)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path, *, shared: bool = False, timeout_s: float) -> Iterator[None]:
    """Hold the lock of a file, which is made when it is missing. Raises StackError when the time is over."""
    descriptor = _open(path)
    try:
        if not came_true(lambda: _take(descriptor, shared), timeout_s, poll_s=POLL_S):
            raise StackError(
                f"waited {timeout_s:g} s for the lock {path}, which another run holds: wait for it, or end it"
            )
        yield
    finally:
        os.close(descriptor)


def is_free(path: Path) -> bool:
    """Return whether nobody holds the lock of this file now; a missing file is free."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        return _take(descriptor, shared=False)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StackError(f"the lock {path} cannot be opened: {error}") from error


def _take(descriptor: int, shared: bool) -> bool:
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
