"""The route of a request that a router of FastAPI serves, which another router includes."""

from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from rushhour.agent.asgi_requests import FastapiPatch
from rushhour.agent.book import Book, Request
from rushhour.agent.call_sites import Classifier
from rushhour.agent.flask_requests import current_request


class APIRoute:
    """As much of FastAPI's as is wrapped."""

    path = "/{number:int}"

    def handle(self, *_: Any) -> str:
        return "answered"


class EarlierRoute:
    """Of a FastAPI that leaves this to Starlette."""


@pytest.fixture
def fastapi() -> ModuleType:
    made = ModuleType("fastapi.routing")
    made.__file__ = "/lib/fastapi/routing.py"
    return made


def included(route: APIRoute, path: str) -> dict[str, Any]:
    return {"fastapi": {"effective_route_context": SimpleNamespace(original_route=route, path=path)}}


HERE, OTHER = APIRoute(), APIRoute()


@pytest.mark.parametrize(
    ("scope", "label"),
    [
        (included(HERE, "/api/items/{number:int}"), "GET /api/items/<number>"),
        (
            included(HERE, "/items") | {"root_path": "/proxy/shop", "app_root_path": "/proxy"},
            "GET /shop/items",
        ),
        (included(HERE, "/items") | {"root_path": "/proxy"}, "GET /items"),
        (included(OTHER, "/items"), None),  # of a router around a mounted application
        ({"fastapi": {}}, None),
        ({"fastapi": "somebody else's"}, None),
        ({}, None),
    ],
)
def test_its_path_has_the_prefixes_of_the_routers_around_it(
    fastapi: ModuleType, monkeypatch: pytest.MonkeyPatch, scope: dict[str, Any], label: str | None
) -> None:
    monkeypatch.setattr(fastapi, "APIRoute", APIRoute, raising=False)
    book, request = Book(), Request("GET", None)
    patch = FastapiPatch(book, Classifier())
    patch.apply(fastapi)
    token = current_request.set(request)
    try:
        assert HERE.handle(scope, None, None) == "answered"
    finally:
        current_request.reset(token)
        patch.remove()
    assert request.label == label
    assert not book.faults


def test_an_earlier_fastapi_is_left_as_it_is(fastapi: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastapi, "APIRoute", EarlierRoute, raising=False)
    FastapiPatch(Book(), Classifier()).apply(fastapi)
    assert "handle" not in vars(EarlierRoute)
