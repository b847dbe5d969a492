"""Reads the share of its time that a thread had a CPU, or wanted one, as Linux counts it."""

from __future__ import annotations

import _thread
import os
import sys
from contextlib import suppress

from .book import monotonic

MAIN_THREAD = _thread.get_ident()  # as the process starts; gevent gives it another number later
_MAX_BYTES = 200
_pread = os.pread  # bound before anything can patch it


class CpuShare:
    """The CPU share of a thread between two readings; `now` is None where it is unknown.

    The file stays open, for each system call lets another thread have its turn: in a busy service that costs
    both threads more than the reading.
    """

    def __init__(self, thread: int) -> None:
        self.now: float | None = None
        self._thread = thread
        self._file: int | None = None
        self._identity: tuple[int, int] | None = None
        self._before: tuple[float, float] | None = None  # at, CPU seconds

    def read(self) -> None:
        """Take a reading."""
        before, used_s, at = self._before, self._used_s(), monotonic()
        self._before = None if used_s is None else (at, used_s)
        self.now = None
        if before is not None and used_s is not None and at > before[0]:
            self.now = (used_s - before[1]) / (at - before[0])

    def close(self) -> None:
        """Close the file, unless the service has closed it and its number is another's by now."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                if _identity(file) == self._identity:
                    os.close(file)

    def _used_s(self) -> float | None:
        """Return the seconds that the thread used or waited for a CPU."""
        try:
            if self._file is None:
                self._file = os.open(f"/proc/self/task/{self._number()}/schedstat", os.O_RDONLY)
                self._identity = _identity(self._file)
            had_ns, wanted_ns, *_ = _pread(self._file, _MAX_BYTES, 0).split()
            return (int(had_ns) + int(wanted_ns)) / 1e9
        except (OSError, ValueError):
            self.close()
            return None

    def _number(self) -> int | None:
        """The kernel's number of the thread; None, for which there is no file, where it is not known."""
        if self._thread == MAIN_THREAD:
            return os.getpid()
        active = getattr(sys.modules.get("threading"), "_active", {}).get(self._thread)
        number: int | None = getattr(active, "_native_id", None)
        return number


def _identity(file: int) -> tuple[int, int]:
    found = os.fstat(file)
    return found.st_dev, found.st_ino
