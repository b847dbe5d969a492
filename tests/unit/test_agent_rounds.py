"""Loops of the service's own that wait for their next item, and what an earlier round of them left out."""

import asyncio
import queue
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy.orm import Session

from rushhour.agent.book import Hold
from rushhour.agent.call_sites import Classifier, Site, Stack
from rushhour.agent.calls import comes_round, variables_read
from rushhour.agent.frames import stack_of
from rushhour.agent.owners import CALLBACKS, owner_finder
from rushhour.agent.rounds import MAX_LOOKS, is_between_callbacks
from rushhour.agent.units import OWNER_IDLE, Units
from tests.unit.standing_subject import compiled

DEADLINE_S = 10
Take = Callable[[], Session]
ALL_KEPT: list[Session] = []  # by nobody who would use them again


def leaves_it(items: Any, take: Take) -> None:
    while True:
        items.get()
        session = take()
        session.info["used"] = True


def leaves_it_further_in(items: Any, take: Take) -> None:
    def handle() -> None:
        take()

    for _ in iter(items.get, None):
        handle()


def leaves_it_while_it_names_its_items(items: Any, take: Take) -> None:
    while (item := items.get()) is not None:
        session = take()
        session.info["item"] = item


def leaves_it_over_a_generator(items: Any, take: Take) -> None:
    def rounds() -> Iterator[int]:
        while True:
            yield items.get()

    for _ in rounds():
        take()


def keeps_it_in_a_variable(items: Any, take: Take) -> None:
    session = None
    while True:
        items.get()
        if session is None:
            session = take()
        session.info["used"] = True


def keeps_it_in_an_object(items: Any, take: Take) -> None:
    class Own:
        sessions: dict[int, Session]

    own = Own()
    own.sessions = {}
    while True:
        number = items.get()
        if number not in own.sessions:
            own.sessions[number] = take()


def took_it_before_its_loop(items: Any, take: Take) -> None:
    take()
    while True:
        items.get()


def waits_within_a_round(items: Any, take: Take) -> None:
    while True:
        take()
        items.get()


def waits_for_results(items: Any, take: Take) -> None:
    take()
    for _ in range(3):
        items.get()


def asks_another_for_an_answer(items: Any, take: Take) -> None:
    ask = compiled(
        "def ask(items):\n    return items.get()\n", "/srv/venv/lib/python3.11/site-packages/rpc.py", "ask"
    )
    while True:
        ask(items)
        take()


LEFT = (
    leaves_it,
    leaves_it_further_in,
    leaves_it_while_it_names_its_items,
    leaves_it_over_a_generator,
)
KEPT = (
    keeps_it_in_a_variable,
    keeps_it_in_an_object,
    took_it_before_its_loop,
    waits_within_a_round,
    waits_for_results,
    asks_another_for_an_answer,
)


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


class Taking:
    """Stands in for the pool: what is called by the loop, and the holds that it made."""

    def __init__(self) -> None:
        self.holds: list[Hold] = []
        self._stacks: dict[object, Stack] = {}  # one for each place, as in the agent
        self._owner_of = owner_finder()

    def __call__(self) -> Session:
        frames = stack_of(sys._getframe(1))[:3]
        hold = Hold()
        hold.owner, hold.taken, hold.used = self._owner_of(), 1.0, 1.0
        hold.request = hold.lost = hold.others = hold.scoped = hold.returned = None
        codes, lines = tuple(frame.f_code for frame in frames), tuple(frame.f_lineno for frame in frames)
        sites = (Site(code.co_filename, line, code.co_name) for code, line in zip(codes, lines, strict=True))
        hold.stack = self._stacks.setdefault((codes, lines), Stack(tuple(sites), codes))
        self.holds.append(hold)
        ALL_KEPT.append(Session())
        return ALL_KEPT[-1]

    def lost(self) -> list[str | None]:
        Units(Classifier()).look(self.holds, 3.0)
        return [hold.lost for hold in self.holds]


def of_a_thread(work: Any) -> list[str | None]:
    """What is said of the holds of a thread that waits again after its first item."""
    items, taking = queue.Queue[int](), Taking()
    threading.Thread(target=work, args=(items, taking), daemon=True).start()
    items.put(1)
    deadline = time.monotonic() + DEADLINE_S
    while not (taking.holds and not items.queue and items.not_empty._waiters):  # type: ignore[attr-defined]  # not in its stubs
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return taking.lost()


@pytest.mark.parametrize("work", LEFT)
def test_what_an_earlier_round_left_out_has_leaked(work: Any) -> None:
    assert of_a_thread(work) == [OWNER_IDLE]


@pytest.mark.parametrize("work", KEPT)
def test_what_a_loop_may_yet_use_has_not(work: Any) -> None:
    assert set(of_a_thread(work)) == {None}


