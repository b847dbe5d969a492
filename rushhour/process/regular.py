"""Opens files that others may have made: through no link, no pipe that blocks, up to a bound."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

_COMMON: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_to_read(path: Path) -> BinaryIO:
    """Open the file itself to read. Raises OSError for a link and for what is not a regular file."""
    return _opened(path, os.O_RDONLY, "rb")


def open_to_append(path: Path) -> BinaryIO:
    """Open the file itself, made where there is none. Raises OSError for a link and no regular file."""
    return _opened(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, "ab")


def read_at_most(path: Path, most: int) -> bytes:
    """Read a file that a user named, which may also be a pipe. Raises OSError where it holds more bytes.

    A device such as /dev/zero has no size and no end.
    """
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"larger than {most:,} bytes", str(path))
    return content


def write_new(path: Path, content: bytes) -> None:
    """Write a file of our own in the place of whatever has that name, a link included."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _COMMON, 0o666), "wb") as file:
        file.write(content)


def _opened(path: Path, flags: int, mode: str) -> BinaryIO:
    try:
        descriptor = os.open(path, flags | _COMMON, 0o666)
    except OSError as error:
        if path.is_symlink():
            raise OSError(error.errno, "a link, which is not followed", str(path)) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(None, "not a regular file", str(path))
    os.set_blocking(descriptor, True)
    return os.fdopen(descriptor, mode)  # type: ignore[return-value]  # both modes are binary
