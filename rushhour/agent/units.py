"""Detects that a unit of work other than a request has ended while its connection is still out.

A thread that waits in the loop of an executor or of a job runner has no unit: what it took for the last one
has outlived it. No framework is patched for that: the place where it waits is known. Of a thread, greenlet
or task that has ended nothing will close what it took. Both hold only while nobody else has the connection in
hands (uses.py, items.py, handed_on.py): one that was handed on is not lost before its last owner is gone.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from .book import is_in_a_generator, of_earlier_item
from .call_sites import AGENT, APPLICATION, PLUMBING, Classifier, is_of
from .coroutines import chain_of
from .frames import Uninterrupted
from .owners import TASK, frame_of, has_ended
from .readings import unit_ended
from .rounds import Rounds
from .uses import MAKER, USER

if TYPE_CHECKING:
    from collections.abc import Callable

    from .book import Hold
    from .owners import Owner

OWNER_ENDED, OWNER_IDLE = "owner-ended", "owner-idle"
AFTER_S = 0.5  # a loop between two jobs is not idle
KEPT = 2
AFTER_UNUSED_S = 1.0  # without a statement: whoever it was handed to may be about to begin

# The end of a file's path and a function: whoever stands there, or waits in what it called, is idle.
_LOOPS = {
    ("concurrent/futures/thread.py", "_worker"),  # Celery -P threads, APScheduler 3, gunicorn gthread
    ("concurrent/futures/process.py", "_process_worker"),
    ("multiprocessing/pool.py", "worker"),
    ("dramatiq/worker.py", "run"),
    ("huey/consumer.py", "loop"),
    ("_backends/_asyncio.py", "run"),  # anyio's threads: sync jobs of APScheduler 4
    ("waitress/task.py", "handler_thread"),
    ("workers/threadpool.py", "run"),  # cheroot's, until 11
    ("workers/threadpool.py", "_process_connections_until_interrupted"),
    ("_core/_thread_cache.py", "_work"),  # trio's threads
    ("gevent/threadpool.py", "run"),
    ("eventlet/tpool.py", "tworker"),
}
# The same, whatever libraries it goes through to wait: it runs no job itself.
_FETCHING = {
    ("billiard/pool.py", "receive"),  # Celery's prefork pool
    ("rq/worker.py", "dequeue_job_and_maintain_ttl"),
    ("worker/base.py", "dequeue_job_and_maintain_ttl"),  # rq since 2.4
    ("huey/api.py", "dequeue"),
    ("huey/consumer.py", "sleep"),
    ("huey/consumer.py", "sleep_for_interval"),
}
# The same in the main thread of a worker, whose jobs may run elsewhere; and where one runs there.
_MAIN_LOOPS = {("worker/loops.py", "asynloop"), ("worker/loops.py", "synloop")}  # Celery's
_IN_A_JOB = {("app/trace.py", "trace_task")}
# Tasks that serve all requests of a client's connection: module -> where they wait for the next one.
# Sanic's functions are not wrapped, for it reads their source and compiles it anew.
_CONNECTIONS = {"sanic": ("http/http1.py", "http1")}
_WAITING = (
    "threading.py",
    "queue.py",
    "selectors.py",
    "multiprocessing/queues.py",
    "multiprocessing/connection.py",
    "multiprocessing/synchronize.py",
)
_HUBS = ("gevent", "eventlet")
_MAX_FRAMES = 40
_MAX_WAITING = 4  # frames in which a task waits for its client


class Units:
    """Marks holds whose unit of work has ended; for holds that no running request has taken."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._idle: dict[Owner, float] = {}  # -> since when it was seen idle at every look
        self._rounds = Rounds(classifier)
        self._left: dict[Hold, float] = {}  # -> when all who may have it were first seen idle
        self._again: dict[Hold, int] = {}  # -> times that one which seemed lost was used again

    def look(self, holds: list[Hold], now: float, final: bool = False) -> None:
        """One look at the owners of all holds that have not outlived anything yet.

        At the end of the process nothing is waited for: it has joined its threads.
        """
        with Uninterrupted():
            self._look(holds, now, final)

    def _look(self, holds: list[Hold], now: float, final: bool) -> None:
        idle: dict[Owner, float] = {}
        left: dict[Hold, float] = {}
        busy: set[Owner] = set()
        frames: dict[int, Any] = {}

        def idle_since(owner: Owner) -> float | None:
            """Whether it waits for its next unit of work, at this look and since when."""
            nonlocal frames
            if owner in busy:
                return None
            if owner not in idle:
                frames = frames or sys._current_frames()
                if owner.kind == TASK:
                    waits = _serves_nobody(owner)
                else:
                    waits = self.is_idle(frame_of(owner, frames), has_jobs=owner.first is not None)
                if not waits:
                    busy.add(owner)
                    return None
                idle[owner] = self._idle.get(owner, now)
            return idle[owner]

        self._again = {hold: times for hold, times in self._again.items() if hold.returned is None}
        live = holds
        # One that is used again and again is kept on purpose, for whoever comes next.
        holds = [
            hold
            for hold in holds
            if hold.lost is None
            and now - hold.taken >= _patience(hold, final)
            and _is_for_itself(hold)
            and self._again.get(hold, 0) < KEPT
        ]
        in_rounds = self._rounds.left(holds, live, now, lambda hold: _patience(hold, final), final=final)
        for hold in holds:
            after = _patience(hold, final)
            if hold in in_rounds:
                hold.lost, hold.lost_s = OWNER_IDLE, in_rounds[hold]
                continue
            if of_its_thread(hold):
                continue
            lost, first = self._lost(hold, now, idle_since), self._left.get(hold)
            if lost is not None:
                first = now if first is None else first
                # Kept through a unit of work that came after the one that left it: that one did not close it.
                again = lost[0] == OWNER_IDLE and lost[1] > first
                if again or now - lost[1] >= after:
                    hold.lost, hold.lost_s = lost
            if first is not None:
                left[hold] = first
        frames.clear()
        self._idle, self._left = idle, left

    def resumed(self, holds: list[Hold]) -> list[Hold]:
        """Those that seemed lost and were used since: handed on after all, or kept for a later round."""
        found = []
        for hold in holds:
            if hold.lost is None and unit_ended(hold) is None:  # to a task that its request started
                found.append(hold)
                continue
            others = hold.others or {}
            used = hold.lost is not None and hold.used > hold.lost_s
            if used and (USER in others or self._rounds.was_left(hold)):
                hold.lost = None
                self._rounds.keeps(hold)
                self._again[hold] = self._again.get(hold, 0) + 1
                found.append(hold)
        return found

    def _lost(
        self, hold: Hold, now: float, idle_since: Callable[[Owner], float | None]
    ) -> tuple[str, float] | None:
        """Why nobody has this connection in hands any more, and since when; None where somebody may."""
        others, began = hold.others or {}, hold.owner.began  # read once: its thread may end the item now
        if began is not None and not others and of_earlier_item(hold):
            return OWNER_IDLE, began  # a thread with a backlog is never idle between two items
        handed_on = len(others) > (MAKER in others)  # somebody has used it, or asked for it
        latest, why = max(hold.taken, hold.used), OWNER_ENDED
        for owner in {hold.owner, *others.values()}:
            if has_ended(owner, now):
                if owner is hold.owner and (
                    is_in_a_generator(hold)
                    or (not handed_on and (owner.result_carries is not False or self._is_helper(owner)))
                ):
                    return None
                since = owner.ended or now
            else:
                found = idle_since(owner)
                if found is None:
                    return None
                since, why = found, OWNER_IDLE
            latest = max(latest, since)
        return why, latest

    def _is_helper(self, owner: Owner) -> bool:
        """A task that only fetched the connection for another: `wait_for(engine.connect(), 5)`."""
        if owner.kind != TASK:
            return False
        return owner.file is None or self._classifier.kind(owner.file) == PLUMBING

    def is_idle(self, frame: Any, *, has_jobs: bool = False) -> bool:
        """Whether a stack, from its innermost frame on, waits for the next unit of work.

        `has_jobs`: its thread was seen to run jobs.
        """
        only_waits = True
        for _ in range(_MAX_FRAMES):
            if frame is None:
                break
            code = frame.f_code
            file = code.co_filename
            place = (_end_of(file), code.co_name)
            if place in _FETCHING or (only_waits and place in _LOOPS) or (has_jobs and place in _MAIN_LOOPS):
                return True
            if place in _IN_A_JOB or self._classifier.kind(file) == APPLICATION:
                break
            only_waits = only_waits and (
                file.endswith(_WAITING)
                or any(is_of(name, file) for name in _HUBS)
                or code.co_name == "sleep"
                or file.startswith(AGENT)  # between a pool's worker and its queue
            )
            frame = frame.f_back
        return False


