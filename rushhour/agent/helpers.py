"""Finds the threads and greenlets that work for the holders of connections, for the time of one look."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from .asked import awaited_by, futures_of, threads_by_work, waiting_items
from .coroutines import chain_of, tasks_beside
from .frames import stack_of
from .green import Stacks, in_queues, joins_one_of, suspended_at, waiting_for
from .hands import Hands, awaited_things
from .readings import checked_out_and_waiting
from .workers import at_work, threads_at_work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import CodeType, FrameType

    from .book import PoolState, Request

MAX_AHEAD = 8  # stacks in the queue, of which a tick looks at what they will call: more take turns
NEW_AHEAD = 2  # of these, not only of functions that were seen to end a wait
MAX_OTHERS = 64  # other threads, and tasks, that are looked at


class Helpers:
    """Each question is answered when it is first asked, for most looks ask none."""

    def __init__(
        self,
        frames: dict[int, FrameType],
        pools: Iterable[PoolState],
        queue_of: Callable[[list[FrameType]], object] = lambda _: None,
        turn: int = 0,
        known: set[CodeType] | None = None,
    ) -> None:
        self._turn, self._ahead = turn, MAX_AHEAD
        self._known = set() if known is None else known  # functions that were seen to end a wait
        self._frames = frames
        self._pools = pools
        self._queue_of = queue_of  # the pool in whose queue a stack waits
        self._queue: bool | None = None
        self._threads_hands: list[Hands] | None = None
        self._tasks_hands: list[Hands] | None = None
        self._requests: dict[Request, list[FrameType]] | None = None
        self._threads: list[list[FrameType]] | None = None
        self._works: dict[Any, list[FrameType]] | None = None
        self._stuck: dict[Any, list[object]] | None = None
        self._queued: list[Any] | None = None  # greenlets in the queue of a pool
        self._waiting: dict[bool, Stacks] = {}

    def for_request(self, request: Request) -> list[FrameType] | None:
        """Return the stack of the thread that works for a request of an event loop."""
        if self._requests is None:
            self._requests = at_work(self._frames)
        return self._requests.get(request)

    def threads(self) -> list[list[FrameType]]:
        """Return the stacks of an event loop's threads that are at work."""
        if self._threads is None:
            self._threads = threads_at_work(self._frames)
        return self._threads

    def awaited(self, stack: list[FrameType], task: Any = None) -> list[FrameType] | None:
        """Return the stack of the thread that works for what a stack, or a task, waits for."""
        for awaited in awaited_by(stack, task):
            if self._works is None:
                self._works = threads_by_work(self._stacks())
            found = self._works.get(awaited)
            if found is not None:
                return found
        return None

    def behind(self, stack: list[FrameType], task: Any = None) -> list[object]:
        """Return the pools in whose queues those are who are to do what a stack, or a task, waits for."""
        awaited = awaited_by(stack, task)
        if not awaited or not self._is_queue():
            return []
        if self._stuck is None:
            self._stuck = waiting_items(self._stacks(), self._queue_of)
        return [pool for key in awaited for pool in self._stuck.get(key, ())]

    def handed(
        self, stack: list[FrameType], task: Any = None, *, serves: bool = False, bounded: bool = False
    ) -> list[FrameType] | None:
        """Return the stack in a pool's queue that has in hands what a stack, or a task, waits for.

        `serves`: it does so for a request. `bounded`: with a time-out of who waits for it.
        """
        things, waiter, gives_up = awaited_things(stack, futures_of(task))
        if not things or not self._is_queue():
            return None
        if self._threads_hands is None:
            self._threads_hands = self._hands_of(stack_of(frame) for frame in list(self._frames.values()))
        hands = self._threads_hands
        if task is not None:
            if self._tasks_hands is None:
                tasks = tasks_beside(task, MAX_OTHERS)
                self._tasks_hands = self._hands_of(chain_of(other).frames for other in tasks)
            hands = hands + self._tasks_hands
        bounded = bounded or gives_up
        return next(
            (other.stack for other in hands if other.are_awaited(things, waiter, bounded, serves=serves)),
            None,
        )

    def in_queue(self, like: Callable[[int, list[FrameType]], bool]) -> bool:
        """Return whether a thread or greenlet that is like this waits in the queue of a pool."""
        if not self._is_queue():
            return False
        stacks = islice(self._stacks(), MAX_OTHERS)
        return any(self._queue_of(stack) is not None and like(thread, stack) for thread, stack in stacks)

    def _is_queue(self) -> bool:
        """Return whether anybody waits in the queue of a pool: most of the time nobody does."""
        if self._queue is None:
            pools = [pool for state in self._pools if (pool := state.pool()) is not None]
            self._queue = any(checked_out_and_waiting(pool, 0)[1] for pool in pools)
        return self._queue

    def _hands_of(self, stacks: Iterable[list[FrameType]]) -> list[Hands]:
        queued = (stack for stack in islice(stacks, MAX_OTHERS) if self._queue_of(stack) is not None)
        found = [Hands(stack, self._known) for stack in queued]
        ending = [hands for hands in found if hands.may_end]
        known = self._in_turn([hands for hands in ending if hands.is_known], self._ahead - NEW_AHEAD)
        others = self._in_turn([hands for hands in ending if hands not in known], self._ahead - len(known))
        for hands in ending:
            hands.looks_ahead = hands in known or hands in others
        self._ahead -= len(known) + len(others)
        return found

    def _in_turn(self, hands: list[Hands], most: int) -> list[Hands]:
        start = self._turn * max(most, 0) % max(len(hands), 1)
        return (hands[start:] + hands[:start])[: max(most, 0)]

    def awaited_by_greenlet(self, greenlet: Any, *, serves: bool = False) -> list[FrameType] | None:
        """Return the stack of the greenlet in a pool's queue for which this one waits."""
        if greenlet is None or not self.queued():
            return None
        if serves not in self._waiting:
            self._waiting[serves] = waiting_for(self.queued(), serves=serves)
        found = self._waiting[serves].get(id(greenlet))
        if found is not None:
            return found
        joined = joins_one_of(suspended_at(greenlet), self.queued())
        return None if joined is None else stack_of(suspended_at(joined))

    def queued(self) -> list[Any]:
        """Return the greenlets that wait in the queues of the pools."""
        if self._queued is None:
            self._queued = in_queues(pool for state in self._pools if (pool := state.pool()) is not None)
        return self._queued

    def _stacks(self) -> Iterable[tuple[int, list[FrameType]]]:
        yield from ((0, stack_of(suspended_at(greenlet))) for greenlet in self.queued())
        yield from ((thread, stack_of(frame)) for thread, frame in list(self._frames.items()))
