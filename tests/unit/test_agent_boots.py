"""What a worker of a job runner takes as it starts is its own for all its life."""

import math
import pickle
from concurrent.futures import process
from types import ModuleType
from typing import Any

import pytest

from rushhour.agent.book import Book
from rushhour.agent.boots import DRAMATIQ, MODULES, PROCESSES, BootPatch
from rushhour.agent.units import of_its_thread
from tests.unit.test_agent_doing import FakePool, a_hold

LOOPS = {
    "billiard.pool": ("Worker", "after_fork", "workloop"),
    "huey.consumer": ("Worker", "initialize", "loop"),
    "celery.concurrency.solo": ("TaskPool", "__init__", "apply_async"),
}


def took(book: Book, when: float, pool: FakePool) -> Any:
    hold = a_hold(book, pool, None, 0, when)
    hold.owner = book.owner_of()
    return hold


@pytest.mark.parametrize("name", sorted(LOOPS))
def test_the_start_of_a_worker_is_over_when_its_loop_begins(name: str) -> None:
    kind, starts, method = LOOPS[name]
    module, book, pool = ModuleType(name), Book(), FakePool()
    begins: Any = lambda self: own.append(of_its_thread(took(book, 1e12, pool)))  # noqa: E731
    own: list[bool] = []
    worker = type(kind, (), {method: lambda self, number: number, starts: begins})
    setattr(module, kind, worker)
    patch = BootPatch(book)
    patch.apply(module)
    getattr(worker(), starts)()
    assert set(own) == {True}  # while its hooks run, too
    before = took(book, 0.0, pool)
    assert getattr(worker(), method)(3) == 3
    assert of_its_thread(before)
    assert not of_its_thread(took(book, math.inf, pool))
    patch.remove()
    assert getattr(worker, method).__name__ == "<lambda>"


@pytest.mark.parametrize("name", ["WorkerThread", "_WorkerThread"])
def test_a_thread_of_dramatiqs_has_started_when_it_processes_its_first_message(name: str) -> None:
    module, book, pool = ModuleType(DRAMATIQ), Book(), FakePool()

    class Thread:
        def run(self) -> None:
            assert of_its_thread(took(book, 1e12, pool))
            self.process_message("first")

        def process_message(self, message: str) -> None:
            assert not of_its_thread(took(book, 1e12, pool))

    setattr(module, name, Thread)
    BootPatch(book).apply(module)
    Thread().run()
    assert book.faults == {}


def test_a_process_of_an_executor_has_started_when_it_asks_for_its_first_item() -> None:
    book, pool = Book(), FakePool()
    patch = BootPatch(book)

    class Calls:
        def get(self, block: bool) -> None:
            assert block
            assert not of_its_thread(took(book, 1e12, pool))

    patch.apply(process)
    try:
        assert pickle.loads(pickle.dumps(process._process_worker)) is process._process_worker  # noqa: S301
        results = type("Results", (), {"put": lambda self, pid: None})()
        begin = lambda: took_before.append(of_its_thread(took(book, 1e12, pool)))  # noqa: E731
        took_before: list[bool] = []
        process._process_worker(Calls(), results, begin, ())
    finally:
        patch.remove()
    assert took_before == [True]
    assert book.faults == {}


def test_each_place_is_known() -> None:
    assert set(MODULES) == {*LOOPS, DRAMATIQ, PROCESSES}
