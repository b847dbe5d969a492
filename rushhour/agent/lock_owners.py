"""Finds holders that wait for a lock whose owner waits in a pool's queue.

The owner is behind the instruction that takes the lock; others may wait before it, too. Of a lock that is
tried again and again, who is behind it may have given it back: that one counts if it holds a connection as
well, or refers to the same lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .coroutines import chain_of, entered_by, tasks_beside
from .frames import stack_of
from .green import suspended_at
from .helpers import MAX_OTHERS
from .locks import add_furthest, has_taken
from .looks import OTHER_POOL, behind_a_queue
from .owners import TASK, THREAD
from .standing import QUEUE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

    from .book import Hold
    from .helpers import Helpers
    from .looks import Look
    from .owners import Owner

    QueueOf = Callable[[list[FrameType]], object]  # the pool in whose queue a stack waits; None: in none


class _Queued:
    """Who waits in a pool's queue: how far their functions have come, and what they may have locked."""

    __slots__ = ("entered", "held", "inside", "pools", "stacks")

    def __init__(self) -> None:
        self.inside: dict[int, int] = {}  # code -> the furthest instruction
        self.held: dict[int, int] = {}  # the same, of those that hold a connection
        self.entered: set[int] = set()  # locks of blocks that they have not left
        self.stacks: list[list[FrameType]] = []  # of those of whom that is not known
        self.pools: list[object] = []  # in whose queues they wait

    def has_passed(self, look: Look) -> bool:
        """Return whether one of them is behind the lock that a holder waits for."""
        guards = look.guards.items()
        furthest = self.held if look.tries else self.inside
        if any(furthest.get(code, -1) > instruction for code, instruction in guards):
            return True
        if look.tries and any(has_taken(stack, look.guards, look.locks) for stack in self.stacks):
            return True
        return not self.entered.isdisjoint(look.locks)


def find_lock_owners(
    looks: list[Look],
    newest: dict[Owner, Hold],
    frames: dict[int, FrameType],
    helpers: Helpers,
    queue_of: QueueOf,
) -> None:
    """Mark the holders that wait so; `newest` is the newest connection of each owner."""
    waiting = [look for look in looks if look.guards]
    if not waiting:
        return
    queued = _Queued()
    for look in looks:
        if look.what in (QUEUE, OTHER_POOL):
            add_furthest(queued.inside, look.stack)
            if (pool := queue_of(look.stack)) is not None:
                queued.pools.append(pool)
            queued.entered |= entered_by(look.hold.owner.ref() if look.hold.owner.kind == TASK else None)
    queued.held = queued.inside
    if not queued.inside:  # they may hold no connection yet
        queued.held = {}
        tasks = (look.hold.owner.ref() for look in waiting if look.hold.owner.kind == TASK)
        for stack, holds in [
            *_threads(frames, newest),
            *_tasks(next(tasks, None), newest, queue_of, queued.entered),
            *_greenlets(helpers, newest),
        ]:
            if (pool := queue_of(stack)) is not None:
                queued.stacks.append(stack)
                queued.pools.append(pool)
                add_furthest(queued.inside, stack)
                if holds:
                    add_furthest(queued.held, stack)
    for look in waiting:
        if queued.has_passed(look):
            look.what = behind_a_queue(queued.pools, look.hold)


def _threads(frames: dict[int, FrameType], newest: Iterable[Owner]) -> Iterator[tuple[list[FrameType], bool]]:
    """Yield the stacks of threads, and whether each holds a connection."""
    holders = {owner.thread for owner in newest if owner.kind == THREAD and owner.ended is None}
    for thread, frame in list(frames.items())[:MAX_OTHERS]:
        yield stack_of(frame), thread in holders


def _tasks(
    task: object, newest: Iterable[Owner], queue_of: QueueOf, entered: set[int]
) -> Iterator[tuple[list[FrameType], bool]]:
    """Yield the same of tasks of this one's loop, and add the blocks that those in a queue have entered."""
    holders = _ids(newest)
    for other in tasks_beside(task, MAX_OTHERS):
        stack = chain_of(other).frames
        if queue_of(stack) is not None:
            entered |= entered_by(other)
        yield stack, id(other) in holders


def _greenlets(helpers: Helpers, newest: Iterable[Owner]) -> Iterator[tuple[list[FrameType], bool]]:
    """Yield the same of greenlets in the queue of a pool."""
    holders = _ids(newest)
    for greenlet in helpers.queued():
        yield stack_of(suspended_at(greenlet)), id(greenlet) in holders


def _ids(newest: Iterable[Owner]) -> set[int]:
    return {id(owner.ref()) for owner in newest if owner.kind != THREAD}
