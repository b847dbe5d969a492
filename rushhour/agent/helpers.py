"""Finds the threads and greenlets that work for the holders of connections, for the time of one look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .asked import awaited_by, threads_by_work
from .frames import stack_of
from .green import Stacks, in_queues, joins_one_of, suspended_at, waiting_for
from .workers import at_work, threads_at_work

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

    from .book import PoolState, Request


class Helpers:
    """Each question is answered when it is first asked, for most looks ask none."""

    def __init__(self, frames: dict[int, FrameType], pools: Iterable[PoolState]) -> None:
        self._frames = frames
        self._pools = pools
        self._requests: dict[Request, list[FrameType]] | None = None
        self._threads: list[list[FrameType]] | None = None
        self._works: dict[Any, list[FrameType]] | None = None
        self._queued: list[Any] | None = None  # greenlets in the queue of a pool
        self._waiting: Stacks | None = None

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

    def awaited_by_greenlet(self, greenlet: Any) -> list[FrameType] | None:
        """Return the stack of the greenlet in a pool's queue for which this one waits."""
        if greenlet is None or not self.queued():
            return None
        if self._waiting is None:
            self._waiting = waiting_for(self.queued())
        found = self._waiting.get(id(greenlet))
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
