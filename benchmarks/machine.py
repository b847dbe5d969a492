"""What was used of the machine while something was measured, and how much of that by other programs."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from rushhour.process.psutil_meters import MachineMeter, ProcessTreeMeter

MOST_OTHERS: Final = 0.05  # of the time of all cores: with more of other programs a figure may be theirs


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
