"""Owners of connections: threads, greenlets, asyncio tasks and callbacks, each with an object of its own.

The number of a thread, and the address of a task, are used again by later ones; an Owner is not. None of
them is kept alive: a thread's end is seen by its thread-local value, which goes with it, and greenlets and
tasks are known by weak references.
"""

from __future__ import annotations

import _thread
import sys
import time
import weakref
from functools import cache
from typing import TYPE_CHECKING, Any

from .call_sites import AGENT, is_of
from .coroutines import task_types
from .frames import local_of, nothing
from .handed_on import returned_nothing, watch_result

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from .book import Hold

THREAD, GREENLET, TASK = "thread", "greenlet", "task"
# All those of a thread's event loop that no task runs: none of them waits. Timers are those of `call_later`.
CALLBACKS, TIMERS = "callbacks", "timers"

# Their tasks call the application, and return nothing to anybody who would go on with a connection. So do the
# agent's own coroutines, which stand around those of a server.
_SERVERS = ("uvicorn", "hypercorn", "daphne", "sanic")
_ASYNCIO_GREENLET = "_AsyncIoGreenlet"  # SQLAlchemy's: whoever awaits it is the owner
_EVENTLETS_HUB = "eventlet.hubs.asyncio"  # one task of asyncio's switches to all greenlets
_monotonic, _get_ident = time.monotonic, _thread.get_ident  # bound before anything can patch them
_Local: type[Any] = _thread._local  # as above: gevent's would be one for each greenlet


class Owner:
    """A thread, greenlet, task or loop; `ended` (monotonic seconds) is set once its end was detected."""

    __slots__ = (
        *("__weakref__", "began", "ended", "file", "first", "kind", "newest", "ref"),
        *("result_carries", "thread"),
    )

    def __init__(self, kind: str, thread: int) -> None:
        self.kind = kind
        self.thread = thread  # the number of the thread it is, or runs in
        self.ended: float | None = None
        self.ref: Callable[[], Any] = nothing  # weak, to the greenlet or task
        self.file: str | None = None  # of a task: where its coroutine is written; None: not seen
        self.began: float | None = None  # of a thread: since when it runs an item of an executor
        self.first: float | None = None  # when it began its first item; None: it has run none that was seen
        self.newest: Hold | None = None  # the check-out that it took or used last
        # Whether what it returned, or was given, may be, or hold, the connection; None: it was not seen yet.
        self.result_carries: bool | None = False


class _Ref(weakref.ref[Any]):
    """A weak reference to a greenlet or task; what else it has is for the function called at the end."""

    __slots__ = ("key", "known", "owner")

    key: int  # the address
    known: dict[int, Owner]  # in which it stands
    owner: Owner


class _Life:
    """A thread-local value, which is deleted when its thread ends."""

    __slots__ = ("owner",)

    def __init__(self, owner: Owner) -> None:
        self.owner = owner

    def __del__(self) -> None:
        self.owner.ended = _monotonic()
        self.owner.newest = None  # see `_forget`


def task_getters(asyncio: Any) -> tuple[Any, Any]:
    """Return the functions that know the running task of a loop: of C, and from Python 3.14 on, of Python.

    Until Python 3.11 `current_task` is written in Python, around a dictionary that has a method in C.
    """
    by_loop = getattr(
        sys.modules.get("_asyncio"), "_current_tasks", None
    )  # not documented; gone in Python 3.14
    current = by_loop.get if type(by_loop) is dict else asyncio.current_task
    return current, getattr(asyncio.tasks, "_py_current_task", current)


def owner_finder(left_out: Callable[[Owner], bool] = lambda _: True) -> Callable[[], Owner]:
    """Return a function that returns the current owner; it is called at every check-out.

    `left_out`: whether an owner has a connection out.
    """
    local = _Local()
    known: dict[int, Owner] = {}  # by the address of a greenlet or task that lives
    modules = sys.modules
    current_greenlet: Any = None
    running_loop = current_task = current_py_task = None  # type: Any  # asyncio's own, once they are there

    def first_loop() -> Any:
        nonlocal running_loop
        if "_asyncio" not in modules:
            return None
        running_loop = modules["_asyncio"]._get_running_loop
        return running_loop()

    def first_task(loop: Any) -> Any:
        nonlocal current_task, current_py_task
        current_task, current_py_task = task_getters(modules["asyncio"])
        return current_task(loop)

    running_loop, current_task, current_py_task = first_loop, first_task, first_task

    def current() -> Owner:
        nonlocal current_greenlet
        loop = running_loop()
        if loop is not None:
            task = current_task(loop)
            owner = known.get(id(task))
            if owner is not None and owner.ref() is task:
                return owner
            return of_loop(loop, task)
        if current_greenlet is not None or "greenlet" in modules:
            if current_greenlet is None:
                current_greenlet = modules["greenlet"].getcurrent
            running = current_greenlet()
            while running.parent is not None and type(running).__name__ == _ASYNCIO_GREENLET:
                running = running.parent
            if running.parent is not None:  # else: the thread's own stack
                return known_as(running, GREENLET)
        try:
            life: _Life = local.life
        except AttributeError:
            return of_thread()
        return life.owner

    def of_loop(loop: Any, task: Any) -> Owner:
        if _EVENTLETS_HUB in modules and (running := _beside_loop(loop)) is not None:
            return known_as(running, GREENLET) if running.parent is not None else of_thread()
        task = current_py_task(loop) if task is None else task
        return of_callbacks() if task is None else known_as(task, TASK)

    def of_thread() -> Owner:
        try:
            life: _Life = local.life
        except AttributeError:
            life = local.life = _Life(Owner(THREAD, _get_ident()))
            life.owner.ref = _stack_of_thread()
        return life.owner

    def of_callbacks() -> Owner:
        kind = TIMERS if _in_a_timer() else CALLBACKS
        try:
            life: _Life = getattr(local, kind)
        except AttributeError:
            life = _Life(Owner(kind, _get_ident()))
            setattr(local, kind, life)
        return life.owner

    def known_as(found: Any, kind: str) -> Owner:
        owner = known.get(id(found))
        if owner is not None and owner.ref() is found:
            return owner
        return _remember(known, found, kind, left_out) or of_thread()

    return current


