"""Opens the agent's own files: its directory may be one that every user writes to."""

# pathlib would slow the start of every process of the service.
# ruff: noqa: PTH108

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

_COMMON = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe of that name must not make the service wait
MODE = 0o644  # the harness may be another user


def open_to_append(path: str) -> int:
    """A descriptor of a file that this process makes, or made before an exec; OSError for any other."""
    with suppress(FileExistsError):
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | _COMMON, MODE)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | _COMMON)
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_uid == os.geteuid():
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EEXIST, "not a file of this process, and so left alone", path)


def open_new(path: str) -> int:
    """A descriptor of a new file, in the place of whatever has that name. Raises OSError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _COMMON
    with suppress(FileExistsError):
        return os.open(path, flags, MODE)
    os.unlink(path)
    return os.open(path, flags, MODE)


def open_shared(path: str) -> int:
    """A descriptor of a file that several processes lock. Raises OSError."""
    return os.open(path, os.O_RDWR | os.O_CREAT | _COMMON, 0o666)


def read(path: str) -> str | None:
    """The text of a file of another process; None for what is missing, a link, or no regular file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _COMMON)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.EACCES):
            return None
        raise
    with os.fdopen(descriptor, encoding="utf-8") as file:
        return file.read() if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
