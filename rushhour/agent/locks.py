"""Detects that a stack waits for a lock, and the functions that the lock guards.

A lock may also be one of a library's or of the service's own that is tried again and again: in a file, in
Redis, in a table. Such a one is known by the name of its class; a function whose name speaks of a lock may
wait for one, or lock a thing elsewhere.
"""

# pathlib would slow the start of every process of the service.
# ruff: noqa: PTH118

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from .call_sites import is_of
from .calls import ENTERS, called_at
from .frames import attributes_of, local_of, variables_of

if TYPE_CHECKING:
    from types import CodeType, FrameType

_ACQUIRES = frozenset({"acquire", "__enter__", "__aenter__", "_acquireLock", "acquire_lock"})
# They wait by a lock of their own: a condition, the end of a thread.
_OTHER_WAITS = frozenset({"wait", "join", "_wait_for_tstate_lock"})
# Every wait goes through these files, whatever it is for.
_WAITING = ("threading.py", "contextlib.py", os.path.join("logging", "__init__.py"))
_WAITING_IN = tuple(f"{os.sep}{name}{os.sep}" for name in ("asyncio", "gevent", "eventlet", "anyio"))
_TRIES = frozenset({"acquire", "_acquire", "do_acquire", "blocking_acquire", *_ACQUIRES})
_LOCK_WORDS = frozenset(
    {"lock", "locked", "rlock", "flock", "filelock", "redlock", "mutex", "semaphore", "exclusive"}
)
_GIVES_BACK = ("release", "unlock")  # a limiter of rates gives nothing back
_WORD = re.compile("[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_MAX_TRYING = 12  # innermost frames in which a lock is tried
_SLEEPING = 3  # innermost frames of which one is the function that sleeps
_GENERATOR = 0x20  # inspect.CO_GENERATOR, which is not worth an import in every process


class LockPlaces:
    """Detects places in the code at which a lock is taken; the results are cached."""

    def __init__(self) -> None:
        self._waits: dict[str, bool] = {}  # file -> whether it is one of those in which everybody waits

    def guarded(self, frames: list[FrameType]) -> tuple[CodeType, ...]:
        """Return the functions that wait for a lock, innermost first; empty if none does."""
        locked = False
        for number, frame in enumerate(frames):
            code = frame.f_code
            file = code.co_filename
            if code.co_name in _ACQUIRES and self._is_waiting(file):
                locked = locked or not file.endswith("contextlib.py")
                continue
            if self._is_waiting(file) and not file.endswith(_WAITING[2]):
                if code.co_name in _OTHER_WAITS:
                    locked = False
                continue
            if not locked and (number or not _takes_a_lock(code, frame.f_lasti)):
                return ()
            if code.co_name in _ACQUIRES and code.co_varnames[:1] == ("self",):
                locked = True  # the lock of a class around it, whose caller goes on inside
                continue
            found = [code]
            if code.co_flags & _GENERATOR:  # a context manager: its caller goes on inside of the lock
                found += [frame.f_code for frame in frames[number + 1 : number + 3]]
            return tuple(found)
        return ()

    def tried(self, frames: list[FrameType]) -> tuple[CodeType, ...]:
        """Return the functions that wait for a lock whose class is called one; empty if none does."""
        for number, frame in enumerate(frames[:_MAX_TRYING]):
            code = frame.f_code
            if is_of("sqlalchemy", code.co_filename):
                break
            if self._is_waiting(code.co_filename):
                continue  # all waits go through the locks of these
            if not _is_method(code) or not _is_a_lock(type(local_of(frame, "self")), code.co_name):
                continue
            outer = frames[number + 1 :]
            while outer and (
                outer[0].f_code.co_name in _TRIES or self._is_waiting(outer[0].f_code.co_filename)
            ):
                outer = outer[1:]
            generator = bool(outer and outer[0].f_code.co_flags & _GENERATOR)
            return tuple(frame.f_code for frame in outer[: 3 if generator else 1])
        return ()

    def may_be_tried(self, frames: list[FrameType]) -> bool:
        """Return whether a function sleeps whose name speaks of a lock: one here, or elsewhere."""
        return sleeps(frames) and any(
            not _is_method(code)
            and not is_of("sqlalchemy", code.co_filename)
            and not self._is_waiting(code.co_filename)
            and not _LOCK_WORDS.isdisjoint(_words(code.co_name))
            for code in (frame.f_code for frame in frames[:_SLEEPING])
        )

    def _is_waiting(self, file: str) -> bool:
        known = self._waits.get(file)
        if known is None:
            inside = any(mark in file for mark in _WAITING_IN) and not is_of("sqlalchemy", file)
            known = self._waits[file] = inside or file.endswith(_WAITING)
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


def locks_of(stack: list[FrameType], *, tries: bool = False) -> frozenset[int]:
    """The addresses of the locks, in Python, that the innermost frames acquire, or try to."""
    names = _TRIES if tries else ("acquire", "__aenter__", "__enter__")
    inner = stack[: _MAX_TRYING if tries else 4]
    found = (local_of(frame, "self") for frame in inner if frame.f_code.co_name in names)
    return frozenset(id(lock) for lock in found if lock is not None)


def has_taken(stack: list[FrameType], guards: dict[int, int], locks: frozenset[int]) -> bool:
    """Whether a stack is behind where a lock is taken, and the function there refers to that very lock."""
    for frame in stack:
        code = frame.f_code
        if frame.f_lasti > guards.get(id(code), frame.f_lasti):
            things = [*variables_of(frame), *attributes_of(local_of(frame, "self")).values()]
            things += [frame.f_globals.get(name) for name in code.co_names]
            if not locks.isdisjoint(id(thing) for thing in things):
                return True
    return False


def sleeps(frames: list[FrameType]) -> bool:
    """Whether a stack, innermost first, sleeps: it may look again later for what it waits for."""
    if not frames:
        return False
    code = frames[0].f_code
    return code.co_name == "sleep" or called_at(code, frames[0].f_lasti) == "sleep"


def _is_a_lock(kind: type, method: str) -> bool:
    """Whether a class whose object is entered, or acquired, is a lock: by its name, and by what it has.

    A pool of connections is acquired from and released to as well.
    """
    if all(_LOCK_WORDS.isdisjoint(_words(base.__name__)) for base in kind.__mro__):
        return False
    return method.startswith("__") or any(name in vars(base) for base in kind.__mro__ for name in _GIVES_BACK)


def _is_method(code: CodeType) -> bool:
    return code.co_name in _TRIES and code.co_varnames[:1] == ("self",)


def _words(name: str) -> set[str]:
    """The words of a name: `wait_for_lock`, `FileLock`; `block` and `clock` are others."""
    return {word.lower() for word in _WORD.findall(name)}


def _takes_a_lock(code: CodeType, lasti: int) -> bool:
    """Whether a call in C at this instruction is `lock.acquire()`, or the start of `with lock:`."""
    called = called_at(code, lasti)
    return called == ENTERS or called in _ACQUIRES
