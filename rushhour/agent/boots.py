"""Detects when a worker's start is over, so that what it took until then is its own for all its life.

A worker of a job runner may open a connection as it starts: in an `initializer`, or in a hook that the runner
calls (`worker_process_init`, `on_startup`, `after_worker_thread_boot`). It uses that for all its jobs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .book import Book, monotonic
from .patches import Patches

if TYPE_CHECKING:
    from types import ModuleType

# Module -> the class of its workers, the method in which one starts, and that in which it runs jobs.
_LOOPS = {
    "billiard.pool": ("Worker", "after_fork", "workloop"),
    "huey.consumer": ("Worker", "initialize", "loop"),
    "celery.concurrency.solo": ("TaskPool", "__init__", "apply_async"),  # in the worker's main thread
}
PROCESSES, DRAMATIQ = "concurrent.futures.process", "dramatiq.worker"
MODULES = (*_LOOPS, PROCESSES, DRAMATIQ)


class BootPatch(Patches):
    """Patches the places where workers start and begin to run jobs, and removes the patches."""

    def __init__(self, book: Book) -> None:
        super().__init__()
        self._book = book

    def apply(self, module: ModuleType) -> None:
        """Patch one of MODULES, which was just imported."""
        name = module.__name__
        if name == PROCESSES:
            self._wrap(module, "_process_worker", self._process)
        elif name == DRAMATIQ:
            thread = getattr(module, "WorkerThread", None) or module._WorkerThread  # as until dramatiq 1
            self._wrap(thread, "run", self._starts)
            self._wrap(thread, "process_message", self._has_started)
        else:
            kind, starts, loops = _LOOPS[name]
            self._wrap(getattr(module, kind), loops, self._has_started)
            self._wrap(getattr(module, kind), starts, self._starts)

    def _process(self, original: Any) -> Any:
        def _process_worker(calls: Any, *rest: Any, **options: Any) -> Any:
            self._set(math.inf, of_its_parent=True)
            return original(_Calls(calls, self), *rest, **options)

        # It is pickled by its name.
        _process_worker.__module__, _process_worker.__qualname__ = original.__module__, original.__qualname__
        return _process_worker

    def _starts(self, original: Any) -> Any:
        def start(worker: Any, *arguments: Any, **options: Any) -> Any:
            self._set(math.inf, of_its_parent=True)
            return original(worker, *arguments, **options)

        return start

    def _has_started(self, original: Any) -> Any:
        def loop(worker: Any, *arguments: Any, **options: Any) -> Any:
            self.has_started()
            return original(worker, *arguments, **options)

        return loop

    def has_started(self) -> None:
        """The worker begins its first job, or waits for it."""
        self._set(monotonic())

    def _set(self, first: float, *, of_its_parent: bool = False) -> None:
        """`of_its_parent`: what the owner says is of the process that was forked."""
        try:
            owner = self._book.owner_of()
            if of_its_parent or owner.first is None or owner.first > first:
                owner.first = first
        except Exception as error:
            self._book.fault("worker", error)


class _Calls:
    """The queue of a process of an executor, which has started when it first asks for an item."""

    def __init__(self, calls: Any, boots: BootPatch) -> None:
        self._calls, self._boots = calls, boots

    def get(self, *arguments: Any, **options: Any) -> Any:
        self._boots.has_started()
        return self._calls.get(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._calls, name)
