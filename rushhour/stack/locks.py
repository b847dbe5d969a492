"""File locks between runs; the kernel frees a lock when its holder ends, however it ends."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rushhour.errors import StackError

POLL_S = 0.1


@contextmanager
def locked(
    path: Path, *, shared: bool = False, timeout_s: float, waiting: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Hold the lock of a file, which is made when it is missing.

    `waiting` is called while another holds it. Raises StackError when the time is over.
    """
    descriptor = _open(path)
    try:
        began_s = time.monotonic()
        while not _take(descriptor, shared):
            waiting()
            if time.monotonic() - began_s > timeout_s:
                raise StackError(f"waited {timeout_s:g} s for the lock {path}, which another run holds")
            time.sleep(POLL_S)
        yield
    finally:
        os.close(descriptor)


def is_free(path: Path) -> bool:
    """Whether nobody holds the lock of this file now; a missing file is free."""
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