def _patience(hold: Hold, final: bool) -> float:
    """How long nobody has to have a hold in hands before it is lost."""
    return 0.0 if final else AFTER_S if hold.used else AFTER_UNUSED_S


def _serves_nobody(owner: Owner) -> bool:
    """Return whether a task of a server waits for the next request of its client."""
    places = [place for module, place in _CONNECTIONS.items() if module in sys.modules]
    if not places:
        return False
    for frame in chain_of(owner.ref()).frames[:_MAX_WAITING]:
        code = frame.f_code
        if (_end_of(code.co_filename), code.co_name) in places:
            return True
        if code.co_name not in ("wait", "receive_more"):
            break
    return False


def of_its_thread(hold: Hold) -> bool:
    """Return whether a hold was taken as its worker started: it is the worker's for all its life."""
    owner = hold.owner
    return (
        owner.first is not None and hold.request is None and hold.taken < owner.first and owner.ended is None
    )


def _is_for_itself(hold: Hold) -> bool:
    """Whether it is no request's: taken without one, or in the hands of what its request left behind."""
    request = hold.request
    return request is None or (request.ended is not None and unit_ended(hold) is None)


def _end_of(file: str) -> str:
    """The last parts of a path: three of concurrent/futures/thread.py, two of the others."""
    parts = file.replace(os.sep, "/").rsplit("/", 3)
    if parts[-3:-1] == ["concurrent", "futures"]:
        return "/".join(parts[-3:])
    return "/".join(parts[-2:])
