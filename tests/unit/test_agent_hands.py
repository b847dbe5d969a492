"""A holder that waits for an event, a future or a queue which another thread or task has in hands."""

import asyncio
import http.client
import queue
import socket
import sys
import threading
import time
import weakref
from collections.abc import Awaitable, Callable
from concurrent import futures
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from types import CodeType
from typing import Any

import pytest
from sqlalchemy.util import concurrency

from rushhour.agent.asked import held_for
from rushhour.agent.book import Book, Request
from rushhour.agent.call_sites import Classifier
from rushhour.agent.calls import methods_named
from rushhour.agent.catalog import Catalog
from rushhour.agent.doing import Doing
from rushhour.agent.frames import stack_of, variables_of
from rushhour.agent.hands import Hands
from rushhour.agent.helpers import MAX_AHEAD, Helpers
from rushhour.agent.looks import INSIDE, SOCKET
from rushhour.agent.owners import TASK, THREAD, Owner
from rushhour.agent.pollers import begins_in
from rushhour.agent.standing import ELSEWHERE, QUEUE
from tests.unit.standing_subject import DEADLINE_S, compiled, counts_of, until_they_wait
from tests.unit.test_agent_asked import in_queue, running, settled
from tests.unit.test_agent_doing import SQLALCHEMY, FakePool, a_hold

Work = Callable[[], None]


class QueuedPool(FakePool):
    """A pool in whose queue somebody waits."""

    def __init__(self) -> None:
        super().__init__()
        self._pool.not_empty._waiters = (threading.Lock(),)


POOL = QueuedPool()  # a hold refers to it weakly


@dataclass
class Job:
    """An item that says when it is done."""

    done: threading.Event = field(default_factory=threading.Event)


class Worker:
    """A thread that takes its work from a queue."""

    def __init__(self, work: Work) -> None:
        self.jobs: queue.Queue[Any] = queue.Queue()
        self.work = work
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        answer, item = self.jobs.get()
        self.work()
        answer(item)


def by_event(worker: Worker) -> None:
    done = threading.Event()
    worker.jobs.put((lambda item: item.set(), done))
    done.wait(DEADLINE_S)


def by_event_of_an_item(worker: Worker) -> None:
    job = Job()
    worker.jobs.put((lambda item: item.done.set(), job))
    job.done.wait(DEADLINE_S)


def by_future(worker: Worker) -> None:
    future: futures.Future[None] = futures.Future()
    worker.jobs.put((lambda item: item.set_result(None), future))
    future.result(DEADLINE_S)


def by_queue(worker: Worker) -> None:
    results: queue.Queue[None] = queue.Queue()
    worker.jobs.put((lambda item: item.put(None), results))
    results.get(timeout=DEADLINE_S)


def by_simple_queue(worker: Worker) -> None:
    results: queue.SimpleQueue[None] = queue.SimpleQueue()
    worker.jobs.put((lambda item: item.put(None), results))
    results.get(timeout=DEADLINE_S)


THREADS = [by_event, by_event_of_an_item, by_future, by_queue, by_simple_queue]


@pytest.mark.parametrize("asks", THREADS)
@pytest.mark.parametrize(("where", "seen"), [(in_queue, QUEUE), (lambda wait: wait(), ELSEWHERE)])
def test_a_thread_that_waits_for_what_a_worker_has_in_hands_is_where_that_is(
    asks: Callable[[Worker], None], where: Callable[[Work], None], seen: str
) -> None:
    began, may_end = threading.Event(), threading.Event()

    def wait() -> None:
        began.set()
        may_end.wait(DEADLINE_S)

    worker = Worker(lambda: where(wait))
    with running(lambda: asks(worker)) as holder:
        assert began.wait(DEADLINE_S)
        counts = settled(a_hold(Book(), POOL, None, holder.ident or 0, 1.0), seen)
        may_end.set()
    assert (counts[QUEUE], counts[ELSEWHERE]) == (int(seen == QUEUE), int(seen == ELSEWHERE))


