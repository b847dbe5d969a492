"""What a task, a greenlet or a thread does that holds a connection, and whether a loop stands still."""

import asyncio
import gc
import queue
import sys
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from types import FrameType
from typing import Any

import greenlet
import pytest
from sqlalchemy.util import concurrency

from rushhour.agent.asgi_requests import sending
from rushhour.agent.book import Book, Hold, Request
from rushhour.agent.call_sites import Classifier
from rushhour.agent.catalog import Catalog
from rushhour.agent.coroutines import chain_of
from rushhour.agent.doing import (
    BEHIND,
    LOCK,
    MAX_LOOKS,
    OTHER_POOL,
    SENDING,
    STREAMING,
    UNSEEN,
    Doing,
    stack_of,
)
from rushhour.agent.flask_requests import current_request
from rushhour.agent.locks import LockPlaces
from rushhour.agent.loops import LoopWatch
from rushhour.agent.owners import GREENLET, TASK, Owner
from rushhour.agent.standing import DRIVER, ELSEWHERE, QUEUE, Reader
from tests.unit.test_agent_doing import (
    APP,
    SQLALCHEMY,
    FakePool,
    a_hold,
    a_waiting_thread,
    asks_the_server,
    frame_in,
)

DEADLINE_S = 10


def an_owner(found: Any, kind: str = TASK) -> Owner:
    owner = Owner(kind, threading.get_ident())
    owner.ref = weakref.ref(found)
    return owner


def functions(task: Any) -> list[str]:
    return [frame.f_code.co_name for frame in chain_of(task).frames]


def compiled(source: str, file: str, name: str, **scope: Any) -> Any:
    """A function whose source is said to be in this file."""
    exec(compile(source, file, "exec"), scope)  # noqa: S102  # our own lines, so that their file can be named
    return scope[name]


WAIT_IN_QUEUE = compiled("def get(wait):\n    wait()\n", f"{SQLALCHEMY}util/queue.py", "get")


async def pauses() -> None:
    await asyncio.sleep(DEADLINE_S)


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


def during(work: Callable[[], Awaitable[Any]], look: Callable[[asyncio.Task[Any]], None]) -> None:
    """Calls `look` from another thread, as the sampler does, while a task is in `work`."""

    async def main() -> None:
        async def run() -> None:
            await work()

        task = asyncio.create_task(run())
        await asyncio.sleep(0.01)
        await asyncio.to_thread(look, task)
        task.cancel()

    asyncio.run(main())


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


def counts_of(holds: list[Hold], doing: Doing | None = None) -> dict[str, int]:
    doing = doing or Doing(Classifier(), Catalog())
    doing.tick(holds, {hold: number for number, hold in enumerate(holds, 1)})
    counts = dict.fromkeys(
        (DRIVER, QUEUE, OTHER_POOL, LOCK, BEHIND, STREAMING, SENDING, ELSEWHERE, UNSEEN), 0
    )
    for record in doing.take(2.0):
        if record["k"] == "doing":
            for name in counts:
                counts[name] += record[name]
    return counts


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


@contextmanager
def thread_in(work: Callable[[], None]) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.05)
    try:
        yield thread
    finally:
        thread.join(DEADLINE_S)


def frames_of(thread: threading.Thread) -> list[FrameType]:
    return stack_of(sys._current_frames()[thread.ident or 0])


def with_statement(lock: Any) -> None:
    with lock:
        pass


def acquire(lock: Any) -> None:
    lock.acquire()
    lock.release()


def waits_for_an_event(lock: Any) -> None:
    threading.Event().wait(0.2)
    acquire(lock)


@pytest.mark.parametrize("function", [with_statement, acquire])
@pytest.mark.parametrize(
    "kind", [threading.Lock, threading.RLock, threading.Condition, lambda: threading.Semaphore(1)]
)
def test_a_wait_for_a_lock_is_distinguished_from_other_waits(function: Any, kind: Any) -> None:
    lock = kind()
    lock.acquire()
    try:
        with thread_in(lambda: function(lock)) as thread:
            guarded = LockPlaces().guarded(frames_of(thread))
            assert function.__code__ in guarded[:1]
            lock.release()
    except BaseException:
        lock.release()
        raise
    with thread_in(lambda: waits_for_an_event(threading.Lock())) as thread:
        assert LockPlaces().guarded(frames_of(thread)) == ()


