"""Reads single figures for records, without locks and without following weak references to proxies."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from .book import is_beside_request, monotonic
from .owners import TASK, THREAD, has_ended
from .uses import GIVEN, HELPER

if TYPE_CHECKING:
    from .book import Hold, Request
    from .owners import Owner

GRACE_S = 0.1  # clean-up that runs right after the end of a request is no leak


def checked_out_and_waiting(pool: Any, live: int) -> tuple[int, int]:
    """Return the pool's own counts, or the agent's if the pool has no queue."""
    if not hasattr(pool, "_max_overflow"):
        return live, 0
    queue = pool._pool
    if hasattr(queue, "not_empty"):  # not `qsize()`: it takes the queue's lock, which may be gevent's
        idle, waiting = len(queue.queue), len(queue.not_empty._waiters)
    else:  # asyncio: its queue is made in its event loop, so it is not touched before
        inner = vars(queue).get("_queue")
        idle, waiting = (0, 0) if inner is None else (inner.qsize(), len(inner._getters))
    return queue.maxsize - idle + pool._overflow, waiting


def is_full(pool: Any) -> bool:
    """Return whether a pool with a queue has no connection left to give."""
    if not -1 < pool._max_overflow <= pool._overflow:
        return False
    out, _ = checked_out_and_waiting(pool, 0)
    return bool(out >= pool._pool.maxsize + pool._overflow)


def unit_ended(hold: Hold) -> float | None:
    """Return when the unit of work of a hold ended; None if it was taken afterwards."""
    if hold.lost is not None:
        return hold.lost_s
    request = hold.request
    if request is None or request.ended is None or hold.taken > request.ended:
        return None
    return _end_of_work(hold, request, request.ended)


def outlived(hold: Hold, now: float) -> bool:
    """Return whether a hold has outlived its unit of work by more than the time for clean-up."""
    if hold.lost is not None:
        return True
    if hold.request is None or hold.request.ended is None:  # most holds, at every tick
        return False
    ended = unit_ended(hold)
    return ended is not None and ended <= now - GRACE_S


def _end_of_work(hold: Hold, request: Request, ended: float) -> float | None:
    """Return when the last of what a request has started ended that works with a hold; None: it goes on.

    A task that a request starts and does not wait for is a unit of work of its own, and so is an item that it
    hands to a thread, and a thread or greenlet that runs with a copy of its context: they give back their
    connection when they are done.
    """
    owner, others = hold.owner, hold.others or {}
    if is_beside_request(hold) or (request.in_loop and not _runs(owner, request)):
        if owner.kind == THREAD and owner.began is not None and owner.began <= hold.taken:
            return None
        own = owner if owner.first is None else None  # else it is done with the item that took it
    else:
        own = None
    helper = others.get(HELPER if request.in_loop else GIVEN)
    if helper is not None and request.in_loop and (helper.kind != TASK or _runs(helper, request)):
        helper = None
    for other in (own, helper):
        if other is None:
            continue
        if not has_ended(other, monotonic()):
            return None
        ended = max(ended, other.ended or ended)
    return ended


def _runs(owner: Owner, request: Request) -> bool:
    """Return whether a task is the one that runs the request itself; one that has ended may be."""
    found = owner.ref()
    return found is not None and found is request.task()


def label_of(request: Request | None) -> str | None:
    return None if request is None else request.label


def thread_name(hold: Hold) -> str:
    """Of the thread that took it; the number of one that has ended may be a later thread's by now."""
    threading = sys.modules.get("threading")
    thread = getattr(threading, "_active", {}).get(hold.thread)  # not `enumerate()`, which takes a lock
    if thread is None or hold.owner.ended is not None:
        return f"thread {hold.thread}"
    return str(thread.name)


def added(new: tuple[int, ...], old: tuple[int, ...]) -> dict[int, int]:
    """Upper bound of each bucket in microseconds -> how much it grew."""
    counts = (count - (old[number] if old else 0) for number, count in enumerate(new))
    return {1 << number: count for number, count in enumerate(counts) if count}


def rounded(seconds: float) -> float:
    return round(seconds, 6)