def _beside_loop(loop: Any) -> Any:
    """Return the running greenlet if eventlet's hub runs this loop in another one; else None."""
    hub = getattr(sys.modules["eventlet.hubs"]._threadlocal, "hub", None)
    if hub is None or getattr(hub, "loop", None) is not loop:
        return None
    running = sys.modules["greenlet"].getcurrent()
    while running.parent is not None and type(running).__name__ == _ASYNCIO_GREENLET:
        running = running.parent
    return None if running is hub.greenlet else running


def _in_a_timer() -> bool:
    """Whether an event loop calls back what `call_later` or `call_at` has scheduled; False where unknown."""
    run = getattr(getattr(sys.modules.get("asyncio.events"), "Handle", None), "_run", None)
    code = getattr(run, "__code__", None)
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None and type(local_of(frame, "self")).__name__ == "TimerHandle"


def _remember(
    known: dict[int, Owner], found: Any, kind: str, left_out: Callable[[Owner], bool]
) -> Owner | None:
    """A new owner for a greenlet or task, until that is gone; None where nothing can refer to it weakly."""
    owner = Owner(kind, _get_ident())
    try:
        ref = owner.ref = _Ref(found, _forget)
    except TypeError:
        return None
    ref.key, ref.known, ref.owner = id(found), known, owner
    if kind == TASK:
        try:
            owner.file = found.get_coro().cr_code.co_filename
        except Exception:  # it has none
            owner.file = None
    if owner.file is None or not _is_of_a_server(owner.file):
        watch_result(found, owner, left_out)
    known[ref.key] = owner
    return owner


def _forget(ref: _Ref) -> None:
    owner = ref.owner
    del ref.owner  # the two refer to each other, and below: only a collection of garbage would free them
    if owner.ended is None:
        owner.ended = _monotonic()
    owner.newest = None
    if ref.known.get(ref.key) is owner:
        del ref.known[ref.key]


@cache
def _is_of_a_server(file: str) -> bool:
    return file.startswith(AGENT) or any(is_of(name, file) for name in _SERVERS)


def has_ended(owner: Owner, now: float) -> bool:
    """Return whether the thread, greenlet or task has ended; False if that is unknown."""
    if owner.ended is None and owner.kind in (GREENLET, TASK):
        found = owner.ref()
        if found is not None and _is_over(found, owner.kind):
            owner.ended = now
            if owner.result_carries is None and returned_nothing(found):  # its loop has not run since
                owner.result_carries = False
        del found
    return owner.ended is not None


def _is_over(found: Any, kind: str) -> bool:
    """Whether a task is done or a greenlet dead, as its base class says: none of the service's code runs."""
    if kind == TASK:
        if type(found) is getattr(sys.modules.get("asyncio.tasks"), "Task", None):
            return bool(found.done())  # nearly all of them
        base = next((base for base in task_types() if issubclass(type(found), base)), None)
        return base is not None and bool(base.done(found))
    return _of_greenlet("dead", found) is True


def _of_greenlet(name: str, found: Any) -> Any:
    """An attribute of a greenlet, as its base class has it; None where it is none."""
    base = getattr(sys.modules.get("greenlet"), "greenlet", None)
    return getattr(base, name).__get__(found) if base is not None and issubclass(type(found), base) else None


def frame_of(owner: Owner, frames: dict[int, Any]) -> Any:
    """The innermost frame of a thread or of a greenlet that waits; None where it is not seen."""
    if owner.kind == TASK:
        return None
    found = owner.ref()
    frame = _of_greenlet("gr_frame", found)
    if frame is not None:
        return frame
    # A greenlet that is not switched away runs, or its thread waits in it.
    runs = owner.kind == THREAD or _of_greenlet("dead", found) is False
    return frames.get(owner.thread) if runs else None


def _stack_of_thread() -> Callable[[], Any]:
    """A weak reference to the greenlet that is the thread's own stack; another one may run in its place."""
    try:
        found = sys.modules["greenlet"].getcurrent()
        while found.parent is not None:
            found = found.parent
        return weakref.ref(found)
    except Exception:  # nobody uses greenlets
        return nothing