def test_a_condition_that_is_waited_for_by_a_lock_of_its_own_is_no_lock() -> None:
    """As under gevent, whose locks are written in Python."""
    inner = (("/venv/threading.py", "wait"), ("/venv/gevent/thread.py", "__enter__"))
    get = frame_in(APP, ("/usr/lib/python3/queue.py", "get"), *inner)
    assert LockPlaces().guarded(stack_of(get)) == ()
    semaphore = frame_in(APP, ("/venv/threading.py", "acquire"), *inner)
    assert [code.co_name for code in LockPlaces().guarded(stack_of(semaphore))] == [APP[1]]


def test_a_holder_at_a_lock_whose_owner_is_in_the_queue_waits_for_a_connection() -> None:
    """As a log handler does that opens a session of its own under the handler's lock."""
    lock, release, inside = threading.Lock(), threading.Event(), threading.Event()

    def wait() -> None:
        inside.set()
        release.wait(DEADLINE_S)

    get = compiled("def get(wait):\n    wait()\n", f"{SQLALCHEMY}util/queue.py", "get")
    emit = compiled(
        "def emit(lock, wait):\n    with lock:\n        get(wait)\n", "/srv/app/audit.py", "emit", get=get
    )
    book, pool = Book(), FakePool()
    with thread_in(lambda: emit(lock, wait)) as owner:
        assert inside.wait(DEADLINE_S)
        with thread_in(lambda: emit(lock, wait)) as waiter, thread_in(lambda: with_statement(lock)) as other:
            holds = [a_hold(book, pool, None, one.ident or 0, 1.0) for one in (owner, waiter, other)]
            counts = counts_of(holds)
            release.set()
    assert (counts[QUEUE], counts[BEHIND], counts[LOCK]) == (1, 1, 1)


def test_a_response_streams_from_its_start_to_its_last_part_and_a_pending_part_waits_for_the_client() -> None:
    request = Request("GET", None)
    states: list[tuple[bool, bool, bool]] = []

    async def send(_: Any) -> None:
        states.append((request.returned, request.streams, request.sending))

    async def main() -> None:
        watched = sending(request, send)
        await watched({"type": "http.response.start"})
        states.append((request.returned, request.streams, request.sending))
        await watched({"type": "http.response.body", "more_body": True})
        await watched({"type": "http.response.body"})
        states.append((request.returned, request.streams, request.sending))

    asyncio.run(main())
    assert states == [
        (True, True, True),
        (True, True, False),
        (True, True, True),
        (True, True, True),
        (True, False, False),
    ]


def test_sending_is_distinguished_from_making_a_streamed_response() -> None:
    making, unread = Request("GET", None), Request("GET", None)
    for request in (making, unread):
        request.returned = request.streams = True
    unread.sending = True
    with a_waiting_thread() as first, a_waiting_thread() as second:
        holds = [
            a_hold(Book(), FakePool(), making, first, 1.0),
            a_hold(Book(), FakePool(), unread, second, 1.0),
        ]
        counts = counts_of(holds)
    assert (counts[STREAMING], counts[SENDING]) == (1, 1)


def test_a_server_that_writes_to_a_socket_waits_for_the_client() -> None:
    handle = compiled(
        "def handle(send):\n    send()\n", "/venv/site-packages/gunicorn/workers/gthread.py", "handle"
    )
    found: list[Any] = []
    write = compiled(
        "def write():\n    found.append(sys._getframe())\n",
        "/venv/site-packages/gunicorn/util.py",
        "write",
        sys=sys,
        found=found,
    )
    handle(write)
    assert Reader(Classifier()).read(stack_of(found[0])).sends
    post = compiled("def send():\n    write()\n", "/srv/app/partner.py", "send", write=write)
    handle(post)
    assert not Reader(Classifier()).read(stack_of(found[1])).sends


def test_a_thread_that_works_for_a_later_request_says_nothing_of_an_earlier_ones_connection() -> None:
    first, later = Request("GET", None), Request("GET", None)
    book, pool = Book(), FakePool()
    with a_waiting_thread(asks_the_server) as ident:
        old, new = a_hold(book, pool, first, ident, 1.0), a_hold(book, pool, later, ident, 2.0)
        new.owner = old.owner
        counts = counts_of([old, new])
    assert (counts[DRIVER], counts[UNSEEN]) == (1, 1)


