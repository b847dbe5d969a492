"""Finds who waits for work that another thread does: in `join`, for a future, or for a pool of threads.

Such a holder is where that thread is: if that is in a pool's queue, the holder waits for a connection.
Waiters and workers are matched by the very object that is waited for, so that nothing is guessed.
"""

# pathlib would slow the start of every process of the service.
# ruff: noqa: PTH118

from __future__ import annotations

import gc
import os
import sys
from itertools import islice
from typing import TYPE_CHECKING, Any

from .coroutines import MAX_GENERATIONS, chain_of, task_types
from .frames import Uninterrupted, attributes_of, local_of, stack_of
from .green import Stacks, is_awaited, is_used, waiting_for
from .hands import Hands, awaited_things
from .owners import TASK, frame_of
from .stacks import awaiting_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

    from .book import Hold, PoolState
    from .owners import Owner

MAX_THREADS = 100
MAX_FRAMES = 200
MAX_WAITING = 16  # innermost frames in which a library waits
MAX_FUTURES = 64
MAX_ITEMS = 1000  # that wait in an executor
_OUTERMOST = 6  # frames, among which a thread of an executor has its loop
MAX_HOLDS = 64  # whose owners are asked whether they wait for a thread whose check-out timed out

# File and function of a wait -> the variable that holds what is waited for.
_WAITS = {
    f"{os.sep}threading.py": {"join": "self"},
    os.path.join("concurrent", "futures", "_base.py"): {
        "result": "self",
        "exception": "self",
        "wait": "fs",
        "as_completed": "fs",
    },
    os.path.join("multiprocessing", "pool.py"): {"get": "self", "wait": "self", "next": "self"},
    os.path.join("asyncio", "tasks.py"): {"wait_for": "fut", "_wait": "fs"},
}
_THREADS = f"{os.sep}threading.py"
_ITEM = os.path.join("concurrent", "futures", "thread.py")
_POOL = os.path.join("multiprocessing", "pool.py")
_FUTURES = ("concurrent.futures._base", "Future")


def awaited_by(stack: Iterable[FrameType], task: Any = None) -> list[Any]:
    """Return the threads, futures and jobs that a stack, innermost first, or a task waits for."""
    found: list[Any] = []
    try:
        for frame in islice(stack, MAX_WAITING):
            name = _variable(frame)
            if name is not None:
                thing = local_of(frame, name)
                several = isinstance(thing, (set, list, tuple))
                found += list(islice(thing, MAX_FUTURES)) if several else [thing]
        if task is not None:
            found += futures_of(task)
    except Exception:  # what changes while it is read is not seen
        return []
    return [key for thing in found if (key := _key(thing)) is not None]


def worked_on(thread: int, stack: Iterable[FrameType]) -> list[Any]:
    """Return what a thread with this stack, innermost first, is at work for: itself, futures, jobs."""
    found: list[Any] = []
    try:
        current = getattr(sys.modules.get("threading"), "_active", {}).get(thread)
        if current is not None:
            found.append(id(current))
        for frame in islice(stack, MAX_FRAMES):
            code = frame.f_code
            if code.co_name == "run" and code.co_filename.endswith(_ITEM):
                future = getattr(local_of(frame, "self"), "future", None)
                if future is not None:  # from Python 3.14 on, the executor's context has a method `run`, too
                    found.append(id(future))
            elif code.co_name == "worker" and code.co_filename.endswith(_POOL):
                found.append((_POOL, local_of(frame, "job")))
            elif code.co_name == "_bootstrap_inner" and code.co_filename.endswith(_THREADS):
                found.append(id(local_of(frame, "self")))  # under gevent and eventlet, numbers are no help
    except Exception:  # as above
        return []
    return found


def threads_by_work(stacks: Iterable[tuple[int, list[FrameType]]]) -> dict[Any, list[FrameType]]:
    """Return the stack of the thread that works for each thing that can be waited for."""
    found: dict[Any, list[FrameType]] = {}
    for thread, stack in islice(stacks, MAX_THREADS):
        for key in worked_on(thread, stack):
            found[key] = stack
    return found


def waiting_items(
    stacks: Iterable[tuple[int, list[FrameType]]], queue_of: Callable[[list[FrameType]], object]
) -> dict[int, list[object]]:
    """Return the addresses of futures whose items have to wait until a thread gets its connection.

    They are in the queue of an executor of which most threads wait in the queue of a pool. Each has these
    pools, as `queue_of` says them: None where a stack waits in none.
    """
    threads: dict[int, list[object]] = {}
    items: dict[int, Any] = {}
    for _, stack in islice(stacks, MAX_THREADS):
        for frame in stack[-_OUTERMOST:]:
            if frame.f_code.co_name == "_worker" and frame.f_code.co_filename.endswith(_ITEM):
                waiting = local_of(frame, "work_queue")
                items[id(waiting)] = waiting
                threads.setdefault(id(waiting), []).append(queue_of(stack))
    stuck = [(items[key], pools) for key, found in threads.items() if (pools := most_wait_in(found))]
    return {id(future): pools for waiting, pools in stuck for future in _futures_in(waiting)}


def most_wait_in(found: list[object]) -> list[object]:
    """Return the pools in whose queues most of some threads wait, of one or None for each; none if few do."""
    pools = [pool for pool in found if pool is not None]
    return pools if 2 * len(pools) >= len(found) else []


def _futures_in(waiting: Any) -> list[Any]:
    """Return the futures of what is in the queue of an executor; the queue is in C, and read as it is."""
    found: list[Any] = []
    for thing in gc.get_referents(waiting):  # the items, or until Python 3.12 a list of them
        found += thing if type(thing) is list else [thing]
    futures = [attributes_of(item).get("future") for item in found[:MAX_ITEMS]]
    return [future for future in futures if future is not None]


