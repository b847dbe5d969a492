"""The requests of aiohttp, Sanic and Tornado, and their routes."""

import asyncio
import re
from collections.abc import Iterator
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import pytest

from rushhour.agent.book import Book, Request
from rushhour.agent.flask_requests import current_request
from rushhour.agent.loop_requests import (
    AIOHTTP,
    AIOHTTPS_ROUTER,
    SANIC,
    SANICS_ROUTER,
    TORNADO,
    TORNADOS_ROUTER,
    LoopPatch,
)
from tests.unit.test_agent_server_requests import module


class Message:
    """A request, as these servers have it; what runs for it sees the agent's request."""

    def __init__(self, method: str, path: str, **headers: str) -> None:
        self.method, self.path, self.headers = method, path, headers
        self.seen: Request | None = None

    def see(self) -> None:
        self.seen = current_request.get()
        assert self.seen is not None
        assert (self.seen.ended, self.seen.task()) == (None, asyncio.current_task())
        if self.method == "POST":
            raise OSError("the client is gone")


class Found:
    """What aiohttp's router says of a request: its route, which has no resource where none matches."""

    def __init__(self, canonical: str | None) -> None:
        self.route = self
        self.resource = self if canonical is not None else None
        self.canonical = canonical


def served_by_aiohttp(patch: LoopPatch, message: Message) -> None:
    class UrlDispatcher:
        async def resolve(self, message: Message) -> Found:
            return Found({"/items/3": "/items/{number}", "/": "/"}.get(message.path))

    class RequestHandler:
        async def _handle_request(self, message: Message, _start: float, _handler: Any) -> None:
            await UrlDispatcher().resolve(message)
            message.see()

    patch.apply(module(AIOHTTP, RequestHandler))
    patch.apply(module(AIOHTTPS_ROUTER, UrlDispatcher))
    asyncio.run(RequestHandler()._handle_request(message, 0.0, None))


def served_by_sanic(patch: LoopPatch, message: Message) -> None:
    def handler() -> None: ...

    def chat() -> None: ...

    chat.is_websocket = True  # type: ignore[attr-defined]  # as Sanic marks it
    routes = {
        "/items/3": ("items/<number:int>", handler),
        "/": ("", handler),
        "/chat/blue": ("chat/<room>", chat),
    }

    class Router:
        @lru_cache(maxsize=10)  # noqa: B019  # as Sanic's
        def get(self, path: str, method: str, host: str | None) -> Any:
            route, found = routes[path]
            return SimpleNamespace(path=route), found, {}

    class HttpProtocolMixin:
        request_handler: Any = None

        def _setup(self) -> None:
            self.request_handler = self.handle_request

        async def handle_request(self, message: Message) -> None:
            if message.path in routes:
                Router().get(message.path, message.method, None)
            message.see()

    patch.apply(module(SANIC, HttpProtocolMixin))
    patch.apply(module(SANICS_ROUTER, Router))
    protocol = HttpProtocolMixin()
    protocol._setup()
    asyncio.run(protocol.request_handler(message))


def served_by_tornado(patch: LoopPatch, message: Message) -> None:
    class PathMatches:
        def __init__(self, pattern: str, path: str | None) -> None:
            self.regex, self._path = re.compile(pattern), path

        def match(self, message: Message) -> Any:
            return {} if self.regex.match(message.path) else None

    class RequestHandler:
        def __init__(self, message: Message) -> None:
            self.request = message

        async def _execute(self, _transforms: Any, *_arguments: bytes) -> None:
            self.request.see()

    patch.apply(module(TORNADO, RequestHandler))
    patch.apply(module(TORNADOS_ROUTER, PathMatches))
    rules = [
        ("/items.*", None),
        ("/items/(?P<number>[0-9]+)$", "/items/%s"),
        ("/$", "/"),
        ("/chat/(.*)$", "/chat/%s"),
    ]
    for rule in rules:
        PathMatches(*rule).match(message)
    asyncio.run(RequestHandler(message)._execute([], b"3"))


SERVERS = (served_by_aiohttp, served_by_sanic, served_by_tornado)


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def patch(book: Book) -> Iterator[LoopPatch]:
    made = LoopPatch(book)
    yield made
    made.remove()


@pytest.mark.parametrize("served", SERVERS)
@pytest.mark.parametrize(
    ("path", "label"), [("/items/3", "GET /items/<number>"), ("/", "GET /"), ("/nobody", None)]
)
def test_the_router_names_the_route_of_a_request(
    book: Book, patch: LoopPatch, served: Any, path: str, label: str | None
) -> None:
    message = Message("GET", path)
    served(patch, message)
    assert message.seen is not None
    assert (message.seen.label, message.seen.ended is not None) == (label, True)
    assert book.serving
    assert not book.faults


@pytest.mark.parametrize("served", SERVERS)
def test_a_request_ends_also_where_it_fails(patch: LoopPatch, served: Any) -> None:
    message = Message("POST", "/items/3")
    with pytest.raises(OSError, match="the client is gone"):
        served(patch, message)
    assert message.seen is not None
    assert message.seen.ended is not None


@pytest.mark.parametrize(
    ("served", "label"),
    [(served_by_sanic, "WEBSOCKET /chat/<room>"), (served_by_tornado, "WEBSOCKET /chat/<1>")],
)
def test_a_websocket_has_its_route(patch: LoopPatch, served: Any, label: str) -> None:
    message = Message("GET", "/chat/blue", Upgrade="WebSocket")
    served(patch, message)
    assert message.seen is not None
    assert (message.seen.method, message.seen.label) == ("WEBSOCKET", label)


def test_an_expression_that_is_no_path_is_named_as_it_stands(patch: LoopPatch) -> None:
    message = Message("GET", "/items")
    served_by_tornado(patch, message)
    assert message.seen is not None
    assert message.seen.label == "GET /items.*"


@pytest.mark.parametrize("served", SERVERS)
def test_a_request_of_an_unknown_form_is_served_all_the_same(
    book: Book, patch: LoopPatch, served: Any
) -> None:
    message = Message("GET", "/items/3")
    message.headers = None  # type: ignore[assignment]  # as of another version
    served(patch, message)
    assert message.seen is not None
    assert list(book.faults) == [
        ("request start", "AttributeError: 'NoneType' object has no attribute 'get'")
    ]
