"""Finds greenlets that wait for work of another greenlet, while that waits in a pool's queue.

gevent hides what a greenlet waits for: its links, and most of its calls, are written in C. What is known is
who would be woken. The queue of a pool knows its greenlets, an event or a result knows who waits for it, and
a greenlet knows who spawned it. So waits are followed from the queue outwards: to whoever joins such a
greenlet, and to whoever waits for something that it has in hands. eventlet is written in Python, and its
greenlets have their results in hands.
"""

# pathlib would slow the start of every process of the service.
# ruff: noqa: PTH118

from __future__ import annotations

import gc
import os
import sys
from collections import deque
from itertools import islice
from types import BuiltinFunctionType, CellType, FrameType, MethodType
from typing import TYPE_CHECKING, Any

from .call_sites import is_of
from .calls import ITERATES, called_at, has_arguments, receiver_of
from .frames import callers_of_sqlalchemy, local_of, stack_of, variables_of
from .hands import ended_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_GREENLETS = 128  # in the queues of pools
MAX_GENERATIONS = 3  # of greenlets that wait for greenlets
MAX_STEPS = 60  # objects that are followed from an event or a result
MAX_MEMBERS = 64  # of a list of greenlets
MAX_FRAMES = 40

_LIBRARIES = ("gevent", "eventlet")
_WAITING = ("threading.py", "queue.py")  # files of the standard library in which a greenlet waits
_STANDARD = {
    "threading": ("Event", "Condition"),
    "queue": ("Queue", "LifoQueue", "PriorityQueue"),
}  # they are Python, and wait for locks of gevent's
_FOLLOWED = frozenset(
    {
        *("Event", "AsyncResult", "Waiter", "MultipleWaiter", "_MultipleWaiter", "ThreadResult"),
        *(
            "Queue",
            "UnboundQueue",
            "SimpleQueue",
            "LifoQueue",
            "PriorityQueue",
            "JoinableQueue",
            "LightQueue",
        ),
        *("Semaphore", "BoundedSemaphore", "CappedSemaphore", "LockType", "Lock"),
    }
)
_LOCKS = ("Semaphore", "Lock")  # in a class's name: who refers to one need not own it
_WAITERS = ("Waiter", "MultipleWaiter", "_MultipleWaiter")  # they refer to their greenlet
_CONTAINERS = (list, tuple, set, frozenset, deque)
_POOL = os.path.join("gevent", "pool.py")
_GREEN_THREAD = os.path.join("eventlet", "greenthread.py")
_MAPS = ("IMap", "IMapUnordered")  # gevent's greenlets that spawn others and pass on their results
_JOINS = frozenset({"join", "joinall", "get", "wait", "iwait", "list", "next", ITERATES})

Stacks = dict[int, list[FrameType]]  # by the address of a greenlet, which is compared within one look only


def is_used() -> bool:
    """Return whether the process uses gevent or eventlet."""
    return any(name in sys.modules for name in _LIBRARIES)


def replaces_threads() -> bool:
    """Return whether gevent or eventlet has patched the standard library: one thread runs every request."""
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    return bool(getattr(gevent, "saved", None) or getattr(eventlet, "already_patched", None))


def in_queues(pools: Iterable[Any]) -> list[Any]:
    """Return the greenlets that wait in the queues of these pools; empty without gevent and eventlet."""
    found: list[Any] = []
    try:
        for pool in pools if is_used() else ():
            condition = getattr(getattr(pool, "_pool", None), "not_empty", None)
            for lock in list(islice(getattr(condition, "_waiters", ()), MAX_GREENLETS)):
                found += woken_by(lock)
    except Exception:  # what changes while it is read is not seen
        return []
    return found[:MAX_GREENLETS]


