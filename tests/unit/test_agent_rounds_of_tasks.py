"""Loops of tasks and callbacks of an event loop, and what an earlier round of them left out."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy.orm import Session

from rushhour.agent.owners import CALLBACKS, TIMERS
from rushhour.agent.rounds import MAX_LOOKS, is_between_callbacks
from rushhour.agent.units import OWNER_IDLE
from rushhour.process.waiting import came_true
from tests.unit.rounds_subject import DEADLINE_S, Take, Taking
from tests.unit.standing_subject import compiled


async def task_leaves_it(items: asyncio.Queue[int], take: Take) -> None:
    while True:
        await items.get()
        session = take()
        session.info["used"] = True


async def task_leaves_it_over_a_generator(items: asyncio.Queue[int], take: Take) -> None:
    async def rounds() -> AsyncIterator[int]:
        while True:
            yield await items.get()

    async for _ in rounds():
        take()


async def task_leaves_it_over_a_stream_of_a_library(items: asyncio.Queue[int], take: Take) -> None:
    stream = compiled(
        "async def stream(items):\n    while True:\n        yield await items.get()\n",
        "/srv/venv/lib/python3.11/site-packages/streams.py",
        "stream",
    )
    async for _ in stream(items):
        take()


async def task_leaves_it_and_asks_through_a_function(items: asyncio.Queue[int], take: Take) -> None:
    async def next_item() -> int:
        return await asyncio.wait_for(items.get(), DEADLINE_S)

    async def does_a_round() -> None:
        item = await next_item()
        take().info["item"] = item

    while True:
        await does_a_round()


async def task_leaves_it_and_asks_at_the_end_of_a_round(items: asyncio.Queue[int], take: Take) -> None:
    item = await items.get()
    while item:
        take().info["item"] = item
        item = await items.get()


async def task_leaves_what_a_stream_of_anyio_gave_it(items: asyncio.Queue[int], take: Take) -> None:
    receive = compiled(
        "async def receive(items):\n    return await items.get()\n",
        "/srv/venv/lib/python3.11/site-packages/anyio/streams/memory.py",
        "receive",
    )
    while True:
        await receive(items)
        take()


async def task_leaves_what_it_popped_from_redis(items: asyncio.Queue[int], take: Take) -> None:
    execute = compiled(
        "async def execute(items):\n    return await items.get()\n",
        "/srv/venv/lib/python3.11/site-packages/redis/asyncio/client.py",
        "execute",
    )

    class Client:
        def blpop(self) -> Any:
            return execute(items)

    client = Client()
    while True:
        await client.blpop()
        take()


async def task_waits_for_an_answer_of_a_library(items: asyncio.Queue[int], take: Take) -> None:
    ask = compiled(
        "async def ask(items):\n    return await items.get()\n",
        "/srv/venv/lib/python3.11/site-packages/rpc.py",
        "ask",
    )
    while True:
        await ask(items)
        take()


async def task_hands_on_the_generator_that_has_it(items: asyncio.Queue[int], take: Take) -> None:
    async def scope() -> AsyncIterator[Session]:
        yield take()

    others = asyncio.Queue[object]()
    while True:
        await items.get()
        generator = scope()
        await anext(generator)
        others.put_nowait(generator)


async def stream_of(items: asyncio.Queue[int]) -> AsyncIterator[int]:
    while True:
        yield await items.get()


async def task_leaves_it_in_a_generator(items: asyncio.Queue[int], take: Take) -> None:
    async def rounds() -> AsyncIterator[int]:
        while True:
            item = await items.get()
            take().info["item"] = item
            yield item

    async for _ in rounds():
        pass


async def task_keeps_each_in_a_comprehension(items: asyncio.Queue[int], take: Take) -> None:
    _ = [take() async for _ in stream_of(items)]


async def task_keeps_each_of_a_generator(items: asyncio.Queue[int], take: Take) -> None:
    async def sessions() -> AsyncIterator[Session]:
        async for _ in stream_of(items):
            yield take()

    batch, asked = [], sessions()
    while True:
        batch.append(await anext(asked))


async def task_keeps_it(items: asyncio.Queue[int], take: Take) -> None:
    session = take()
    while True:
        await items.get()
        session.info["used"] = True


async def task_is_at_work(items: asyncio.Queue[int], take: Take) -> None:
    while True:
        await items.get()
        take()
        await asyncio.sleep(DEADLINE_S)


@pytest.mark.parametrize(
    ("work", "lost"),
    [
        (task_leaves_it, OWNER_IDLE),
        (task_leaves_it_over_a_generator, OWNER_IDLE),
        (task_leaves_it_over_a_stream_of_a_library, OWNER_IDLE),
        (task_leaves_it_and_asks_through_a_function, OWNER_IDLE),
        (task_leaves_it_and_asks_at_the_end_of_a_round, OWNER_IDLE),
        (task_leaves_what_a_stream_of_anyio_gave_it, OWNER_IDLE),
        (task_leaves_what_it_popped_from_redis, OWNER_IDLE),
        (task_waits_for_an_answer_of_a_library, None),
        (task_leaves_it_in_a_generator, OWNER_IDLE),
        (task_hands_on_the_generator_that_has_it, None),
        (task_keeps_each_in_a_comprehension, None),
        (task_keeps_each_of_a_generator, None),
        (task_keeps_it, None),
        (task_is_at_work, None),
    ],
)
def test_the_loop_of_a_task(work: Any, lost: str | None) -> None:
    async def main() -> list[str | None]:
        items, taking = asyncio.Queue[int](), Taking()
        task = asyncio.create_task(work(items, taking))
        try:
            for _ in range(2):
                items.put_nowait(1)
                for _ in range(9):
                    await asyncio.sleep(0)
                said = taking.lost()
            return said
        finally:
            task.cancel()

    assert set(asyncio.run(main())) == {lost}


def test_many_loops_take_turns_until_the_process_ends() -> None:
    many = 2 * MAX_LOOKS + 1

    async def main(final: bool) -> list[int]:
        taking, queues = Taking(), [asyncio.Queue[int]() for _ in range(many)]
        tasks = [asyncio.create_task(task_leaves_it(items, taking)) for items in queues]
        for items in [*queues, *queues]:
            items.put_nowait(1)
        for _ in range(5):
            await asyncio.sleep(0)
        lost = []
        for number in range(2 * many):
            taking.units.look(taking.holds, 99.0 + number, final)
            lost.append(sum(hold.lost == OWNER_IDLE for hold in taking.holds))
        for task in tasks:
            task.cancel()
        return lost

    lost = [0, *asyncio.run(main(final=False))]
    assert max(later - before for before, later in pairwise(lost)) == MAX_LOOKS
    assert lost[-1] == 2 * many
    assert asyncio.run(main(final=True))[0] == 2 * many


@contextmanager
def loop_in_a_thread() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(DEADLINE_S)
        loop.close()


def called_back(
    loop: asyncio.AbstractEventLoop, callback: Callable[[], object], thread: int, *, timed: bool = True
) -> None:
    """Run a callback, by a timer where that is said, and wait until its loop waits for events again."""
    done = threading.Event()

    def run() -> None:
        callback()
        done.set()

    loop.call_soon_threadsafe((lambda: loop.call_later(0.001, run)) if timed else run)
    assert done.wait(DEADLINE_S)
    assert came_true(lambda: is_between_callbacks(sys._current_frames()[thread]), DEADLINE_S, poll_s=0.01)


@pytest.mark.parametrize(
    "what", ["a chain", "a registry's session", "one that is kept", "one for each client"]
)
def test_callbacks_leave_out_what_the_next_one_does_not_use(what: str) -> None:
    taking, threads = Taking(), list[int]()
    timed = what != "one for each client"

    def tick() -> None:
        taking()

    with loop_in_a_thread() as loop:
        loop.call_soon_threadsafe(lambda: threads.append(threading.get_ident()))
        assert came_true(lambda: threads, DEADLINE_S, poll_s=0.01)
        called_back(loop, tick, threads[0], timed=timed)
        first = taking.holds[0]
        first.scoped = True if what == "a registry's session" else None
        taking.lost(3.0)
        assert first.lost is None  # it may be kept for the next one
        if what in ("a chain", "one for each client"):
            called_back(loop, tick, threads[0], timed=timed)
            taking.holds[1].taken = taking.holds[1].used = 5.9
        else:
            called_back(loop, lambda: None, threads[0], timed=timed)
            first.used = 4.0
        taking.lost(6.0)
    assert first.owner.kind == (TIMERS if timed else CALLBACKS)
    assert (first.lost, first.lost_s if first.lost else None) == (
        (OWNER_IDLE, 3.0) if what in ("a chain", "a registry's session") else (None, None)
    )
    assert [hold.lost for hold in taking.holds[1:]] in ([], [None])
