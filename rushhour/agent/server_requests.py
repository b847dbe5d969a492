"""Tracks the end of requests without a known framework, by patching the WSGI or ASGI server.

What is wrapped brackets one request, its response's body included. No route is known there, so a check-out
has a request and no endpoint. As soon as a Flask application answers, which brackets its requests itself,
this steps aside: two brackets would cost twice. Servers that route requests themselves are in
loop_requests.py; any other leaves only the age of a check-out.
"""

from __future__ import annotations

import sys
from _thread import get_ident
from functools import partial
from types import ModuleType
from typing import Any
from weakref import ref

from .book import SERVERS, Book, Request, monotonic
from .flask_requests import current_request
from .patches import Patches

# module -> class and method that serve one request
WSGI = {
    "gunicorn.workers.sync": ("SyncWorker", "handle_request"),
    "gunicorn.workers.gthread": ("ThreadWorker", "handle_request"),
    "gunicorn.workers.base_async": ("AsyncWorker", "handle_request"),  # gevent, eventlet, tornado
    "waitress.task": ("WSGITask", "execute"),
    "werkzeug.serving": ("WSGIRequestHandler", "run_wsgi"),
    "wsgiref.handlers": ("BaseHandler", "run"),
    "gevent.pywsgi": ("WSGIHandler", "handle_one_response"),  # and Flask-SocketIO, gunicorn's gevent_pywsgi
    "eventlet.wsgi": ("HttpProtocol", "handle_one_response"),
    "cheroot.server": ("HTTPRequest", "respond"),  # CherryPy's
}
ASGI = {
    "uvicorn.protocols.http.h11_impl": ("RequestResponseCycle", "run_asgi"),
    "uvicorn.protocols.http.httptools_impl": ("RequestResponseCycle", "run_asgi"),
}
# Of the wrapper around the application: (scope, receive, send, ...).
WRAPPED = {"hypercorn.app_wrappers": ("ASGIWrapper", "__call__")}
MODULES = (*WSGI, *ASGI, *WRAPPED)
_WEBSOCKET = "websocket"
_SERVED = ("http", _WEBSOCKET)
IN_ONE_THREAD = ("gevent.pywsgi", "eventlet.wsgi")  # in which one loop serves all
_ASGI_ARGUMENTS = 3  # scope, receive, send
STARLETTE = "starlette.applications"  # its own patch watches what is sent


class ServerPatch(Patches):
    """Patches servers, and removes the patches."""

    def __init__(self, book: Book) -> None:
        super().__init__()
        self.aside = False
        self._book = book
        # What is sent: where Starlette answers all requests, its patch does so.
        self._watches = False

    def apply(self, module: ModuleType) -> None:
        """Patch one of MODULES, which was just imported."""
        name = module.__name__
        if name in ASGI:
            owner, method = ASGI[name]
            self._wrap(getattr(module, owner), method, self._bracket_async)
        elif name in WRAPPED:
            owner, method = WRAPPED[name]
            self._wrap(getattr(module, owner), method, self._bracket_wrapper)
        elif not self.aside:
            owner, method = WSGI[name]
            in_one_thread = name in IN_ONE_THREAD
            self._wrap(getattr(module, owner), method, lambda found: self._bracket(found, in_one_thread))

    def step_aside(self) -> None:
        """Remove the patches, because a framework's own patch tracks the requests."""
        self.aside = True
        self.remove()

    def _bracket(self, original: Any, in_one_thread: bool) -> Any:
        book = self._book

        def serve(*arguments: Any, **options: Any) -> Any:
            request = Request(SERVERS, None)
            current_request.set(request)
            try:
                request.owner = book.owner_of()
                if in_one_thread:
                    book.serving.add(get_ident())
            except Exception as error:
                book.fault("request start", error)
            try:
                return original(*arguments, **options)
            finally:
                end(request)

        return serve

    def _bracket_async(self, original: Any) -> Any:
        """Few calls of Python: they cost most where the processor last ran something else."""
        from .asgi_requests import running_loop, running_task, task_of  # noqa: PLC0415  # asyncio is here already

        fault, modules, make_current = self._book.fault, sys.modules, current_request.set

        async def serve(cycle: Any, app: Any) -> None:
            request = Request(SERVERS, None)
            make_current(request)
            try:
                loop = running_loop()
                task = None if loop is None else task_of(loop)
                request.task = running_task() if task is None else ref(task)
                if self._watches or STARLETTE not in modules:
                    app = _watched(app, request)
            except Exception as error:
                fault("request start", error)
            try:
                await original(cycle, app)
            finally:
                request.returned = True
                request.ended = monotonic()
                make_current(None)
                if not request.framed:  # that Starlette is imported does not say that it answers
                    self._watches = True

        return serve

    def _bracket_wrapper(self, original: Any) -> Any:
        from .asgi_requests import running_task, watched  # noqa: PLC0415  # as above

        fault = self._book.fault

        async def __call__(wrapper: Any, scope: Any, receive: Any, send: Any, *rest: Any) -> None:  # noqa: N807
            if scope["type"] not in _SERVED:  # start-up and shutdown
                await original(wrapper, scope, receive, send, *rest)
                return
            request = Request(SERVERS, None)
            request.returned = scope["type"] == _WEBSOCKET  # whoever waits here waits for a visitor
            current_request.set(request)
            try:
                request.task = running_task()
            except Exception as error:
                fault("request start", error)
            sends = partial(watched, request, send) if self._watches or STARLETTE not in sys.modules else send
            try:
                await original(wrapper, scope, receive, sends, *rest)
            finally:
                self._watches = self._watches or not request.framed  # as above
                end(request)

        return __call__


def _watched(app: Any, request: Request) -> Any:
    """The application, with its `send` watched: no framework that is known here does so."""
    from .asgi_requests import watched  # noqa: PLC0415  # as above

    async def serve(*arguments: Any) -> None:
        if len(arguments) == _ASGI_ARGUMENTS:
            scope, receive, send = arguments
            arguments = (scope, receive, partial(watched, request, send))
        await app(*arguments)

    return serve


def end(request: Request) -> None:
    """The server is done with it."""
    request.returned = True
    request.ended = monotonic()
    current_request.set(None)
