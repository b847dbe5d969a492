"""The agent knows when a request ended by the server that served it, where no framework tells."""

import asyncio
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest

from rushhour.agent.flask_requests import current_request
from rushhour.agent.server_requests import MODULES, WSGI, ServerPatch


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
    made = ServerPatch()
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


@pytest.mark.parametrize(
    "name", sorted(set(MODULES) & {"gevent.pywsgi", "wsgiref.handlers", "werkzeug.serving"})
)
def test_the_places_that_are_wrapped_are_the_servers(name: str) -> None:
    owner, method = WSGI[name]
    assert callable(getattr(getattr(import_module(name), owner), method))
