"""The pools of a service whose tasks each write into a directory of their own: in containers, pids repeat."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from rushhour.observe.pools import PoolWatcher
from rushhour.rundir.facts import PoolFact, ServerSample

PID_STEP: Final = 10_000_000  # above any pid of Linux, so that a task's number and a pid never meet


class TaskPools:
    """Reads every task's directory; a task's number tells its processes' pids from those of other tasks."""

    def __init__(
        self, directories: Callable[[], Iterable[Path]], watcher_of: Callable[[Path], PoolWatcher]
    ) -> None:
        self._directories = directories
        self._watcher_of = watcher_of
        self._tasks: dict[Path, tuple[int, PoolWatcher]] = {}

    def notice(self, sample: ServerSample) -> None:
        """A server's word goes to every task: server pids are unique to the server."""
        for _, one in list(self._tasks.values()):
            one.notice(sample)

    def poll(self) -> list[PoolFact]:
        """What was written since the last poll, by any task."""
        self._look()
        return [fact for number, one in self._tasks.values() for fact in _with_own_pids(number, one.poll())]

    def finish(self) -> list[PoolFact]:
        """The last poll, and every check-out that is still out."""
        self._look()
        return [fact for number, one in self._tasks.values() for fact in _with_own_pids(number, one.finish())]

    def _look(self) -> None:
        for path in self._directories():
            if path not in self._tasks:
                self._tasks[path] = (len(self._tasks), self._watcher_of(path))


def _with_own_pids(number: int, facts: Iterable[PoolFact]) -> Iterable[PoolFact]:
    return (replace(fact, pid=fact.pid + number * PID_STEP) for fact in facts) if number else facts
