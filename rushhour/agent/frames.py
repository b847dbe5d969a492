"""Reads the frames of other threads and greenlets."""

from __future__ import annotations

import os
from types import GetSetDescriptorType, MemberDescriptorType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

MAX_STACK = 200
_IN_C = (GetSetDescriptorType, MemberDescriptorType)
_SQLALCHEMY = f"{os.sep}sqlalchemy{os.sep}"
_OPTIMIZED = (
    0x1  # inspect.CO_OPTIMIZED: a function's; of a module or a class `f_locals` is its own dictionary
)


def stack_of(frame: FrameType | None) -> list[FrameType]:
    """Return the frames from this frame outwards."""
    stack: list[FrameType] = []
    while frame is not None and len(stack) < MAX_STACK:
        stack.append(frame)
        frame = frame.f_back
    return stack


def callers_of_sqlalchemy(stack: list[FrameType]) -> list[FrameType]:
    """Return what of a stack called SQLAlchemy: further in lie the pool's own queue and locks."""
    inside = [number for number, frame in enumerate(stack) if _SQLALCHEMY in frame.f_code.co_filename]
    return stack[inside[-1] + 1 :] if inside else stack


def variables_of(frame: FrameType, *names: str) -> list[Any]:
    """Return these variables of a function's frame, or all of them; nothing of its variables is kept."""
    if frame.f_trace is not None or not frame.f_code.co_flags & _OPTIMIZED:
        return []  # a debugger's view of its variables is not to be touched
    variables = frame.f_locals
    found = [variables.get(name) for name in names] if names else list(variables.values())
    if type(variables) is dict:  # until Python 3.12 it is a copy, which would live as long as the frame
        variables.clear()
    return found


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
