"""Limits the CPU of a component with a control group, or else with a nice value and CPU affinity."""

import math
import os
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from rushhour.errors import StackError
from rushhour.process.guard import Guard
from rushhour.process.meter import Meter
from rushhour.process.psutil_meters import ProcessTreeMeter
from rushhour.process.reaper import remove_all
from rushhour.stack.processes.cgroups import CpuGroup, GroupMeter, spread
from rushhour.stack.processes.hierarchy import Hierarchy, find_hierarchy

REMOVE_TIMEOUT_S: Final = 3.0


class Capacity(Protocol):
    """The CPU limits of a component; created before its process, closed after it."""

    @property
    def words(self) -> str:
        """A description of the limits, for environment.json."""
        ...

    def admit(self, pid: int) -> None:
        """Apply the limits to a process and its future children."""
        ...

    def meter(self) -> Meter: ...

    def close(self) -> None: ...


class GroupCapacity:
    """Limits a component with its own control group, whose quota and weight apply to the whole group."""

    def __init__(self, group: CpuGroup, version: int, cores: float | None, nice: int) -> None:
        self._group = group
        self._cores = cores
        self._nice = nice
        self._cpus: set[int] | None = None
        parts = [f"weight of nice {nice}"]
        # A weight instead of mere nice: where the kernel groups tasks by session (autogroup), a nice value
        # counts only within its session, and every child of ours and every backend of PostgreSQL has one of
        # its own, so mere nice would not yield to the generator.
        group.weigh(nice)
        if cores is not None:
            usable = len(os.sched_getaffinity(0))
            cpus = spread(cores, usable)
            group.limit(cores, cpus)
            parts.insert(0, f"{cores:g} cores")
            if cpus < usable:
                self._cpus = last_cpus(cpus)
                parts.insert(1, f"{cpus} of {usable} CPUs")
        self.words: Final = f"{', '.join(parts)} by cgroup v{version}"

    def admit(self, pid: int) -> None:
        for directory in self._group.directories:
            (directory / "cgroup.procs").write_text(str(pid))
        be_nice(pid, self._nice)
        pin(pid, self._cpus)

    def meter(self) -> Meter:
        return GroupMeter(self._group, self._cores)

    def close(self) -> None:
        """Remove the group; what is still busy after a few seconds is left to the guard."""
        remove_all(self._group.directories, time.monotonic() + REMOVE_TIMEOUT_S)


class NiceCapacity:
    """Limits a component without control groups: with a nice value and CPU affinity."""

    def __init__(self, why: str, cores: float | None, nice: int) -> None:
        self._nice = nice
        self._pid: int | None = None
        self._cpus: set[int] | None = None
        parts = [f"nice {nice}"]
        if cores is not None and sys.platform == "linux":
            usable, wanted = len(os.sched_getaffinity(0)), math.ceil(cores)
            if wanted < usable:
                self._cpus = last_cpus(wanted)
                parts.insert(0, f"{wanted} of {usable} CPUs")
        asked = "" if cores is None else f" ({cores:g} cores were asked for)"
        self.words: Final = f"no cgroup may be written; {' and '.join(parts)} only{asked}: {why}"

    def admit(self, pid: int) -> None:
        self._pid = pid
        be_nice(pid, self._nice)
        pin(pid, self._cpus)

    def meter(self) -> Meter:
        """Return the meter. Raises StackError if no process was admitted."""
        if self._pid is None:
            raise StackError("a component without a process cannot be measured")
        return ProcessTreeMeter(self._pid, None if self._cpus is None else float(len(self._cpus)))

    def close(self) -> None:
        """Close it; nothing is left behind."""


def last_cpus(count: int) -> set[int]:
    """Return the last CPUs that this process may use (Linux)."""
    return set(sorted(os.sched_getaffinity(0))[-count:])


def pin(pid: int, cpus: set[int] | None) -> None:
    """Let a process and what it starts run on these CPUs only (Linux); None leaves it as it is."""
    if cpus is not None:
        os.sched_setaffinity(pid, cpus)


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
        """Return limits for a component; falls back to nice, in words, where no group can be made."""
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
    """Describe in a line how this machine can limit CPU."""
    try:
        hierarchy = find_hierarchy()
    except StackError as error:
        return f"nice and CPU affinity only ({error})"
    return f"cgroup v{hierarchy.version} quotas in {hierarchy.cpu}"
