"""Reads the frames of other threads and greenlets."""

from __future__ import annotations

import gc
import sys
from types import GetSetDescriptorType, MemberDescriptorType
from typing import TYPE_CHECKING, Any

from .call_sites import is_of

if TYPE_CHECKING:
    from types import FrameType

MAX_STACK = 200
GENERATOR = 0x20 | 0x200  # inspect.CO_GENERATOR, CO_ASYNC_GENERATOR
COROUTINE = 0x80 | 0x100 | 0x200  # inspect.CO_COROUTINE, CO_ITERABLE_COROUTINE, CO_ASYNC_GENERATOR
_IN_C = (GetSetDescriptorType, MemberDescriptorType)
_OWN_VIEW = frozenset({"locals", "vars", "dir", "eval", "exec"})
_OPTIMIZED = 0x1  # inspect.CO_OPTIMIZED: of a function; `f_locals` of a module or a class is its own


def nothing() -> None:
    """Stand in for a weak reference whose object is gone, or never was."""


class Uninterrupted:
    """While frames of other threads are read, no garbage is collected.

    Until Python 3.11 a collection starts wherever an object is made, and so also inside of the functions in
    C that read a frame. A finaliser that it calls may let another thread run, which ends the function whose
    frame is being read: its memory is used again, and the process dies. From 3.12 on a collection waits
    until such a function has returned.
    """

    def __enter__(self) -> None:
        self._collects = sys.version_info < (3, 12) and (gc.isenabled() or bool(_reading))
        if self._collects:
            _reading.add(self)  # a single operation, for two threads may be here
            gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._collects:
            _reading.discard(self)
            if not _reading:
                gc.enable()


_reading: set[Uninterrupted] = set()  # that have switched collections off


def collect_again() -> None:
    """After a fork, in the child: no thread reads frames here, whatever its parent's were at."""
    if _reading:
        _reading.clear()
        gc.enable()


def stack_of(frame: FrameType | None) -> list[FrameType]:
    """Return the frames from this frame outwards."""
    stack: list[FrameType] = []
    while frame is not None and len(stack) < MAX_STACK:
        stack.append(frame)
        frame = frame.f_back
    return stack


def callers_of_sqlalchemy(stack: list[FrameType]) -> list[FrameType]:
    """Return what of a stack called SQLAlchemy: further in lie the pool's own queue and locks."""
    inside = [number for number, frame in enumerate(stack) if is_of("sqlalchemy", frame.f_code.co_filename)]
    return stack[inside[-1] + 1 :] if inside else stack


def variables_of(frame: FrameType, *names: str) -> list[Any]:
    """Return these variables of a function's frame, or all of them; nothing of its variables is kept."""
    if not _may_be_read(frame):
        return []
    variables = frame.f_locals
    found = [variables.get(name) for name in names] if names else list(variables.values())
    if type(variables) is dict:  # until Python 3.12 it is a copy, which would live as long as the frame
        variables.clear()
    return found


def named_variables_of(frame: FrameType) -> dict[str, Any]:
    """Return all variables of a function's frame by their names; nothing of them is kept."""
    if not _may_be_read(frame):
        return {}
    variables = frame.f_locals
    found = dict(variables)
    if type(variables) is dict:  # as above
        variables.clear()
    return found


def _may_be_read(frame: FrameType) -> bool:
    code = frame.f_code
    if frame.f_trace is not None or not code.co_flags & _OPTIMIZED:
        return False  # a debugger's view of its variables is not to be touched
    # Nor is the one that the function itself may have: until Python 3.12 it is the same.
    return _OWN_VIEW.isdisjoint(code.co_names)


def attributes_of(thing: Any) -> dict[str, Any]:
    """Return the attributes of an object; none of a class that answers for them itself, as a proxy does."""
    for kind in type(thing).__mro__:
        found = vars(kind).get("__dict__")
        if found is not None:
            attributes: dict[str, Any] = found.__get__(thing) if type(found) in _IN_C else {}
            return attributes
    return {}


def local_of(frame: FrameType, name: str) -> Any:
    """Return a variable of a function's frame, or None."""
    return next(iter(variables_of(frame, name)), None)
