"""A holder that waits for work of another thread, and that thread waits for a connection."""

import asyncio
import gc
import multiprocessing.pool
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import greenlet as greenlets
import pytest

from rushhour.agent import asked, sqlalchemy_pools
from rushhour.agent.asked import held_for
from rushhour.agent.book import Book, Hold, Request
from rushhour.agent.call_sites import UNKNOWN, Classifier
from rushhour.agent.catalog import Catalog
from rushhour.agent.doing import Doing
from rushhour.agent.looks import BEHIND, OTHER_POOL
from rushhour.agent.owners import GREENLET, TASK, THREAD, Owner
from rushhour.agent.sqlalchemy_pools import PoolPatch
from rushhour.agent.standing import ELSEWHERE, QUEUE
from tests.unit.test_agent_doing import SQLALCHEMY, FakePool, a_hold

DEADLINE_S = 10
Work = Callable[[], None]


def in_queue(wait: Work) -> None:
    scope: dict[str, Any] = {}
    source = compile("def get(wait):\n    wait()\n", f"{SQLALCHEMY}util/queue.py", "exec")
    exec(source, scope)  # noqa: S102  # our own lines, so that their file can be named
    scope["get"](wait)


def by_result(work: Work) -> None:
    with futures.ThreadPoolExecutor(1) as executor:
        executor.submit(work).result()


def by_leaving_the_executor(work: Work) -> None:
    with futures.ThreadPoolExecutor(1) as executor:
        executor.submit(work)


def by_wait(work: Work) -> None:
    with futures.ThreadPoolExecutor(2) as executor:
        futures.wait([executor.submit(work), executor.submit(lambda: None)])


def by_as_completed(work: Work) -> None:
    with futures.ThreadPoolExecutor(2) as executor:
        for future in futures.as_completed([executor.submit(work)]):
            future.result()


def by_map(work: Work) -> None:
    with futures.ThreadPoolExecutor(1) as executor:
        list(executor.map(lambda _: work(), [1]))


def by_join(work: Work) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def by_apply(work: Work) -> None:
    with multiprocessing.pool.ThreadPool(1) as pool:
        pool.apply(work)


def by_pool_map(work: Work) -> None:
    with multiprocessing.pool.ThreadPool(1) as pool:
        pool.map(lambda _: work(), [1])


def by_imap(work: Work) -> None:
    with multiprocessing.pool.ThreadPool(1) as pool:
        list(pool.imap(lambda _: work(), [1]))


async def in_executor(work: Work) -> None:
    await asyncio.get_running_loop().run_in_executor(None, work)


async def in_thread(work: Work) -> None:
    await asyncio.to_thread(work)


async def by_gather(work: Work) -> None:
    await asyncio.gather(in_executor(work), asyncio.sleep(DEADLINE_S))


async def by_gather_of_futures(work: Work) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.gather(loop.run_in_executor(None, work), loop.run_in_executor(None, int))


async def by_wait_for(work: Work) -> None:
    await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(None, work), DEADLINE_S)


async def by_asyncio_wait(work: Work) -> None:
    await asyncio.wait({asyncio.get_running_loop().run_in_executor(None, work)})


THREADS = [
    by_result,
    by_leaving_the_executor,
    by_wait,
    by_as_completed,
    by_map,
    by_join,
    by_apply,
    by_pool_map,
    by_imap,
]
TASKS = [in_executor, in_thread, by_gather, by_gather_of_futures, by_wait_for, by_asyncio_wait]


class Gate:
    """Work that says when it began, and ends when it may."""

    def __init__(self, work: Callable[[Work], None]) -> None:
        self.began, self.may_end = threading.Event(), threading.Event()
        self.held: tuple[int, int] | None = None
        self.look: Work | None = None
        self._work = work

    def __call__(self) -> None:
        self._work(self._wait)
        if self.look is not None:
            self.look()

    def _wait(self) -> None:
        self.began.set()
        self.may_end.wait(DEADLINE_S)


@contextmanager
def running(function: Work) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=function)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(DEADLINE_S)


def counts_of(hold: Hold) -> Mapping[str, int]:
    doing = Doing(Classifier(), Catalog())
    doing.tick([hold], {hold: 1})
    return next(record for record in doing.take(1.0) if record["k"] == "doing")


def settled(hold: Hold, what: str) -> Mapping[str, int]:
    """The counts of a look, as soon as the holder has come to its wait."""
    deadline = threading.Event()
    for _ in range(200):
        if (counts := counts_of(hold))[what]:
            return counts
        deadline.wait(0.01)
    return counts


@pytest.mark.parametrize("asks", THREADS)
@pytest.mark.parametrize(("where", "seen"), [(in_queue, QUEUE), (lambda wait: wait(), ELSEWHERE)])
def test_a_thread_that_waits_for_work_of_another_is_where_that_is(
    asks: Callable[[Work], None], where: Callable[[Work], None], seen: str
) -> None:
    gate = Gate(where)
    with running(lambda: asks(gate)) as holder:
        assert gate.began.wait(DEADLINE_S)
        counts = settled(a_hold(Book(), FakePool(), None, holder.ident or 0, 1.0), seen)
        gate.may_end.set()
    assert {what: count for what, count in counts.items() if what in (QUEUE, ELSEWHERE)} == {
        QUEUE: 0,
        ELSEWHERE: 0,
        seen: 1,
    }


