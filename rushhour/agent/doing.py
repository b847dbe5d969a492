"""Inspects the threads, greenlets and tasks that hold connections, to find what they are doing.

A look reads a stack and lets go of it within the same tick. A weak reference to an owner is followed for that
long only, and right after this thread was given its turn, so that nothing ends while it is looked at.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from .asked import most_wait_in, serves_a_request
from .book import of_earlier_item
from .calls import computes
from .coroutines import MAX_GENERATIONS, Chain, chain_of
from .frames import COROUTINE, Uninterrupted, stack_of
from .hands import awaited_things
from .helpers import Helpers
from .inside import receives, waits_inside
from .lock_owners import find_lock_owners
from .locks import LockPlaces, instructions_of, locks_of
from .looks import (
    COMPUTES,
    INSIDE,
    LOCK,
    OTHER_POOL,
    OTHER_QUERY,
    SENDING,
    SOCKET,
    STREAMING,
    UNSEEN,
    Look,
    LookTally,
    behind_a_queue,
    is_another,
)
from .loops import LoopWatch
from .owners import CALLBACKS, GREENLET, TASK, THREAD, TIMERS, frame_of
from .pollers import begins_in, find_pollers, note_polls
from .readings import unit_ended
from .rounds import is_between_callbacks
from .standing import DRIVER, ELSEWHERE, QUEUE, Reader, Standing
from .uses import GIVEN, USER
from .workers import waits_for_a_thread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType

    from .book import Hold
    from .call_sites import Classifier
    from .catalog import Catalog
    from .journal import Record
    from .owners import Owner

UNKNOWN_POOL = object()
MAX_LOOKS = 10  # at holds, per tick: more take turns, for a look costs up to 50 us
_give_way = time.sleep  # bound before gevent can patch it

_IDLE_FILES = ("threading.py", "queue.py")
_WORKERS = (("concurrent/futures/thread.py", "_worker"), ("anyio/_backends/_asyncio.py", "run"))


class Doing:
    """Inspects the owners of connections while their requests run."""

    def __init__(self, classifier: Classifier, catalog: Catalog, serving: set[int] | None = None) -> None:
        self._catalog = catalog
        self._classifier = classifier
        self._reader = Reader(classifier)
        self._locks = LockPlaces()
        self._loops = LoopWatch(classifier, self._reader, set() if serving is None else serving)
        self._looks = LookTally(catalog)
        self._helpers = Helpers({}, ())  # of this tick
        self._turn = self._ticks = 0
        self._ending: set[CodeType] = set()  # functions that were seen to end a wait
        self._serving: set[int] = set()  # threads whose newest connection was taken for a request
        self._serves = False  # who is looked at serves a request

    def tick(self, live: list[Hold], written: dict[Hold, int]) -> None:
        """Inspect the owners of the check-outs in the file, or as many as a tick allows."""
        self._looks.numbers = written
        running = [
            hold
            for hold in live
            if hold.request is None or hold.request.ended is None or unit_ended(hold) is None
        ]
        for hold in running[-MAX_LOOKS:]:
            self._loops.know(hold)
        running = [hold for hold in running if hold in written] if written else []
        if not running and not self._loops.threads():
            return
        newest = {hold.owner: hold for hold in running}  # in the order in which they were taken
        self._serving = {
            owner.thread for owner, hold in newest.items() if owner.kind == THREAD and serves_a_request(hold)
        }
        chosen = self._choose(running)
        if not self._loops.read_clocks():
            _give_way(0)
        with Uninterrupted():
            self._inspect(chosen, newest)

    def _inspect(self, chosen: list[Hold], newest: dict[Owner, Hold]) -> None:
        frames = sys._current_frames()
        self._ticks += 1
        try:
            if chosen:
                self._inspect_holds(chosen, newest, frames)
            self._loops.look(frames)
        finally:
            self._helpers = Helpers({}, ())
            frames.clear()

    def _inspect_holds(
        self, chosen: list[Hold], newest: dict[Owner, Hold], frames: dict[int, FrameType]
    ) -> None:
        pools = {hold.slot.pool for hold in newest.values()}
        self._helpers = Helpers(frames, pools, self._queue_of, self._ticks, self._ending)
        looks = [self._try_to_look(hold, newest[hold.owner], frames) for hold in chosen]
        find_pollers(looks, self._is_helper_in_queue)
        find_lock_owners(looks, newest, frames, self._helpers, self._queue_of)
        for look in looks:
            look.stack.clear()
            self._looks.count(look)

    def _choose(self, running: list[Hold]) -> list[Hold]:
        if len(running) <= MAX_LOOKS:
            return running
        start = self._turn % len(running)
        self._turn = start + MAX_LOOKS
        return (running + running[:MAX_LOOKS])[start : start + MAX_LOOKS]

    def _try_to_look(self, hold: Hold, newest: Hold, frames: dict[int, FrameType]) -> Look:
        """Inspect a hold; a stack that changes or is of an unknown kind counts as unseen."""
        try:
            return self._look(hold, newest, frames)
        except Exception:
            return Look(hold, UNSEEN, None)

    def _look(self, hold: Hold, newest: Hold, frames: dict[int, FrameType]) -> Look:
        """Inspect a hold; of several connections of an owner, only the newest counts as in use."""
        self._serves = serves_a_request(hold)
        stack, standing = self._stand(hold, newest, frames)
        request = hold.request
        streams = request is not None and request.returned and request.streams
        if standing is None:
            what = UNSEEN if not streams else STREAMING
            if streams and request is not None and request.sending:
                what = SENDING
            return Look(hold, what, None)
        look = Look(hold, standing.what, standing.site)
        if look.what == DRIVER and newest is not hold:
            look.what, look.place = ELSEWHERE, OTHER_QUERY
        elif look.what == QUEUE:
            look.stack = stack
            if is_another(standing.pool, hold):
                look.what = OTHER_POOL
        elif look.what == ELSEWHERE:
            behind = standing.behind or (self._threads_wait() if standing.unserved else [])
            if behind:
                look.what = behind_a_queue(behind, hold)
            elif standing.sends or (request is not None and request.sending):
                look.what = SENDING
            elif streams or standing.streams:
                look.what = STREAMING
            else:
                self._look_for_locks(look, stack)
        return look

    def _look_for_locks(self, look: Look, stack: list[FrameType]) -> None:
        """Say of a holder that is elsewhere whether it waits for a lock, or for others of its process."""
        guarded = self._locks.guarded(stack)
        look.guards = instructions_of(stack, guarded or self._locks.tried(stack))
        look.tries = not guarded
        if look.guards:
            look.what, look.locks = LOCK, locks_of(stack, tries=look.tries)
        elif stack and computes(stack[0]):
            look.place = COMPUTES
        elif waits_inside(stack, self._classifier) or self._locks.may_be_tried(stack):
            look.place = INSIDE
        elif receives(stack):
            look.place = SOCKET
        else:
            note_polls(look, stack, self._classifier)

    def _stand(
        self, hold: Hold, newest: Hold, frames: dict[int, FrameType]
    ) -> tuple[list[FrameType], Standing | None]:
        """Return the stack that works with a hold, and what it does; None where that cannot be seen."""
        owner, request = _worker_of(hold), hold.request
        task = None if request is None else request.task()
        at_it = owner.began is not None and owner.began <= hold.taken  # its thread still runs the item
        if owner.kind == THREAD and (task is None or at_it):
            # Numbers are used again.
            stack = stack_of(frame_of(owner, frames)) if owner.ended is None else []
            if (
                (owner is hold.owner and not _works_for(newest, hold))
                or _is_idle_worker(stack)
                or of_earlier_item(hold)
            ):
                stack = []
            return self._helped(stack, owner)
        if owner.kind == GREENLET:
            return self._helped(stack_of(frame_of(owner, frames)), owner)
        if owner.kind in (CALLBACKS, TIMERS) and task is None:
            return self._helped(_stack_of_callback(owner, frames), owner)
        # What a thread took for a request of an event loop is in its task's hands, until that asks a thread.
        working = owner.ref() if owner.kind == TASK else task
        if task is not None and owner.kind == TASK and (working is None or owner.ended is not None):
            working = task  # a task that only ran a call for its request, as anyio's portal does
        stack, standing = self._task(working, owner, frames)
        if standing is None or not standing.hands_on:
            return stack, standing
        below = None if request is None else self._helpers.for_request(request)
        if below is None:
            standing.unserved = waits_for_a_thread(stack)
            return (stack, standing) if standing.unserved else ([], None)
        return self._through_threads(below, self._reader.read(below))

    def _helped(self, stack: list[FrameType], owner: Owner) -> tuple[list[FrameType], Standing | None]:
        if not stack:
            return [], None
        return self._through_threads(stack, self._reader.read(stack), owner.ref())

    def _task(
        self,
        task: Any,
        owner: Owner,
        frames: dict[int, FrameType],
        generation: int = 0,
        *,
        bounded: bool = False,
    ) -> tuple[list[FrameType], Standing | None]:
        """Return the stack of a task, or of the most telling of the tasks that it waits for.

        `bounded`: who waits for it does so with a time-out, as in Python 3.11 `wait_for` in another task.
        """
        if task is None:
            return [], None
        chain: Chain = chain_of(task)
        if chain.running:
            stack = stack_of(frames.get(owner.thread)) if owner.kind == TASK else []
            if not stack:
                return [], None
            chain.frames = [*stack, *(frame for frame in chain.frames if frame not in stack)]
        if not chain.frames:
            return [], None
        standing = self._reader.read(chain.frames)
        if standing.what == ELSEWHERE and chain.children and generation < MAX_GENERATIONS:
            best = None
            bounded = bounded or awaited_things(chain.frames, ())[2]
            for child in chain.children:
                below = self._task(child, owner, frames, generation + 1, bounded=bounded)
                if below[1] is not None and (best is None or _says_more(below[1], best[1])):
                    best = below
            if best is not None:
                assert best[1] is not None  # noqa: S101  # for the type checker
                best[1].site = best[1].site or standing.site
                best[1].hands_on = best[1].hands_on or standing.hands_on
                best[1].streams = best[1].streams or standing.streams
                return [*best[0], *chain.frames], best[1]
        if standing.what == ELSEWHERE and generation < MAX_GENERATIONS:
            for below in (self._task(other, owner, frames, generation + 1) for other in chain.beside):
                if below[1] is not None and below[1].what == QUEUE:
                    return [*below[0], *chain.frames], below[1]
        standing.hands_on = standing.hands_on and standing.what == ELSEWHERE
        return self._through_threads(chain.frames, standing, None if chain.running else task, bounded=bounded)

    def _through_threads(
        self, stack: list[FrameType], standing: Standing, waiter: Any = None, *, bounded: bool = False
    ) -> tuple[list[FrameType], Standing]:
        """The same, unless it waits for work of a thread or greenlet in a pool's queue: then that one's.

        `waiter`: its task or greenlet. A coroutine that does nothing but hand its work to a thread is
        wherever that is.
        """
        above, found = stack, standing
        for _ in range(MAX_GENERATIONS):
            if found.what != ELSEWHERE:
                break
            helpers = self._helpers
            below = helpers.awaited(above, waiter) or helpers.awaited_by_greenlet(waiter, serves=self._serves)
            below = below or helpers.handed(above, waiter, serves=self._serves, bounded=bounded)
            if below is None:
                standing.behind = helpers.behind(above, waiter)
                standing.hands_on = standing.hands_on and not standing.behind
                break
            above, found, waiter = [*below, *above], self._reader.read(below), None
        if found is not standing and (found.what == QUEUE or standing.hands_on or standing.site is None):
            found.behind = standing.behind
            return above, found
        return stack, standing

    def _in_queue(self, stack: list[FrameType]) -> bool:
        return self._queue_of(stack) is not None

    def _queue_of(self, stack: list[FrameType]) -> object:
        """Return the pool in whose queue a stack waits, or what stands for an unknown one; None: in none."""
        standing = self._reader.read(stack)
        if standing.what != QUEUE:
            return None
        return UNKNOWN_POOL if standing.pool is None else standing.pool

    def _threads_wait(self) -> list[object]:
        """Return the pools in whose queues most of an event loop's threads that work wait; none if few do."""
        return most_wait_in([self._queue_of(stack) for stack in self._helpers.threads()])

    def _is_helper_in_queue(self) -> bool:
        """Return whether a thread or greenlet that is known to serve no request waits in a pool's queue."""
        return self._helpers.in_queue(self._serves_none)

    def _serves_none(self, thread: int, stack: list[FrameType]) -> bool:
        """Return whether a thread is the service's own: neither a server started it, nor work for a request.

        It may hold no connection yet, and then nothing but its stack says for whom it works.
        """
        return (
            thread not in self._serving
            and begins_in(stack, self._classifier)
            and not self._reader.serves(stack)
        )

    def close(self) -> None:
        """Close the files that it reads."""
        self._loops.close()

    def forget(self, hold: Hold, number: int, at: float | None) -> Iterator[Record]:
        """Yield the last record of a check-out that came back."""
        return self._looks.forget(hold, number, at)

    def take(self, at: float | None) -> Iterator[Record]:
        """Yield the records of what was seen since the last call."""
        yield from self._looks.take(at)
        yield from self._loops.take(at, self._catalog)


