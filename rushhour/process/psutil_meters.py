"""CPU and memory of process trees, of one process and of the whole machine, read with psutil."""

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
    """A process and its descendants; CPU of those that have ended is kept.

    Read it at least once while a short-lived tree is alive. `rss_bytes` adds up resident sets, so pages that
    processes share (PostgreSQL's buffers) count once per process. Where the kernel does not tell what a
    process has reaped (macOS), a descendant that starts and ends between two readings is missed.
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
        # CPU counted already for processes that vanished, by the ancestor who will report it as reaped.
        self._owed_s: dict[psutil.Process, float] = {}

    @property
    def limit_cores(self) -> float | None:
        return self._limit_cores

    def read(self) -> MeterReading:
        """Read now; raises ProcessLookupError when the root process has ended, even if nobody reaped it."""
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
        """Parents before children, then those who left the tree because their parent ended.

        The order matters: a child that is alive when it is read cannot be in the figure of its parent yet.
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
        """Add what is new since the last reading.

        New is each process's own use, and what it reaped beyond what was counted while its children lived.
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
        """The nearest ancestor that still lives: what it reaped holds what the process that is gone used."""
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
    """One process alone, without its children (the harness, whose children are what is under test)."""

    def __init__(self, pid: int | None = None) -> None:
        self._process = psutil.Process(pid)

    @property
    def limit_cores(self) -> float | None:
        return None

    def read(self) -> MeterReading:
        """Read now; raises ProcessLookupError when the process has ended."""
        try:
            times = self._process.cpu_times()
            return MeterReading(times.user + times.system, self._process.memory_info().rss, 1)
        except psutil.NoSuchProcess:
            _ended(self._process.pid)


class MachineMeter:
    """The whole machine: CPU that was not idle, memory that is not available, all processes."""

    def __init__(self) -> None:
        self._limit_cores = float(psutil.cpu_count() or 1)
        self._cpu_s = 0.0

    @property
    def limit_cores(self) -> float | None:
        return self._limit_cores

    def read(self) -> MeterReading:
        times = psutil.cpu_times()
        # Not idle, waiting for a disk, or taken by the hypervisor; guests are part of `user` already.
        busy_s = sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq"))
        self._cpu_s = max(self._cpu_s, busy_s)  # the kernel's counters may step back by a tick
        memory = psutil.virtual_memory()
        return MeterReading(self._cpu_s, memory.total - memory.available, len(psutil.pids()))


def _ended(pid: int) -> NoReturn:
    raise ProcessLookupError(f"process {pid} has ended")
