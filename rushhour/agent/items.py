"""Items that one owner asks another's thread to run: `concurrent.futures`, anyio, `multiprocessing.pool`.

An item that is given a session or a connection, or returns one, only works for whoever asked: what it leaves
out is in the hands of that owner. Of any other item nothing is known here: when its thread is idle, it has
left behind what is still out (units.py).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .book import Book, monotonic
from .handed_on import carries
from .owners import Owner
from .patches import Patches
from .uses import ASKER, GIVEN, add_holder

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import ContextVar
    from types import ModuleType

    from .book import Request

    Things = tuple[tuple[object, ...], object]  # what an item is given, and what it returns

EXECUTOR, ANYIO, POOL, THREADING = MODULES = (
    "concurrent.futures.thread",
    "anyio._backends._asyncio",  # in whose threads Starlette runs what is not `async`
    "multiprocessing.pool",
    "threading",
)
_OF_THREADS = frozenset(  # attributes of `threading.Thread`, in all versions
    (
        *("_target", "_name", "_args", "_kwargs", "_daemonic", "_ident", "_native_id", "_tstate_lock"),
        *("_started", "_is_stopped", "_initialized", "_stderr", "_invoke_excepthook", "_handle"),
        *("_os_thread_handle", "_context"),
    )
)
SOMEBODY = Owner("somebody", 0)  # an unknown asker, which never ends


class ItemPatch(Patches):
    """Patches the places that run items, and removes the patches."""

    def __init__(self, book: Book, request: ContextVar[Request | None]) -> None:
        super().__init__()
        self._book = book
        self._request = request

    def apply(self, module: ModuleType) -> None:
        """Patch one of MODULES, which was just imported."""
        name = module.__name__
        if name == EXECUTOR:
            self._wrap(module._WorkItem, "__init__", self._asked)
            self._wrap(module._WorkItem, "run", self._run)
        elif name == ANYIO:  # a function of the module until anyio 3
            owner = getattr(module, "AsyncIOBackend", module)
            self._wrap(owner, "run_sync_in_worker_thread", self._to_thread)
        elif name == POOL:
            self._wrap(module, "worker", self._worker)
        elif name == THREADING:
            self._wrap(module.Thread, "start", self._start)
            self._wrap(module.Thread, "_bootstrap_inner", self._in_thread)

    def _asked(self, original: Any) -> Any:
        owner_of, fault = self._book.owner_of, self._book.fault

        def __init__(item: Any, *arguments: Any, **options: Any) -> None:  # noqa: N807  # stands in for it
            original(item, *arguments, **options)
            try:
                item._rushhour_asker = owner_of()
            except Exception as error:
                fault("item", error)

        return __init__

    def _run(self, original: Any) -> Any:
        def run(item: Any, *arguments: Any) -> Any:
            began = self._begin()
            try:
                return original(item, *arguments)
            finally:
                self._end(began, getattr(item, "_rushhour_asker", SOMEBODY), lambda: _things_of(item))

        return run

    def _to_thread(self, original: Any) -> Any:
        owner_of, request, fault = self._book.owner_of, self._request, self._book.fault

        def run_sync_in_worker_thread(function: Any, *rest: Any, **options: Any) -> Any:
            asking = request.get()
            if asking is not None and asking.ended is None:
                return original(self._part_of_a_request(function), *rest, **options)
            try:
                asker = owner_of()
            except Exception as error:
                fault("item", error)
                asker = SOMEBODY

            def item(*arguments: Any) -> Any:
                began, result = self._begin(), None
                try:
                    result = function(*arguments)
                    return result
                finally:
                    self._end(began, asker, lambda: ((function, *arguments), result))

            return original(item, *rest, **options)

        return staticmethod(run_sync_in_worker_thread)

    def _part_of_a_request(self, function: Any) -> Any:
        """The request is the unit of work, unless it ends while this still runs: see readings.py."""
        owner_of, fault = self._book.owner_of, self._book.fault

        def item(*arguments: Any) -> Any:
            owner = None
            try:
                owner = owner_of()
                owner.began = monotonic()
                owner.first = owner.first or owner.began
            except Exception as error:
                fault("item", error)
            try:
                return function(*arguments)
            finally:
                if owner is not None:
                    owner.began = None

        return item

    def _start(self, original: Any) -> Any:
        """Thread.start: a thread that is given a session or connection has it in hands as long as it runs."""
        book = self._book

        def start(thread: Any) -> None:
            try:
                owner = book.owner_of()
                newest = owner.newest
                if newest is not None and newest.returned is None and carries(*_things_of_thread(thread)):
                    thread._rushhour_given = [
                        hold
                        for hold in book.live.copy()
                        if hold.owner is owner and hold.request is newest.request
                    ]
            except Exception as error:
                book.fault("thread", error)
            original(thread)

        return start

    def _in_thread(self, original: Any) -> Any:
        """Thread._bootstrap_inner, which runs in the new thread before `start` returns."""
        book = self._book

        def _bootstrap_inner(thread: Any) -> None:
            try:
                for hold in vars(thread).pop("_rushhour_given", ()):
                    if hold.returned is None:
                        add_holder(hold, GIVEN, book.owner_of())
            except Exception as error:
                book.fault("thread", error)
            original(thread)

        return _bootstrap_inner

    def _worker(self, original: Any) -> Any:
        book = self._book

        def worker(inqueue: Any, outqueue: Any, *rest: Any, **options: Any) -> Any:
            try:
                book.owner_of().first = math.inf  # what its initializer takes is the worker's own
            except Exception as error:
                book.fault("item", error)
            of_process = hasattr(outqueue, "_writer")
            if of_process:  # as it does itself with such queues
                inqueue._writer.close()
                outqueue._reader.close()
            queues = _PoolQueues(inqueue, outqueue, self, of_process)
            return original(queues, queues, *rest, **options)

        worker.__module__, worker.__qualname__ = original.__module__, original.__qualname__  # it is pickled
        return worker

    def _begin(self) -> float:
        began = monotonic()
        try:
            owner = self._book.owner_of()
            owner.newest, owner.began = None, began
            if owner.first is None or owner.first > began:
                owner.first = began
        except Exception as error:
            self._book.fault("item", error)
        return began

    def _end(self, began: float, asker: Owner, things: Callable[[], Things]) -> None:
        """Assign connections that an item left out to its asker, if its arguments or result carry them.

        `things`: those. A job that makes its sessions and keeps them in an object whose method it is, or was
        given to call, hands them to nobody: that object lives on.
        """
        try:
            owner = self._book.owner_of()
            newest, owner.newest, owner.began = owner.newest, None, None
            if newest is None:
                return
            left = [
                hold
                for hold in self._book.live.copy()
                if (hold.owner is owner or (hold.others or {}).get("user") is owner)
                and max(hold.taken, hold.used) >= began
            ]
            if not left:
                return
            made_here = all(getattr(hold, "made_here", False) for hold in left)
            given, result = things()
            if carries(*given, selves=not made_here) or carries(result):
                for hold in left:
                    add_holder(hold, ASKER, asker)
        except Exception as error:
            self._book.fault("item", error)


class _PoolQueues:
    """Both queues of a worker of `multiprocessing.pool`: an item begins and ends in them."""

    def __init__(self, inqueue: Any, outqueue: Any, items: ItemPatch, of_process: bool) -> None:
        self._get, self._put, self._items = inqueue.get, outqueue.put, items
        self._of_process = of_process  # whose results are pickled: they carry nothing
        self._task: Any = None
        self._began = 0.0

    def get(self) -> Any:
        task = self._task = self._get()
        self._began = self._items._begin()
        return task

    def put(self, result: Any) -> None:
        task, self._task = self._task, None
        self._items._end(self._began, SOMEBODY, lambda: ((), None) if self._of_process else ((task,), result))
        self._put(result)


def _things_of(item: Any) -> Things:
    """Return arguments and result of an item of `concurrent.futures` (from Python 3.14 on: `task`)."""
    given = item.task if hasattr(item, "task") else (item.fn, item.args, item.kwargs)
    given = given if isinstance(given, tuple) else (given,)
    return given, getattr(item.future, "_result", None)


def _things_of_thread(thread: Any) -> tuple[object, ...]:
    """Return the arguments of a thread that is about to start, and what its own class keeps in it."""
    has = vars(thread)
    own = [value for name, value in has.items() if name not in _OF_THREADS]
    return (has.get("_target"), has.get("_args"), has.get("_kwargs"), *own)
