"""Tracks the requests of aiohttp, Sanic and Tornado, servers with routers of their own, and their routes.

What is wrapped brackets one request in the task that serves it; a websocket likewise, from its handshake to
its end.
"""

from __future__ import annotations

import re
from _thread import get_ident
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .book import SERVERS, Book, Request
from .flask_requests import current_request
from .patches import Patches
from .server_requests import end

if TYPE_CHECKING:
    from collections.abc import Callable

AIOHTTP, AIOHTTPS_ROUTER = "aiohttp.web_protocol", "aiohttp.web_urldispatcher"
SANIC, SANICS_ROUTER = "sanic.server.protocols.http_protocol", "sanic.router"
TORNADO, TORNADOS_ROUTER = "tornado.web", "tornado.routing"
MODULES = (AIOHTTP, AIOHTTPS_ROUTER, SANIC, SANICS_ROUTER, TORNADO, TORNADOS_ROUTER)
WEBSOCKET = "WEBSOCKET"
_CONVERTER = re.compile(r"<(\w+):[^>]*>")  # of Sanic: <number:int>


class LoopPatch(Patches):
    """Patches these servers and their routers, and removes the patches."""

    def __init__(self, book: Book) -> None:
        super().__init__()
        self._book = book

    def apply(self, module: ModuleType) -> None:
        """Patch one of MODULES, which was just imported."""
        name = module.__name__
        if name == AIOHTTP:
            self._wrap(module.RequestHandler, "_handle_request", lambda found: self._bracket(found, _second))
        elif name == AIOHTTPS_ROUTER:
            self._wrap(module.UrlDispatcher, "resolve", self._aiohttps_route)
        elif name == SANIC:
            self._wrap(module.HttpProtocolMixin, "_setup", self._sanics_connection)
        elif name == SANICS_ROUTER:
            self._wrap(module.Router, "get", self._sanics_route)
        elif name == TORNADO:
            self._wrap(module.RequestHandler, "_execute", lambda found: self._bracket(found, _of_handler))
        elif name == TORNADOS_ROUTER:
            self._wrap(module.PathMatches, "match", self._tornados_route)

    def _bracket(self, original: Any, message_of: Callable[..., Any]) -> Any:
        """Wrap the coroutine that serves a request; `message_of` finds the request in its arguments."""
        from .asgi_requests import running_task  # noqa: PLC0415  # asyncio is imported here already

        book = self._book

        async def serve(*arguments: Any, **options: Any) -> Any:
            request = Request(SERVERS, None)
            current_request.set(request)
            try:
                request.task = running_task()
                book.serving.add(get_ident())
                _describe(request, message_of(*arguments))
            except Exception as error:
                book.fault("request start", error)
            try:
                return await original(*arguments, **options)
            finally:
                end(request)

        return serve

    def _aiohttps_route(self, original: Any) -> Any:
        """UrlDispatcher.resolve: also of an application that is part of another one."""
        from .asgi_requests import as_flask_writes  # noqa: PLC0415  # as above

        book = self._book

        async def resolve(router: Any, message: Any) -> Any:
            found = await original(router, message)
            try:
                request, resource = current_request.get(), found.route.resource
                if request is not None and resource is not None:  # there is none where nothing matches
                    request.label = f"{request.method} {as_flask_writes(resource.canonical)}"
            except Exception as error:
                book.fault("request route", error)
            return found

        return resolve

    def _sanics_connection(self, original: Any) -> Any:
        """HttpProtocolMixin._setup: once for each connection.

        What serves requests is not wrapped in its class, for Sanic reads its source and compiles it anew.
        """
        book = self._book

        def _setup(protocol: Any) -> None:
            original(protocol)
            try:
                protocol.request_handler = self._bracket(protocol.request_handler, _itself)
            except Exception as error:
                book.fault("connection", error)

        return _setup

    def _sanics_route(self, original: Any) -> Any:
        """Router.get, which returns a route, its handler and their arguments; also under an ASGI server."""
        book = self._book

        def get(router: Any, path: str, method: str, *rest: Any) -> Any:
            found = original(router, path, method, *rest)
            try:
                request = current_request.get()
                if request is not None:
                    request.method = WEBSOCKET if hasattr(found[1], "is_websocket") else method
                    request.label = f"{request.method} /" + _CONVERTER.sub(r"<\1>", found[0].path)
            except Exception as error:
                book.fault("request route", error)
            return found

        return get

    def _tornados_route(self, original: Any) -> Any:
        """PathMatches.match, before the request's task runs; of nested routers the innermost is last."""
        book = self._book

        def match(matcher: Any, message: Any) -> Any:
            found = original(matcher, message)
            if found is not None:
                try:
                    message._rushhour_route = matcher
                except Exception as error:
                    book.fault("request route", error)
            return found

        return match


def _describe(request: Request, message: Any) -> None:
    """Take a request's method from what its server knows of it, and Tornado's route."""
    request.method = str(message.method)
    if message.headers.get("Upgrade", "").lower() == "websocket":
        request.method = WEBSOCKET
    matcher = getattr(message, "_rushhour_route", None)
    if matcher is not None:
        request.label = f"{request.method} {_path_of(matcher)}"


def _path_of(matcher: Any) -> str:
    """Spell a regular expression of Tornado's as a path, `/items/<1>`; as it stands where that cannot be."""
    pattern, path = matcher.regex, matcher._path
    if path is None:
        return str(pattern.pattern.removeprefix("^").removesuffix("$"))
    names = {number: name for name, number in pattern.groupindex.items()}
    return str(path % tuple(f"<{names.get(number, number)}>" for number in range(1, pattern.groups + 1)))


def _second(_handler: Any, message: Any, *_: Any) -> Any:
    return message


def _itself(message: Any) -> Any:
    return message


def _of_handler(handler: Any, *_: Any) -> Any:
    return handler.request
