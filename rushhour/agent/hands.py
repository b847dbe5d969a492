"""Finds who waits for an event, a future or a queue that another thread or task has among its variables.

A helper that takes its work from a queue is not joined: it sets an event, or a future, when it is done. Who
waits for that waits for the helper, and while the helper waits in a pool's queue, for a connection.

Many refer to an event that is global, or an attribute of `self`: of those only whoever has a function on
its stack that is yet to set it has it in hands; and who waits for it with a time-out may only pass the time.
Who waits to put something into a full queue waits for who takes from it.
"""

# pathlib would slow the start of every process of the service.
# ruff: noqa: PTH118

from __future__ import annotations

import os
from collections import deque
from itertools import islice
from types import CellType, ModuleType
from typing import TYPE_CHECKING, Any

from .calls import called_at, has_arguments, methods_named, receiver_of
from .frames import attributes_of, callers_of_sqlalchemy, local_of, named_variables_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import CodeType, FrameType

MAX_WAITING = 16  # innermost frames in which a library waits
MAX_FRAMES = 40
MAX_KNOWN = 500  # functions that were seen to end a wait
MAX_MEMBERS = 64  # of a list, or of an object's attributes
MAX_ITEMS = 16  # of a list, whose attributes are looked at as well

Thing = int | tuple[str, int]  # an address, and the wait for which that is not enough

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
_NAMES = frozenset(name for names in _KINDS.values() for name in names)
_PUTS = ("put", "put_nowait")
# What others wait for -> what is called of it to end their wait.
_ANSWERS = {
    "Event": ("set",),
    "Condition": ("notify", "notify_all"),
    "Future": ("set_result", "set_exception"),
    "AsyncResult": ("set", "set_exception"),
    **dict.fromkeys(("Queue", "LifoQueue", "PriorityQueue", "SimpleQueue", "JoinableQueue"), _PUTS),
}
# The waits for somebody else to take from a queue, and for all that was taken to be done.
_TAKES = {"put": ("get", "get_nowait"), "join": ("task_done",)}
_ANSWERING = frozenset(verb for verbs in _ANSWERS.values() for verb in verbs)
_TAKING = frozenset(verb for verbs in _TAKES.values() for verb in verbs)
VERBS = _ANSWERING | _TAKING
_ONCE = ("Event", "Future", "AsyncResult")  # whoever waits for one of these waits for who sets it
_PLAIN = frozenset((str, int, float, bool, bytes, dict, type(None)))  # refer to nothing that is looked at
_CONTAINERS = (list, tuple, set, frozenset, deque)
# File and function of a wait; `self` is what is waited for.
_WAITS = {
    f"{os.sep}threading.py": ("wait",),
    f"{os.sep}queue.py": ("get", "put", "join"),
    os.path.join("concurrent", "futures", "_base.py"): ("result", "exception"),
    os.path.join("asyncio", "locks.py"): ("wait",),
    os.path.join("asyncio", "queues.py"): ("get",),
}
_LIBRARIES = (*_WAITS, os.path.join("asyncio", "tasks.py"), os.path.join("asyncio", "timeouts.py"))


class Hands:
    """What a stack in the queue of a pool has among its variables, by address: compared within one look."""

    __slots__ = ("_known", "_looked_for", "at", "ends", "looks_ahead", "near", "own", "shared", "stack")

    def __init__(self, stack: list[FrameType], known: set[CodeType] | None = None) -> None:
        self.stack = stack
        self._known = set() if known is None else known  # functions that were seen to end a wait
        self.looks_ahead = True  # at what its functions will call, which costs most
        self._looked_for: set[frozenset[str]] = set()
        self.at: dict[CodeType, int] = {}  # its functions, and how far each has come
        self.near: set[Thing] = set()
        self.ends: set[Thing] = set()  # those that its functions call the end of
        self.own: set[Thing] = set()  # of these, those that happen once, and that a variable refers to
        self.shared: set[Thing] = set()  # of these, those that a global or an attribute of `self` refers to
        for frame in stack:
            self.at[frame.f_code] = max(frame.f_lasti, self.at.get(frame.f_code, -1))
        try:
            seen = set[int]()
            for frame in callers_of_sqlalchemy(stack)[:MAX_FRAMES]:
                self.near.update(id(thing) for thing in _flat(frame, seen) if is_handed(type(thing)))
        except Exception:  # what changes while it is read is not seen
            self.near = set()

    def _look_ahead(self, verbs: frozenset[str]) -> None:
        """Find what its functions will end by these methods, once each."""
        if not self.looks_ahead or verbs in self._looked_for:
            return
        self._looked_for.add(verbs)
        try:
            for frame in callers_of_sqlalchemy(self.stack)[:MAX_FRAMES]:
                for thing, end, variable in ended_by(frame, is_handed, verbs):
                    self.ends.add(end)
                    if len(self._known) < MAX_KNOWN:
                        self._known.add(frame.f_code)
                    if not variable and type(end) is int:
                        self.shared.add(end)
                    elif type(thing).__name__ in _ONCE:
                        self.own.add(end)
        except Exception:  # as above
            self.ends, self.own, self.shared = set(), set(), set()

    @property
    def is_known(self) -> bool:
        """Whether one of its functions was seen to end a wait."""
        return not self._known.isdisjoint(self.at)

    @property
    def may_end(self) -> bool:
        """Whether its functions call anything of a name that ends a wait."""
        return any(not VERBS.isdisjoint(code.co_names) for code in self.at)

    def are_awaited(
        self,
        things: set[Thing],
        waiter: tuple[CodeType, int] | None,
        bounded: bool = False,
        *,
        serves: bool,
    ) -> bool:
        """Return whether who waits for these things, in this function, waits for this stack.

        A stack that has yet to come to the same wait is that of another one who will wait, unless it made
        what it will set. `serves`: a request waits. Who serves none may wait for its next item. `bounded`:
        with a time-out; an event that many refer to may then be one that ends a pause early.
        """
        code, at = waiter or (None, 0)
        passes = code is None or code not in self.at
        if passes and not self.near.isdisjoint(things):
            return True
        self._look_ahead(_ANSWERING)
        if any(type(thing) is not int for thing in things):
            self._look_ahead(_TAKING)
        ends = self.ends if serves and not bounded else self.ends - self.shared
        if code is None or passes:
            return not ends.isdisjoint(things)
        return not (ends if self.at[code] > at else self.own).isdisjoint(things)


