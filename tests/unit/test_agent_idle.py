"""Owners that wait for their next unit of work, by the place where they wait."""

import asyncio
import sys
import threading
import weakref
from types import ModuleType
from typing import Any

import pytest

from rushhour.agent.book import Book
from rushhour.agent.call_sites import Classifier
from rushhour.agent.owners import TASK, Owner
from rushhour.agent.units import OWNER_IDLE, Units
from tests.unit.standing_subject import compiled, thread_in
from tests.unit.test_agent_doing import FakePool, a_hold

LIBRARIES = "/srv/venv/lib/python3.11/site-packages"
THREAD_LOOPS = [
    ("cheroot/workers/threadpool.py", "_process_connections_until_interrupted"),
    ("trio/_core/_thread_cache.py", "_work"),
    ("gevent/threadpool.py", "run"),
    ("eventlet/tpool.py", "tworker"),
]


@pytest.mark.parametrize(("file", "function"), THREAD_LOOPS)
@pytest.mark.parametrize("at_work", [False, True])
def test_a_thread_in_the_loop_of_a_library_is_idle(file: str, function: str, at_work: bool) -> None:
    go_on = threading.Event()
    source = f"def {function}(wait):\n    wait(5)\n"
    loop = compiled(source, f"{LIBRARIES}/{file}", function)
    job = compiled("def job(wait):\n    wait()\n", "/srv/app/jobs.py", "job")
    waits = go_on.wait

    with thread_in(lambda: loop((lambda _: job(lambda: waits(5))) if at_work else waits)) as thread:
        hold = a_hold(Book(), FakePool(), None, thread.ident or 0, 1.0)
        units = Units(Classifier())
        units.look([hold], 2.0)
        units.look([hold], 3.0)
        go_on.set()
    assert hold.lost == (None if at_work else OWNER_IDLE)


class Connection:
    """A task of Sanic's that serves a client."""

    def __init__(self) -> None:
        self.receive_more = compiled(
            "async def receive_more(event):\n    await event.wait()\n",
            f"{LIBRARIES}/sanic/server/protocols/base_protocol.py",
            "receive_more",
        )
        self.http1 = compiled(
            "async def http1(wait):\n    await wait()\n", f"{LIBRARIES}/sanic/http/http1.py", "http1"
        )


@pytest.mark.parametrize("at_work", [False, True])
def test_a_task_that_waits_for_the_next_request_of_its_client_is_idle(
    monkeypatch: pytest.MonkeyPatch, at_work: bool
) -> None:
    monkeypatch.setitem(sys.modules, "sanic", ModuleType("sanic"))
    connection = Connection()
    handler = compiled("async def handler(event):\n    await event.wait()\n", "/srv/app/web.py", "handler")

    async def main() -> Any:
        event = asyncio.Event()
        inner = handler if at_work else connection.receive_more
        task = asyncio.create_task(connection.http1(lambda: inner(event)))
        await asyncio.sleep(0)
        hold = a_hold(Book(), FakePool(), None, 0, 1.0)
        hold.owner = Owner(TASK, 0)
        hold.owner.ref = weakref.ref(task)
        units = Units(Classifier())
        units.look([hold], 2.0)
        units.look([hold], 3.0)
        event.set()
        await task
        return hold.lost

    assert asyncio.run(main()) == (None if at_work else OWNER_IDLE)