@pytest.mark.parametrize("asks", THREADS)
def test_a_time_out_of_a_worker_counts_what_those_hold_who_wait_for_it(
    asks: Callable[[Worker], None],
) -> None:
    book, pool, found, began = Book(), FakePool(), list[tuple[int, int]](), threading.Event()
    taken = threading.Event()

    def times_out() -> None:
        began.set()
        taken.wait(DEADLINE_S)
        for _ in range(200):
            found[:] = [
                held_for(Owner(THREAD, 0), threading.get_ident(), book.live.copy(), book.pool_state(pool))
            ]
            if found != [(0, 0)]:
                return
            time.sleep(0.01)

    worker = Worker(times_out)
    with running(lambda: asks(worker)) as holder:
        assert began.wait(DEADLINE_S)
        a_hold(book, pool, None, holder.ident or 0, 1.0)
        taken.set()
    assert found == [(1, 0)]


TASK_IN_QUEUE = compiled("async def get(wait):\n    await wait()\n", f"{SQLALCHEMY}util/queue.py", "get")


async def by_async_event(jobs: asyncio.Queue[Any]) -> None:
    done = asyncio.Event()
    await jobs.put((lambda item: item.set(), done))
    await done.wait()


async def by_bare_future(jobs: asyncio.Queue[Any]) -> None:
    future = asyncio.get_running_loop().create_future()
    await jobs.put((lambda item: item.set_result(None), future))
    await future


async def by_bounded_future(jobs: asyncio.Queue[Any]) -> None:
    future = asyncio.get_running_loop().create_future()
    await jobs.put((lambda item: item.set_result(None), future))
    async with asyncio.timeout(DEADLINE_S):
        await future


async def by_async_queue(jobs: asyncio.Queue[Any]) -> None:
    results: asyncio.Queue[None] = asyncio.Queue()
    await jobs.put((lambda item: item.put_nowait(None), results))
    await results.get()


@pytest.mark.parametrize("asks", [by_async_event, by_bare_future, by_bounded_future, by_async_queue])
@pytest.mark.parametrize("queued", [True, False])
def test_a_task_that_waits_for_what_a_worker_has_in_hands_is_where_that_is(
    asks: Callable[[asyncio.Queue[Any]], Awaitable[None]], queued: bool
) -> None:
    async def main() -> dict[str, int]:
        jobs: asyncio.Queue[Any] = asyncio.Queue()
        may_end = asyncio.Event()

        async def works() -> None:
            answer, item = await jobs.get()
            await (TASK_IN_QUEUE(may_end.wait) if queued else may_end.wait())
            answer(item)

        async def holds() -> None:
            await asks(jobs)

        worker, holder = asyncio.create_task(works()), asyncio.create_task(holds())
        await asyncio.sleep(0.01)
        hold = a_hold(Book(), POOL, None, 0, 1.0)
        hold.owner = Owner(TASK, threading.get_ident())
        hold.owner.ref = weakref.ref(holder)
        counts = counts_of([hold])
        may_end.set()
        await asyncio.gather(worker, holder)
        return counts

    counts = asyncio.run(main())
    assert (counts[QUEUE], counts[ELSEWHERE]) == (int(queued), int(not queued))


def test_who_has_yet_to_come_to_the_same_wait_is_no_helper() -> None:
    """All requests have the partner's event, and those in the queue wait for their first connection."""
    partner, go_on = threading.Event(), threading.Event()

    def request(event: threading.Event, wait: Work | None) -> None:
        if wait is not None:
            in_queue(wait)
        event.wait(DEADLINE_S)

    def hold_on() -> None:
        go_on.wait(DEADLINE_S)

    with (
        running(lambda: request(partner, hold_on)),
        running(lambda: request(partner, None)) as holder,
    ):
        counts = settled(a_hold(Book(), POOL, None, holder.ident or 0, 1.0), ELSEWHERE)
        partner.set()
        go_on.set()
    assert (counts[QUEUE], counts[ELSEWHERE]) == (0, 1)


