"""Meters that use psutil: for a process tree, a single process and the whole machine."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

import psutil

from rushhour.process.meter import MeterReading


@dataclass(frozen=True, slots=True)
class _Seen:
    """A process as it was at the last reading."""

    parent: int
    own_s: float
    reaped_s: float

    @property
    def counted_s(self) -> float:
        return self.own_s + self.reaped_s


class ProcessTreeMeter:
    """Meters a process and its descendants, including the CPU time of those that have ended.

    Read it at least once while a short-lived tree is alive. `rss_bytes` adds up resident sets, so pages that
    processes share (PostgreSQL's buffers) count once per process. On macOS, which does not report the CPU
    time of reaped children, a descendant that starts and ends between two readings is missed.
    """

    def __init__(self, pid: int, limit_cores: float | None = None) -> None:
        self._limit_cores = limit_cores
        self._pid = pid
        try:
            self._root = psutil.Process(pid)
        except psutil.NoSuchProcess:
            _ended(pid)
        self._cpu_s = 0.0
        self._seen: dict[psutil.Process, _Seen] = {}
        # CPU time already counted for ended processes, by the ancestor that will report it as reaped.
        self._owed_s: dict[psutil.Process, float] = {}

    @property
    def limit_cores(self) -> float | None:
        return self._limit_cores

    def read(self) -> MeterReading:
        """Read the current figures. Raises ProcessLookupError if the root process ended or is a zombie."""
        now: dict[psutil.Process, _Seen] = {}
        rss_bytes = processes = 0
        for process in self._members():
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    parent = process.ppid()
                    rss_bytes += process.memory_info().rss
                    processes += process.status() != psutil.STATUS_ZOMBIE  # ended, and not reaped yet
            except psutil.NoSuchProcess:
                if process == self._root:
                    _ended(self._pid)
                continue
            now[process] = _Seen(
                parent, times.user + times.system, times.children_user + times.children_system
            )
        self._account(now)
        return MeterReading(self._cpu_s, rss_bytes, processes)

    def _members(self) -> Iterator[psutil.Process]:
        """Yield parents before children, then processes that left the tree because their parent ended.

        The order matters: the CPU time of a child that is still alive is not in its parent's figure yet.
        """
        try:
            if self._root.status() == psutil.STATUS_ZOMBIE:
                _ended(self._pid)
            tree = [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            _ended(self._pid)
        yield from tree
        known = set(tree)
        yield from (process for process in self._seen if process not in known and process.is_running())

    def _account(self, now: dict[psutil.Process, _Seen]) -> None:
        """Add the CPU time used since the last reading.

        That is each process's own use, plus what it reaped beyond what was counted while its children lived.
        """
        alive = {process.pid: process for process in now}
        for process, last in self._seen.items():
            if process not in now and (heir := self._heir(last, alive)) is not None:
                self._owed_s[heir] = (
                    self._owed_s.get(heir, 0.0) + last.counted_s + self._owed_s.pop(process, 0.0)
                )
        for process, new in now.items():
            last = self._seen.get(process, _Seen(new.parent, 0.0, 0.0))
            self._cpu_s += max(0.0, new.own_s - last.own_s)
            reaped_s = new.reaped_s - last.reaped_s
            owed_s = self._owed_s.pop(process, 0.0)
            self._cpu_s += max(0.0, reaped_s - owed_s)
            if owed_s > reaped_s:
                self._owed_s[process] = owed_s - reaped_s
        self._owed_s = {process: owed_s for process, owed_s in self._owed_s.items() if process in now}
        self._seen = now

    def _heir(self, gone: _Seen, alive: dict[int, psutil.Process]) -> psutil.Process | None:
        """Return the nearest living ancestor: its reaped time includes that of the ended process."""
        last = {process.pid: seen for process, seen in self._seen.items()}
        parent = gone.parent
        for _ in range(len(last) + 1):
            if parent in alive:
                return alive[parent]
            if parent not in last:
                return None
            parent = last[parent].parent
        return None


class ProcessMeter:
    """Meters a single process without its children, such as the harness."""

    def __init__(self, pid: int | None = None) -> None:
        self._process = psutil.Process(pid)

    @property
    def limit_cores(self) -> float | None:
        return None

    def read(self) -> MeterReading:
        """Read the current figures. Raises ProcessLookupError if the process has ended."""
        try:
            times = self._process.cpu_times()
            return MeterReading(times.user + times.system, self._process.memory_info().rss, 1)
        except psutil.NoSuchProcess:
            _ended(self._process.pid)


class MachineMeter:
    """Meters the whole machine: busy CPU time, memory in use and the number of processes."""

    def __init__(self) -> None:
        self._limit_cores = float(psutil.cpu_count() or 1)
        self._cpu_s = 0.0

    @property
    def limit_cores(self) -> float | None:
        return self._limit_cores

    def read(self) -> MeterReading:
        times = psutil.cpu_times()
        # Without idle, iowait and steal; the time of guests is already part of `user`.
        busy_s = sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq"))
        self._cpu_s = max(self._cpu_s, busy_s)  # the kernel's counters may step back by a tick
        memory = psutil.virtual_memory()
        return MeterReading(self._cpu_s, memory.total - memory.available, len(psutil.pids()))


def _ended(pid: int) -> NoReturn:
    raise ProcessLookupError(f"process {pid} has ended")
