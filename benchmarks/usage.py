"""What a child process used until it ended, and what was used of the machine meanwhile."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from rushhour.process.psutil_meters import MachineMeter, ProcessTreeMeter

BYTES: Final = 1024 if sys.platform == "linux" else 1  # in a unit of ru_maxrss
MOST_OTHERS: Final = 0.05  # of the time of all cores: with more of other programs a figure may be theirs


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


@dataclass(slots=True)
class MachineUse:
    """How long something took, and shares of the time of all cores: in all, and of other programs."""

    seconds: float = 0.0
    busy: float = 0.0
    others: float = 0.0  # than this process and those that it started


@contextmanager
def machine_use() -> Iterator[MachineUse]:
    """Measure the block; the figures are there when it ends."""
    use, machine, own = MachineUse(), MachineMeter(), ProcessTreeMeter(os.getpid())
    began_s, machine_s, own_s = time.monotonic(), machine.read().cpu_s, own.read().cpu_s
    try:
        yield use
    finally:
        use.seconds = time.monotonic() - began_s
        machine_s, own_s = machine.read().cpu_s - machine_s, own.read().cpu_s - own_s
        cores_s = use.seconds * (machine.limit_cores or 1)
        use.busy, use.others = machine_s / cores_s, max(0.0, machine_s - own_s) / cores_s
