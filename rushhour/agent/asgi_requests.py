"""Tracks the current request of Starlette (and FastAPI, which builds on it), its route and its end.

A request is what `Starlette.__call__` brackets: dependencies, streamed bodies and background tasks are over
when it returns. A websocket is bracketed likewise, from its handshake to its end. Each background task of a
response is a unit of work of its own within its request, and has its route. The context variable follows it
into SQLAlchemy's greenlets and into worker threads.
"""

from __future__ import annotations

import asyncio
import os
import re
from _thread import get_ident
from collections.abc import Callable
from functools import partial
from types import CoroutineType, ModuleType
from typing import Any
from weakref import ref

from .book import SERVERS, Book, Request, monotonic
from .call_sites import Classifier
from .flask_requests import current_request, version_of
from .owners import task_getters
from .patches import Patches

START, BODY = "http.response.start", "http.response.body"
MAX_LABELS = 10_000  # kept: a client may ask with methods that nobody has
running_loop, (task_of, _py_task_of) = asyncio._get_running_loop, task_getters(asyncio)
_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")


class RouteLabels:
    """Labels the current request with its route, and keeps the labels."""

    __slots__ = ("_labels",)

    def __init__(self) -> None:
        self._labels: dict[tuple[str, str, str], str] = {}

    def give(self, scope: Any, path: str) -> None:
        """Label the current request; `path` is the route's within what is mounted."""
        request = current_request.get()
        if request is not None:
            mounts = scope.get("root_path", "")
            if mounts:  # the server's own `root_path`, as of a proxy, is no part of the route
                mounts = mounts.removeprefix(scope.get("app_root_path", mounts))
            place = (request.method, mounts, path)
            request.label = self._labels.get(place) or self._label(place)

    def _label(self, place: tuple[str, str, str]) -> str:
        method, mounts, path = place
        label = f"{method} {as_flask_writes(mounts + path)}"
        if len(self._labels) < MAX_LABELS:
            self._labels[place] = label
        return label


class StarlettePatch(Patches):
    """Patches Starlette, and removes the patches."""

    def __init__(self, book: Book, classifier: Classifier) -> None:
        self._book = book
        self._classifier = classifier
        super().__init__()

    def apply(self, applications: ModuleType) -> None:
        """Patch `starlette.applications`, which was just imported."""
        from starlette.background import BackgroundTask  # noqa: PLC0415  # here it is imported already
        from starlette.routing import Route, WebSocketRoute  # noqa: PLC0415  # as above

        self._book.modules["starlette"] = version_of("starlette")
        routing = Route.handle.__code__.co_filename
        self._classifier.add_framework(routing)
        # FastAPI calls the endpoint itself. Where it is not installed beside it, no file has this path.
        self._classifier.add_framework(
            routing.replace(f"{os.sep}starlette{os.sep}", f"{os.sep}fastapi{os.sep}")
        )
        self._wrap(applications.Starlette, "__call__", self._call)
        self._wrap(Route, "handle", self._handle)
        self._wrap(WebSocketRoute, "handle", self._handle)
        self._wrap(BackgroundTask, "__call__", self._background)

    def _call(self, original: Any) -> Any:
        fault, serving = self._book.fault, self._book.serving
        current, make_current = current_request.get, current_request.set

        async def __call__(app: Any, scope: Any, receive: Any, send: Any) -> None:  # noqa: N807  # stands in for it
            kind = scope["type"]
            # At start-up and shutdown the task that runs them is the owner.
            if kind not in ("http", "websocket"):
                await original(app, scope, receive, send)
                return
            outer, request = current(), None
            try:
                # An owner is made of the task only once it takes a connection.
                loop, thread = running_loop(), get_ident()
                task = None if loop is None else task_of(loop)  # there is none under trio
                method = "WEBSOCKET" if kind == "websocket" else str(scope.get("method", "?"))
                if outer is not None:
                    outer.framed = True
                    if outer.method == SERVERS and task is not None and outer.task() is task:
                        request = outer  # it ends with this one
                        request.method = method
                if request is None:
                    request = Request(method, outer)
                    make_current(request)
                    request.task = running_task() if task is None else ref(task)
                if thread not in serving:
                    serving.add(thread)
                send = partial(watched, request, send)
            except Exception as error:
                fault("request start", error)
            try:
                await original(app, scope, receive, send)
            finally:
                if request is not None and request is not outer:
                    request.returned = True
                    request.ended = monotonic()
                    make_current(outer)

        return __call__

    def _handle(self, original: Any) -> Any:
        """Route.handle: from here on the route is known.

        A plain function: a coroutine around another is resumed each time that the inner one is.
        """
        fault, label = self._book.fault, RouteLabels().give

        def handle(route: Any, scope: Any, receive: Any, send: Any) -> Any:
            try:
                label(scope, route.path)
            except Exception as error:
                fault("request route", error)
            return original(route, scope, receive, send)

        return handle

    def _background(self, original: Any) -> Any:
        """BackgroundTask.__call__: also of each of several."""

        async def __call__(task: Any) -> None:  # noqa: N807  # stands in for it
            outer = current_request.get()
            if outer is None:
                await original(task)
                return
            request = Request(outer.method, outer)
            request.label, request.task = outer.label, outer.task
            current_request.set(request)
            try:
                await original(task)
            finally:
                request.returned = True
                request.ended = monotonic()
                current_request.set(outer)

        return __call__


