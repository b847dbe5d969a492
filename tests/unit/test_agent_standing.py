"""What a task, a greenlet or a thread does that holds a connection."""

import asyncio
import gc
import threading
import weakref
from typing import Any

import greenlet
import pytest
from sqlalchemy.util import concurrency

from rushhour.agent.book import Book
from rushhour.agent.call_sites import Classifier
from rushhour.agent.catalog import Catalog
from rushhour.agent.coroutines import chain_of
from rushhour.agent.doing import MAX_LOOKS, Doing
from rushhour.agent.looks import UNSEEN
from rushhour.agent.owners import GREENLET, TASK, Owner
from rushhour.agent.standing import DRIVER, ELSEWHERE, Reader
from tests.unit.standing_subject import DEADLINE_S, an_owner, compiled, counts_of, during, functions, pauses
from tests.unit.test_agent_doing import (
    SQLALCHEMY,
    FakePool,
    a_hold,
    a_waiting_thread,
    asks_the_server,
)


async def parts() -> Any:
    await pauses()
    yield 1


async def reads_parts() -> None:
    async for _ in parts():
        pass


class Custom:
    """An awaitable that is written in Python."""

    def __await__(self) -> Any:
        yield from pauses().__await__()


async def awaits_custom() -> None:
    await Custom()


@pytest.mark.parametrize(
    ("work", "inner"),
    [
        (pauses, ["sleep", "pauses"]),
        (reads_parts, ["sleep", "pauses", "parts", "reads_parts"]),
        (awaits_custom, ["sleep", "pauses", "__await__", "awaits_custom"]),
    ],
)
def test_the_chain_of_a_task_leads_to_where_it_waits(work: Any, inner: list[str]) -> None:
    during(work, lambda task: check(functions(task)[: len(inner)] == inner))


def check(holds: bool) -> None:
    assert holds


async def wait_bounded() -> None:
    await asyncio.wait_for(pauses(), DEADLINE_S)


async def wait_for_several() -> None:
    await asyncio.gather(pauses(), reads_parts())


async def wait_in_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(pauses())


async def wait_for_a_task() -> None:
    await asyncio.create_task(pauses())


async def wait_shielded() -> None:
    await asyncio.shield(pauses())


@pytest.mark.parametrize(
    "work", [wait_bounded, wait_for_several, wait_in_a_group, wait_for_a_task, wait_shielded]
)
def test_tasks_that_a_task_waits_for_are_followed(work: Any) -> None:
    def look(task: Any) -> None:
        chain = chain_of(task)
        inside = {name for child in chain.children for name in functions(child)}
        assert "pauses" in inside or "pauses" in functions(task)

    during(work, look)


def test_the_driver_is_seen_through_the_greenlet_in_which_sqlalchemy_calls_it() -> None:
    await_driver = compiled(
        "def do_execute(wait):\n    return await_(wait())\n",
        f"{SQLALCHEMY}engine/default.py",
        "do_execute",
        await_=concurrency.await_,
    )
    execute = compiled(
        "async def place_order():\n    await spawn(do_execute, pauses)\n",
        "/srv/app/orders.py",
        "place_order",
        spawn=concurrency.greenlet_spawn,
        do_execute=await_driver,
        pauses=pauses,
    )

    def look(task: Any) -> None:
        found = Reader(Classifier()).read(chain_of(task).frames)
        assert found.what == DRIVER
        assert found.site is not None
        assert (found.site.file, found.site.function) == ("/srv/app/orders.py", "place_order")

    during(execute, look)


def test_a_task_that_runs_is_read_from_its_thread() -> None:
    """Its coroutine calls something that blocks, so nothing is awaited."""
    release, inside, tasks = threading.Event(), threading.Event(), list[Any]()

    def block() -> None:
        inside.set()
        release.wait(DEADLINE_S)

    async def main() -> None:
        tasks.append(asyncio.current_task())
        asks_the_server(block)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert inside.wait(DEADLINE_S)
    try:
        book = Book()
        hold = a_hold(book, FakePool(), None, 0, 1.0)
        hold.owner = an_owner(tasks[0])
        assert thread.ident is not None
        hold.owner.thread = thread.ident
        assert counts_of([hold])[DRIVER] == 1
    finally:
        release.set()
        thread.join(DEADLINE_S)


class OwnTask:
    """Not a task of asyncio's; its attributes would run code of the service."""

    @property
    def get_coro(self) -> Any:
        raise AssertionError("a look ran code of the service")


class TaskWithoutCoroutine(asyncio.Task[None]):
    """Hides what it runs."""

    def get_coro(self) -> Any:
        raise AssertionError("a look ran code of the service")


class FakeCoroutine:
    """Looks like a coroutine, and is written in Python."""

    @property
    def cr_await(self) -> Any:
        raise AssertionError("a look ran code of the service")

    cr_frame = cr_await


