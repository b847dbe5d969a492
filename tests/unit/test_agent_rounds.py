"""Loops of the service's own that wait for their next item, and what an earlier round of them left out."""

import asyncio
import multiprocessing
import queue
import select
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from itertools import count, cycle, pairwise
from typing import Any, ClassVar

import pytest
from sqlalchemy.orm import Session

from rushhour.agent.book import CLOSE, GC, Hold
from rushhour.agent.call_sites import Classifier, Site, Stack
from rushhour.agent.flow import comes_round, variables_read
from rushhour.agent.frames import stack_of
from rushhour.agent.owners import CALLBACKS, TIMERS, owner_finder
from rushhour.agent.rounds import MAX_LOOKS, is_between_callbacks, wait_for_items
from rushhour.agent.units import OWNER_IDLE, Units
from rushhour.process.waiting import came_true
from tests.unit.standing_subject import compiled, until_they_wait

DEADLINE_S = 10
Take = Callable[[], Session]
ALL_KEPT: list[Session] = []  # by nobody who would use them again
KEPT_BY_THREAD: dict[int, Session] = {}
CURRENT: ContextVar[list[Session]] = ContextVar("CURRENT")


@contextmanager
def in_a_scope() -> Iterator[None]:
    CURRENT.set([])
    yield


def leaves_it(items: Any, take: Take) -> None:
    while True:
        items.get()
        session = take()
        session.info["used"] = True


def leaves_it_and_asks_again_after_a_while(items: Any, take: Take) -> None:
    running = True
    while running:
        try:
            items.get(timeout=DEADLINE_S)
        except queue.Empty:
            continue
        take()


def leaves_it_and_passes_items_over(items: Any, take: Take) -> None:
    with suppress(ValueError):
        int("none")
    running = True
    while running:
        if items.get() is None:
            continue
        take()


def leaves_it_with_what_it_waits_for_in_the_same_line(items: Any, take: Take) -> None:
    def handle(_: int) -> None:
        take()

    while True:
        handle(items.get())


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


def runs_as_a_script(source: str, items: Any, take: Take) -> None:
    script = compile(source, "/srv/app/work.py", "exec")
    exec(script, {"items": items, "take": take})  # noqa: S102  # as Python runs one


def leaves_it_in_a_script(items: Any, take: Take) -> None:
    runs_as_a_script("while True:\n    items.get()\n    session = take()\n    session.info\n", items, take)


def leaves_it_in_a_folder_that_is_called_as_a_library(items: Any, take: Take) -> None:
    source = "def work(items, take):\n    while True:\n        items.get()\n        take()\n"
    compiled(source, "/srv/app/sqlalchemy/work.py", "work")(items, take)


def leaves_it_in_a_generator(items: Any, take: Take) -> None:
    for session in yields_each(items, take):
        session.info["used"] = True


def leaves_it_after_it_has_gathered_items(items: Any, take: Take) -> None:
    while True:
        batch = [items.get() for _ in range(1)]
        take().info["batch"] = batch


def leaves_it_and_asks_at_the_end_of_a_round(items: Any, take: Take) -> None:
    item = items.get()
    while item is not None:
        take().info["item"] = item
        item = items.get()


def leaves_it_and_asks_at_the_end_of_an_endless_round(items: Any, take: Take) -> None:
    item = items.get()
    while True:
        if item is None:
            break
        take().info["item"] = item
        item = items.get()


def leaves_it_and_asks_at_the_end_of_a_line(items: Any, take: Take) -> None:
    work = compiled(
        "def work(items, take):\n"
        "    item = items.get()\n"
        "    while item is not None:\n"
        "        take().info['item'] = item; item = items.get()\n",
        "/srv/app/work.py",
        "work",
    )
    work(items, take)


def leaves_it_and_asks_through_a_function(items: Any, take: Take) -> None:
    def ask() -> int:
        while True:
            try:
                return int(items.get(timeout=DEADLINE_S))
            except queue.Empty:
                continue

    def next_item() -> int:
        return ask()

    while True:
        item = next_item()
        take().info["item"] = item