@pytest.mark.parametrize("asks", TASKS)
@pytest.mark.parametrize(("where", "seen"), [(in_queue, QUEUE), (lambda wait: wait(), ELSEWHERE)])
def test_a_task_that_waits_for_work_of_a_thread_is_where_that_is(
    asks: Callable[[Work], Any], where: Callable[[Work], None], seen: str
) -> None:
    gate = Gate(where)

    async def main() -> Mapping[str, int]:
        task = asyncio.create_task(asks(gate))
        while not gate.began.is_set():
            await asyncio.sleep(0.001)
        hold = a_hold(Book(), FakePool(), None, 0, 1.0)
        hold.owner = Owner(TASK, threading.get_ident())
        hold.owner.ref = weakref.ref(task)
        counts = settled(hold, seen)
        gate.may_end.set()
        task.cancel()
        return counts

    counts = asyncio.run(main())
    assert (counts[QUEUE], counts[ELSEWHERE]) == (int(seen == QUEUE), int(seen == ELSEWHERE))


def test_a_thread_in_the_queue_that_nobody_waits_for_is_nobody_elses_wait() -> None:
    gate, partner = Gate(in_queue), threading.Event()

    def asks_and_waits_for_a_partner() -> None:
        with futures.ThreadPoolExecutor(1) as executor:
            executor.submit(gate)
            partner.wait(DEADLINE_S)

    with running(asks_and_waits_for_a_partner) as holder:
        assert gate.began.wait(DEADLINE_S)
        counts = settled(a_hold(Book(), FakePool(), None, holder.ident or 0, 1.0), ELSEWHERE)
        partner.set()
        gate.may_end.set()
    assert (counts[QUEUE], counts[ELSEWHERE]) == (0, 1)


@pytest.mark.parametrize("asks", THREADS)
def test_a_time_out_counts_the_connections_of_who_waits_for_the_thread(
    asks: Callable[[Work], None],
) -> None:
    book, pool, other = Book(), FakePool(), FakePool()
    gate, found = Gate(lambda wait: wait()), list[tuple[int, int]]()

    def look() -> None:  # as soon as the holder has come to its wait
        for _ in range(200):
            found[:] = [held_for(Owner(THREAD, 0), threading.get_ident(), book.live, book.pool_state(pool))]
            if found != [(0, 0)]:
                return
            threading.Event().wait(0.01)

    gate.look = look
    with running(lambda: asks(gate)) as holder:
        assert gate.began.wait(DEADLINE_S)
        a_hold(book, pool, None, holder.ident or 0, 1.0)
        a_hold(book, other, None, holder.ident or 0, 1.0)
        a_hold(book, pool, None, threading.get_ident(), 1.0)  # waits for nobody
        gate.may_end.set()
    assert found == [(1, 1)]


def test_a_look_keeps_nothing_of_the_work_alive() -> None:
    class Thing:
        """An argument of the work."""

    gate, gone = Gate(in_queue), list[weakref.ref[Thing]]()

    def asks() -> None:
        thing = Thing()
        gone.append(weakref.ref(thing))
        with futures.ThreadPoolExecutor(1) as executor:
            executor.submit(lambda _: gate(), thing).result()

    with running(asks) as holder:
        assert gate.began.wait(DEADLINE_S)
        settled(a_hold(Book(), FakePool(), None, holder.ident or 0, 1.0), QUEUE)
        gate.may_end.set()
    gc.collect()
    assert gone[0]() is None


def in_queue_of(pool: FakePool) -> Callable[[Work], None]:
    """A wait in the queue of a pool that the agent knows."""
    scope: dict[str, Any] = {"in_queue": in_queue}
    source = compile("def connect(pool, wait):\n    in_queue(wait)\n", str(sqlalchemy_pools.__file__), "exec")
    exec(source, scope)  # noqa: S102  # as above
    return lambda wait: scope["connect"](pool, wait)


def by_result_of(executor: futures.Executor) -> None:
    executor.submit(int).result()


class QueuedPool(FakePool):
    """A pool in whose queue somebody waits."""

    def __init__(self) -> None:
        super().__init__()
        self._pool.not_empty = type("Condition", (), {"_waiters": (1,)})()