def _worker_of(hold: Hold) -> Owner:
    """Return who works with a connection: its owner, or, once that has ended, who used it last."""
    others = hold.others or {}
    owner, user, given = hold.owner, others.get(USER), others.get(GIVEN)
    if given is not None and given.ended is None and (hold.request is None or hold.request.ended is not None):
        return given
    gone = owner.ended is not None or (owner.kind != THREAD and owner.ref() is None)
    return user if gone and user is not None and user.ended is None else owner


def _stack_of_callback(owner: Owner, frames: dict[int, FrameType]) -> list[FrameType]:
    """Return the stack of what a loop calls back; empty while it waits for events, or runs a task."""
    frame = frames.get(owner.thread)
    if owner.ended is not None or is_between_callbacks(frame):
        return []
    stack = stack_of(frame)
    return [] if any(one.f_code.co_flags & COROUTINE for one in stack) else stack


def _works_for(newest: Hold, hold: Hold) -> bool:
    """Return whether a thread works for the request of this hold, and not for a later request."""
    request = newest.request
    while request is not None and request is not hold.request:
        request = request.outer
    return request is hold.request


def _is_idle_worker(stack: list[FrameType]) -> bool:
    """Return whether a thread of an executor waits for work: whatever it took is used elsewhere."""
    for frame in stack[:10]:
        file = frame.f_code.co_filename
        if not file.endswith(_IDLE_FILES):
            return any(file.endswith(end) and frame.f_code.co_name == name for end, name in _WORKERS)
    return False


def _says_more(standing: Standing, than: Standing | None) -> bool:
    """Return whether a state explains more; waiting for the server explains most, then waiting in a queue."""
    if than is None or standing.what == than.what:
        return than is None or (than.site is None and standing.site is not None)
    order = (DRIVER, QUEUE, ELSEWHERE)
    return order.index(standing.what) < order.index(than.what)