def leaves_it_and_waits_for_a_signal(items: Any, take: Take) -> None:
    def next_item() -> int:
        with items.not_empty:
            while not items.queue:
                items.not_empty.wait()
            return int(items._get())

    while True:
        item = next_item()
        take().info["item"] = item


class Worker:
    """One that is made of methods, of which one does a round."""

    def __init__(self, items: Any, take: Take) -> None:
        self.items, self.take = items, take

    def next_item(self) -> int:
        return int(self.items.get())

    def handle(self, item: int) -> None:
        self.take().info["item"] = item

    def does_a_round(self) -> None:
        item = self.next_item()
        if item:
            self.handle(item)

    def runs(self) -> None:
        while True:
            self.does_a_round()


def leaves_it_in_a_function_that_does_a_round(items: Any, take: Take) -> None:
    Worker(items, take).runs()


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


class Slotted:
    __slots__ = ("session",)

    def __init__(self, session: Session) -> None:
        self.session = session

    def use(self) -> None:
        self.session.info["used"] = True


def keeps_each_in_an_object_in_a_list(items: Any, take: Take) -> None:
    batch: list[tuple[int, dict[str, Slotted]]] = []
    while True:
        batch.append((items.get(), {"own": Slotted(take())}))


def keeps_each_in_an_object_with_much_else(items: Any, take: Take) -> None:
    class Settings:
        def __init__(self) -> None:
            vars(self).update({f"number_{number}": number for number in range(50)})
            vars(self).update({f"name_{number}": None for number in range(50)})
            self.others = [object() for _ in range(50)]
            self.sessions = list[Session | None]([None] * 50)

    kept = Settings()
    while True:
        items.get()
        kept.sessions.append(take())


def keeps_each_in_a_method(items: Any, take: Take) -> None:
    uses: list[Callable[[], None]] = []
    while True:
        items.get()
        uses.append(Slotted(take()).use)


def keeps_each_in_a_function(items: Any, take: Take) -> None:
    uses: list[Callable[[], bool]] = []

    def using(session: Session) -> Callable[[], bool]:
        return lambda: session.info["used"]

    while True:
        items.get()
        uses.append(using(take()))


def keeps_each_in_a_list_that_it_adds_to(items: Any, take: Take) -> None:
    batch: list[tuple[int, Session]] = []
    while True:
        batch += [(items.get(), take())]


def keeps_each_in_a_list_that_it_makes_anew(items: Any, take: Take) -> None:
    worker, batch = Worker(items, take), list[tuple[int, Session]]()
    while True:
        batch = [
            *batch,
            (worker.next_item(), worker.take()),
        ]


def keeps_each_in_a_script(items: Any, take: Take) -> None:
    runs_as_a_script("batch = []\nwhile True:\n    items.get()\n    batch.append(take())\n", items, take)


def keeps_each_in_a_comprehension(items: Any, take: Take) -> None:
    _ = [take() for _ in iter(items.get, None)]


def keeps_each_in_a_comprehension_of_two_loops(items: Any, take: Take) -> None:
    _ = {number: (item, take()) for number in count() for item in [items.get()]}


def keeps_each_of_a_function_in_a_comprehension(items: Any, take: Take) -> None:
    def next_one() -> Session:
        items.get()
        return take()

    _ = [next_one() for _ in count()]


def keeps_each_of_a_generator_in_a_list(items: Any, take: Take) -> None:
    _ = list(take() for _ in iter(items.get, None))  # noqa: C400  # no comprehension


def keeps_each_of_a_generator_in_a_comprehension(items: Any, take: Take) -> None:
    _ = [session for session in (take() for _ in iter(items.get, None)) if session]


def yields_each(items: Any, take: Take) -> Iterator[Session]:
    while True:
        items.get()
        yield take()