class FastapiPatch(Patches):
    """Patches FastAPI, and removes the patches."""

    def __init__(self, book: Book, classifier: Classifier) -> None:
        self._book = book
        self._classifier = classifier
        super().__init__()

    def apply(self, routing: ModuleType) -> None:
        """Patch `fastapi.routing`, which was just imported."""
        self._book.modules["fastapi"] = version_of("fastapi")
        self._classifier.add_framework(str(routing.__file__))
        if "handle" in vars(routing.APIRoute):
            self._wrap(routing.APIRoute, "handle", self._handle)

    def _handle(self, original: Any) -> Any:
        """APIRoute.handle: a route of a router that is included in another one.

        Its own path lacks the prefixes of these, and it does not call Starlette's `Route.handle`.
        """
        fault, label = self._book.fault, RouteLabels().give

        def handle(route: Any, scope: Any, receive: Any, send: Any) -> Any:
            try:
                known = scope.get("fastapi")
                context = known.get("effective_route_context") if isinstance(known, dict) else None
                if context is not None and getattr(context, "original_route", None) is route:
                    label(scope, context.path)
            except Exception as error:
                fault("request route", error)
            return original(route, scope, receive, send)

        return handle


def as_flask_writes(path: str) -> str:
    """Spell `/items/{item_id:int}` as Flask does, `/items/<item_id>`: one spelling for all readers."""
    return _PARAMETER.sub(r"<\1>", path)


def running_task() -> Callable[[], Any]:
    """A weak reference to the task that runs here; to no task where that is none of asyncio's (trio)."""
    loop = running_loop()
    task = None if loop is None else task_of(loop)
    if task is None and loop is not None:
        task = _py_task_of(loop)
    return ref(running_task if task is None else task)


def watched(request: Request, send: Any, message: Any) -> Any:
    """The ASGI callable `send`, which notes for its request whether a response is on its way.

    From its start to its last part a response streams. While `send` waits, the client does not take what
    was sent before. A plain function: a coroutine around another is resumed each time that the inner one is.
    """
    kind = message.get("type")
    if kind == START:
        request.returned = request.begun = True
        return send(message)  # headers alone fill no buffer: nothing waits here
    part = send(message)
    if type(part) is not CoroutineType:
        part = _awaited(part)
    request.part = ref(part)
    if kind == BODY:
        request.is_last = not message.get("more_body")
    return part


async def _awaited(part: Any) -> None:
    await part
