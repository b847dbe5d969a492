"""What a child process used until it ended."""

import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

BYTES: Final = 1024 if sys.platform == "linux" else 1  # in a unit of ru_maxrss


@dataclass(frozen=True, slots=True)
class Used:
    """CPU seconds, and the most memory (millions of bytes) that it had at once."""

    cpu_s: float
    peak_mb: float

    @classmethod
    def of(cls, usage: resource.struct_rusage) -> "Used":
        return cls(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * BYTES / 1e6)


def end_of(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> Used:
    """Wait for the process to end, set its exit code, and return what it used."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Used.of(usage)