def test_no_code_of_the_service_runs_in_a_look_at_its_variables() -> None:
    class Proxy:
        """Answers for the attributes of another object, as werkzeug's does."""

        @property
        def __dict__(self) -> dict[str, Any]:  # type: ignore[override]  # a proxy's
            raise AssertionError("a look ran code of the service")

        def __getattribute__(self, name: str) -> Any:
            raise AssertionError("a look ran code of the service")

    seen, go_on, frames = threading.Event(), threading.Event(), list[Any]()

    def work(proxy: Proxy, done: threading.Event) -> None:
        frames.append(sys._getframe())
        seen.set()
        go_on.wait(DEADLINE_S)

    done = threading.Event()
    with running(lambda: work(Proxy(), done)):
        assert seen.wait(DEADLINE_S)
        assert Hands(frames).are_awaited({id(done)}, None, serves=False)
        go_on.set()
    frames.clear()


def test_the_older_of_two_connections_is_held_across_a_query_over_the_newer() -> None:
    book, go_on = Book(), threading.Event()
    in_driver = compiled(
        "def do_execute(wait):\n    wait()\n", f"{SQLALCHEMY}engine/default.py", "do_execute"
    )
    with running(lambda: in_driver(lambda: go_on.wait(DEADLINE_S))) as thread:
        older = a_hold(book, POOL, None, thread.ident or 0, 1.0)
        newer = a_hold(book, POOL, None, thread.ident or 0, 2.0)
        newer.owner = older.owner
        doing = Doing(Classifier(), Catalog())
        doing.tick([older, newer], {older: 1, newer: 2})
        [record] = [record for record in doing.take(1.0) if record["k"] == "doing"]
        go_on.set()
    assert sorted(place[0] for place in record["places"]) == ["driver", "other_query"]
    assert (record["driver"], record["elsewhere"]) == (1, 1)


@pytest.mark.parametrize("asks", [by_async_event, by_bare_future, by_async_queue])
def test_a_time_out_of_a_worker_task_counts_what_those_hold_who_wait_for_it(
    asks: Callable[[asyncio.Queue[Any]], Awaitable[None]],
) -> None:
    """SQLAlchemy calls the pool in a greenlet of its own, and the coroutine that awaits it has the future."""
    book, found = Book(), list[tuple[int, int]]()
    state = book.pool_state(POOL)

    async def main() -> None:
        jobs: asyncio.Queue[Any] = asyncio.Queue()

        def times_out() -> None:
            found.append(held_for(Owner(THREAD, 0), threading.get_ident(), book.live.copy(), state))

        async def works() -> None:
            answer, item = await jobs.get()
            await concurrency.greenlet_spawn(times_out)
            answer(item)

        async def holds() -> None:
            await asks(jobs)

        holder = asyncio.create_task(holds())
        hold = a_hold(book, POOL, None, 0, 1.0)
        hold.owner = Owner(TASK, threading.get_ident())
        hold.owner.ref = weakref.ref(holder)
        await asyncio.sleep(0.01)
        await asyncio.create_task(works())
        await holder

    asyncio.run(main())
    assert found == [(1, 0)]


def test_the_variables_of_a_function_that_looks_at_them_itself_are_not_touched() -> None:
    """Until Python 3.12 `locals()` and a frame's view of its variables are the same dictionary."""
    seen, go_on, kept = threading.Event(), threading.Event(), list[dict[str, Any]]()

    def work(number: int) -> None:
        parameters = locals()
        seen.set()
        go_on.wait(DEADLINE_S)
        kept.append(dict(parameters))

    with running(lambda: work(7)) as thread:
        assert seen.wait(DEADLINE_S)
        for frame in stack_of(sys._current_frames()[thread.ident or 0]):
            variables_of(frame)
        go_on.set()
    assert kept[0]["number"] == 7


