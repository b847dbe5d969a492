"""Reads the pools of a service whose tasks each have a directory, because pids repeat in containers."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from rushhour.observe.pools import READ_OUT_S, PoolWatcher
from rushhour.rundir.facts import PoolFact, ServerSample

PID_STEP: Final = 10_000_000  # above any pid of Linux, so that a task's number and a pid never meet


class TaskPools:
    """Reads every task's directory; the task's number is added to pids, which makes them unique."""

    def __init__(
        self,
        directories: Callable[[], Iterable[Path]],
        watcher_of: Callable[[Path], PoolWatcher],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directories = directories
        self._watcher_of = watcher_of
        self._clock = clock
        self._tasks: dict[Path, tuple[int, PoolWatcher]] = {}

    def notice(self, sample: ServerSample) -> None:
        """Pass a server's sample to every task: the pids of backends are unique in the server."""
        for _, task in list(self._tasks.values()):
            task.notice(sample)

    def poll(self) -> list[PoolFact]:
        """Return the facts that any task wrote since the last poll."""
        self._look()
        return [fact for number, task in self._tasks.values() for fact in _with_own_pids(number, task.poll())]

    def finish(self, within_s: float = READ_OUT_S) -> list[PoolFact]:
        """Read every task's files to their end, as PoolWatcher does; all tasks share the time."""
        self._look()
        deadline_s = self._clock() + within_s
        facts: list[PoolFact] = []
        for number, task in self._tasks.values():
            facts += _with_own_pids(number, task.finish(max(0.0, deadline_s - self._clock())))
        return facts

    def _look(self) -> None:
        for path in self._directories():
            if path not in self._tasks:
                self._tasks[path] = (len(self._tasks), self._watcher_of(path))


def _with_own_pids(number: int, facts: Iterable[PoolFact]) -> Iterable[PoolFact]:
    return (replace(fact, pid=fact.pid + number * PID_STEP) for fact in facts) if number else facts
