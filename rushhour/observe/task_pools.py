"""Reads the pools of a service whose tasks each have a directory, because pids repeat in containers."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from rushhour.observe.pools import PoolWatcher
from rushhour.rundir.facts import PoolFact, ServerSample

PID_STEP: Final = 10_000_000  # above any pid of Linux, so that a task's number and a pid never meet


class TaskPools:
    """Reads every task's directory; the task's number is added to pids, which makes them unique."""

    def __init__(
        self, directories: Callable[[], Iterable[Path]], watcher_of: Callable[[Path], PoolWatcher]
    ) -> None:
        self._directories = directories
        self._watcher_of = watcher_of
        self._tasks: dict[Path, tuple[int, PoolWatcher]] = {}

    def notice(self, sample: ServerSample) -> None:
        """Pass a server's sample to every task: the pids of backends are unique in the server."""
        for _, task in list(self._tasks.values()):
            task.notice(sample)

    def poll(self) -> list[PoolFact]:
        """Return the facts that any task wrote since the last poll."""
        self._look()
        return [fact for number, task in self._tasks.values() for fact in _with_own_pids(number, task.poll())]

    def finish(self) -> list[PoolFact]:
        """Poll once more; return the facts, and every check-out that is still out."""
        self._look()
        return [
            fact for number, task in self._tasks.values() for fact in _with_own_pids(number, task.finish())
        ]

    def _look(self) -> None:
        for path in self._directories():
            if path not in self._tasks:
                self._tasks[path] = (len(self._tasks), self._watcher_of(path))


def _with_own_pids(number: int, facts: Iterable[PoolFact]) -> Iterable[PoolFact]:
    return (replace(fact, pid=fact.pid + number * PID_STEP) for fact in facts) if number else facts