def test_a_connection_that_a_worker_thread_took_is_seen_where_its_request_waits() -> None:
    """As FastAPI does with a dependency that is a plain function."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  # of this test alone

    request = Request("GET", None)

    def look(task: Any) -> None:
        request.task = weakref.ref(task)
        hold = a_hold(Book(), FakePool(), request, ident, 1.0)
        counts = counts_of([hold])
        assert (counts[ELSEWHERE], counts[UNSEEN]) == (1, 0)

    with ThreadPoolExecutor(1) as workers:
        ident = workers.submit(threading.get_ident).result(DEADLINE_S)
        time.sleep(0.05)
        during(pauses, look)


def test_a_worker_thread_is_read_for_the_request_that_it_works_for_and_keeps_nothing_of_it() -> None:
    mine, others = Request("GET", None), Request("GET", None)
    seen: list[weakref.ref[Any]] = []

    class Job:
        """What anyio's thread was given."""

        def __init__(self, request: Request, wait: Callable[[], None]) -> None:
            self.context = copy_context()
            self.context.run(current_request.set, request)
            self.wait = wait

        def __call__(self) -> None:
            asks_the_server(self.wait)

    run = compiled(
        "def run(jobs):\n    while job := jobs.get():\n        context = job.context\n"
        "        context.run(job)\n        del job, context\n",
        "/venv/site-packages/anyio/_backends/_asyncio.py",
        "run",
    )
    hand_over = compiled(
        "async def run_sync_in_worker_thread(wait):\n    await wait\n",
        "/venv/site-packages/anyio/_backends/_asyncio.py",
        "run_sync_in_worker_thread",
    )
    go_on, started = threading.Event(), threading.Event()

    def wait() -> None:
        started.set()
        go_on.wait(DEADLINE_S)

    jobs = queue.Queue[Any]()
    thread = threading.Thread(target=run, args=(jobs,))
    thread.start()
    job = Job(mine, wait)
    seen.append(weakref.ref(job))
    jobs.put(job)
    del job
    assert started.wait(DEADLINE_S)

    def look(task: Any) -> None:
        for request in (mine, others):
            request.task = weakref.ref(task)
        ident = thread.ident or 0
        holds = [a_hold(Book(), FakePool(), request, ident, 1.0) for request in (mine, others)]
        counts = counts_of(holds)
        assert (counts[DRIVER], counts[UNSEEN]) == (1, 1)

    async def asks_a_thread() -> None:
        await hand_over(asyncio.sleep(DEADLINE_S))

    try:
        during(asks_a_thread, look)
    finally:
        go_on.set()
        time.sleep(0.1)
        assert seen[0]() is None  # the thread waits for its next job
        jobs.put(None)
        thread.join(DEADLINE_S)


@pytest.mark.parametrize("owner_holds", [True, False])
def test_tasks_at_a_lock_whose_owner_is_in_the_queue_wait_for_a_connection(owner_holds: bool) -> None:
    get = compiled("async def get(wait):\n    await wait\n", f"{SQLALCHEMY}util/queue.py", "get")
    audit = compiled(
        "async def audit(lock, wait):\n    async with lock:\n        await get(wait)\n",
        "/srv/app/audit.py",
        "audit",
        get=get,
    )

    async def main() -> dict[str, int]:
        lock = asyncio.Lock()
        sleeping = [asyncio.sleep(DEADLINE_S) for _ in range(3)]
        tasks = [asyncio.create_task(audit(lock, sleeper)) for sleeper in sleeping]
        await asyncio.sleep(0.01)
        book, pool = Book(), FakePool()
        holds = [a_hold(book, pool, None, 0, 1.0) for _ in tasks]
        for hold, task in zip(holds, tasks, strict=True):
            hold.owner = an_owner(task)
        counts = counts_of(holds if owner_holds else holds[1:])
        for task in tasks:
            task.cancel()
        for sleeper in sleeping:
            sleeper.close()
        return counts

    counts = asyncio.run(main())
    assert (counts[QUEUE], counts[BEHIND]) == (int(owner_holds), 2)


@pytest.mark.parametrize("holds_nothing", [True, False])
def test_who_is_in_the_queue_before_a_lock_does_not_own_it(holds_nothing: bool) -> None:
    """Requests wait for their first connection, and then for the lock, in one function."""
    get = compiled("async def get(wait):\n    await wait\n", f"{SQLALCHEMY}util/queue.py", "get")
    item = compiled(
        "async def item(lock, connection, work):\n    await get(connection)\n    async with lock:\n"
        "        await work\n",
        "/srv/app/items.py",
        "item",
        get=get,
    )

    async def main() -> dict[str, int]:
        lock = asyncio.Lock()
        waits = [asyncio.sleep(DEADLINE_S if name == "queue" else 0) for name in ("a", "b", "c", "queue")]
        works = [asyncio.sleep(DEADLINE_S) for _ in waits]
        tasks = [asyncio.create_task(item(lock, *both)) for both in zip(waits, works, strict=True)]
        await asyncio.sleep(0.01)
        book, pool = Book(), FakePool()
        holds = [a_hold(book, pool, None, 0, 1.0) for _ in tasks]
        for hold, task in zip(holds, tasks, strict=True):
            hold.owner = an_owner(task)
        counts = counts_of(holds[:3] if holds_nothing else holds)
        for task in tasks:
            task.cancel()
        for one in works:
            one.close()
        return counts

    counts = asyncio.run(main())
    assert (counts[LOCK], counts[BEHIND], counts[ELSEWHERE]) == (2, 0, 1)
    assert counts[QUEUE] == (0 if holds_nothing else 1)