def test_what_cannot_be_read_is_not_seen_and_no_code_of_the_service_runs() -> None:
    assert chain_of(OwnTask()).frames == []
    assert chain_of(None).frames == []

    async def main() -> None:
        task = TaskWithoutCoroutine(pauses())
        await asyncio.sleep(0)
        assert functions(task) == ["sleep", "pauses"]  # by asyncio's own method
        task.cancel()

        class Iterates:
            def __await__(self) -> Any:
                return iter([None])

        async def awaits() -> None:
            await Iterates()

        lonely = asyncio.create_task(awaits())
        await asyncio.sleep(0)
        assert functions(lonely) in (["awaits"], [])
        done = asyncio.create_task(asyncio.sleep(0))
        await done
        assert chain_of(done).frames == []
        closed = pauses()
        closed.close()

    asyncio.run(main())
    hold = a_hold(Book(), FakePool(), None, 0, 1.0)
    kept = OwnTask()
    hold.owner = an_owner(kept)
    assert counts_of([hold])[UNSEEN] == 1
    hold.owner.ref = FakeCoroutine
    assert counts_of([hold])[UNSEEN] == 1


def test_an_owner_that_is_gone_is_not_seen() -> None:
    hold = a_hold(Book(), FakePool(), None, 0, 1.0)
    hold.owner = Owner(TASK, threading.get_ident())
    ended = greenlet.greenlet(lambda: None)
    ended.switch()
    other = a_hold(Book(), FakePool(), None, 0, 1.0)
    other.owner = an_owner(ended, GREENLET)
    assert counts_of([hold, other])[UNSEEN] == 2


def test_a_later_thread_with_the_number_of_an_ended_one_is_not_its_owner() -> None:
    with a_waiting_thread(asks_the_server) as ident:
        hold = a_hold(Book(), FakePool(), None, ident, 1.0)
        assert counts_of([hold])[DRIVER] == 1
        hold.owner.ended = 1.5
        assert counts_of([hold])[UNSEEN] == 1


def test_no_look_keeps_a_task_or_its_locals_alive() -> None:
    class Local:
        pass

    seen: list[weakref.ref[Any]] = []

    async def work() -> None:
        local = Local()
        seen.append(weakref.ref(local))
        await concurrency.greenlet_spawn(lambda: concurrency.await_(asyncio.sleep(0.05)))

    async def main() -> None:
        task = asyncio.create_task(work())
        seen.append(weakref.ref(task))
        await asyncio.sleep(0.01)
        hold = a_hold(Book(), FakePool(), None, 0, 1.0)
        hold.owner = an_owner(task)
        doing = Doing(Classifier(), Catalog())
        for _ in range(3):
            doing.tick([hold], {hold: 1})
        await task
        del task
        await asyncio.sleep(0)
        assert [one() for one in seen] == [None, None]

    gc.disable()  # nothing may wait for it
    try:
        asyncio.run(main())
    finally:
        gc.enable()


def test_greenlets_are_read_where_they_wait() -> None:
    main = greenlet.getcurrent()
    wait = compiled("def more(back):\n    back.switch()\n", "/srv/app/partner.py", "more")
    waiting = greenlet.greenlet(wait)
    waiting.switch(main)
    hold = a_hold(Book(), FakePool(), None, 0, 1.0)
    hold.owner = an_owner(waiting, GREENLET)
    doing = Doing(Classifier(), catalog := Catalog())
    doing.tick([hold], {hold: 1})
    [told] = [record for record in doing.take(2.0) if record["k"] == "doing"]
    assert told[ELSEWHERE] == 1
    lines = {record["id"]: record["function"] for record in catalog.take() if record["k"] == "line"}
    [[what, _, seen, count]] = told["places"]
    assert (what, lines[seen], count) == (ELSEWHERE, "more", 1)
    waiting.switch()


def test_greenlets_that_are_switched_while_they_are_looked_at_raise_nothing() -> None:
    stop, faults = threading.Event(), list[BaseException]()
    started, owners = threading.Event(), list[Owner]()

    def switching() -> None:
        hub = greenlet.getcurrent()

        def work() -> None:
            while not stop.is_set():
                hub.switch()

        greenlets = [greenlet.greenlet(work) for _ in range(5)]
        owners.extend(an_owner(switched, GREENLET) for switched in greenlets)
        for owner in owners:
            owner.thread = threading.get_ident()
        started.set()
        while not stop.is_set():
            for switched in greenlets:
                switched.switch()
        for switched in greenlets:
            switched.switch()

    thread = threading.Thread(target=switching)
    thread.start()
    assert started.wait(DEADLINE_S)
    holds = []
    for owner in owners:
        hold = a_hold(Book(), FakePool(), None, 0, 1.0)
        hold.owner = owner
        holds.append(hold)
    doing = Doing(Classifier(), Catalog())
    try:
        for _ in range(200):
            doing.tick(holds, dict.fromkeys(holds, 1))
    except Exception as error:  # noqa: BLE001  # any of them would be one too many
        faults.append(error)
    finally:
        stop.set()
        thread.join(DEADLINE_S)
    assert faults == []


def test_many_holds_take_turns() -> None:
    book, pool = Book(), FakePool()
    with a_waiting_thread() as ident:
        holds = [a_hold(book, pool, None, ident, 1.0) for _ in range(3 * MAX_LOOKS)]
        doing = Doing(Classifier(), Catalog())
        for _ in range(3):
            doing.tick(holds, {hold: number for number, hold in enumerate(holds)})
        seen = [record for record in doing.take(2.0) if record["k"] == "seen"]
    assert len(seen) == 3 * MAX_LOOKS
