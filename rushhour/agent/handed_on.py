"""Decides whether the arguments or the result of a unit of work can hold a connection that is still out.

A job whose arguments and result are plain data cannot hand a connection on; one that returns a session may.
It is looked at where the job ended, in the service's own thread: the sampler must not refer to such objects.
"""

from __future__ import annotations

import gc
import types
import weakref
from collections import deque
from contextvars import Context
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from .coroutines import task_types
from .frames import attributes_of, local_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .owners import Owner

MOST_OBJECTS = 300  # looked at, the nearest first
MOST_MEMBERS = 300  # of one object, plain data among them; of a dictionary so many values, and keys
MOST_OF_ONE = 100  # of a list, tuple, set or dictionary, without plain data
MOST_GIVEN = 8  # arguments of a task that are looked at
NEAR = 3  # steps from an argument or a result to a generator or coroutine that belongs to it
NOT_NEAR = -1

_PLAIN = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    bytearray,
    type,
    types.ModuleType,
    types.CodeType,
)
_RUNNING = (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)  # their frames may hold it
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, *_RUNNING)
_TAKES_SEVERAL = 0x04  # inspect.CO_VARARGS
_CONTAINERS: tuple[Any, ...] = (dict, list, tuple, set, frozenset, deque)
_MARKS = ("Session", "Connection", "Cursor", "Result", "Transaction", "Query")  # in names of SQLAlchemy's
_MIXINS = frozenset({"ConnectionEventsTarget", "_SessionClassMethods"})  # of an engine, of a factory


def carries(*roots: object, near: int = NEAR, selves: bool = True) -> bool:
    """Return whether one of these is or refers to a connection, session or result of SQLAlchemy.

    `near`: in how many steps a generator or coroutine, which may hold one, counts as well; with NOT_NEAR no
    work that goes on counts, nor what it has. `selves`: whether objects count whose methods are among these.
    """
    seen: set[int] = set()
    waiting: deque[tuple[Any, int]] = deque((root, 0) for root in roots)
    while waiting and len(seen) < MOST_OBJECTS:
        found, steps = waiting.popleft()
        kind = type(found)  # not isinstance(), which asks the object itself: a proxy may raise
        if issubclass(kind, _PLAIN) or id(found) in seen:
            continue
        if _is_carrier(kind) or (steps <= near and kind in _RUNNING):
            return True
        seen.add(id(found))
        if near == NOT_NEAR and issubclass(kind, (*_RUNNING, *task_types())):
            continue
        if kind is types.MethodType and not selves:
            found, kind = found.__func__, types.FunctionType
        waiting.extend((other, steps + 1) for other in _referents(found, kind))
    return False


def _is_carrier(kind: type) -> bool:
    """Return whether a class, or one of its bases, is such a class of SQLAlchemy, by its name."""
    return any(
        _is_of_sqlalchemy(base)
        and any(mark in base.__name__ for mark in _MARKS)
        and base.__name__ not in _MIXINS
        for base in kind.__mro__
    )


def _is_of_sqlalchemy(kind: type) -> bool:
    return str(kind.__module__).startswith("sqlalchemy.")


def _referents(found: Any, kind: type) -> Iterable[object]:
    if kind is types.FunctionType:  # not its globals
        return [*(found.__closure__ or ()), *(found.__defaults__ or ())]
    if _is_of_sqlalchemy(kind) or any("_sa_class_manager" in vars(base) for base in kind.__mro__):
        return ()  # an engine, a factory of sessions, a row, an object of the ORM: none of them holds it
    container = next((base for base in _CONTAINERS if issubclass(kind, base)), None)
    if container is None:
        return islice(gc.get_referents(found), MOST_MEMBERS)
    # Its base class's methods run none of the service's code. Listed at once, for another thread may add to
    # it. It may be the attributes of an object, of which most are numbers and texts.
    parts = (dict.values(found), dict.keys(found)) if container is dict else (container.__iter__(found),)
    members = [member for part in parts for member in list(islice(part, MOST_MEMBERS))]
    own = attributes_of(found).values() if kind is not container else ()
    return [*own, *[member for member in members if type(member) not in _PLAIN][:MOST_OF_ONE]]


def watch_result(found: Any, owner: Owner, left_out: Callable[[Owner], bool]) -> None:
    """See at the end of a task or greenlet whether what it returns carries; until it was seen, it may.

    So may what a task was given, or the object whose method it ran: `asyncio.wait_for(unit.start(), 3)`
    leaves a session in `unit`.
    `left_out`: whether an owner has a connection out, without which there is nothing to look for.
    """
    seen_in = partial(_seen_in, owner, left_out)
    owner.result_carries = None
    try:
        if hasattr(found, "add_done_callback"):
            given = _objects_of(found)
            # A context of its own: a copy of this one would keep its values. Not result() nor exception():
            # who asks for these is taken to have seen the error.
            found.add_done_callback(seen_in(lambda task: task._result, given), context=Context())
        elif hasattr(found, "rawlink"):  # gevent's
            found.rawlink(seen_in(lambda greenlet: greenlet.value))
        elif hasattr(found, "link"):  # eventlet's
            found.link(seen_in(lambda thread: thread._exit_event._result))
        else:
            owner.result_carries = False  # a bare greenlet: nobody waits for its result
    except Exception:  # a class of the service's own: its result is not seen
        owner.result_carries = True


def returned_nothing(found: Any) -> bool:
    """Whether a task or greenlet that has ended returned None, or an error: all that the sampler may ask."""
    try:
        return (found._result if hasattr(found, "_result") else found.value) is None
    except BaseException:  # not seen: a class of the service's own answers
        return False


def _objects_of(task: Any) -> list[Callable[[], object]]:
    """Return weak references to what a task's function was given, the object whose method it is included.

    A session is no such object: the connection that it has is known to be its maker's.
    """
    found: list[Callable[[], object]] = []
    try:
        frame = task.get_coro().cr_frame
        code = frame.f_code
        given = [local_of(frame, name) for name in code.co_varnames[: min(code.co_argcount, MOST_GIVEN)]]
        if code.co_flags & _TAKES_SEVERAL:  # as the function of a decorator does
            given += local_of(frame, code.co_varnames[code.co_argcount + code.co_kwonlyargcount])
        for number, thing in enumerate(given[:MOST_GIVEN]):
            kind = type(thing)
            itself = number == 0 and code.co_varnames[0] == "self"
            if kind.__weakrefoffset__ and kind not in _FUNCTIONS and (itself or not _is_carrier(kind)):
                found.append(weakref.ref(thing))
    except Exception:  # not seen
        pass
    return found


def _seen_in(
    owner: Owner,
    left_out: Callable[[Owner], bool],
    result_of: Callable[[Any], object],
    given: Sequence[Callable[[], object]] = (),
) -> Callable[[Any], None]:
    """`given`: what it had in hands. A worker's object has all its jobs' coroutines: they do not count."""

    def ended(found: Any) -> None:
        try:
            owner.result_carries = left_out(owner) and (
                carries(result_of(found)) or carries(*(thing() for thing in given), near=NOT_NEAR)
            )
        except Exception:  # as above
            owner.result_carries = True

    return ended