@pytest.mark.parametrize(
    ("work", "lost"),
    [
        (task_leaves_it, OWNER_IDLE),
        (task_leaves_it_over_a_generator, OWNER_IDLE),
        (task_leaves_it_over_a_stream_of_a_library, OWNER_IDLE),
        (task_keeps_it, None),
        (task_is_at_work, None),
    ],
)
def test_the_loop_of_a_task(work: Any, lost: str | None) -> None:
    async def main() -> list[str | None]:
        items, taking = asyncio.Queue[int](), Taking()
        task = asyncio.create_task(work(items, taking))
        items.put_nowait(1)
        for _ in range(5):
            await asyncio.sleep(0)
        try:
            return taking.lost()
        finally:
            task.cancel()

    assert asyncio.run(main()) == [lost]


def test_many_loops_take_turns_until_the_process_ends() -> None:
    many = 2 * MAX_LOOKS + 1

    async def main(final: bool) -> list[int]:
        items, taking, units = asyncio.Queue[int](), Taking(), Units(Classifier())
        tasks = [asyncio.create_task(task_leaves_it(items, taking)) for _ in range(many)]
        for _ in range(many):
            items.put_nowait(1)
            await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)
        lost = []
        for number in range(3):
            units.look(taking.holds, 3.0 + number, final)
            lost.append(sum(hold.lost == OWNER_IDLE for hold in taking.holds))
        for task in tasks:
            task.cancel()
        return lost

    assert asyncio.run(main(final=False)) == [MAX_LOOKS, 2 * MAX_LOOKS, many]
    assert asyncio.run(main(final=True))[0] == many


def test_a_connection_that_was_used_a_moment_ago_is_not_lost_yet() -> None:
    items, taking = queue.Queue[int](), Taking()
    threading.Thread(target=leaves_it, args=(items, taking), daemon=True).start()
    items.put(1)
    while not (taking.holds and items.not_empty._waiters):  # type: ignore[attr-defined]  # as above
        time.sleep(0.01)
    taking.holds[0].used = 2.9
    assert taking.lost() == [None]


@contextmanager
def loop_in_a_thread() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(DEADLINE_S)
    loop.close()


def called_back(loop: asyncio.AbstractEventLoop, callback: Callable[[], object], thread: int) -> None:
    """Run a callback, and wait until its loop waits for events again."""
    done = threading.Event()
    loop.call_soon_threadsafe(callback)
    loop.call_soon_threadsafe(done.set)
    assert done.wait(DEADLINE_S)
    deadline = time.monotonic() + DEADLINE_S
    while not is_between_callbacks(sys._current_frames()[thread]):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("what", ["a chain", "a registry's session", "one that is kept"])
def test_callbacks_leave_out_what_the_next_one_does_not_use(what: str) -> None:
    taking, threads = Taking(), list[int]()
    units = Units(Classifier())

    def tick() -> None:
        taking()

    with loop_in_a_thread() as loop:
        loop.call_soon_threadsafe(lambda: threads.append(threading.get_ident()))
        while not threads:
            time.sleep(0.01)
        called_back(loop, tick, threads[0])
        first = taking.holds[0]
        first.scoped = True if what == "a registry's session" else None
        units.look(taking.holds, 3.0)
        assert first.lost is None  # it may be kept for the next one
        if what == "a chain":
            called_back(loop, tick, threads[0])
            taking.holds[1].taken = taking.holds[1].used = 4.0
        else:
            called_back(loop, lambda: None, threads[0])
            first.used = 4.0
        units.look(taking.holds, 6.0)
    assert first.owner.kind == CALLBACKS
    assert (first.lost, first.lost_s if first.lost else None) == (
        (None, None) if what == "one that is kept" else (OWNER_IDLE, 3.0)
    )
    assert [hold.lost for hold in taking.holds[1:]] in ([], [None])


def places_of(function: Any) -> list[int]:
    """The offsets at which a function calls `get`."""
    import dis  # noqa: PLC0415  # for this alone

    items = list(dis.get_instructions(function))
    named = [number for number, item in enumerate(items) if item.argval == "get"]
    return [
        next(item.offset for item in items[number:] if item.opname.startswith("CALL")) for number in named
    ]


def test_a_variable_that_is_set_before_it_is_read_is_not_read() -> None:
    [left], [kept] = places_of(leaves_it), places_of(keeps_it_in_a_variable)
    assert "session" not in variables_read(leaves_it.__code__, left)
    assert "session" in variables_read(keeps_it_in_a_variable.__code__, kept)
    assert "items" in variables_read(leaves_it.__code__, left)


def test_a_line_before_a_loop_is_in_no_round_of_it() -> None:
    [at] = places_of(took_it_before_its_loop)
    line = took_it_before_its_loop.__code__.co_firstlineno
    assert not comes_round(took_it_before_its_loop.__code__, at, line + 1)
    assert not comes_round(took_it_before_its_loop.__code__, at, line + 99)
