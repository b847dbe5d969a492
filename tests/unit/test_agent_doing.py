"""Where threads stand, what a fork passes on, who held what: the agent's figures of holders."""

import asyncio
import inspect
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.engine import default
from sqlalchemy.pool import base, impl
from sqlalchemy.util import queue

from rushhour.agent.book import GC, Book, Hold, Request, Slot
from rushhour.agent.call_sites import UNKNOWN, Classifier
from rushhour.agent.catalog import Catalog
from rushhour.agent.collector import LOOK_EVERY, Collector
from rushhour.agent.doing import Doing
from rushhour.agent.flask_requests import current_request
from rushhour.agent.frames import stack_of
from rushhour.agent.owners import CALLBACKS, THREAD, TIMERS, Owner
from rushhour.agent.standing import DRIVER, ELSEWHERE, QUEUE, Reader, Standing
from rushhour.agent.tally import Tally
from rushhour.agent.units import OWNER_IDLE
from rushhour.agent.uses import UsePatch

SQLALCHEMY = f"{os.sep}venv{os.sep}site-packages{os.sep}sqlalchemy{os.sep}"
DEADLINE_S = 30.0


class FakeRecord:
    """A connection record of SQLAlchemy's."""


class FakePool:
    """A pool as far as the agent looks at one."""

    class Queue:
        def __init__(self) -> None:
            self.queue: list[Any] = []
            self.maxsize = 5
            self.not_empty = type("Condition", (), {"_waiters": ()})()

    def __init__(self) -> None:
        self._pool = self.Queue()
        self._max_overflow = 0
        self._overflow = 0
        self._timeout = 1.0


def frame_in(*places: tuple[str, str]) -> FrameType:
    """The innermost frame of a stack of these (file, function) pairs, outermost first."""
    scope: dict[str, Any] = {"sys": sys, "held": []}
    call = "held.append(sys._getframe())"
    for file, function in reversed(places):
        source = f"def {function}():\n    {call}\n"
        code = compile(source, file, "exec")
        exec(code, scope)  # noqa: S102  # our own two lines, so that their file can be named
        call = f"{function}()"
    exec(compile(call, "<test>", "exec"), scope)  # noqa: S102  # as above
    found: FrameType = scope["held"][0]
    return found


def standing(frame: FrameType | None) -> Standing:
    return Reader(Classifier()).read(stack_of(frame))


APP = ("/srv/app/orders.py", "place_order")


EXECUTE = (f"{SQLALCHEMY}engine/default.py", "do_execute")
ROLLBACK = (f"{SQLALCHEMY}engine/default.py", "do_rollback")
RESET = (f"{SQLALCHEMY}pool/base.py", "_reset")
DO_GET = (f"{SQLALCHEMY}pool/impl.py", "_do_get")
CREATE = (f"{SQLALCHEMY}pool/base.py", "_create_connection")


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ((), ELSEWHERE),
        ((EXECUTE,), DRIVER),
        ((RESET, ROLLBACK), DRIVER),
        ((DO_GET, (f"{SQLALCHEMY}util/queue.py", "get")), QUEUE),
        ((DO_GET, CREATE, ("/venv/driver.py", "dial")), QUEUE),
        (((f"{SQLALCHEMY}orm/session.py", "execute"),), ELSEWHERE),
        ((("/srv/app/rewards.py", "points"),), ELSEWHERE),
        ((("/srv/app/sqlalchemy/rewards.py", "do_points"),), ELSEWHERE),  # a folder of the service's own
    ],
)
def test_where_a_thread_stands(places: tuple[tuple[str, str], ...], expected: str) -> None:
    found = standing(frame_in(APP, *places))
    what, site = found.what, found.site
    assert what == expected
    assert site is not None
    assert site.file.startswith("/srv/app/")


def test_a_wait_that_the_driver_calls_back_is_the_drivers() -> None:
    found = standing(frame_in(APP, EXECUTE, ("/srv/app/wait.py", "wait")))
    what, site = found.what, found.site
    assert what == DRIVER
    assert site is not None
    assert site.function == "place_order"


def test_no_frame_is_elsewhere() -> None:
    found = standing(None)
    assert (found.what, found.site) == (ELSEWHERE, None)


def a_hold(book: Book, pool: FakePool, request: Request | None, thread: int, taken: float) -> Hold:
    hold = Hold()
    hold.slot = Slot(book.pool_state(pool))
    hold.slot.server_pid = 77
    hold.stack = UNKNOWN
    hold.request, hold.followed = request, False
    hold.thread = thread
    hold.waited, hold.taken = 0.0, taken
    hold.returned = hold.lost = hold.others = hold.scoped = None
    hold.used = taken
    hold.owner = Owner(THREAD, thread)
    hold.slot.hold = book.live[hold] = hold
    return hold


