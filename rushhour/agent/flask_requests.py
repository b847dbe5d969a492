"""Knows which request of Flask runs here, its route, and when it has ended.

A request is what `Flask.wsgi_app` brackets: teardown functions and signals are over when it returns, even
where one of them failed. A streamed response ends when the server closes it. `with app.app_context()` in jobs
and scripts is no request. Methods are wrapped: a receiver of Flask's signals would cost ten times as much.
"""

from __future__ import annotations

from contextvars import ContextVar
from types import ModuleType
from typing import Any

from .book import Book, Request, monotonic
from .call_sites import Classifier
from .patches import Patches

IMPLIED_METHODS = frozenset({"HEAD", "OPTIONS"})

current_request: ContextVar[Request | None] = ContextVar("rushhour_request", default=None)


class FlaskPatch(Patches):
    """Puts the agent into Flask, and takes it out again."""

    def __init__(self, book: Book, classifier: Classifier) -> None:
        self._book = book
        self._classifier = classifier
        super().__init__()
        self._seen_apps: set[int] = set()

    def apply(self, flask: ModuleType) -> None:
        """Patch the module that was just imported."""
        self._book.modules["flask"] = version_of("flask")
        self._classifier.add_framework(flask.Flask.wsgi_app.__code__.co_filename)
        self._wrap(flask.Flask, "wsgi_app", self._wsgi_app)
        self._wrap(flask.Flask, "full_dispatch_request", lambda original: self._dispatch(original, flask))
        self._wrap(flask.Flask, "finalize_request", self._finalize)

    def _wsgi_app(self, original: Any) -> Any:
        fault = self._book.fault

        def wsgi_app(app: Any, environ: Any, start_response: Any) -> Any:
            request = None
            try:
                request = _begin(environ)
            except Exception as error:
                fault("request start", error)
            try:
                return original(app, environ, start_response)
            finally:
                try:
                    if request is not None:
                        _returned(request)
                except Exception as error:
                    fault("request end", error)

        return wsgi_app

    def _dispatch(self, original: Any, flask: ModuleType) -> Any:
        """Flask.full_dispatch_request: from here on the route is known."""
        fault = self._book.fault

        def full_dispatch_request(app: Any, *context: Any) -> Any:
            try:
                request = current_request.get()
                if request is not None:
                    rule = flask.request.url_rule
                    request.label = f"{request.method} {'(no route)' if rule is None else rule.rule}"
                if id(app) not in self._seen_apps:
                    self._seen_apps.add(id(app))
                    self._book.routes += routes_of(app)
            except Exception as error:
                fault("request dispatch", error)
            return original(app, *context)

        return full_dispatch_request

    def _finalize(self, original: Any) -> Any:
        """Flask.finalize_request: it makes the response, anew when an error handler replaces it."""
        fault = self._book.fault

        def finalize_request(app: Any, *arguments: Any, **options: Any) -> Any:
            response = original(app, *arguments, **options)
            try:
                request = current_request.get()
                if request is not None:
                    # A passed-through file is closed by the server, not by its response.
                    request.streams = bool(response.is_streamed and not response.direct_passthrough)
                    if request.streams:
                        response.call_on_close(lambda: _closed(request))
            except Exception as error:
                fault("response", error)
            return response

        return finalize_request


def routes_of(app: Any) -> tuple[str, ...]:
    """`GET /customers/<int:customer_id>` for each route and method; static files are left out."""
    return tuple(
        sorted(
            f"{method} {rule.rule}"
            for rule in app.url_map.iter_rules()
            if rule.endpoint.rpartition(".")[2] != "static"
            for method in (rule.methods or ())
            if method not in IMPLIED_METHODS
        )
    )


def _begin(environ: Any) -> Request:
    outer = current_request.get()
    if outer is not None and outer.returned:
        outer = None  # a streamed response that its server never closed
    request = Request(str(environ.get("REQUEST_METHOD", "?")), outer)
    current_request.set(request)
    return request


def _returned(request: Request) -> None:
    request.returned = True
    if not request.streams:  # else it stays current: its generator may check out more
        request.ended = monotonic()
        current_request.set(request.outer)


def _closed(request: Request) -> None:
    request.ended = monotonic()
    if current_request.get() is request:
        current_request.set(request.outer)


def version_of(package: str) -> str:
    """Of an installed package."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415  # not needed where Flask is not

    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