class Refresher:
    """A worker whose waiters know it by a global event or queue, or by an attribute of `self`."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.ready = threading.Event()
        self.orders: queue.Queue[int] = queue.Queue(maxsize=1)
        self.orders.put(0)
        self.flight: Job | None = None
        self.changed, self.filling = threading.Condition(), False

    def sets_a_global(self) -> None:
        self.work()
        READY.set()

    def waits_for_a_global(self) -> None:
        READY.wait()

    def sets_a_global_if_it_fails(self) -> None:
        while not READY.is_set():
            try:
                self.work()
            except RuntimeError:
                READY.set()

    def pauses(self) -> None:
        while not READY.wait(DEADLINE_S):
            self.filling = False

    def sets_its_own(self) -> None:
        self.work()
        self.ready.set()

    def waits_for_its_own(self) -> None:
        self.ready.wait()

    def waits_a_while_for_its_own(self) -> None:
        self.ready.wait(DEADLINE_S)

    def takes(self) -> None:
        self.work()
        self.orders.get()

    def puts(self) -> None:
        self.orders.put(1, timeout=DEADLINE_S)

    def loads(self) -> None:
        job = Job()
        self.jobs = [(1, job)]
        self.dispatch(self.jobs)
        job.done.set()

    def dispatch(self, jobs: list[tuple[int, Job]]) -> None:
        self.work()

    def waits_for_a_job(self) -> None:
        self.jobs[0][1].done.wait(DEADLINE_S)

    def leads_or_waits(self) -> None:
        """Equal questions are asked once."""
        flight, first = self.flight, self.flight is None
        if flight is None:
            flight = self.flight = Job()
        if first:
            self.work()
            flight.done.set()
        else:
            flight.done.wait(DEADLINE_S)

    def fills_or_waits(self) -> None:
        with self.changed:
            if self.filling:
                self.changed.wait()
                return
            self.filling = True
        self.work()
        with self.changed:
            self.changed.notify_all()

    def only_refers_to_it(self) -> None:
        self.work()
        self.ready.is_set()
        self.orders.put(3, timeout=DEADLINE_S)


READY = threading.Event()
SHARED = [  # with everybody: only a request waits so for what a worker does, and a worker for its next item
    (Refresher.sets_a_global, Refresher.waits_for_a_global),
    (Refresher.sets_its_own, Refresher.waits_for_its_own),
    (Refresher.fills_or_waits, Refresher.fills_or_waits),
]
KNOWN = [
    (Refresher.takes, Refresher.puts),
    (Refresher.loads, Refresher.waits_for_a_job),
    (Refresher.leads_or_waits, Refresher.leads_or_waits),
]
UNKNOWN_TO = [
    (Refresher.only_refers_to_it, Refresher.waits_for_its_own),
    (Refresher.only_refers_to_it, Refresher.puts),
    (Refresher.sets_a_global_if_it_fails, Refresher.waits_for_a_global),
    # With a time-out: a pause that a global event would end early.
    (Refresher.sets_a_global, Refresher.pauses),
    (Refresher.sets_its_own, Refresher.waits_a_while_for_its_own),
]


@pytest.mark.parametrize(
    ("works", "waits", "serves", "seen"),
    [
        *((*both, serves, QUEUE) for both in KNOWN for serves in (True, False)),
        *((*both, True, QUEUE) for both in SHARED),
        *((*both, False, ELSEWHERE) for both in SHARED),
        *((*both, True, ELSEWHERE) for both in UNKNOWN_TO),
    ],
)
def test_who_waits_for_a_worker_is_known_by_what_that_one_calls_of_a_thing_both_refer_to(
    works: Callable[[Refresher], None], waits: Callable[[Refresher], None], serves: bool, seen: str
) -> None:
    READY.clear()
    began, may_end = threading.Event(), threading.Event()

    def wait() -> None:
        began.set()
        may_end.wait(DEADLINE_S)

    subject = Refresher(lambda: in_queue(wait))
    with running(partial(works, subject)):
        assert began.wait(DEADLINE_S)
        with running(lambda: waits(subject)) as holder:
            request = Request("GET", None) if serves else None
            counts = settled(a_hold(Book(), POOL, request, holder.ident or 0, 1.0), seen)
            may_end.set()
            READY.set()
            subject.ready.set()
            with subject.changed:
                subject.changed.notify_all()
            with subject.orders.not_full:
                subject.orders.maxsize = 9
                subject.orders.not_full.notify_all()
    assert (counts[QUEUE], counts[ELSEWHERE]) == (int(seen == QUEUE), int(seen == ELSEWHERE))


@pytest.mark.parametrize("loops", [True, False])
@pytest.mark.parametrize("server", [True, False])
def test_who_asks_again_and_again_may_wait_for_a_thread_of_the_services_own_in_the_queue(
    loops: bool, server: bool
) -> None:
    """Of a job's end, for instance; a request in the queue is nobody's helper."""
    began, done = threading.Event(), threading.Event()
    body = "while not done.is_set():\n        sleep(0.2)" if loops else "sleep(0.4)"
    waits = compiled(f"def waits(done):\n    {body}\n", "/srv/app/items.py", "waits", sleep=time.sleep)

    def wait() -> None:
        began.set()
        done.wait(DEADLINE_S)

    file = "/venv/lib/python3.11/site-packages/gunicorn/workers/gthread.py" if server else "/srv/app/jobs.py"
    work = compiled("def work(job):\n    job()\n", file, "work")
    with running(lambda: work(lambda: in_queue(wait))):
        assert began.wait(DEADLINE_S)
        with running(partial(waits, done)) as holder:
            until_they_wait(holder)
            doing, hold = Doing(Classifier(), Catalog()), a_hold(Book(), POOL, None, holder.ident or 0, 1.0)
            doing.tick([hold], {hold: 1})
            done.set()
    [seen] = [record for record in doing.take(2.0) if record["k"] == "doing"]
    assert [place[0] for place in seen["places"]] == ["inside" if loops and not server else ELSEWHERE]


def asks_over_http(partner: socket.socket) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", partner.getsockname()[1])
    connection.request("GET", "/")
    with suppress(http.client.HTTPException, OSError):
        connection.getresponse()


def asks_over_a_socket(partner: socket.socket) -> None:
    with socket.create_connection(partner.getsockname()) as asked:
        asked.recv(1)


def sleeps_instead(_: socket.socket) -> None:
    time.sleep(0.4)


@pytest.mark.parametrize(
    ("asks", "place"),
    [(asks_over_http, SOCKET), (asks_over_a_socket, SOCKET), (sleeps_instead, ELSEWHERE)],
)
def test_who_waits_for_what_a_socket_receives_pauses_for_nobody_else(
    asks: Callable[[socket.socket], None], place: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as partner, running(partial(asks, partner)) as holder:
        time.sleep(0.1)
        doing, hold = Doing(Classifier(), Catalog()), a_hold(Book(), POOL, None, holder.ident or 0, 1.0)
        doing.tick([hold], {hold: 1})
        if asks is not sleeps_instead:
            partner.accept()[0].close()
    [seen] = [record for record in doing.take(2.0) if record["k"] == "doing"]
    assert (seen[ELSEWHERE], [kept[0] for kept in seen["places"]]) == (1, [place])


def by_the_service(work: Work) -> None:
    with running(work):
        pass


def by_a_framework(work: Work) -> None:
    """As with uWSGI, whose server has no frames."""
    file = "/venv/lib/python3.11/site-packages/flask/app.py"
    call = compiled("def __call__(work):\n    work()\n", file, "__call__")
    with running(partial(call, work)):
        pass


def by_an_application(work: Work) -> None:
    with running(partial(wsgi_application, work, lambda: None)):
        pass


def wsgi_application(environ: Work, start_response: Work) -> None:
    environ()
    start_response()


def by_an_executor(work: Work) -> None:
    with futures.ThreadPoolExecutor(1) as executor:
        executor.submit(work)


def by_a_loop_of_events(work: Work) -> None:
    async def main() -> None:
        await asyncio.get_running_loop().run_in_executor(None, work)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("starts", "none"),
    [
        (by_the_service, True),
        (by_a_framework, False),
        (by_an_application, False),
        (by_an_executor, True),
        (by_a_loop_of_events, False),
    ],
)
def test_a_thread_in_the_queue_is_nobodys_helper_if_it_may_serve_a_request(
    starts: Callable[[Work], None], none: bool
) -> None:
    found = list[bool]()

    def look() -> None:
        time.sleep(0.05)  # until whoever waits for it does
        found.append(begins_in(stack_of(sys._getframe()), Classifier()))

    starts(look)
    assert found == [none]


def test_a_pause_that_a_global_event_would_end_is_not_held_for_who_sets_that_event() -> None:
    """But its place says that it may wait for somebody else in the process."""
    READY.clear()
    book, began, found, stop = Book(), threading.Event(), list[tuple[int, int]](), threading.Event()
    subject = Refresher(lambda: None)

    def times_out() -> None:
        began.set()
        stop.wait(DEADLINE_S)
        state = book.pool_state(POOL)
        found.append(held_for(Owner(THREAD, 0), threading.get_ident(), book.live.copy(), state))

    subject.work = lambda: in_queue(times_out)
    pauses = compiled(
        "def pauses(event):\n    while not event.wait(9):\n        pass\n", "/srv/app/items.py", "pauses"
    )
    with running(subject.sets_a_global), running(lambda: pauses(READY)) as holder:
        assert began.wait(DEADLINE_S)
        until_they_wait(holder)
        hold = a_hold(book, POOL, Request("GET", None), holder.ident or 0, 1.0)
        doing = Doing(Classifier(), Catalog())
        doing.tick([hold], {hold: 1})
        stop.set()
    [seen] = [record for record in doing.take(2.0) if record["k"] == "doing"]
    assert [place[0] for place in seen["places"]] == [INSIDE]
    assert found == [(0, 0)]


def test_what_comes_after_a_loop_or_a_block_is_yet_to_be_called() -> None:
    """What only a handler of exceptions calls is not, nor is what has been called."""
    looks = list[set[str]]()

    class Numbers:
        def __aiter__(self) -> "Numbers":
            return self

        async def __anext__(self) -> int:
            looks.append({name for _, _, name in methods_named(sys._getframe(1), frozenset({"set"}))})
            raise StopAsyncIteration

    async def works(
        before: threading.Event, each: threading.Event, failed: threading.Event, after: threading.Event
    ) -> None:
        before.set()
        try:
            with suppress(KeyError):
                async for _ in Numbers():
                    each.set()
        except RuntimeError:
            failed.set()
        after.set()

    with pytest.raises(StopIteration):
        works(*(threading.Event() for _ in range(4))).send(None)
    assert looks == [{"each", "after"}]


def test_a_tick_looks_ahead_of_a_few_stacks_in_the_queue_and_they_take_turns() -> None:
    """It costs most of a look; of the many that wait for their first connection nobody waits for one."""
    go_on = threading.Event()

    def wait() -> None:
        go_on.wait(DEADLINE_S)

    subjects = [Refresher(lambda: in_queue(wait)) for _ in range(3 * MAX_AHEAD)]
    threads = [threading.Thread(target=subject.sets_its_own) for subject in subjects]
    for thread in threads:
        thread.start()
    until_they_wait(*threads)
    frames = sys._current_frames()
    asking = [stack_of(frames[thread.ident or 0]) for thread in threads]
    looked_at = list[int]()
    for turn in range(3):
        hands = Helpers(frames, [], lambda _: True, turn)._hands_of(asking)
        for number, subject in enumerate(subjects):
            if any(one.are_awaited({id(subject.ready)}, None, serves=True) for one in hands):
                looked_at.append(number)
        assert len(looked_at) == MAX_AHEAD * (turn + 1)
    frames.clear()
    asking.clear()
    go_on.set()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert sorted(looked_at) == list(range(len(subjects)))


def test_a_stack_whose_functions_were_seen_to_end_a_wait_has_its_turn_each_time() -> None:
    """A helper among many requests in the queue, whose functions call methods of the same names."""
    go_on, known = threading.Event(), set[CodeType]()

    def wait() -> None:
        go_on.wait(DEADLINE_S)

    def asks(names: dict[str, int]) -> None:
        in_queue(wait)
        names.get("number")

    subject = Refresher(lambda: in_queue(wait))
    works: list[Work] = [*(partial(asks, {}) for _ in range(3 * MAX_AHEAD)), subject.sets_its_own]
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    until_they_wait(*threads)
    frames = sys._current_frames()
    asking = [stack_of(frames[thread.ident or 0]) for thread in threads]
    found = []
    for turn in range(20):
        hands = Helpers(frames, [], lambda _: True, turn, known)._hands_of(asking)
        found.append(any(one.are_awaited({id(subject.ready)}, None, serves=True) for one in hands))
    frames.clear()
    asking.clear()
    go_on.set()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert any(found[:4])
    assert all(found[4:])