class SlowCursor:
    """A driver's cursor that is done when `wait` returns."""

    def __init__(self, wait: Callable[[], None]) -> None:
        self.wait = wait

    def execute(self, statement: str, parameters: object) -> None:
        self.wait()


def asks_the_server(wait: Callable[[], None]) -> None:
    default.DefaultDialect().do_execute(SlowCursor(wait), "SELECT 1", ())  # type: ignore[no-untyped-call]


@contextmanager
def a_waiting_thread(
    through: Callable[[Callable[[], None]], None] = lambda wait: wait(),
) -> Iterator[int]:
    """A thread that stands somewhere until the test is over."""
    go_on, started = threading.Event(), threading.Event()

    def wait() -> None:
        started.set()
        go_on.wait(10)

    thread = threading.Thread(target=through, args=(wait,))
    thread.start()
    started.wait(5)
    try:
        assert thread.ident is not None
        yield thread.ident
    finally:
        go_on.set()
        thread.join(5)


def test_holders_are_looked_at_while_their_request_runs() -> None:
    book, pool = Book(), FakePool()
    running, over = Request("GET", None), Request("GET", None)
    over.ended = 2.0
    with a_waiting_thread() as ident:
        first = a_hold(book, pool, running, ident, 1.0)
        done = a_hold(book, pool, over, ident, 1.0)
        gone = a_hold(book, pool, running, 1, 1.0)
        doing = Doing(Classifier(), Catalog())
        written = {first: 1, done: 2, gone: 3}
        for _ in range(3):
            doing.tick(list(book.live), written)
    records = list(doing.take(2.0))
    assert [(record["k"], record.get("id"), record.get("elsewhere")) for record in records] == [
        ("doing", None, 3),
        ("seen", 1, 3),
    ]
    assert list(doing.take(3.0)) == []


def test_a_streamed_response_is_distinguished_from_other_waits() -> None:
    book, pool, request = Book(), FakePool(), Request("GET", None)
    request.begun = request.returned = True
    with a_waiting_thread() as ident:
        hold = a_hold(book, pool, request, ident, 1.0)
        doing = Doing(Classifier(), Catalog())
        doing.tick([hold], {hold: 1})
    total, seen = doing.take(2.0)
    assert (total["streaming"], total["elsewhere"]) == (1, 0)
    assert seen["streams"] is True


def test_a_query_of_a_streamed_response_is_the_drivers_wait() -> None:
    book, pool, request = Book(), FakePool(), Request("GET", None)
    request.begun = request.returned = True
    with a_waiting_thread(asks_the_server) as ident:
        hold = a_hold(book, pool, request, ident, 1.0)
        doing = Doing(Classifier(), Catalog())
        doing.tick([hold], {hold: 1})
    total, _ = doing.take(2.0)
    assert (total["streaming"], total["driver"]) == (0, 1)


def runs_a_task(wait: Callable[[], None]) -> None:
    async def task() -> None:
        asks_the_server(wait)

    asyncio.run(task())


@pytest.mark.parametrize(("through", "what"), [(asks_the_server, "driver"), (runs_a_task, "unseen")])
@pytest.mark.parametrize("kind", [CALLBACKS, TIMERS])
def test_what_a_callback_of_a_loop_holds_is_looked_at_where_the_loop_runs_one(
    kind: str, through: Callable[[Callable[[], None]], None], what: str
) -> None:
    book, pool = Book(), FakePool()
    with a_waiting_thread(through) as ident:
        hold = a_hold(book, pool, None, ident, 1.0)
        hold.owner = Owner(kind, ident)
        doing = Doing(Classifier(), Catalog())
        doing.tick([hold], {hold: 1})
    total = next(iter(doing.take(2.0)))
    assert total[what] == 1


def test_a_timeout_records_the_connections_that_its_request_held() -> None:
    book, pool, other = Book(), FakePool(), FakePool()
    asking, another = Request("GET", None), Request("GET", None)
    a_hold(book, pool, asking, 1, 1.0)
    a_hold(book, other, asking, 1, 1.0)
    a_hold(book, pool, another, 1, 1.0)
    mine, later = a_hold(book, pool, None, 5, 1.0).owner, Owner(THREAD, 5)  # a number that is used again
    state = book.pool_state(pool)
    assert book.held_by(asking, later, state) == (1, 1)
    assert book.held_by(None, mine, state) == (1, 0)
    assert book.held_by(None, later, state) == (0, 0)


