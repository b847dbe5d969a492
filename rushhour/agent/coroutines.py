"""Finds the frames in which an asyncio task waits, innermost first.

A task waits in a chain: its coroutine awaits another, down to a future. Under SQLAlchemy's asyncio extension
the chain goes through a greenlet, in which the driver is called, and back into a coroutine. All of it is read
from the sampler's thread. Only attributes that are written in C are read: none of the service's code runs
here, and what is written in another way is not seen.
"""

from __future__ import annotations

import gc
import sys
from itertools import islice
from types import (
    AsyncGeneratorType,
    CellType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
)
from typing import Any

MAX_AWAITS = 100  # a request goes through a dozen middlewares, each a coroutine or two
MAX_CHILDREN = 8  # tasks of one `gather` or task group that are followed
MAX_GENERATIONS = 3  # of tasks that wait for tasks

_ASYNCIO_GREENLET = "_AsyncIoGreenlet"  # SQLAlchemy's, in every version
_METHODS = (MethodType, FunctionType, MethodDescriptorType)
_IN_C = (GetSetDescriptorType, MemberDescriptorType)
_FRAME_AND_NEXT = {
    CoroutineType: ("cr_frame", "cr_await"),
    GeneratorType: ("gi_frame", "gi_yieldfrom"),
    AsyncGeneratorType: ("ag_frame", "ag_await"),
}
# They hide what they wait for; the garbage collector knows it all the same.
_OPAQUE = frozenset(
    {"async_generator_asend", "async_generator_athrow", "anext_awaitable", "coroutine_wrapper", "FutureIter"}
)
# Where a coroutine waits for a task through a future that does not know it.
_GROUPING = (
    "asyncio/tasks.py",
    "asyncio/taskgroups.py",
    "anyio/_backends/_asyncio.py",
)
_SQLALCHEMYS = "sqlalchemy/ext/asyncio/"  # a session is closed in a task of its own, behind a shield
_TASK_GROUPS = ("asyncio.", "anyio.")
_RUNNING = ("cr_running", "gi_running", "ag_running")


class Chain:
    """The frames of a task. `frames`: innermost first; empty if they cannot be read."""

    __slots__ = ("beside", "children", "frames", "running")

    def __init__(self) -> None:
        self.frames: list[FrameType] = []
        self.running = False  # it is not waiting: the rest of its stack is its thread's
        self.children: list[Any] = []  # tasks that it waits for
        self.beside: list[Any] = []  # tasks of groups that it has open, while it waits for something else


def chain_of(task: Any) -> Chain:
    """Return the chain of a task. Never raises."""
    chain = Chain()
    try:
        _follow(_coroutine_of(task), chain)
    except Exception:  # frames that cannot be read are unknown, which is no error
        chain.frames.clear()
        chain.children.clear()
        chain.beside.clear()
    chain.frames.reverse()
    return chain


def entered_by(task: Any) -> set[int]:
    """Return the addresses of what a waiting task has entered, in `async with` blocks it has not left.

    The stack of a suspended coroutine keeps the `__aexit__` of each; from Python 3.14 on as a function, with
    the object that it belongs to behind it. Never raises.
    """
    found: set[int] = set()
    try:
        awaited = None if task is None else _coroutine_of(task)
        for _ in range(MAX_AWAITS):
            names = None if awaited is None else _names_of(type(awaited))
            if names is None:
                break
            _add_entered(awaited, found, MAX_GENERATIONS)
            awaited = getattr(awaited, names[1])
    except Exception:  # what cannot be read is unknown, which is no error
        found.clear()
    return found


def _add_entered(awaited: Any, found: set[int], generations: int) -> None:
    items = gc.get_referents(awaited)
    for item, behind in zip(items, [*items[1:], None], strict=True):
        if type(item) not in _METHODS or item.__name__ not in ("__aexit__", "__exit__"):
            continue
        if type(item) is MethodType:
            entered = item.__self__
        elif any(vars(kind).get(item.__name__) is item for kind in type(behind).__mro__):
            entered = behind
        else:
            continue
        found.add(id(entered))
        inner = getattr(entered, "gen", None)  # contextlib's: what its generator has entered
        if inner is not None and generations:
            _add_entered(inner, found, generations - 1)


def tasks_beside(task: Any, most: int) -> list[Any]:
    """Return at most `most` tasks of the same loop; empty if they cannot be listed."""
    tasks = sys.modules.get("asyncio.tasks")
    try:
        kind = next(kind for kind in task_types() if issubclass(type(task), kind))
        return list(islice(tasks.all_tasks(kind.get_loop(task)), most))  # type: ignore[union-attr]
    except Exception:  # as above; the set of them may change while it is read
        return []


def _coroutine_of(task: Any) -> Any:
    for kind in task_types():
        if issubclass(type(task), kind):
            return kind.get_coro(task)  # not the subclass's own: it may be written in Python
    return None


