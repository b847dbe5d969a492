"""Finds holders that may wait for another one in a pool's queue although nothing says so.

They sleep, and look again for what they wait for; or they wait in a library. Where somebody in the queue has
passed that place, or works beside them, the wait may be for that one: it is not known to be for the world
outside.
"""

# pathlib would slow the start of every process of the service.
# ruff: noqa: PTH118

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .call_sites import AGENT, APPLICATION
from .flow import loops_around
from .frames import attributes_of, local_of
from .inside import behind_the_wait, waits_in_a_library
from .locks import add_furthest, instructions_of, sleeps
from .looks import INSIDE, OTHER_POOL
from .standing import QUEUE

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from .call_sites import Classifier
    from .looks import Look

_THREADS = f"{os.sep}threading.py"
_ITEM = os.path.join("concurrent", "futures", "thread.py")
MAX_OWN = 4  # innermost functions in which a holder sleeps


def note_polls(look: Look, stack: list[FrameType], classifier: Classifier) -> None:
    """Note where a holder sleeps, or waits in a library."""
    if sleeps(stack):
        own = [frame.f_code for frame in stack if classifier.kind(frame.f_code.co_filename) == APPLICATION]
        look.polls = instructions_of(stack, tuple(own[:MAX_OWN]))
        at = next((frame for frame in stack if frame.f_code.co_name != "sleep"), stack[0])
        look.repeats = at.f_code in own and loops_around(at.f_code, at.f_lasti) > 0
    elif waits_in_a_library(stack):  # as one that caches, and lets equal questions wait for the first
        look.polls = instructions_of(stack, behind_the_wait(stack, MAX_OWN))


def find_pollers(looks: list[Look], is_helper_in_queue: Callable[[], bool]) -> None:
    """Mark holders that sleep where a holder in a pool's queue has passed: they may wait for that one.

    Who sleeps in a loop may wait for any thread of the service's own in the queue.
    """
    polling = [look for look in looks if look.polls]
    inside: dict[int, int] = {}
    for look in looks if polling else ():
        if look.what in (QUEUE, OTHER_POOL):
            add_furthest(inside, look.stack)
    for look in polling:
        if any(inside.get(code, -1) > instruction for code, instruction in look.polls.items()):
            look.place = INSIDE
    repeating = [look for look in polling if look.repeats and look.place is None]
    if repeating and is_helper_in_queue():
        for look in repeating:
            look.place = INSIDE


def begins_in(stack: list[FrameType], classifier: Classifier) -> bool:
    """Return whether a thread or greenlet began in a function of the service's own that is no request's.

    Of a server's, the outermost function is the server's or, as with uWSGI, that of a framework or a WSGI
    application. An item of an executor may work for a request, which waits for its future.
    """
    for frame in reversed(stack):
        code = frame.f_code
        if code.co_filename.endswith(_ITEM):
            if code.co_name == "run":
                return _is_left_alone(attributes_of(local_of(frame, "self")).get("future"))
        elif not code.co_filename.endswith(_THREADS) and not code.co_filename.startswith(AGENT):
            names = code.co_varnames[: code.co_argcount]
            return classifier.kind(code.co_filename) == APPLICATION and names[-1:] != ("start_response",)
    return False


def _is_left_alone(future: object) -> bool:
    """Return whether nobody waits for a future: neither an event loop nor a thread."""
    attributes = attributes_of(future)
    condition = attributes_of(attributes.get("_condition"))
    waited = ("_done_callbacks", "_waiters")
    return (
        bool(attributes)
        and not any(attributes.get(name) for name in waited)
        and not condition.get("_waiters")
    )
