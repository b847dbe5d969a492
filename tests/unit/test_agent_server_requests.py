"""The agent knows when a request ended by the server that served it, where no framework tells."""

import asyncio
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest

from rushhour.agent.asgi_requests import StarlettePatch
from rushhour.agent.book import Book
from rushhour.agent.call_sites import Classifier
from rushhour.agent.flask_requests import current_request
from rushhour.agent.server_requests import MODULES, STARLETTE, WSGI, ServerPatch
from tests.unit.test_agent_doing import FakePool, a_hold


class SyncWorker:
    """As much of gunicorn's as is wrapped."""

    def handle_request(self, *seen: Any) -> Any:
        if seen == ("fails",):
            raise OSError("the client is gone")
        return current_request.get()


class RequestResponseCycle:
    """As much of uvicorn's."""

    seen: Any = None

    async def run_asgi(self, app: Any) -> None:
        self.seen = current_request.get()
        await app()


def module(name: str, owner: type) -> ModuleType:
    made = ModuleType(name)
    setattr(made, owner.__name__, owner)
    return made


@pytest.fixture
def patch() -> Any:
    made = ServerPatch(Book())
    yield made
    made.remove()


def test_a_request_lasts_as_long_as_the_server_handles_it(patch: ServerPatch) -> None:
    patch.apply(module("gunicorn.workers.sync", SyncWorker))
    first, second = SyncWorker().handle_request(), SyncWorker().handle_request()
    assert first is not second
    assert first.ended is not None
    assert first.label is None  # no route is known
    assert current_request.get() is None
    with pytest.raises(OSError, match="the client is gone"):
        SyncWorker().handle_request("fails")
    assert current_request.get() is None


def test_server_patches_are_removed_for_a_framework_with_its_own(patch: ServerPatch) -> None:
    original = SyncWorker.handle_request
    patch.apply(module("gunicorn.workers.sync", SyncWorker))
    patch.step_aside()
    assert SyncWorker.handle_request is original
    patch.apply(module("gunicorn.workers.sync", SyncWorker))
    assert SyncWorker.handle_request is original
    assert SyncWorker().handle_request() is None


def test_requests_of_asgi(patch: ServerPatch) -> None:
    patch.apply(module("uvicorn.protocols.http.h11_impl", RequestResponseCycle))
    ended_while_it_ran = []
    cycle = RequestResponseCycle()

    async def app() -> None:
        request = current_request.get()
        ended_while_it_ran.append(request is not None and request.ended is not None)

    asyncio.run(cycle.run_asgi(app))
    assert ended_while_it_ran == [False]
    assert cycle.seen.ended is not None