def held_for(asking: Owner, thread: int, live: Iterable[Hold], pool: PoolState) -> tuple[int, int]:
    """Return how many connections those hold who wait for the work here: of this pool, of others.

    `asking` is who works here, in a thread of this number.
    """
    own = other = 0
    with Uninterrupted():
        frames, asker = sys._current_frames(), _Asker(asking, thread, sys._getframe(1))
        for hold in islice(live, MAX_HOLDS) if asker.may_be_awaited else ():
            if hold.lost is not None or hold.owner.ended is not None:
                continue
            if asker.is_awaited_by(hold.owner, frames, serves=serves_a_request(hold)):
                own, other = (own + 1, other) if hold.slot.pool is pool else (own, other + 1)
    return own, other


def serves_a_request(hold: Hold) -> bool:
    """Return whether a hold was taken for a request that has not ended."""
    return hold.request is not None and hold.request.ended is None


class _Asker:
    """Who asks for a connection here and now, and what others may wait for: its work, its end, its things."""

    def __init__(self, asking: Owner, thread: int, here: FrameType) -> None:
        stack = stack_of(here) + stack_of(awaiting_frame())
        self._works = set(worked_on(thread, stack))
        self._hands = Hands(stack)
        self._greenlet = None if asking.kind == TASK else asking.ref()
        self._here = here
        self._waiting: dict[bool, Stacks] = {}

    @property
    def may_be_awaited(self) -> bool:
        return bool(self._works or self._hands.near or self._hands.may_end) or self._greenlet is not None

    def is_awaited_by(self, owner: Owner, frames: dict[int, FrameType], *, serves: bool) -> bool:
        found = owner.ref()
        if owner.kind == TASK:
            task, stack = found, chain_of(found).frames
        else:
            task, stack = None, stack_of(frame_of(owner, frames))
            if found is not None and found is not self._greenlet and self._greenlet_is_awaited(found, serves):
                return True
        if not self._works.isdisjoint(awaited_by(stack, task)):
            return True
        return self._hands.are_awaited(*awaited_things(stack, futures_of(task)), serves=serves)

    def _greenlet_is_awaited(self, found: Any, serves: bool) -> bool:
        if not is_used():
            return False
        if serves not in self._waiting:
            self._waiting[serves] = waiting_for([self._greenlet], self._here, serves=serves)
        return is_awaited(found, [self._greenlet], self._waiting[serves])


def waits_beside(holder: Owner, asker: Owner) -> bool:
    """Return whether a task that holds a connection is known not to wait for the task that asks for one.

    Both may be parts of one request: of a `gather`, of which neither needs the other.
    """
    if holder.kind != TASK or asker.kind != TASK or holder is asker:
        return False
    found, asking = holder.ref(), asker.ref()
    if found is None or asking is None:
        return False
    ahead, frames = [found], 0
    for _ in range(MAX_GENERATIONS):
        further = []
        for task in ahead:
            chain = chain_of(task)
            frames += len(chain.frames)
            further += [*chain.children, *chain.beside]
        if any(task is asking for task in further):
            return False
        ahead = further
    return frames > 0


def left_beside(request_task: Any, holder: Owner, asker: Owner) -> bool:
    """Return whether a task of a request asks for a connection that nobody in its chain waits for.

    `holder` is the request's own task, or one that this waits for. Such a holder may all the same look again
    and again for what the other task has done.
    """
    if request_task is None or holder.kind != TASK or asker.kind != TASK or holder is asker:
        return False
    found, asking = holder.ref(), asker.ref()
    ahead, awaited = [request_task], [request_task]
    for _ in range(MAX_GENERATIONS):
        chains = [chain_of(task) for task in ahead]
        ahead = [task for chain in chains for task in (*chain.children, *chain.beside)]
        awaited += ahead
    if asking is None:
        return False
    # By identity: a class of tasks of the service's own may compare as it likes.
    return any(task is found for task in awaited) and not any(task is asking for task in awaited)


def _variable(frame: FrameType) -> str | None:
    code = frame.f_code
    return next(
        (names.get(code.co_name) for file, names in _WAITS.items() if code.co_filename.endswith(file)), None
    )


def _key(thing: Any) -> Any:
    """What identifies a thing that is waited for: its address, which is compared within one look only."""
    if isinstance(thing, int) or thing is None:
        return None
    source = _source_of(thing)
    if source is not None:
        return id(source)
    job = getattr(thing, "_job", None) if type(thing).__module__ == "multiprocessing.pool" else None
    return (_POOL, job) if job is not None else id(thing)


def futures_of(task: Any) -> list[Any]:
    """Return the futures that a task waits for; those of a `gather` each."""
    for kind in task_types():
        if issubclass(type(task), kind):
            waited: Any = kind._fut_waiter.__get__(task) if hasattr(kind, "_fut_waiter") else None
            if type(waited).__name__ == "_GatheringFuture":
                return list(islice(waited._children, MAX_FUTURES))
            return [waited]
    return []


def _source_of(future: Any) -> Any:
    """Return the future of `concurrent.futures` that an asyncio future was made from, if any."""
    if type(future).__module__ not in ("_asyncio", "asyncio.futures"):
        return None
    for callback, _ in future._callbacks or ():
        for cell in getattr(callback, "__closure__", None) or ():
            thing = cell.cell_contents
            if (type(thing).__module__, type(thing).__name__) == _FUTURES:
                return thing
    return None