@pytest.mark.parametrize("known", [False, True])
def test_a_thread_with_a_copy_of_a_requests_context_may_not_keep_the_request_waiting(known: bool) -> None:
    """Whether the request waits for that thread is asked elsewhere: see `held_for`."""
    book, pool, runs, beside = Book(), FakePool(), Owner(THREAD, 1), Owner(THREAD, 2)
    request = Request("GET", None, runs if known else None)
    held = a_hold(book, pool, request, 1, 1.0)
    held.owner = runs
    state = held.slot.pool
    assert book.held_by(request, beside, state) == ((0, 0) if known else (1, 0))
    assert book.held_by(request, runs, state) == (1, 0)


def test_what_an_earlier_job_of_the_thread_left_is_not_held_by_the_one_that_is_turned_away() -> None:
    book, pool = Book(), FakePool()
    left = a_hold(book, pool, None, 5, 1.0)
    left.lost, left.lost_s = OWNER_IDLE, 2.0
    state = book.pool_state(pool)
    assert book.held_by(None, left.owner, state) == (0, 0)
    assert book.kept_by(left.owner, state) == 1


def test_a_child_knows_which_connections_it_shares_and_how_often_it_used_them() -> None:
    book, pool = Book(), FakePool()
    state = book.pool_state(pool)
    for pid in (41, 42):
        record = FakeRecord()
        record.__dict__["_rushhour_slot"] = slot = Slot(state)
        slot.server_pid = pid
        pool._pool.queue.append(record)
    book.start_over()
    tally = Tally(book, Classifier())
    [told] = [record for record in tally.tick(1.0) if record["k"] == "inherited"]
    assert (told["pids"], told["uses"]) == ((41, 42), 0)
    hold = a_hold(book, pool, None, 1, 2.0)
    hold.slot.inherited = hold.followed = True
    book.came_back(hold, 2.1, "close")
    [told] = [record for record in tally.tick(3.0) if record["k"] == "inherited"]
    assert told["uses"] == 1


def test_a_child_counts_statements_over_a_connection_that_was_out_when_it_was_forked() -> None:
    """As a module's own connection, with a server that loads the application before it forks."""
    book, pool = Book(), FakePool()
    hold = a_hold(book, pool, None, 1, 1.0)
    hold.slot.hold, hold.slot.server_pid = hold, 41
    statement = UsePatch(book, current_request)._cursor(lambda proxy: proxy)
    proxy = SimpleNamespace(_connection_record=SimpleNamespace(_rushhour_slot=hold.slot))
    statement(proxy)
    book.start_over()
    tally = Tally(book, Classifier())
    statement(proxy)
    [told] = [record for record in tally.tick(1.0) if record["k"] == "inherited"]
    assert (told["pids"], told["uses"], book.faults) == ((41,), 1, {})


@pytest.mark.parametrize(("returned", "leaks"), [(2.05, False), (2.5, True)])
def test_what_is_collected_between_two_samples_is_a_leak_all_the_same(returned: float, leaks: bool) -> None:
    book, pool, request = Book(), FakePool(), Request("GET", None)
    tally = Tally(book, Classifier())
    hold = a_hold(book, pool, request, 1, 1.99)
    request.ended = 2.0
    book.came_back(hold, returned, GC)
    kinds = [record["k"] for record in tally.tick(3.0) if record["k"] in ("out", "ended", "back")]
    assert kinds == (["out", "ended", "back"] if leaks else [])


def test_garbage_is_collected_once_when_it_is_asked_for(tmp_path: Path) -> None:
    collector = Collector(str(tmp_path))
    for _ in range(2 * LOOK_EVERY):
        assert collector.poll() == []
    (tmp_path / "collect").touch()
    answer, waited = tmp_path / f"{os.getpid()}.collected", threading.Event()
    deadline_s = time.monotonic() + DEADLINE_S
    said: list[str] = []
    while not (said and answer.exists()) and time.monotonic() < deadline_s:  # a thread of its own collects
        said += [record["k"] for record in collector.poll()]
        waited.wait(0.01)
    assert said == ["collected"]
    assert answer.exists()
    for _ in range(2 * LOOK_EVERY):
        assert collector.poll() == []


def test_the_places_that_are_looked_for_are_sqlalchemys() -> None:
    assert default.DefaultDialect.do_execute.__code__.co_name == "do_execute"
    assert queue.Queue.get.__code__.co_filename.endswith("/sqlalchemy/util/queue.py")
    for function in (base.Pool._create_connection, impl.QueuePool._do_get):
        assert "/sqlalchemy/pool/" in inspect.unwrap(function).__code__.co_filename
    assert callable(base._ConnectionFairy._reset)
