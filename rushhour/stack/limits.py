"""Capacity of one component: quota and weight by a control group, else the best that is left."""

import math
import os
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from rushhour.errors import StackError
from rushhour.guard import Guard
from rushhour.meter import Meter
from rushhour.observe.meters import ProcessTreeMeter
from rushhour.reaper import remove_all
from rushhour.stack.cgroups import CpuGroup, GroupMeter, Hierarchy, find_hierarchy

REMOVE_TIMEOUT_S: Final = 3.0


class Capacity(Protocol):
    """What one component may use: made before its process, closed after it."""

    @property
    def words(self) -> str:
        """How it is limited, for environment.json."""
        ...

    def admit(self, pid: int) -> None:
        """Put a process under the limits, with all that it will start."""
        ...

    def meter(self) -> Meter: ...

    def close(self) -> None: ...


class GroupCapacity:
    """A control group of its own. Quota and weight hold for the group as a whole."""

    def __init__(self, group: CpuGroup, version: int, cores: float | None, nice: int) -> None:
        self._group = group
        self._cores = cores
        self._nice = nice
        capped = "no limit" if cores is None else f"{cores:g} cores by cgroup v{version} quota"
        self.words: Final = f"{capped}, weight of nice {nice} by cgroup v{version}"
        # A weight instead of mere nice: where the kernel groups tasks by session (autogroup), a nice value
        # counts only within its session, and every child of ours and every backend of PostgreSQL has one of
        # its own, so mere nice would not yield to the generator.
        group.weigh(nice)
        if cores is not None:
            group.limit(cores)

    def admit(self, pid: int) -> None:
        for directory in self._group.directories:
            (directory / "cgroup.procs").write_text(str(pid))
        be_nice(pid, self._nice)

    def meter(self) -> Meter:
        return GroupMeter(self._group, self._cores)

    def close(self) -> None:
        """Remove the group; what is still busy after a few seconds is left to the guard."""
        remove_all(self._group.directories, time.monotonic() + REMOVE_TIMEOUT_S)


class NiceCapacity:
    """Without control groups: a nice value, and fewer CPUs where there are more than asked for."""

    def __init__(self, why: str, cores: float | None, nice: int) -> None:
        self._nice = nice
        self._pid: int | None = None
        self._cpus = None if cores is None else some_cpus(cores)
        self._limit = None if self._cpus is None else float(len(self._cpus))
        parts = [f"nice {nice}"]
        if self._cpus is not None:
            parts.insert(0, f"pinned to {len(self._cpus)} of {os.cpu_count()} CPUs")
        asked = "" if cores is None else f" ({cores:g} cores were asked for)"
        self.words: Final = f"no cgroup may be written: {' and '.join(parts)} only{asked}; {why}"

    def admit(self, pid: int) -> None:
        self._pid = pid
        be_nice(pid, self._nice)
        if self._cpus is not None and sys.platform == "linux":
            os.sched_setaffinity(pid, self._cpus)

    def meter(self) -> Meter:
        """Raises StackError before a process was admitted."""
        if self._pid is None:
            raise StackError("a component without a process cannot be measured")
        return ProcessTreeMeter(self._pid, self._limit)

    def close(self) -> None:
        """Nothing is left behind."""


def some_cpus(cores: float) -> set[int] | None:
    """The last CPUs that this process may use, `cores` rounded up; None where pinning limits nothing."""
    if sys.platform != "linux":
        return None
    usable = sorted(os.sched_getaffinity(0))
    wanted = math.ceil(cores)
    return set(usable[-wanted:]) if wanted < len(usable) else None


def be_nice(pid: int, nice: int) -> None:
    """Raise a process's nice value, never lower it; and its session's, where the kernel groups by session."""
    os.setpriority(os.PRIO_PROCESS, pid, max(nice, os.getpriority(os.PRIO_PROCESS, pid)))
    with suppress(OSError):  # no autogroups here, or written too often: nice itself is set
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))


class Limits:
    """Makes a capacity for each component of one run."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._hierarchy: Hierarchy | None = None
        self._why = ""
        try:
            self._hierarchy = find_hierarchy()
            self._hierarchy.remove_dead()
        except StackError as error:
            self._why = str(error)

    def capacity(self, component: str, cores: float | None, nice: int) -> Capacity:
        """Limits for one component; falls back to nice, in words, where no group can be made."""
        if self._hierarchy is not None:
            try:
                return self._grouped(self._hierarchy, component, cores, nice)
            except OSError as error:
                return NiceCapacity(f"{self._hierarchy.cpu}: {error.strerror}", cores, nice)
        return NiceCapacity(self._why, cores, nice)

    def _grouped(self, hierarchy: Hierarchy, component: str, cores: float | None, nice: int) -> Capacity:
        group = hierarchy.make(f"rushhour-{os.getpid()}-{component}-{uuid.uuid4().hex[:8]}")
        for directory in group.directories:
            self._guard.remove_at_death(directory)
        try:
            return GroupCapacity(group, hierarchy.version, cores, nice)
        except OSError:
            remove_all(group.directories, time.monotonic())
            raise


def describe_limits() -> str:
    """How this machine can limit CPU, in one line."""
    try:
        hierarchy = find_hierarchy()
    except StackError as error:
        return f"nice and CPU affinity only ({error})"
    return f"cgroup v{hierarchy.version} quotas in {hierarchy.cpu}"
