"""Whether a stack waits for a lock, and the functions that such a lock guards."""

# pathlib would slow the start of every process of the service.
# ruff: noqa: PTH118

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import CodeType, FrameType

_ACQUIRES = frozenset({"acquire", "__enter__", "__aenter__", "_acquireLock", "acquire_lock"})
# Whoever waits, waits in these, whatever for.
_WAITING = ("threading.py", "contextlib.py", os.path.join("logging", "__init__.py"))
_WAITING_IN = tuple(f"{os.sep}{name}{os.sep}" for name in ("asyncio", "gevent", "eventlet", "anyio"))
_SQLALCHEMY = f"{os.sep}sqlalchemy{os.sep}"  # it has an `asyncio` of its own
_GENERATOR = 0x20  # inspect.CO_GENERATOR, which is not worth an import in every process
_MAX_PLACES = 2_000
_BEFORE_CALL = 8  # instructions between a method's name and its call: its arguments


class LockPlaces:
    """Knows of places in the code whether a lock is taken there; each is looked up once."""

    def __init__(self) -> None:
        self._places: dict[tuple[CodeType, int], bool] = {}
        self._waits: dict[str, bool] = {}  # file -> whether it is one of those in which everybody waits

    def guarded(self, frames: list[FrameType]) -> tuple[CodeType, ...]:
        """The functions that wait for a lock here, innermost first; empty where no lock is waited for."""
        locked = False
        for number, frame in enumerate(frames):
            code = frame.f_code
            file = code.co_filename
            if code.co_name in _ACQUIRES and self._is_waiting(file):
                locked = locked or not file.endswith("contextlib.py")
                continue
            if self._is_waiting(file) and not file.endswith(_WAITING[2]):
                if code.co_name == "wait":  # a condition is waited for by a lock of its own
                    locked = False
                continue
            if not locked and (number or not self._takes_a_lock(code, frame.f_lasti)):
                return ()
            found = [code]
            if code.co_flags & _GENERATOR:  # a context manager: its caller goes on inside of the lock
                found += [one.f_code for one in frames[number + 1 : number + 3]]
            return tuple(found)
        return ()

    def _is_waiting(self, file: str) -> bool:
        known = self._waits.get(file)
        if known is None:
            inside = any(mark in file for mark in _WAITING_IN) and _SQLALCHEMY not in file
            known = self._waits[file] = inside or file.endswith(_WAITING)
        return known

    def _takes_a_lock(self, code: CodeType, lasti: int) -> bool:
        """Whether a call in C at this instruction is `lock.acquire()`, or the start of `with lock:`."""
        place = (code, lasti)
        known = self._places.get(place)
        if known is None:
            if len(self._places) >= _MAX_PLACES:
                self._places.clear()
            known = self._places[place] = _is_lock(code, lasti)
        return known


def instructions_of(stack: list[FrameType], codes: tuple[CodeType, ...]) -> dict[int, int]:
    """Where the innermost frame of each code stands."""
    found: dict[int, int] = {}
    for frame in stack:
        if frame.f_code in codes:
            found.setdefault(id(frame.f_code), frame.f_lasti)
    return found


def add_furthest(found: dict[int, int], stack: list[FrameType]) -> None:
    """Each code of a stack, and the last instruction at which any frame of it was seen."""
    for frame in stack:
        code = id(frame.f_code)
        found[code] = max(found.get(code, -1), frame.f_lasti)


def _is_lock(code: CodeType, lasti: int) -> bool:
    import dis  # noqa: PLC0415  # most services never wait for a lock

    before: list[dis.Instruction] = []
    for instruction in dis.get_instructions(code):
        if instruction.offset == lasti:
            break
        before.append(instruction)
    else:
        return False
    if instruction.opname == "BEFORE_WITH":  # until Python 3.13; its `__enter__` has no frame, so it is in C
        return True
    if not instruction.opname.startswith(("CALL", "PRECALL")):
        return False
    nearest = before[-_BEFORE_CALL:]
    for one in reversed(nearest):
        if one.opname in ("LOAD_METHOD", "LOAD_ATTR"):
            return str(one.argval) in _ACQUIRES
        if one.opname == "LOAD_SPECIAL":  # from Python 3.14 on
            return "__enter__" in one.argrepr
    return False
