"""Finds who waits for an event, a future or a queue that another thread or task has among its variables.

A helper that takes its work from a queue is not joined: it sets an event, or a future, when it is done. Who
waits for that waits for the helper, and while the helper waits in a pool's queue, for a connection.
"""

# pathlib would slow the start of every process of the service.
# ruff: noqa: PTH118

from __future__ import annotations

import os
from itertools import islice
from types import CellType, ModuleType
from typing import TYPE_CHECKING, Any

from .calls import receiver_of
from .frames import attributes_of, callers_of_sqlalchemy, local_of, variables_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import CodeType, FrameType

MAX_WAITING = 16  # innermost frames in which a library waits
MAX_FRAMES = 40
MAX_MEMBERS = 64  # of a list, or of an object's attributes

_KINDS = {
    "threading": ("Event", "Condition", "Barrier"),
    "queue": ("Queue", "LifoQueue", "PriorityQueue"),
    "_queue": ("SimpleQueue",),
    "_asyncio": ("Future",),
    "asyncio.futures": ("Future",),
    "asyncio.locks": ("Event", "Condition"),
    "asyncio.queues": ("Queue", "LifoQueue", "PriorityQueue"),
    "concurrent.futures._base": ("Future",),
}
_CONTAINERS = (list, tuple, set, frozenset)
# File and function of a wait; `self` is what is waited for.
_WAITS = {
    f"{os.sep}threading.py": ("wait",),
    f"{os.sep}queue.py": ("get",),
    os.path.join("concurrent", "futures", "_base.py"): ("result", "exception"),
    os.path.join("asyncio", "locks.py"): ("wait",),
    os.path.join("asyncio", "queues.py"): ("get",),
}
_LIBRARIES = (*_WAITS, os.path.join("asyncio", "tasks.py"), os.path.join("asyncio", "timeouts.py"))


class Hands:
    """What a stack in the queue of a pool has among its variables, by address: compared within one look."""

    __slots__ = ("codes", "stack", "things")

    def __init__(self, stack: list[FrameType]) -> None:
        self.stack = stack
        self.codes: set[CodeType] = {frame.f_code for frame in stack}
        self.things: set[int] = set()
        try:
            for frame in callers_of_sqlalchemy(stack)[:MAX_FRAMES]:
                self.things.update(id(thing) for thing in _flat(frame) if is_handed(type(thing)))
        except Exception:  # what changes while it is read is not seen
            self.things = set()

    def are_awaited(self, things: set[int], waiter: CodeType | None) -> bool:
        """Return whether who waits for these things, in this function, waits for this stack.

        A stack that has yet to come to the same wait is that of another one who will wait.
        """
        return waiter not in self.codes and not self.things.isdisjoint(things)


def awaited_things(stack: list[FrameType], futures: Iterable[Any]) -> tuple[set[int], CodeType | None]:
    """Return what a stack, innermost first, and its task wait for, and the function that waits."""
    found = {id(future) for future in futures if is_handed(type(future))}
    waiter: CodeType | None = None
    try:
        for number, frame in enumerate(stack[:MAX_WAITING]):
            code = frame.f_code
            names = next((names for file, names in _WAITS.items() if code.co_filename.endswith(file)), ())
            if code.co_name in names:
                found.add(id(local_of(frame, "self")))
            elif not code.co_filename.endswith(_LIBRARIES):
                waiter = code
                receiver = None if number else receiver_of(frame)
                if is_handed(type(receiver)):
                    found.add(id(receiver))
                break
    except Exception:  # as above
        return set(), None
    return found, waiter


def is_handed(kind: type) -> bool:
    """Return whether others wait for what an object of this class will say."""
    return kind.__name__ in _KINDS.get(str(kind.__module__), ())


def _flat(frame: FrameType) -> Iterator[Any]:
    """Yield the variables of a frame, the members of its lists, and the attributes of its objects."""
    itself = local_of(frame, "self")  # others have it, too
    for thing in variables_of(frame):
        inner = _content(thing) if type(thing) is CellType else thing
        if type(inner) in _CONTAINERS:
            yield from islice(list(inner), MAX_MEMBERS)
        elif is_handed(type(inner)):
            yield inner
        elif inner is not itself and not issubclass(type(inner), (type, ModuleType)):
            yield from islice(list(attributes_of(inner).values()), MAX_MEMBERS)


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty
        return None