def awaited_things(
    stack: list[FrameType], futures: Iterable[Any]
) -> tuple[set[Thing], tuple[CodeType, int] | None, bool]:
    """Return what a stack, innermost first, and its task wait for, in which function, and if bounded."""
    bounded = False
    found: set[Thing] = {id(future) for future in futures if is_handed(type(future))}
    waiter: tuple[CodeType, int] | None = None
    try:
        for number, frame in enumerate(stack[:MAX_WAITING]):
            code = frame.f_code
            names = next((names for file, names in _WAITS.items() if code.co_filename.endswith(file)), ())
            if code.co_filename.endswith(_LIBRARIES):
                bounded = bounded or local_of(frame, "timeout") is not None
            if code.co_name in names:
                found.add(_wait_for(local_of(frame, "self"), code.co_name))
            elif not code.co_filename.endswith(_LIBRARIES):
                waiter = (code, frame.f_lasti)
                receiver = None if number else receiver_of(frame)
                if is_handed(type(receiver)):
                    found.add(_wait_for(receiver, called_at(code, frame.f_lasti)))
                    bounded = bounded or has_arguments(frame)
                break
    except Exception:  # as above
        return set(), None, False
    return found, waiter, bounded


def _wait_for(thing: Any, function: str | None) -> Thing:
    return (function, id(thing)) if function in _TAKES else id(thing)


def ended_by(
    frame: FrameType, waited_for: Callable[[type], bool], verbs: frozenset[str] = VERBS
) -> Iterator[tuple[Any, Thing, bool]]:
    """Yield the things whose wait a function ends: what it sets, puts something into, or takes from.

    With what is waited for of them, and whether a variable of the function refers to them.
    """
    for thing, verb, name in methods_named(frame, verbs):
        if waited_for(type(thing)):
            code = frame.f_code
            variable = name != "self" and name in (*code.co_varnames, *code.co_cellvars, *code.co_freevars)
            if verb in _ANSWERS.get(type(thing).__name__, ()):
                yield thing, id(thing), variable
            for wait, takes in _TAKES.items():
                if verb in takes:
                    yield thing, (wait, id(thing)), variable


def is_handed(kind: type) -> bool:
    """Return whether others wait for what an object of this class will say."""
    return kind.__name__ in _NAMES and kind.__name__ in _KINDS.get(str(kind.__module__), ())


def _flat(frame: FrameType, seen: set[int]) -> Iterator[Any]:
    """Yield the variables of a frame, the members of its lists, and the attributes of its objects.

    Those that were seen in frames further in are left out: most functions pass on what they were given.
    """
    named = named_variables_of(frame)
    itself = named.get("self")  # others have it, too
    for thing in named.values():
        if type(thing) in _PLAIN or (thing is not itself and id(thing) in seen):
            continue
        if thing is not itself:
            seen.add(id(thing))
        inner = _content(thing) if type(thing) is CellType else thing
        if type(inner) in _CONTAINERS:
            yield from _of_items(list(islice(inner, MAX_MEMBERS)))
        elif is_handed(type(inner)):
            yield inner
        elif inner is not itself and not issubclass(type(inner), (type, ModuleType)):
            yield from list(islice(attributes_of(inner).values(), MAX_MEMBERS))


def _of_items(items: list[Any]) -> Iterator[Any]:
    """Yield the members of a list, and what the first of them are made of: as in a list of jobs."""
    yield from items
    for item in items[:MAX_ITEMS]:
        if type(item) in _CONTAINERS:
            yield from list(islice(item, MAX_MEMBERS))
        elif not is_handed(type(item)) and not issubclass(type(item), (type, ModuleType)):
            yield from list(islice(attributes_of(item).values(), MAX_MEMBERS))


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty
        return None
