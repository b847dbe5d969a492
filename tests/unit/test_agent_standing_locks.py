"""Holders that wait for a lock, and whether the lock's owner waits for a connection."""

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import FrameType
from typing import Any

import pytest

from rushhour.agent import sqlalchemy_pools
from rushhour.agent.book import Book, Hold
from rushhour.agent.call_sites import Classifier
from rushhour.agent.catalog import Catalog
from rushhour.agent.coroutines import entered_by
from rushhour.agent.doing import Doing
from rushhour.agent.frames import stack_of
from rushhour.agent.locks import LockPlaces
from rushhour.agent.looks import BEHIND, INSIDE, LOCK, OTHER_POOL
from rushhour.agent.standing import ELSEWHERE, QUEUE
from tests.unit.standing_subject import (
    DEADLINE_S,
    WAIT_IN_QUEUE,
    an_owner,
    compiled,
    counts_of,
    during,
    thread_in,
    until_they_wait,
)
from tests.unit.test_agent_doing import (
    APP,
    SQLALCHEMY,
    FakePool,
    a_hold,
    frame_in,
)


def frames_of(thread: threading.Thread) -> list[FrameType]:
    return stack_of(sys._current_frames()[thread.ident or 0])


def places_of(holds: list[Hold]) -> set[str]:
    doing = Doing(Classifier(), Catalog())
    doing.tick(holds, {hold: number for number, hold in enumerate(holds, 1)})
    return {place[0] for record in doing.take(2.0) if record["k"] == "doing" for place in record["places"]}


def with_statement(lock: Any) -> None:
    with lock:
        pass


def acquire(lock: Any) -> None:
    lock.acquire()
    lock.release()


def waits_for_an_event(event: threading.Event) -> None:
    event.wait(DEADLINE_S)
    acquire(threading.Lock())


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
    event = threading.Event()
    with thread_in(lambda: waits_for_an_event(event)) as thread:
        assert LockPlaces().guarded(frames_of(thread)) == ()
        event.set()


def test_a_condition_that_is_waited_for_by_a_lock_of_its_own_is_no_lock() -> None:
    """As under gevent, whose locks are written in Python."""
    inner = (("/venv/threading.py", "wait"), ("/venv/gevent/thread.py", "__enter__"))
    get = frame_in(APP, ("/usr/lib/python3/queue.py", "get"), *inner)
    assert LockPlaces().guarded(stack_of(get)) == ()
    semaphore = frame_in(APP, ("/venv/threading.py", "acquire"), *inner)
    assert [code.co_name for code in LockPlaces().guarded(stack_of(semaphore))] == [APP[1]]


@pytest.mark.parametrize("of_another", [False, True])
def test_a_holder_at_a_lock_whose_owner_is_in_the_queue_waits_for_a_connection(of_another: bool) -> None:
    """As a log handler does that opens a session of its own, of this pool or not, under its lock."""
    lock, release, inside = threading.Lock(), threading.Event(), threading.Event()

    def wait() -> None:
        inside.set()
        release.wait(DEADLINE_S)

    book, pool, other_pool = Book(), FakePool(), FakePool()
    book.pool_state(other_pool)
    wanted = other_pool if of_another else pool
    get = compiled(
        "def connect(pool, wait):\n    get(wait)\n",
        str(sqlalchemy_pools.__file__),
        "connect",
        get=WAIT_IN_QUEUE,
    )
    emit = compiled(
        "def emit(lock, wait):\n    with lock:\n        get(pool, wait)\n",
        "/srv/app/audit.py",
        "emit",
        get=get,
        pool=wanted,
    )
    with thread_in(lambda: emit(lock, wait)) as owner:
        assert inside.wait(DEADLINE_S)
        with thread_in(lambda: emit(lock, wait)) as waiter, thread_in(lambda: with_statement(lock)) as other:
            holds = [a_hold(book, pool, None, one.ident or 0, 1.0) for one in (owner, waiter, other)]
            counts = counts_of(holds)
            release.set()
    found = (counts[QUEUE], counts[BEHIND], counts[LOCK], counts[OTHER_POOL])
    assert found == ((0, 0, 1, 2) if of_another else (1, 1, 1, 0))


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
        until_they_wait(waiting)
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