def keeps_each_of_a_generator_in_a_variable(items: Any, take: Take) -> None:
    batch = []
    for session in yields_each(items, take):
        batch.append(session)  # noqa: PERF402  # as services do


def keeps_each_of_a_generator_that_it_asks(items: Any, take: Take) -> None:
    batch, sessions = [], yields_each(items, take)
    while True:
        batch.append(next(sessions))


def keeps_each_of_a_generator_of_a_generator(items: Any, take: Take) -> None:
    def again() -> Iterator[Session]:
        yield from yields_each(items, take)

    batch = []
    for session in again():
        batch.append(session)  # noqa: PERF402  # as services do


def keeps_each_of_a_generator_in_one_of_a_library(items: Any, take: Take) -> None:
    chunked = compiled(
        "def chunked(items):\n    chunk = []\n    for item in items:\n        chunk.append(item)\n"
        "        if len(chunk) == 9:\n            yield chunk\n            chunk = []\n",
        *("/srv/venv/lib/python3.11/site-packages/more.py", "chunked"),
    )
    for chunk in chunked(yields_each(items, take)):
        chunk.clear()


def keeps_it_in_a_global_variable(items: Any, take: Take) -> None:
    def handle(thread: int) -> None:
        if thread not in KEPT_BY_THREAD:
            KEPT_BY_THREAD[thread] = take()
        KEPT_BY_THREAD[thread].info["used"] = True

    while True:
        items.get()
        handle(threading.get_ident())


def keeps_it_in_a_block_around_its_loop(items: Any, take: Take) -> None:
    def handle() -> None:
        scope = CURRENT.get()
        if not scope:
            scope.append(take())
        scope[0].info["used"] = True

    with in_a_scope():
        for _ in iter(items.get, None):
            handle()


def keeps_it_in_a_generator(items: Any, take: Take) -> None:
    def steps() -> Iterator[None]:
        session = take()
        while True:
            session.info["used"] = True
            yield

    own = None
    while True:
        items.get()
        own = own or steps()
        next(own)


def took_it_before_its_loop(items: Any, take: Take) -> None:
    take()
    while True:
        items.get()


def waits_within_a_round(items: Any, take: Take) -> None:
    while True:
        take()
        items.get()


def waits_with_one_in_hands(items: Any, take: Take) -> None:
    def work(session: Session, item: int) -> None:
        session.info["item"] = item

    while True:
        work(take(), items.get())


def waits_for_how_it_went(items: Any, take: Take) -> None:
    goes_on = 1
    while goes_on:
        take()
        goes_on = items.get()


def waits_for_how_it_went_in_an_endless_loop(items: Any, take: Take) -> None:
    goes_on = 1
    while True:
        if not goes_on:
            break
        take()
        goes_on = items.get()


def waits_for_a_result_in_a_function(items: Any, take: Take) -> None:
    def result() -> int:
        return int(items.get())

    while True:
        session = take()
        session.info["result"] = result()


def waits_in_a_function_that_has_it_in_hands(items: Any, take: Take) -> None:
    def round_of(worker: Worker) -> None:
        worker.handle(1)
        worker.next_item()

    while True:
        round_of(Worker(items, take))


def takes_and_waits_in_the_same_call(items: Any, take: Take) -> None:
    for step in cycle((take, items.get)):
        step()


def is_called_back_by_a_library_for_an_answer(items: Any, take: Take) -> None:
    call = compiled(
        "def call(back):\n    return back()\n", "/srv/venv/lib/python3.11/site-packages/rpc.py", "call"
    )

    def answer() -> int:
        return int(items.get())

    while True:
        call(answer)
        take()


def does_two_things_one_after_another(items: Any, take: Take) -> None:
    worker = Worker(items, take)
    worker.does_a_round()
    worker.does_a_round()
    worker.next_item()