def waiting_for(workers: Iterable[Any], running: FrameType | None = None, *, serves: bool = False) -> Stacks:
    """Return the greenlets that wait for one of these, each with the stack of who it waits for in the end.

    `running` is the frame of a worker that is not switched away. `serves`: of greenlets that serve a request,
    also those that wait for what a global or an attribute of `self` refers to. Others wait so for work.
    """
    found: Stacks = {}
    ends = {id(worker): stack_of(suspended_at(worker) or running) for worker in workers}
    ahead = list(workers)
    try:
        for _ in range(MAX_GENERATIONS):
            further = []
            for worker in ahead:
                stack = stack_of(suspended_at(worker) or (running if id(worker) in ends else None))
                for asker in _askers(worker, stack, serves):
                    if id(asker) not in found and id(asker) not in ends:
                        found[id(asker)] = found[id(worker)] if id(worker) in found else ends[id(worker)]
                        further.append(asker)
            ahead = further
    except Exception:  # as above
        return {}
    return found


def is_awaited(found: Any, workers: list[Any], waiting: Stacks) -> bool:
    """Return whether a greenlet is one of those that wait, or joins one of the workers by a variable."""
    return id(found) in waiting or joins_one_of(suspended_at(found), workers) is not None


def joins_one_of(frame: FrameType | None, workers: list[Any], *, spawned: bool = False) -> Any:
    """Return which of these greenlets a suspended frame waits for to end; None if it is none.

    `spawned`: it has spawned them, so that they need not be among its variables.
    """
    if frame is None:
        return None
    code = frame.f_code
    if code.co_filename.endswith(_POOL):
        members = getattr(local_of(frame, "self"), "greenlets", ())
        return next((worker for worker in workers if spawned or worker in members), None)
    if called_at(code, frame.f_lasti) not in _JOINS:
        return None
    receiver = receiver_of(frame)
    if _is_followed(type(receiver)):
        return None  # an event or a result: see _in_hands
    if _is_greenlet(receiver) and type(receiver).__name__ not in _MAPS:
        return next((worker for worker in workers if worker is receiver), None)
    variables = [thing for thing in _flat(variables_of(frame)) if _is_greenlet(thing)]
    known = {id(thing) for thing in variables if type(thing).__name__ not in _MAPS}
    return next((worker for worker in workers if id(worker) in known or (spawned and not known)), None)


def is_for_a_greenlet(frame: FrameType) -> bool:
    """Whether a function waits, by a method of gevent's in C, for what another greenlet does."""
    if not is_used() or called_at(frame.f_code, frame.f_lasti) not in (*_JOINS, "acquire", "put"):
        return False
    receiver = receiver_of(frame)
    return _is_followed(type(receiver)) or _is_greenlet(receiver)


def suspended_at(found: Any) -> FrameType | None:
    """Return the frame at which a greenlet is switched away; None if it runs, or has ended."""
    if not _is_greenlet(found):
        return None
    kind = sys.modules["greenlet"].greenlet
    frame: FrameType | None = None if kind.dead.__get__(found) else kind.gr_frame.__get__(found)
    return frame


def woken_by(thing: Any) -> list[Any]:
    """Return the greenlets that an event, a result, a queue or a lock would wake."""
    found: list[Any] = []
    ahead, seen = deque([(thing, False)]), set[int]()  # `True`: what is here is woken itself
    for _ in range(MAX_STEPS):
        if not ahead:
            break
        at, woken = ahead.popleft()
        if id(at) in seen:
            continue
        seen.add(id(at))
        if _is_greenlet(at):
            if woken and not _is_hub(at):
                found.append(at)
        elif type(at) in (BuiltinFunctionType, MethodType):
            ahead.append((at.__self__, at.__name__ in ("switch", "throw")))
        elif type(at) in _CONTAINERS or type(at) is dict:
            members = at.values() if type(at) is dict else at
            ahead.extend((member, woken) for member in list(islice(members, MAX_MEMBERS)))
        elif _is_followed(type(at)):
            woken = type(at).__name__ in _WAITERS or type(at).__module__.startswith("eventlet.")
            ahead.extend((other, woken) for other in gc.get_referents(at))
    return found