def test_a_thread_in_the_queue_before_a_lock_does_not_own_it() -> None:
    lock, release = threading.Lock(), threading.Event()
    get = compiled("def get(wait):\n    wait()\n", f"{SQLALCHEMY}util/queue.py", "get")
    item = compiled(
        "def item(lock, wait):\n    get(wait)\n    with lock:\n        pass\n",
        "/srv/app/items.py",
        "item",
        get=get,
    )
    book, pool = Book(), FakePool()
    with thread_in(lambda: item(lock, lambda: release.wait(DEADLINE_S))) as queued, lock:
        assert queued.is_alive()
        waiting = threading.Thread(target=lambda: item(lock, lambda: None))
        waiting.start()
        time.sleep(0.05)
        counts = counts_of([a_hold(book, pool, None, waiting.ident or 0, 1.0)])
        release.set()
    waiting.join(DEADLINE_S)
    assert not waiting.is_alive()
    assert (counts[LOCK], counts[BEHIND]) == (1, 0)


async def rests(wait: Any) -> None:
    await wait


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize(("where", "expected"), [("queue", QUEUE), ("app", ELSEWHERE)])
def test_a_task_with_an_open_group_waits_for_a_connection_if_a_task_of_the_group_does(
    where: str, expected: str, levels: int
) -> None:
    """As a middleware that runs the endpoint in a task of its own and waits for its first message."""
    get = compiled("async def get(wait):\n    await wait\n", f"{SQLALCHEMY}util/queue.py", "get")
    endpoint = get if where == "queue" else rests

    async def middleware(level: int, wait: Any) -> None:
        def call_next() -> None:  # the group is a variable of both functions, as in Starlette
            group.create_task(endpoint(wait) if level == 1 else middleware(level - 1, wait))

        async with asyncio.TaskGroup() as group:
            call_next()
            await asyncio.sleep(DEADLINE_S)

    def look(task: Any) -> None:
        hold = a_hold(Book(), FakePool(), None, 0, 1.0)
        hold.owner = an_owner(task)
        assert counts_of([hold])[expected] == 1

    async def outermost() -> None:
        await middleware(levels, asyncio.sleep(DEADLINE_S))

    during(outermost, look)


def test_many_holds_take_turns() -> None:
    book, pool = Book(), FakePool()
    with a_waiting_thread() as ident:
        holds = [a_hold(book, pool, None, ident, 1.0) for _ in range(3 * MAX_LOOKS)]
        doing = Doing(Classifier(), Catalog())
        for _ in range(3):
            doing.tick(holds, {hold: number for number, hold in enumerate(holds)})
        seen = [record for record in doing.take(2.0) if record["k"] == "seen"]
    assert len(seen) == 3 * MAX_LOOKS


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
        time.sleep(0.1)
        return self.thread.ident or 0

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join(DEADLINE_S)


def loop_record(step: Callable[[], Coroutine[Any, Any, None]]) -> dict[str, Any]:
    with LoopThread(step) as ident:
        watch = LoopWatch(Classifier(), Reader(Classifier()), {ident})
        watch.threads()
        for _ in range(10):
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


async def yields() -> None:
    await asyncio.sleep(0.01)


def test_a_loop_that_a_sleep_or_a_driver_blocks_is_seen_with_its_line() -> None:
    slept, asked = loop_record(sleeps_in_the_loop), loop_record(queries_in_the_loop)
    assert slept["waits"] >= 0.7 * slept["samples"]
    assert slept["at"] is not None
    assert slept["longest"] > 0.1
    assert asked["driver"] >= 0.7 * asked["samples"]
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
    time.sleep(0.1)
    try:
        watch = LoopWatch(classifier, Reader(classifier), {thread.ident or 0})
        watch.threads()
        watch.look(sys._current_frames())
        assert watch.take(1.0, Catalog()) == []
    finally:
        release.set()
        thread.join(DEADLINE_S)