@pytest.mark.parametrize("by_task", [False, True])
@pytest.mark.parametrize(
    ("others", "seen"),
    [
        ((in_queue, in_queue), BEHIND),
        ((in_queue, lambda wait: wait()), BEHIND),
        ((lambda wait: wait(),) * 2, ELSEWHERE),
    ],
)
def test_who_waits_for_an_item_of_an_executor_waits_for_what_its_threads_do(
    others: tuple[Callable[[Work], None], ...], seen: str, by_task: bool
) -> None:
    """Threads that all wait for a connection begin no item, and nobody who holds one gives it back."""
    gates, pool = [Gate(where) for where in others], QueuedPool()

    async def hands_on(executor: futures.Executor) -> None:
        await asyncio.get_running_loop().run_in_executor(executor, int)

    async def as_task(executor: futures.Executor) -> Mapping[str, int]:
        task = asyncio.create_task(hands_on(executor))
        await asyncio.sleep(0)
        hold = a_hold(Book(), pool, None, 0, 1.0)
        hold.owner = Owner(TASK, threading.get_ident())
        hold.owner.ref = weakref.ref(task)
        counts = settled(hold, seen)
        for gate in gates:
            gate.may_end.set()
        await task
        return counts

    with futures.ThreadPoolExecutor(len(gates)) as executor:
        for gate in gates:
            executor.submit(gate)
            assert gate.began.wait(DEADLINE_S)
        if by_task:
            counts = asyncio.run(as_task(executor))
        else:
            with running(lambda: by_result_of(executor)) as holder:
                counts = settled(a_hold(Book(), pool, None, holder.ident or 0, 1.0), seen)
                for gate in gates:
                    gate.may_end.set()
    assert (counts[BEHIND], counts[ELSEWHERE]) == (int(seen == BEHIND), int(seen == ELSEWHERE))


@pytest.mark.parametrize(
    ("others", "seen"),
    [((False, False), BEHIND), ((True, False), BEHIND), ((True, True), OTHER_POOL), ((True,), OTHER_POOL)],
)
def test_whose_threads_wait_for_another_pool_waits_for_that_one(others: tuple[bool, ...], seen: str) -> None:
    """What fills that one is not that its holders wait for this one."""
    own, other, book = QueuedPool(), QueuedPool(), Book()
    book.pool_state(other)
    gates = [Gate(in_queue_of(other if is_other else own)) for is_other in others]
    with futures.ThreadPoolExecutor(len(gates)) as executor:
        for gate in gates:
            executor.submit(gate)
            assert gate.began.wait(DEADLINE_S)
        with running(lambda: by_result_of(executor)) as holder:
            counts = settled(a_hold(book, own, None, holder.ident or 0, 1.0), seen)
            for gate in gates:
                gate.may_end.set()
    assert counts[seen] == 1


def test_a_time_out_is_counted_where_it_cannot_be_seen_what_its_owner_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object) -> bool:
        raise RuntimeError("changed while it was read")

    def full(_: FakePool) -> None:
        raise TimeoutError

    book, pool = Book(), FakePool()
    monkeypatch.setattr(Book, "held_beside", fails)
    request: ContextVar[Request | None] = ContextVar("request", default=None)
    patch = PoolPatch(book, Classifier(), lambda _: UNKNOWN, request, lambda: None)
    with pytest.raises(TimeoutError):
        patch._connect(full, TimeoutError)(pool)
    [timeout] = book.timeouts
    assert (timeout.holding, timeout.beside) == ((0, 0), False)
    assert [where for where, _ in book.faults] == ["time-out"]


@pytest.mark.parametrize(("ended", "holding"), [(None, (1, 0)), (2.0, (0, 0))])
def test_who_took_a_connection_for_a_request_that_has_ended_waits_for_nobody_with_it(
    monkeypatch: pytest.MonkeyPatch, ended: float | None, holding: tuple[int, int]
) -> None:
    """A thread of a server that has left its connection out waits for its next request."""

    def full(_pool: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(sqlalchemy_pools, "held_for", lambda _owner, _thread, live, _pool: (len(live), 0))
    book, pool, left = Book(), FakePool(), Request("GET", None)
    left.ended = ended
    a_hold(book, pool, left, 0, 1.0).scoped = True
    request: ContextVar[Request | None] = ContextVar("request", default=None)
    patch = PoolPatch(book, Classifier(), lambda _: UNKNOWN, request, lambda: None)
    with pytest.raises(TimeoutError):
        patch._connect(full, TimeoutError)(pool)
    assert [timeout.holding for timeout in book.timeouts] == [holding]


def test_a_time_out_looks_for_greenlets_that_wait_for_it_only_where_one_holds_a_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked_for = list[bool]()

    def notes(*_: object, serves: bool) -> dict[int, Any]:
        asked_for.append(serves)
        return {}

    monkeypatch.setattr(asked, "is_used", lambda: True)
    monkeypatch.setattr(asked, "waiting_for", notes)
    book, pool, greenlet = Book(), FakePool(), greenlets.greenlet(lambda: None)
    asking, holding = Owner(GREENLET, 0), Owner(GREENLET, 0)
    other = greenlets.greenlet(lambda: None)
    asking.ref, holding.ref = weakref.ref(greenlet), weakref.ref(other)
    assert held_for(asking, threading.get_ident(), [], book.pool_state(pool)) == (0, 0)
    assert asked_for == []
    hold = a_hold(book, pool, None, 0, 1.0)
    hold.owner = holding
    assert held_for(asking, threading.get_ident(), [hold, hold], book.pool_state(pool)) == (0, 0)
    assert asked_for == [False]  # it holds for no request
