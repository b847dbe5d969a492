"""Tells a wait for another thread or task of the process from a wait for the world outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .call_sites import APPLICATION
from .frames import COROUTINE

if TYPE_CHECKING:
    from types import FrameType

    from .call_sites import Classifier

# Where one waits for what another thread or task of the same process does.
_INSIDE = (
    *("threading.py", "queue.py", "concurrent/futures/_base.py", "asyncio/locks.py", "asyncio/queues.py"),
    *("asyncio/tasks.py", "asyncio/timeouts.py", "asyncio/futures.py", "anyio/streams/memory.py"),
    "anyio/_core/_synchronization.py",
)
_INSIDE_TOO = ("anyio/_backends/_asyncio.py", "wait")  # of an event; its sockets wait there as well


def waits_inside(stack: list[FrameType], classifier: Classifier) -> bool:
    """Return whether it waits for something of this process, with no library between it and the wait.

    Who will set the event or future, or use the queue, may be seen nowhere.
    """
    for number, frame in enumerate(stack):
        file = frame.f_code.co_filename
        if classifier.kind(file) == APPLICATION:
            # A function that is innermost called something in C; a coroutine awaits a future itself.
            return number > 0 or bool(frame.f_code.co_flags & COROUTINE)
        function = frame.f_code.co_name
        event = file.endswith(_INSIDE_TOO[0]) and function == _INSIDE_TOO[1]
        if not event and (not file.endswith(_INSIDE) or function == "sleep"):
            return False
    return False
