"""Tells a wait for another thread or task of the process from a wait for the world outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .call_sites import APPLICATION
from .calls import called_at
from .frames import COROUTINE
from .green import is_for_a_greenlet

if TYPE_CHECKING:
    from types import CodeType, FrameType

    from .call_sites import Classifier

# Where one waits for what another thread or task of the same process does.
_INSIDE = (
    *("threading.py", "queue.py", "concurrent/futures/_base.py", "asyncio/locks.py", "asyncio/queues.py"),
    *("asyncio/tasks.py", "asyncio/timeouts.py", "asyncio/futures.py", "anyio/streams/memory.py"),
    "anyio/_core/_synchronization.py",
    *("gevent/thread.py", "gevent/event.py", "gevent/queue.py", "gevent/lock.py", "gevent/pool.py"),
    *("gevent/greenlet.py", "eventlet/event.py", "eventlet/queue.py", "eventlet/semaphore.py"),
    *("eventlet/greenthread.py", "eventlet/greenpool.py", "eventlet/hubs/hub.py"),
)
_RECEIVES = frozenset({"recv", "recv_into", "recvfrom", "recvfrom_into", "recvmsg", "do_handshake"})
_SOCKETS = ("socket.py", "_socket3.py", "ssl.py", "_ssl3.py")  # of gevent and eventlet, too
_INSIDE_TOO = ("anyio/_backends/_asyncio.py", "wait")  # of an event; its sockets wait there as well


def waits_inside(stack: list[FrameType], classifier: Classifier) -> bool:
    """Return whether it waits for something of this process, with no library between it and the wait.

    Who will set the event or future, or use the queue, may be seen nowhere.
    """
    for number, frame in enumerate(stack):
        file = frame.f_code.co_filename
        if classifier.kind(file) == APPLICATION:
            # A function that is innermost called something in C; a coroutine awaits a future itself.
            return number > 0 or bool(frame.f_code.co_flags & COROUTINE) or is_for_a_greenlet(frame)
        function = frame.f_code.co_name
        event = file.endswith(_INSIDE_TOO[0]) and function == _INSIDE_TOO[1]
        if not event and (not file.endswith(_INSIDE) or function == "sleep"):
            return False
    return False


def receives(stack: list[FrameType]) -> bool:
    """Return whether a thread or greenlet waits for what a socket receives: that is not of its process.

    A task waits for the event loop alone, so that its socket is not seen.
    """
    if not stack:
        return False
    code, called = stack[0].f_code, called_at(stack[0].f_code, stack[0].f_lasti)
    return called in _RECEIVES or (code.co_name in _RECEIVES and code.co_filename.endswith(_SOCKETS))


def waits_in_a_library(stack: list[FrameType]) -> bool:
    """Return whether a library waits for something of this process; it may come from the world outside."""
    return bool(stack) and stack[0].f_code.co_filename.endswith(_INSIDE)


def behind_the_wait(stack: list[FrameType], most: int) -> tuple[CodeType, ...]:
    """Return the innermost functions that are no wait themselves."""
    return tuple(frame.f_code for frame in stack if not frame.f_code.co_filename.endswith(_INSIDE))[:most]
