"""Whether a unit of work other than a request has ended for a connection that is still out.

A thread that waits in the loop of an executor or of a job runner has no unit: what it took for the last one
has outlived it. No framework is patched for that: the place where it waits is known. Of a thread, greenlet
or task that has ended nothing will close what it took.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from .call_sites import APPLICATION, PLUMBING, Classifier
from .owners import TASK, THREAD, frame_of, has_ended

if TYPE_CHECKING:
    from .book import Hold
    from .owners import Owner

OWNER_ENDED, OWNER_IDLE = "owner-ended", "owner-idle"
AFTER_S = 0.5  # a connection may be handed on; and a loop between two jobs is not idle

# The end of a file's path and a function: whoever stands there, or waits in what it called, is idle.
_LOOPS = {
    ("concurrent/futures/thread.py", "_worker"),  # Celery -P threads, APScheduler 3, gunicorn gthread
    ("concurrent/futures/process.py", "_process_worker"),
    ("multiprocessing/pool.py", "worker"),
    ("dramatiq/worker.py", "run"),
    ("huey/consumer.py", "loop"),
    ("waitress/task.py", "handler_thread"),
}
# The same, whatever libraries it goes through to wait: it runs no job itself.
_FETCHING = {
    ("billiard/pool.py", "receive"),  # Celery's prefork pool
    ("rq/worker.py", "dequeue_job_and_maintain_ttl"),
    ("worker/base.py", "dequeue_job_and_maintain_ttl"),  # rq since 2.4
    ("huey/api.py", "dequeue"),
    ("huey/consumer.py", "sleep_for_interval"),
}
_WAITING = (
    "threading.py",
    "queue.py",
    "selectors.py",
    "multiprocessing/queues.py",
    "multiprocessing/connection.py",
    "multiprocessing/synchronize.py",
)
_HUBS = (f"{os.sep}gevent{os.sep}", f"{os.sep}eventlet{os.sep}")
_MAX_FRAMES = 40
_ASYNCIO_WORKER = "asyncio_"  # name of a thread of an event loop's own executor


class Units:
    """Marks holds whose unit of work has ended; for holds that no running request has taken."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._idle: dict[Hold, float] = {}  # -> since when its owner was seen idle at every look

    def look(self, holds: list[Hold], now: float) -> None:
        """One look at the owners of all holds that have not outlived anything yet."""
        asked = [
            hold
            for hold in holds
            if hold.lost is None
            and now - hold.taken >= AFTER_S
            and (hold.request is None or _taken_after(hold))
        ]
        if not asked:
            self._idle.clear()
            return
        idle: dict[Hold, float] = {}
        frames: dict[int, Any] = {}
        for hold in asked:
            owner = hold.owner
            if has_ended(owner, now):
                ended = owner.ended or now
                if now - ended >= AFTER_S and not self._is_helper(owner):
                    hold.lost, hold.lost_s = OWNER_ENDED, max(ended, hold.taken)
                continue
            frames = frames or sys._current_frames()
            if self.is_idle(frame_of(owner, frames)) and not _serves_a_loop(owner):
                since = self._idle.get(hold, now)
                if now - since >= AFTER_S:
                    hold.lost, hold.lost_s = OWNER_IDLE, since
                else:
                    idle[hold] = since
        frames.clear()
        self._idle = idle

    def _is_helper(self, owner: Owner) -> bool:
        """A task that only fetched the connection for another: `wait_for(engine.connect(), 5)`."""
        if owner.kind != TASK:
            return False
        return owner.file is None or self._classifier.kind(owner.file) == PLUMBING

    def is_idle(self, frame: Any) -> bool:
        """Whether a stack, from its innermost frame on, waits for the next unit of work."""
        only_waits = True
        for _ in range(_MAX_FRAMES):
            if frame is None:
                break
            code = frame.f_code
            file = code.co_filename
            place = (_end_of(file), code.co_name)
            if place in _FETCHING or (only_waits and place in _LOOPS):
                return True
            if (self._classifier.kinds.get(file) or self._classifier.kind(file)) == APPLICATION:
                break
            only_waits = only_waits and (
                file.endswith(_WAITING) or any(mark in file for mark in _HUBS) or code.co_name == "sleep"
            )
            frame = frame.f_back
        return False


def _taken_after(hold: Hold) -> bool:
    """Taken when its request had ended, as a task does that the request left behind."""
    ended = hold.request.ended if hold.request is not None else None
    return ended is not None and hold.taken > ended


def _serves_a_loop(owner: Owner) -> bool:
    """A thread to which an event loop hands single calls: the coroutine goes on using what it fetched."""
    threading = sys.modules.get("threading")
    thread = getattr(threading, "_active", {}).get(owner.thread) if owner.kind == THREAD else None
    return thread is not None and str(thread.name).startswith(_ASYNCIO_WORKER)


def _end_of(file: str) -> str:
    """The last parts of a path: three of concurrent/futures/thread.py, two of the others."""
    parts = file.replace(os.sep, "/").rsplit("/", 3)
    if parts[-3:-1] == ["concurrent", "futures"]:
        return "/".join(parts[-3:])
    return "/".join(parts[-2:])
