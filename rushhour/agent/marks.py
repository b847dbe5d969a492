"""Says by a byte whether a connection of this process is out, also of a process that is killed at any moment.

That writes no last sample. What was stored in memory that is mapped to a file is in the file, however its
process ends, and to store it takes no system call.
"""

# pathlib would slow the start of every process of the service.
# ruff: noqa: PTH118

from __future__ import annotations

import os
from typing import Any

from .own_files import open_new, read

SUFFIX = ".out"
SOME_OUT, NONE_OUT = b"\0", b"\1"

# Never unmapped: that would close a descriptor, whose number is another file's in a service that closes all.
_kept: list[Any] = []


def mapped(directory: str, pid: int) -> Any:
    """Return a byte that is the file `<directory>/<pid>.out`: 1 where nothing is out. Raises OSError."""
    import mmap  # noqa: PLC0415  # not in a process that writes no file

    descriptor = open_new(os.path.join(directory, f"{pid}{SUFFIX}"))
    try:
        os.write(descriptor, SOME_OUT)  # takes its room on the disk: to store without room ends a process
        made = mmap.mmap(descriptor, len(SOME_OUT))
    finally:
        os.close(descriptor)
    _kept.append(made)
    return made


def none_out(directory: str, pid: int) -> bool:
    """Return whether the byte of a process says that nothing is out, or was at its end. Raises OSError."""
    return read(os.path.join(directory, f"{pid}{SUFFIX}")) == NONE_OUT.decode()