def _askers(worker: Any, stack: list[FrameType], serves: bool) -> Iterator[Any]:
    """Yield the greenlets that wait for this one to end, or for what it has in hands."""
    spawner = _spawner(worker)
    joined = joins_one_of(suspended_at(spawner), [worker], spawned=True)
    if type(spawner).__name__ in _MAPS or joined is not None:  # a greenlet that has ended is false
        yield spawner
    codes = {frame.f_code for frame in stack}
    for frame in callers_of_sqlalchemy(stack)[:MAX_FRAMES]:
        for thing, shared in _in_hands(frame, serves):
            for asker in woken_by(thing):
                # Who waits where the other one has yet to come waits for somebody else.
                if asker is worker or _waits_in(asker) in codes or (shared and _gives_up(asker)):
                    continue
                yield asker


def _in_hands(frame: FrameType, serves: bool) -> Iterator[tuple[Any, bool]]:
    """Yield the events, results and queues among the variables of a frame: others may wait for them.

    And whether many refer to it: who waits for such a one with a time-out may only pass the time.
    """
    for thing in _flat(variables_of(frame)):
        kind = type(thing)
        if kind.__module__ == "eventlet.greenthread" and frame.f_code.co_filename.endswith(_GREEN_THREAD):
            yield from ((result, False) for result in _results_of(thing))
        elif _is_event(kind):
            yield thing, False
    for thing, end, variable in ended_by(frame, _is_event):
        if serves or type(end) is not int:
            yield thing, not variable and type(end) is int


def _is_event(kind: type) -> bool:
    return _is_followed(kind) and not any(name in kind.__name__ for name in _LOCKS)


def _results_of(thread: Any) -> Iterator[Any]:
    """Yield what the end of a thread of eventlet's sets off: its own result, and that of its pool."""
    yield vars(thread).get("_exit_event")
    for function, *_ in vars(thread).get("_exit_funcs") or ():
        pool = getattr(function, "__self__", None)
        if type(pool).__module__ == "eventlet.greenpool":
            yield from (vars(pool).get("no_coros_running"), vars(pool).get("sem"))


def _flat(things: Iterable[Any]) -> Iterator[Any]:
    """Yield variables, what inner functions share of them, and the members of lists of them."""
    for thing in things:
        inner = thing.cell_contents if type(thing) is CellType and _is_filled(thing) else thing
        if type(inner) in _CONTAINERS:
            yield from list(islice(inner, MAX_MEMBERS))
        else:
            yield inner


def _is_filled(cell: CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _waits_in(greenlet: Any) -> Any:
    """Return the code of the innermost function of a greenlet that is not a library's wait."""
    for frame in stack_of(suspended_at(greenlet)):
        file = frame.f_code.co_filename
        if not file.endswith(_WAITING) and not any(is_of(name, file) for name in _LIBRARIES):
            return frame.f_code
    return None


def _gives_up(greenlet: Any) -> bool:
    """Return whether a greenlet waits with a time-out, or may do so: in C only the call is seen."""
    for number, frame in enumerate(stack_of(suspended_at(greenlet))):
        file = frame.f_code.co_filename
        if not file.endswith(_WAITING) and not any(is_of(name, file) for name in _LIBRARIES):
            return number == 0 and has_arguments(frame)
        if local_of(frame, "timeout") is not None:
            return True
    return False


def _spawner(worker: Any) -> Any:
    """Return the greenlet that spawned one of gevent's, if it lives."""
    module = sys.modules.get("gevent._gevent_cgreenlet") or sys.modules.get("gevent.greenlet")
    kind = getattr(module, "Greenlet", None)
    if kind is None or not issubclass(type(worker), kind):
        return None
    spawned_by = getattr(kind, "spawning_greenlet", None)
    reference = vars(worker).get("spawning_greenlet") if spawned_by is None else spawned_by.__get__(worker)
    return None if reference is None else reference()


def _is_followed(kind: type) -> bool:
    module = str(kind.__module__)
    if module in _STANDARD:
        return kind.__name__ in _STANDARD[module]
    return module.partition(".")[0] in _LIBRARIES and kind.__name__ in _FOLLOWED


def _is_greenlet(thing: Any) -> bool:
    kind = getattr(sys.modules.get("greenlet"), "greenlet", None)
    return kind is not None and issubclass(type(thing), kind)


def _is_hub(greenlet: Any) -> bool:
    return type(greenlet).__name__ == "Hub"