class Keyed:
    """A lock class of a service's own, around one of Python's."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __enter__(self) -> None:
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()

    def acquire(self) -> None:
        self.lock.acquire()

    def release(self) -> None:
        self.lock.release()


@pytest.mark.parametrize("function", [with_statement, acquire])
def test_the_function_that_takes_a_lock_through_a_class_of_its_own_is_the_guarded_one(function: Any) -> None:
    lock = Keyed()
    lock.acquire()
    try:
        with thread_in(lambda: function(lock)) as thread:
            assert LockPlaces().guarded(frames_of(thread))[:1] == (function.__code__,)
            lock.release()
    except BaseException:
        lock.release()
        raise


class TriedLock:
    """A lock that is tried again and again, as one in a file, in Redis or in a table."""

    def __init__(self) -> None:
        self.inner = threading.Lock()

    def acquire(self) -> None:
        while not self.inner.acquire(blocking=False):
            time.sleep(0.2)

    def release(self) -> None:
        self.inner.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


@contextmanager
def report_lock(lock: TriedLock) -> Iterator[None]:
    while not lock.inner.acquire(blocking=False):
        time.sleep(0.2)
    yield
    lock.release()


def try_lock(lock: TriedLock) -> None:
    while not lock.inner.acquire(blocking=False):
        time.sleep(0.2)


def turn_of(lock: TriedLock) -> None:
    """The same, whose name says nothing of a lock."""
    while not lock.inner.acquire(blocking=False):
        time.sleep(0.2)


TRIES = {
    "class": "with lock:\n        get(wait)",
    "acquire": "lock.acquire()\n    get(wait)\n    lock.release()",
    "manager": "with report_lock(lock):\n        get(wait)",
    "function": "try_lock(lock)\n    get(wait)\n    lock.release()",
    "unnamed": "turn_of(lock)\n    get(wait)\n    lock.release()",
}


@pytest.mark.parametrize("kind", TRIES)
@pytest.mark.parametrize("where", ["queue", "elsewhere"])
def test_a_lock_that_is_tried_again_and_again_is_one_whose_owner_may_be_in_the_queue(
    kind: str, where: str
) -> None:
    """Known by the name of its class; by that of a function it may be one, as of any sleeper."""
    lock, release, inside = TriedLock(), threading.Event(), threading.Event()

    def wait() -> None:
        inside.set()
        release.wait(DEADLINE_S)

    file = f"{SQLALCHEMY}util/queue.py" if where == "queue" else "/srv/app/items.py"
    get = compiled("def get(wait):\n    wait()\n", file, "get")
    names = {"get": get, "report_lock": report_lock, "try_lock": try_lock, "turn_of": turn_of}
    save = compiled(f"def save(lock, wait):\n    {TRIES[kind]}\n", "/srv/app/items.py", "save", **names)
    book, pool = Book(), FakePool()
    with thread_in(lambda: save(lock, wait)) as owner:
        assert inside.wait(DEADLINE_S)
        with thread_in(lambda: save(lock, wait)) as waiter:
            holds = [a_hold(book, pool, None, one.ident or 0, 1.0) for one in (owner, waiter)]
            places = places_of(holds)
            release.set()
    if kind == "unnamed":
        assert places == ({QUEUE, INSIDE} if where == "queue" else {ELSEWHERE, INSIDE})
    elif kind in ("manager", "function"):
        assert places == ({QUEUE, INSIDE} if where == "queue" else {INSIDE})
    else:
        assert places == ({QUEUE, BEHIND} if where == "queue" else {INSIDE, LOCK})


@pytest.mark.parametrize(("same", "holds", "seen"), [(1, 0, BEHIND), (0, 1, BEHIND), (0, 0, LOCK)])
def test_who_passed_a_lock_that_is_tried_has_it_if_it_is_the_same_or_holds_a_connection(
    same: int, holds: int, seen: str
) -> None:
    """Else it waits for its first connection, having given the lock back."""
    locks = [TriedLock(), TriedLock()]
    locks[1].acquire()
    release, inside = threading.Event(), threading.Event()

    def wait() -> None:
        inside.set()
        release.wait(DEADLINE_S)

    get = compiled("def get(wait):\n    wait()\n", f"{SQLALCHEMY}util/queue.py", "get")
    source = "def save(lock, wait):\n    with lock:\n        get(wait)\n"
    save = compiled(source, "/srv/app/items.py", "save", get=get)
    if same:
        locks[1].release()
    book, pool = Book(), FakePool()
    with thread_in(lambda: save(locks[same], wait)) as owner:
        assert inside.wait(DEADLINE_S)
        with thread_in(lambda: save(locks[1], release.wait)) as waiter:
            taken = a_hold(book, pool, None, waiter.ident or 0, 1.0)
            also = a_hold(book, pool, None, owner.ident or 0, 1.0)
            places = places_of([taken, also] if holds else [taken])
            release.set()
            if not same:
                locks[1].release()
    assert places == {seen, *([QUEUE] if holds else [])}


class ConnectionPool:
    """Of connections to a partner: acquired from, and released to."""

    def acquire(self) -> None:
        time.sleep(0.2)

    def release(self) -> None:
        """Nobody waits for it."""


def test_a_pool_of_connections_is_no_lock() -> None:
    with thread_in(lambda: ConnectionPool().acquire()) as thread:
        assert LockPlaces().tried(frames_of(thread)) == ()


def test_a_function_named_for_a_lock_may_lock_a_thing_elsewhere() -> None:
    """A seat at a partner, say; a request that has done so, and waits for its next connection, has none."""
    confirmed, release, inside = threading.Event(), threading.Event(), threading.Event()

    def wait() -> None:
        inside.set()
        release.wait(DEADLINE_S)

    get = compiled("def get(wait):\n    wait()\n", f"{SQLALCHEMY}util/queue.py", "get")
    lock_seat = compiled(
        "def lock_seat(done, wait):\n    while not done.is_set():\n        sleep(0.05)\n    get(wait)\n",
        "/srv/app/seats.py",
        "lock_seat",
        sleep=time.sleep,
        get=get,
    )
    done = threading.Event()
    done.set()
    with thread_in(lambda: lock_seat(done, wait)):
        assert inside.wait(DEADLINE_S)
        with thread_in(lambda: lock_seat(confirmed, wait)) as holder:
            places = places_of([a_hold(Book(), FakePool(), None, holder.ident or 0, 1.0)])
            confirmed.set()
            release.set()
    assert places == {INSIDE}


def test_what_a_waiting_task_has_entered_is_known_through_context_managers_too() -> None:
    async def main() -> None:
        lock, event, slot = asyncio.Lock(), asyncio.Event(), asyncio.Semaphore(1)

        @asynccontextmanager
        async def helper() -> AsyncIterator[None]:
            async with slot:
                yield

        async def holds() -> None:
            async with lock, helper():
                await event.wait()

        task = asyncio.create_task(holds())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert {id(lock), id(slot)} <= entered_by(task)
        event.set()
        await task
        assert entered_by(task) == set()
        assert entered_by(None) == set()

    asyncio.run(main())


class Limiter:
    """A limiter of rates: whoever is in the queue further on keeps nobody from going on."""

    def acquire(self) -> None:
        time.sleep(0.2)


def test_a_limiter_of_rates_is_no_lock() -> None:
    with thread_in(lambda: Limiter().acquire()) as thread:
        assert LockPlaces().tried(frames_of(thread)) == ()


@pytest.mark.parametrize(("where", "seen"), [("queue", {QUEUE, INSIDE}), ("elsewhere", {ELSEWHERE, INSIDE})])
def test_who_waits_in_a_library_may_wait_for_the_holder_that_passed_it(where: str, seen: set[str]) -> None:
    """As with a library that caches, and lets equal questions wait for the answer to the first."""
    begun, release, inside = threading.Event(), threading.Event(), threading.Event()

    def wait() -> None:
        inside.set()
        release.wait(DEADLINE_S)

    file = f"{SQLALCHEMY}util/queue.py" if where == "queue" else "/srv/app/items.py"
    get = compiled("def get(wait):\n    wait()\n", file, "get")
    cached = compiled(
        "def cached(begun, wait):\n    if begun.is_set():\n        rest(9)\n    begun.set()\n    get(wait)\n",
        "/venv/lib/python3.11/site-packages/caching/decorators.py",
        "cached",
        get=get,
        rest=release.wait,
    )
    value = compiled("def value(cached, *things):\n    cached(*things)\n", "/srv/app/items.py", "value")
    book, pool = Book(), FakePool()
    with thread_in(lambda: value(cached, begun, wait)) as first:
        assert inside.wait(DEADLINE_S)
        with thread_in(lambda: value(cached, begun, wait)) as second:
            places = places_of([a_hold(book, pool, None, one.ident or 0, 1.0) for one in (first, second)])
            release.set()
    assert places == seen
