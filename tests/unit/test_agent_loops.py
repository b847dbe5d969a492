"""Event loops that something blocks."""

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

from sqlalchemy.util import greenlet_spawn

from rushhour.agent.call_sites import Classifier
from rushhour.agent.catalog import Catalog
from rushhour.agent.loops import LoopWatch
from rushhour.agent.standing import Reader
from tests.unit.standing_subject import DEADLINE_S, WAIT_IN_QUEUE, compiled, until_they_wait
from tests.unit.test_agent_doing import (
    asks_the_server,
)


class LoopThread:
    """A loop in a thread of its own that runs one coroutine after another."""

    def __init__(self, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.stop = threading.Event()
        self.step = step
        self.thread = threading.Thread(target=lambda: asyncio.run(self.run()))

    async def run(self) -> None:
        while not self.stop.is_set():
            await self.step()

    def __enter__(self) -> int:
        self.thread.start()
        until_they_wait(self.thread)
        return self.thread.ident or 0

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join(DEADLINE_S)


def loop_record(step: Callable[[], Coroutine[Any, Any, None]]) -> dict[str, Any]:
    with LoopThread(step) as ident:
        watch = LoopWatch(Classifier(), Reader(Classifier()), {ident})
        watch.threads()
        for _ in range(10):
            watch.read_clocks()
            watch.look(sys._current_frames())
            time.sleep(0.05)
        [record] = watch.take(1.0, Catalog())
    return dict(record)


async def sleeps_in_the_loop() -> None:
    time.sleep(0.4)  # the fault that is looked for


async def queries_in_the_loop() -> None:
    asks_the_server(lambda: time.sleep(0.4))


async def queues_in_the_loop() -> None:
    """As a synchronous session does in a coroutine, when the pool is empty."""
    WAIT_IN_QUEUE(lambda: time.sleep(0.4))


async def sleeps_in_a_greenlet() -> None:
    """As `session.run_sync` and session events do with the service's own code."""
    await greenlet_spawn(lambda: time.sleep(0.4))


async def yields() -> None:
    await asyncio.sleep(0.01)


def test_a_loop_that_a_sleep_or_a_driver_blocks_is_seen_with_its_line() -> None:
    slept, asked = loop_record(sleeps_in_the_loop), loop_record(queries_in_the_loop)
    assert slept["waits"] >= 0.7 * slept["samples"]
    assert slept["at"] is not None
    assert slept["longest"] > 0.1
    assert asked["driver"] >= 0.7 * asked["samples"]
    within = loop_record(sleeps_in_a_greenlet)
    assert within["waits"] >= 0.7 * within["samples"]
    assert within["at"] is not None
    queued = loop_record(queues_in_the_loop)
    assert queued["driver"] >= 0.7 * queued["samples"]


def test_a_loop_that_yields_is_not_blocked() -> None:
    record = loop_record(yields)
    assert record["samples"] == 10
    assert record["blocked"] <= 2


def test_a_thread_that_has_ended_is_no_loop_any_more() -> None:
    watch = LoopWatch(Classifier(), Reader(Classifier()), serving := {123})
    assert watch.threads() == [123]
    watch.look({})
    assert watch.threads() == []
    assert serving == set()


def test_a_loop_within_a_request_is_not_blocked() -> None:
    """As an asynchronous view of Flask does, in a loop of its own."""
    classifier = Classifier()
    classifier.add_framework("/venv/flask/app.py")
    run = compiled("def wsgi_app(run):\n    run()\n", "/venv/flask/app.py", "wsgi_app")
    release = threading.Event()

    async def view() -> None:
        release.wait(DEADLINE_S)  # noqa: ASYNC221,RUF100  # the fault that is looked for

    thread = threading.Thread(target=run, args=(lambda: asyncio.run(view()),))
    thread.start()
    until_they_wait(thread)
    try:
        watch = LoopWatch(classifier, Reader(classifier), {thread.ident or 0})
        watch.threads()
        watch.look(sys._current_frames())
        assert watch.take(1.0, Catalog()) == []
    finally:
        release.set()
        thread.join(DEADLINE_S)
