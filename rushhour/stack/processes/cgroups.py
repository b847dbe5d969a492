"""Control groups of version 1 and 2: a CPU quota, a weight, and exact figures of what a group used."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import psutil

from rushhour.process.meter import MeterReading
from rushhour.process.reaper import group_pids

# A group may run for its quota out of every period; then all its threads stand still until the next one. With
# the usual 100 ms and half a core, a query of 5 ms runs at full speed or stands still for up to 70 ms: a fast
# machine that stutters. With 20 ms it takes 5 to 18 ms: near enough to a slower machine. Shorter still is
# worse: each CPU takes the quota in slices, and where a period has fewer slices than CPUs that want one, the
# same CPU comes first every time, and threads on another starved for 700 ms (measured: 10 ms, two CPUs).
# So a group may spread over few CPUs, and its quota holds one slice for each of them.
SLICE_US: Final = 5_000  # kernel.sched_cfs_bandwidth_slice_us, which few machines change
MAX_PERIOD_US: Final = 1_000_000  # the kernel's most
NICE_0_WEIGHT: Final = 1024


def spread(cores: float, cpus: int) -> int:
    """Return over how many CPUs a group of so many cores may spread: few enough for its slices."""
    return min(cpus, 2 * math.ceil(cores))


def quota(cores: float, cpus: int) -> tuple[int, int]:
    """Return quota and period in microseconds for a group that spreads over `cpus`."""
    period_us = min(MAX_PERIOD_US, round(cpus * SLICE_US / cores))
    return round(cores * period_us), period_us


def weight(nice: int) -> int:
    """Return the weight of a nice value, as the kernel's own table has it: each step is a quarter less."""
    return max(2, round(NICE_0_WEIGHT / 1.25**nice))


class CpuGroup(Protocol):
    """One control group."""

    @property
    def directories(self) -> Sequence[Path]: ...

    def limit(self, cores: float, cpus: int) -> None: ...

    def weigh(self, nice: int) -> None:
        """Weigh the whole group like one process of that nice value, against the processes outside it."""
        ...

    def cpu_s(self) -> float: ...

    def throttled_s(self) -> float: ...


@dataclass(frozen=True, slots=True)
class GroupV1:
    """`cpu` and `cpuacct` may be mounted together or apart."""

    cpu: Path
    cpuacct: Path

    @property
    def directories(self) -> Sequence[Path]:
        return (self.cpu,) if self.cpu == self.cpuacct else (self.cpu, self.cpuacct)

    def limit(self, cores: float, cpus: int) -> None:
        quota_us, period_us = quota(cores, cpus)
        (self.cpu / "cpu.cfs_period_us").write_text(str(period_us))
        (self.cpu / "cpu.cfs_quota_us").write_text(str(quota_us))

    def weigh(self, nice: int) -> None:
        (self.cpu / "cpu.shares").write_text(str(weight(nice)))

    def cpu_s(self) -> float:
        return int((self.cpuacct / "cpuacct.usage").read_text()) / 1e9

    def throttled_s(self) -> float:
        return _field(self.cpu / "cpu.stat", "throttled_time") / 1e9


@dataclass(frozen=True, slots=True)
class GroupV2:
    """The unified hierarchy."""

    path: Path

    @property
    def directories(self) -> Sequence[Path]:
        return (self.path,)

    def limit(self, cores: float, cpus: int) -> None:
        quota_us, period_us = quota(cores, cpus)
        (self.path / "cpu.max").write_text(f"{quota_us} {period_us}")

    def weigh(self, nice: int) -> None:
        (self.path / "cpu.weight.nice").write_text(str(nice))

    def cpu_s(self) -> float:
        return _field(self.path / "cpu.stat", "usage_usec") / 1e6

    def throttled_s(self) -> float:
        return _field(self.path / "cpu.stat", "throttled_usec") / 1e6


def _field(file: Path, name: str) -> int:
    for line in file.read_text().splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0  # the kernel leaves figures of throttling out where no quota can be set


class GroupMeter:
    """CPU of everything that ever ran in the group; memory of what runs there now."""

    def __init__(self, group: CpuGroup, limit_cores: float | None) -> None:
        self._group = group
        self._limit_cores = limit_cores

    @property
    def limit_cores(self) -> float | None:
        return self._limit_cores

    def read(self) -> MeterReading:
        """Read now; raises ProcessLookupError when the group is empty or gone.

        Pages that processes share (PostgreSQL's buffers) are counted once: the largest shared part.
        """
        pids = group_pids(self._group.directories[0])
        private, shared, alive = 0, 0, 0
        for pid in pids:
            try:
                memory = psutil.Process(pid).memory_info()
            except psutil.Error:
                continue  # ended meanwhile
            private += memory.rss - memory.shared
            shared = max(shared, memory.shared)
            alive += 1
        if not alive:
            raise ProcessLookupError(f"no process is left in {self._group.directories[0]}")
        try:
            return MeterReading(
                self._group.cpu_s(), private + shared, alive, throttled_s=self._group.throttled_s()
            )
        except FileNotFoundError:
            raise ProcessLookupError(f"{self._group.directories[0]} has been removed") from None