class ASGIWrapper:
    """As much of Hypercorn's."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any, _spawn: Any, _soon: Any) -> None:
        await self.app(scope, receive, send)


@pytest.mark.parametrize("imported", [False, True])
def test_a_response_of_hypercorn_is_known_to_stream(
    patch: ServerPatch, monkeypatch: Any, imported: bool
) -> None:
    """Also where Starlette is imported and another framework answers, from its second request on."""
    monkeypatch.delitem(sys.modules, STARLETTE, raising=False)
    if imported:
        monkeypatch.setitem(sys.modules, STARLETTE, ModuleType(STARLETTE))
    patch.apply(module("hypercorn.app_wrappers", ASGIWrapper))
    seen: list[Any] = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        seen.append(current_request.get())
        if scope["type"] == "http":
            await send({"type": "http.response.start"})
            await send({"type": "http.response.body", "more_body": True})
            seen.append((seen[0].streams, seen[0].ended is not None))

    async def send(_: Any) -> None:
        pass

    if imported:
        asyncio.run(ASGIWrapper(app)({"type": "http"}, None, send, None, None))
        assert seen[1] == (False, False)
        seen.clear()
    asyncio.run(ASGIWrapper(app)({"type": "http"}, None, send, None, None))
    assert seen[1] == (True, False)
    assert seen[0].ended is not None
    asyncio.run(ASGIWrapper(app)({"type": "lifespan"}, None, send, None, None))
    assert seen[2] is None


@pytest.mark.parametrize(("kind", "asks_beside"), [("http", True), ("websocket", False)])
def test_a_task_beside_a_websocket_is_nothing_that_its_request_waits_for(
    patch: ServerPatch, kind: str, asks_beside: bool
) -> None:
    """Whatever framework answers: the handler of a websocket waits for its visitor."""
    patch.apply(module("hypercorn.app_wrappers", ASGIWrapper))
    book, pool, seen = Book(), FakePool(), list[bool]()

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        hold = a_hold(book, pool, current_request.get(), 0, 1.0)
        hold.owner = book.owner_of()

        async def asks() -> None:
            beside = book.held_beside(current_request.get(), book.owner_of(), book.pool_state(pool), 2.0)
            seen.append(beside)

        task = asyncio.create_task(asks())
        while not task.done():
            await asyncio.sleep(0)

    asyncio.run(ASGIWrapper(app)({"type": kind}, None, None, None, None))
    assert seen == [asks_beside]


def test_what_is_sent_is_not_watched_twice_where_starlette_answers(
    patch: ServerPatch, monkeypatch: Any
) -> None:
    monkeypatch.setitem(sys.modules, STARLETTE, ModuleType(STARLETTE))
    patch.apply(module("hypercorn.app_wrappers", ASGIWrapper))
    seen: list[Any] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        request = current_request.get()
        assert request is not None
        request.framed = True
        seen.append(send)

    async def send(_: Any) -> None:
        pass

    for _ in range(2):
        asyncio.run(ASGIWrapper(app)({"type": "http"}, None, send, None, None))
    assert seen == [send, send]


def test_starlette_and_its_server_have_one_request_unless_it_runs_in_another_task(patch: ServerPatch) -> None:
    patch.apply(module("uvicorn.protocols.http.h11_impl", RequestResponseCycle))
    scope = {"type": "http", "method": "GET"}
    outside: list[Any] = []
    within: list[Any] = []

    async def send(_: Any) -> None:
        pass

    async def original(_app: Any, _scope: Any, _receive: Any, send: Any) -> None:
        within.append(current_request.get())
        await send({"type": "http.response.start"})
        await send({"type": "http.response.body"})

    answer = StarlettePatch(Book(), Classifier())._call(original)

    async def once() -> None:
        outside.append(current_request.get())
        await answer(None, scope, None, send)
        assert current_request.get() is outside[-1]
        request = outside[-1]
        assert request is not None
        assert request.ended is None  # before its server is done with it

    async def mounted() -> None:
        await once()
        await once()

    async def in_a_task() -> None:
        outside.append(current_request.get())
        await asyncio.create_task(answer(None, scope, None, send))

    for app in (once, mounted, in_a_task):
        asyncio.run(RequestResponseCycle().run_asgi(app))
    assert [request is other for request, other in zip(within, outside, strict=True)] == [
        *(True, True, False, False)
    ]
    assert within[2].outer is outside[2]
    assert {request.method for request in within} == {"GET"}
    assert all(request.returned and request.ended is not None for request in (*within, *outside))


def test_requests_are_answered_where_no_loop_of_asyncio_runs(patch: ServerPatch) -> None:
    """As under trio: nobody's task is known to run them."""
    patch.apply(module("hypercorn.app_wrappers", ASGIWrapper))
    book, seen = Book(), list[Any]()

    async def original(_app: Any, _scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(current_request.get())

    answer = StarlettePatch(book, Classifier())._call(original)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(current_request.get())
        await answer(None, scope, receive, send)

    with pytest.raises(StopIteration):  # it has returned
        ASGIWrapper(app)({"type": "http", "method": "GET"}, None, None, None, None).send(None)
    assert len(seen) == 2
    assert all(request.in_loop and request.ended is not None for request in seen)
    assert not book.faults


@pytest.mark.parametrize(
    "name", sorted(set(MODULES) & {"gevent.pywsgi", "wsgiref.handlers", "werkzeug.serving"})
)
def test_the_places_that_are_wrapped_are_the_servers(name: str) -> None:
    owner, method = WSGI[name]
    assert callable(getattr(getattr(import_module(name), owner), method))
