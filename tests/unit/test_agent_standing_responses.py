"""Holders whose response is made or sent, and worker threads that hold for a request."""

import asyncio
import queue
import sqlite3
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import closing
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rushhour.agent.asgi_requests import watched
from rushhour.agent.book import Book, Request
from rushhour.agent.call_sites import Classifier
from rushhour.agent.flask_requests import current_request
from rushhour.agent.frames import stack_of
from rushhour.agent.looks import SENDING, STREAMING, UNSEEN
from rushhour.agent.standing import DRIVER, ELSEWHERE, Reader
from tests.unit.standing_subject import DEADLINE_S, compiled, counts_of, during, pauses, until_they_wait
from tests.unit.test_agent_doing import (
    FakePool,
    a_hold,
    a_waiting_thread,
    asks_the_server,
)


def test_a_response_streams_from_its_start_to_its_last_part_and_a_pending_part_waits_for_the_client() -> None:
    request = Request("GET", None)
    states: list[tuple[bool, bool, bool]] = []

    async def send(_: Any) -> None:
        states.append((request.returned, request.streams, request.sending))

    async def main() -> None:
        sends = partial(watched, request, send)
        await sends({"type": "http.response.start"})
        states.append((request.returned, request.streams, request.sending))
        await sends({"type": "http.response.body", "more_body": True})
        await sends({"type": "http.response.body"})
        states.append((request.returned, request.streams, request.sending))

    asyncio.run(main())
    assert states == [
        (True, True, False),  # headers alone fill no buffer
        (True, True, False),
        (True, True, True),
        (True, True, True),
        (True, False, False),
    ]


def test_a_part_is_sent_no_longer_once_it_was_taken_whoever_keeps_its_coroutine() -> None:
    request, states = Request("GET", None), list[tuple[bool, bool]]()

    async def send(_: Any) -> None:
        await asyncio.sleep(0)

    async def main() -> None:
        part = asyncio.create_task(watched(request, send, {"type": "http.response.body"}))
        states.append((request.sending, request.streams))
        await part
        states.append((request.sending, request.streams))
        assert part.get_coro() is request.part()

    request.returned = request.begun = True
    asyncio.run(main())
    assert states == [(True, True), (False, False)]


def test_what_a_server_sends_without_a_coroutine_is_sent_until_it_was_taken() -> None:
    request = Request("GET", None)

    async def main() -> None:
        taken = asyncio.get_running_loop().create_future()
        part = asyncio.create_task(watched(request, lambda _: taken, {"type": "http.response.body"}))
        await asyncio.sleep(0)
        assert request.sending
        taken.set_result(None)
        await part
        assert not request.sending

    asyncio.run(main())


def test_sending_is_distinguished_from_making_a_streamed_response() -> None:
    making, unread = Request("GET", None), Request("GET", None)
    for request in (making, unread):
        request.returned = request.begun = True
    part = pauses()
    unread.part = weakref.ref(part)
    with closing(part), a_waiting_thread() as first, a_waiting_thread() as second:
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
        worker = workers.submit(threading.current_thread).result(DEADLINE_S)
        ident = worker.ident or 0
        until_they_wait(worker)
        during(pauses, look)


@pytest.mark.parametrize("within", [False, True], ids=["itself", "a background task of it"])
def test_a_worker_thread_is_read_for_the_request_that_it_works_for_and_keeps_nothing_of_it(
    within: bool,
) -> None:
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
    job = Job(Request("GET", mine) if within else mine, wait)
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
        until_they_wait(thread)
        assert seen[0]() is None  # the thread waits for its next job
        jobs.put(None)
        thread.join(DEADLINE_S)


PARTS = """
class Parts:
    def __init__(self, look):
        self.look = look
    def __next__(self):
        return self.look()
"""


@pytest.mark.parametrize(
    ("source", "function", "streams"),
    [
        ("def parts(look):\n    yield look()\n", "parts", True),
        (PARTS, "Parts", True),
        ("def application(look):\n    look()\n    return iter(())\n", "application", False),
    ],
)
def test_a_server_that_asks_for_the_next_part_streams_a_response(
    source: str, function: str, streams: bool
) -> None:
    """Of WSGI frameworks other than Flask nothing else is known of their responses."""
    application = compiled(source, "/srv/app/pages.py", function)
    found: list[Any] = []
    serve = compiled(
        "def handle_request(application, look):\n    made = application(look)\n    next(made, None)\n",
        "/venv/site-packages/gunicorn/workers/gthread.py",
        "handle_request",
    )

    def look() -> None:
        found.append(stack_of(sys._getframe(1)))

    serve(application, look)
    standing = Reader(Classifier()).read(found[0])
    assert (standing.what, standing.streams) == (ELSEWHERE, streams)


class Gunicorns:
    """Like gunicorn's response: its status is None until `start_response` was called."""

    def __init__(self, status: str | None) -> None:
        self.status = status


class Waitresss:
    """Like waitress's task, which has a status from the beginning."""

    status = "200 OK"
    complete = False


@pytest.mark.parametrize(
    ("response", "streams"),
    [(Gunicorns(None), False), (Gunicorns("200 OK"), True), (Waitresss(), False), (object(), True)],
)
def test_an_application_that_is_a_generator_streams_once_its_response_has_begun(
    response: object, streams: bool
) -> None:
    application = compiled("def parts(look):\n    yield look()\n", "/srv/app/pages.py", "parts")
    found: list[Any] = []
    serve = compiled(
        "def handle_request(application, look, resp):\n    next(application(look))\n",
        "/venv/site-packages/gunicorn/workers/gthread.py",
        "handle_request",
    )
    serve(application, lambda: found.append(stack_of(sys._getframe(1))), response)
    assert Reader(Classifier()).read(found[0]).streams is streams


@pytest.mark.parametrize(("headers", "streams"), [([], False), (["200 OK", ()], True)])
def test_eventlets_server_knows_in_a_variable_whether_the_response_has_begun(
    headers: list[object], streams: bool
) -> None:
    application = compiled("def parts(look):\n    yield look()\n", "/srv/app/pages.py", "parts")
    found: list[Any] = []
    serve = compiled(
        "def handle_one_response(self, application, look, headers):\n"
        "    headers_set = headers\n"
        "    def write():\n"
        "        return headers_set\n"
        "    next(application(look))\n",
        "/venv/site-packages/eventlet/wsgi.py",
        "handle_one_response",
    )
    serve(object(), application, lambda: found.append(stack_of(sys._getframe(1))), headers)
    assert Reader(Classifier()).read(found[0]).streams is streams


def test_a_call_of_a_driver_in_c_is_a_wait_for_the_server(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "service.db", check_same_thread=False)
    begun, go_on = threading.Event(), threading.Event()

    def waits() -> int:
        begun.set()
        return int(go_on.wait(DEADLINE_S))

    connection.create_function("waits", 0, waits)
    query = compiled(
        "def rows(cursor):\n    cursor.execute('select waits()')\n    return cursor.fetchall()\n",
        "/srv/app/report.py",
        "rows",
    )
    thread = threading.Thread(target=query, args=(connection.cursor(),))
    thread.start()
    try:
        assert begun.wait(DEADLINE_S)
        stack = stack_of(sys._current_frames()[thread.ident or 0])
        inner = next(number for number, one in enumerate(stack) if one.f_code.co_name == "rows")
        standing = Reader(Classifier()).read(stack[inner:])
        assert standing.what == DRIVER
        assert standing.site is not None
        assert standing.site.function == "rows"
    finally:
        go_on.set()
        thread.join(DEADLINE_S)
        connection.close()