def task_types() -> list[Any]:
    """Return the C and the Python implementation of tasks."""
    tasks = sys.modules.get("asyncio.tasks")
    found = (getattr(tasks, name, None) for name in ("Task", "_PyTask"))
    return [kind for kind in found if isinstance(kind, type)]


def _follow(awaited: Any, chain: Chain) -> None:
    """Collect the frames, outermost first."""
    for _ in range(MAX_AWAITS):
        if awaited is None:
            return
        kind = type(awaited)
        names = _FRAME_AND_NEXT.get(kind) or _names_of(kind)
        if names is None:
            hidden = gc.get_referents(awaited) if kind.__name__ in _OPAQUE else [awaited]
            chain.children += _tasks_in(hidden)
            awaited = next((referent for referent in hidden if _names_of(type(referent)) is not None), None)
            if awaited is None or chain.children:
                return
            continue
        frame = getattr(awaited, names[0])
        following = getattr(awaited, names[1])
        if type(frame) is FrameType:
            chain.frames.append(frame)
            if len(chain.beside) < MAX_CHILDREN and _opens_a_group(frame.f_code):
                chain.beside += _tasks_in(_variables(awaited))
            if frame.f_code.co_name == "greenlet_spawn":
                _add_greenlet(awaited, chain)
        if following is None:
            chain.running = chain.running or any(getattr(awaited, name, False) is True for name in _RUNNING)
            return
        if type(following) not in _FRAME_AND_NEXT and type(frame) is FrameType and _waits_for_tasks(frame):
            chain.children = _tasks_in(gc.get_referents(awaited))  # the innermost such frame's
        awaited = following


def _names_of(kind: type[Any]) -> tuple[str, str] | None:
    """Which attributes are read; those of another implementation, as Cython's, only where they are in C."""
    known = _FRAME_AND_NEXT.get(kind)
    if known is not None:
        return known
    for names in _FRAME_AND_NEXT.values():
        if all(type(getattr(kind, name, None)) in _IN_C for name in names):
            return names
    return None


def _add_greenlet(awaited: Any, chain: Chain) -> None:
    """The frames of the greenlet that `greenlet_spawn` runs, if this is its coroutine."""
    for found in gc.get_referents(awaited):
        if type(found).__name__ != _ASYNCIO_GREENLET:
            continue
        inner = getattr(found, "gr_frame", None)
        if inner is None and not found.dead:
            chain.running = True
        frames: list[FrameType] = []
        while inner is not None and len(frames) < MAX_AWAITS:
            frames.append(inner)
            inner = inner.f_back
        chain.frames += reversed(frames)
        return


def _variables(awaited: Any) -> list[Any]:
    """What a coroutine refers to, those of its variables included that inner functions use too."""
    found = gc.get_referents(awaited)
    cells = [item for item in found if type(item) is CellType]
    return found + [inner for cell in cells for inner in gc.get_referents(cell)]


def _opens_a_group(code: CodeType) -> bool:
    """`asyncio.TaskGroup()`, `anyio.create_task_group()`, or a helper called after it."""
    return any(name.endswith(("TaskGroup", "task_group")) for name in code.co_names)


def _waits_for_tasks(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    return file.endswith(_GROUPING) or _SQLALCHEMYS in file


def _shielded_by(future: Any) -> list[Any]:
    """Return what `asyncio.shield` waits for, from the callback of its future."""
    return [
        cell.cell_contents
        for callback in gc.get_referents(future)
        if type(callback) is FunctionType and callback.__name__ == "_outer_done_callback"
        for cell in callback.__closure__ or ()
    ]


def _tasks_in(found: list[Any]) -> list[Any]:
    """Return the unfinished tasks among these objects, and those that a `gather` waits for."""
    tasks = sys.modules.get("asyncio.tasks")
    kinds = tuple(
        kind for name in ("Task", "_PyTask") if isinstance(kind := getattr(tasks, name, None), type)
    )
    gathering = getattr(tasks, "_GatheringFuture", None)
    children: list[Any] = []
    for referent in found:
        if gathering is not None and type(referent) is gathering:
            children += [child for child in list(referent._children) if issubclass(type(child), kinds)]
        elif issubclass(type(referent), kinds):
            children.append(referent)
        elif type(referent).__name__ == "Future" and type(referent).__module__ in (
            "_asyncio",
            "asyncio.futures",
        ):
            children += [child for child in _shielded_by(referent) if issubclass(type(child), kinds)]
        elif type(referent).__name__ == "TaskGroup" and type(referent).__module__.startswith(_TASK_GROUPS):
            members = getattr(referent, "_tasks", ())
            children += [child for child in list(members) if issubclass(type(child), kinds)]
    return children[:MAX_CHILDREN]