def keeps_it_in_what_it_calls_for_each_round(items: Any, take: Take) -> None:
    class Keeping(Worker):
        session: Session | None = None

        def handle(self, item: int) -> None:
            self.session = self.take()
            self.session.info["item"] = item

    Keeping(items, take).runs()


def keeps_each_in_a_generator_of_its_own(items: Any, take: Take) -> None:
    def steps() -> Iterator[None]:
        items.get()
        session = take()
        yield
        session.info["used"] = True

    kept = []
    while True:
        kept.append(steps())
        next(kept[-1])


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


def waits_for_a_connection_of_a_pool(items: Any, take: Take) -> None:
    file = "/srv/venv/lib/python3.11/site-packages/sqlalchemy/util/queue.py"
    ask = compiled("def get(items):\n    return items.get()\n", file, "get")
    while True:
        ask(items)
        take()


LEFT = (
    leaves_it,
    leaves_it_and_asks_again_after_a_while,
    leaves_it_and_passes_items_over,
    leaves_it_with_what_it_waits_for_in_the_same_line,
    leaves_it_further_in,
    leaves_it_while_it_names_its_items,
    leaves_it_over_a_generator,
    leaves_it_in_a_generator,
    leaves_it_in_a_script,
    leaves_it_in_a_folder_that_is_called_as_a_library,
    leaves_it_after_it_has_gathered_items,
    leaves_it_and_asks_at_the_end_of_a_round,
    leaves_it_and_asks_at_the_end_of_an_endless_round,
    leaves_it_and_asks_at_the_end_of_a_line,
    leaves_it_and_asks_through_a_function,
    leaves_it_in_a_function_that_does_a_round,
    leaves_it_and_waits_for_a_signal,
)
KEPT = (
    keeps_it_in_a_variable,
    keeps_it_in_an_object,
    keeps_each_in_an_object_in_a_list,
    keeps_each_in_an_object_with_much_else,
    keeps_each_in_a_method,
    keeps_each_in_a_function,
    keeps_each_in_a_list_that_it_adds_to,
    keeps_each_in_a_list_that_it_makes_anew,
    keeps_each_in_a_script,
    keeps_each_in_a_comprehension,
    keeps_each_in_a_comprehension_of_two_loops,
    keeps_each_of_a_function_in_a_comprehension,
    keeps_each_of_a_generator_in_a_list,
    keeps_each_of_a_generator_in_a_comprehension,
    keeps_each_of_a_generator_in_a_variable,
    keeps_each_of_a_generator_that_it_asks,
    keeps_each_of_a_generator_of_a_generator,
    keeps_each_of_a_generator_in_one_of_a_library,
    keeps_it_in_a_global_variable,
    keeps_it_in_a_block_around_its_loop,
    keeps_it_in_a_generator,
    took_it_before_its_loop,
    waits_within_a_round,
    waits_with_one_in_hands,
    waits_for_how_it_went,
    waits_for_how_it_went_in_an_endless_loop,
    waits_for_a_result_in_a_function,
    waits_in_a_function_that_has_it_in_hands,
    takes_and_waits_in_the_same_call,
    is_called_back_by_a_library_for_an_answer,
    does_two_things_one_after_another,
    keeps_it_in_what_it_calls_for_each_round,
    keeps_each_in_a_generator_of_its_own,
    waits_for_results,
    asks_another_for_an_answer,
    waits_for_a_connection_of_a_pool,
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


class Taking:
    """Stands in for the pool: what is called by the loop, and the holds that it made."""

    def __init__(self) -> None:
        self.holds: list[Hold] = []
        self._stacks: dict[object, Stack] = {}  # one for each place, as in the agent
        self._owner_of = owner_finder()
        self.units = Units(Classifier())

    def __call__(self) -> Session:
        frames = stack_of(sys._getframe(1))[:3]
        hold = Hold()
        hold.owner, hold.taken = self._owner_of(), float(len(self.holds))
        hold.used = hold.taken
        hold.request = hold.lost = hold.others = hold.scoped = hold.returned = None
        codes, lines = tuple(frame.f_code for frame in frames), tuple(frame.f_lineno for frame in frames)
        sites = (Site(code.co_filename, line, code.co_name) for code, line in zip(codes, lines, strict=True))
        offsets = tuple(frame.f_lasti for frame in frames)
        hold.stack = self._stacks.setdefault((codes, lines), Stack(tuple(sites), codes, offsets))
        self.holds.append(hold)
        ALL_KEPT.append(Session())
        return ALL_KEPT[-1]

    def lost(self, now: float = 9.0) -> list[str | None]:
        self.units.look(self.holds, now)
        return [hold.lost for hold in self.holds]


class Items(queue.Queue[int]):
    """A queue that ends the thread which takes an item from it, once there are no more."""

    over = False

    def _get(self) -> int:
        if self.over:
            raise SystemExit
        return super()._get()


class Loop:
    """A thread that runs a loop, and waits for its next item after each step."""

    all: ClassVar[list["Loop"]] = []

    def __init__(self, work: Any) -> None:
        self.items, self.taking = Items(), Taking()
        self.thread = threading.Thread(target=self.run, args=(work,), daemon=True)
        self.thread.start()
        self.all.append(self)

    def run(self, work: Any) -> None:
        with suppress(SystemExit):
            work(self.items, self.taking)

    def end(self) -> None:
        self.items.over = True
        self.items.put(1)
        self.thread.join(DEADLINE_S)
        assert not self.thread.is_alive()

    def step(self, item: int = 1) -> None:
        self.items.put(item)
        assert came_true(self.waits, DEADLINE_S, poll_s=0.01)

    def waits(self) -> bool:
        """Whether it has taken all items and waits for more: the lock is free, and it sleeps."""
        frame = sys._current_frames().get(self.thread.ident or 0)
        return (
            not self.items.queue
            and bool(self.items.not_empty._waiters)  # type: ignore[attr-defined]  # not in its stubs
            and not self.items.mutex.locked()
            and frame is not None
            and frame.f_code is threading.Condition.wait.__code__
        )


@pytest.fixture(autouse=True)
def no_loop_goes_on() -> Iterator[None]:
    yield
    while Loop.all:
        Loop.all.pop().end()


@pytest.mark.parametrize("work", LEFT)
def test_what_an_earlier_round_left_out_has_leaked_once_a_second_one_has_taken_another(work: Any) -> None:
    loop = Loop(work)
    loop.step()
    assert loop.taking.lost() == [None]
    loop.step()
    assert loop.taking.lost() == [OWNER_IDLE, OWNER_IDLE]


@pytest.mark.parametrize("work", KEPT)
def test_what_a_loop_may_yet_use_has_not(work: Any) -> None:
    loop = Loop(work)
    for _ in range(2):
        loop.step()
        assert set(loop.taking.lost()) == {None}


def works_in_rounds(items: Any, take: Take) -> None:
    while True:
        for _ in range(9):
            items.get()
            take()


def works_in_rounds_while_it_may(items: Any, take: Take) -> None:
    running = True
    while running:
        while running:
            if items.get() is None:
                continue
            take()


def runs_jobs_that_work_in_rounds(items: Any, take: Take) -> None:
    def job() -> None:
        for _ in range(9):
            items.get()
            take()

    while True:
        job()


def leaves_it_in_an_executor(items: Any, take: Take) -> None:
    for work in (leaves_it, leaves_it):
        work(items, take)


def rounds_of_a_job_through_a_function(items: Any, take: Take) -> None:
    worker = Worker(items, take)

    def job() -> None:
        for _ in range(9):
            worker.does_a_round()

    while True:
        job()


class Registry:
    """Stands in for a `scoped_session`."""

    def __init__(self) -> None:
        self.registry = threading.local()

    def commit(self) -> None:
        """Nothing to commit."""

    remove = commit


REGISTRY = Registry()


def commits_in_batches(items: Any, take: Take) -> None:
    for number in count():
        items.get()
        take()
        if number % 9 == 8:
            REGISTRY.commit()


def commits_in_batches_further_in(items: Any, take: Take) -> None:
    seen = list[int]()

    def handle(item: int) -> None:
        take()
        seen.append(item)
        if len(seen) % 9 == 8:
            REGISTRY.commit()

    while True:
        handle(items.get())


def removes_it_after_its_rounds(items: Any, take: Take) -> None:
    for _ in iter(items.get, None):
        take()
    REGISTRY.remove()


def removes_it_after_the_rounds_of_a_function(items: Any, take: Take) -> None:
    removes_nothing(items, take)
    REGISTRY.remove()


def never_comes_to_remove_it(items: Any, take: Take) -> None:
    leaves_it(items, take)
    REGISTRY.remove()


def removes_nothing(items: Any, take: Take) -> None:
    for _ in iter(items.get, None):
        take()


def removes_it_if_it_fails(items: Any, take: Take) -> None:
    try:
        while True:
            items.get()
            take()
    except ValueError:
        REGISTRY.remove()


@pytest.mark.parametrize(
    ("work", "lost"),
    [
        (leaves_it, OWNER_IDLE),
        (leaves_it_in_an_executor, OWNER_IDLE),
        (removes_it_if_it_fails, OWNER_IDLE),
        (commits_in_batches, None),
        (commits_in_batches_further_in, None),
        (removes_it_after_its_rounds, None),
        (removes_it_after_the_rounds_of_a_function, None),
        (never_comes_to_remove_it, OWNER_IDLE),
        (removes_nothing, OWNER_IDLE),
        (leaves_it_and_asks_at_the_end_of_a_round, OWNER_IDLE),
        (leaves_it_and_asks_through_a_function, OWNER_IDLE),
        (leaves_it_in_a_function_that_does_a_round, OWNER_IDLE),
        (leaves_it_and_waits_for_a_signal, None),
        (waits_for_how_it_went, None),
        (rounds_of_a_job_through_a_function, None),
        (leaves_it_and_asks_again_after_a_while, OWNER_IDLE),
        (leaves_it_and_passes_items_over, OWNER_IDLE),
        (leaves_it_further_in, OWNER_IDLE),
        (leaves_it_over_a_generator, OWNER_IDLE),
        (waits_within_a_round, None),
        (works_in_rounds, None),
        (works_in_rounds_while_it_may, None),
        (runs_jobs_that_work_in_rounds, None),
    ],
)
def test_a_threads_session_is_left_out_if_the_next_round_uses_it_unless_a_job_may_have_many_rounds(
    work: Any, lost: str | None
) -> None:
    loop = Loop(work)
    loop.step()
    first = loop.taking.holds[0]
    first.scoped = True
    assert loop.taking.lost(3.0)[0] is None
    first.used = 4.0
    assert loop.taking.lost(6.0)[0] == lost


Waited = tuple[Callable[[], object], Callable[[], object]]  # what waits, and what ends that


def of_a_simple_queue() -> Waited:
    items = queue.SimpleQueue[int]()
    return items.get, lambda: items.put(1)


def of_another_process() -> Waited:
    items = multiprocessing.Queue()  # type: ignore[var-annotated]  # of anything

    def ask() -> None:
        items.get()
        items.close()
        items.join_thread()  # the one that sends

    return ask, lambda: items.put(1)


def of_an_event() -> Waited:
    event = threading.Event()
    return event.wait, event.set


def of_a_future() -> Waited:
    future = Future[int]()
    return future.result, lambda: future.set_result(1)


def of_a_socket() -> Waited:
    ours, theirs = socket.socketpair()

    def ask() -> None:
        with ours, theirs:
            ours.recv(1)

    return ask, lambda: theirs.send(b"1")


def of_readiness() -> Waited:
    ours, theirs = socket.socketpair()

    def ask() -> None:
        with ours, theirs:
            select.select([ours], [], [])

    return ask, lambda: theirs.send(b"1")


@pytest.mark.parametrize(
    ("of", "waits", "is_for_an_item"),
    [
        (of_a_simple_queue, True, True),
        (of_another_process, True, True),
        (of_an_event, True, False),
        (of_a_future, False, False),
        (of_a_socket, False, False),
        (of_readiness, False, False),
    ],
)
def test_what_a_loop_waits_for(of: Callable[[], Waited], waits: bool, is_for_an_item: bool) -> None:
    get, end = of()
    thread = threading.Thread(target=lambda: get(), daemon=True)  # noqa: PLW0108  # a function of its own
    thread.start()
    until_they_wait(thread)
    assert thread.is_alive()
    found = wait_for_items(stack_of(sys._current_frames().get(thread.ident or 0)), Classifier())
    end()
    thread.join(DEADLINE_S)
    assert (bool(found.places), found.is_for_an_item) == (waits, is_for_an_item)


@pytest.mark.parametrize(("how", "lost"), [(GC, OWNER_IDLE), (CLOSE, None)])
def test_the_next_one_is_left_out_where_the_last_one_came_back_as_garbage(how: str, lost: str | None) -> None:
    loop = Loop(leaves_it)
    loop.step()
    loop.taking.lost()
    [first] = loop.taking.holds
    first.how, first.returned = how, 9.5
    loop.taking.holds.clear()
    loop.step()
    assert loop.taking.lost() == [lost]


def test_what_a_later_round_uses_was_kept_and_so_is_all_that_is_taken_there() -> None:
    loop = Loop(leaves_it)
    loop.step()
    loop.step()
    assert loop.taking.lost(9.0) == [OWNER_IDLE, OWNER_IDLE]
    first = loop.taking.holds[0]
    first.used = 10.0
    assert loop.taking.units.resumed(loop.taking.holds) == [first]
    loop.step()
    assert loop.taking.lost(12.0) == [None, OWNER_IDLE, None]


def test_one_that_the_second_round_uses_was_not_left_out() -> None:
    loop = Loop(leaves_it)
    loop.step()
    loop.taking.lost(3.0)
    loop.taking.holds[0].used = 4.0
    loop.taking.lost(5.0)
    loop.step()
    assert loop.taking.lost(9.0) == [None, None]


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


def test_a_connection_that_was_used_a_moment_ago_is_not_lost_yet() -> None:
    loop = Loop(leaves_it)
    loop.step()
    loop.step()
    loop.taking.holds[0].used = 8.9
    assert loop.taking.lost(9.0) == [None, None]
    assert loop.taking.lost(9.5) == [OWNER_IDLE, OWNER_IDLE]


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


def places_of(function: Any, name: str = "get") -> list[int]:
    """The offsets at which a function calls what has this name."""
    import dis  # noqa: PLC0415  # for this alone

    items = list(dis.get_instructions(function))
    named = [number for number, item in enumerate(items) if item.argval == name]
    return [
        next(item.offset for item in items[number:] if item.opname.startswith("CALL")) for number in named
    ]


def test_a_variable_that_is_set_before_it_is_read_is_not_read() -> None:
    [left], [kept] = places_of(leaves_it), places_of(keeps_it_in_a_variable)
    assert "session" not in variables_read(leaves_it.__code__, left)
    assert "session" in variables_read(keeps_it_in_a_variable.__code__, kept)
    assert "items" in variables_read(leaves_it.__code__, left)


def test_a_line_before_a_loop_is_in_no_round_of_it() -> None:
    [at], [taken_at] = places_of(took_it_before_its_loop), places_of(took_it_before_its_loop, "take")
    line = took_it_before_its_loop.__code__.co_firstlineno
    assert not comes_round(took_it_before_its_loop.__code__, at, line + 1, taken_at)
    assert not comes_round(took_it_before_its_loop.__code__, at, line + 99, taken_at)
