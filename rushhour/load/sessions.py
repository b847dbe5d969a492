"""Makes customers of open arrivals leave when their session is over, whatever the locustfile's classes are.

The rule: a customer makes one pass. A pass of a SequentialTaskSet is each of its tasks in order; a pass of a
user class or of any other task set is as many tasks, drawn by weight, as it has different tasks. The class
attribute `session_length` sets another number of tasks, or None: then the class ends its session itself, by
`raise StopUser()` or, in a nested task set, by `self.interrupt()`. The pass of a nested task set is one task
of its parent.
"""

# Locust's classes carry no types.
# mypy: allow-untyped-calls

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from locust import SequentialTaskSet
from locust.exception import InterruptTaskSet, StopUser
from locust.user.task import DefaultTaskSet, TaskSet

LENGTH: Final = "session_length"
_DONE: Final = "_rushhour_tasks_done"


def session_length(owner: Any, *, sequential: bool = False) -> int | None:
    """Return how many tasks a pass of a user class or task set has; None if it ends its session itself."""
    if hasattr(owner, LENGTH):
        length: int | None = getattr(owner, LENGTH)
        return length
    tasks = owner.tasks
    return len(tasks) if sequential else len(set(tasks))


def _is_over(tasks: TaskSet) -> bool:
    owner = tasks.user if isinstance(tasks, DefaultTaskSet) else tasks
    length = session_length(owner, sequential=isinstance(tasks, SequentialTaskSet))
    return length is not None and getattr(tasks, _DONE, 0) >= length


@contextmanager
def one_pass() -> Iterator[None]:
    """Let customers leave after one pass while the block lasts."""
    execute, wait = TaskSet.execute_next_task, TaskSet.wait

    def execute_next_task(self: TaskSet) -> None:
        if _is_over(self):
            if isinstance(self, DefaultTaskSet):
                raise StopUser
            raise InterruptTaskSet(reschedule=False)
        try:
            execute(self)
        finally:
            setattr(self, _DONE, getattr(self, _DONE, 0) + 1)

    def wait_unless_over(self: TaskSet) -> None:
        if not _is_over(self):  # else the next step ends the session, and nobody waits for that
            wait(self)

    TaskSet.execute_next_task = execute_next_task  # type: ignore[method-assign]
    TaskSet.wait = wait_unless_over  # type: ignore[method-assign]
    try:
        yield
    finally:
        TaskSet.execute_next_task, TaskSet.wait = execute, wait  # type: ignore[method-assign]
