"""Tracks the current request of Flask, its route and its end.

A request is what `Flask.wsgi_app` brackets: teardown functions and signals are over when it returns, even
where one of them failed. A streamed response ends when the server closes it. `with app.app_context()` in jobs
and scripts is no request. Methods are wrapped: a receiver of Flask's signals would cost ten times as much.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from .book import Book, Request, monotonic
from .call_sites import Classifier
from .owners import Owner
from .patches import Patches

IMPLIED_METHODS = frozenset({"HEAD", "OPTIONS"})

current_request: ContextVar[Request | None] = ContextVar("rushhour_request", default=None)


class FlaskPatch(Patches):
    """Patches Flask, and removes the patches."""

    def __init__(
        self, book: Book, classifier: Classifier, on_application: Callable[[], None] = lambda: None
    ) -> None:
        self._book = book
        self._on_application = on_application  # called when one answers for the first time
        self._classifier = classifier
        super().__init__()

    def apply(self, flask: ModuleType) -> None:
        """Patch the module that was just imported."""
        self._classifier.add_framework(flask.Flask.wsgi_app.__code__.co_filename)
        self._wrap(flask.Flask, "__init__", self._init)
        self._wrap(flask.Flask, "wsgi_app", self._wsgi_app)
        self._wrap(flask.Flask, "full_dispatch_request", lambda original: self._dispatch(original, flask))

    def _init(self, original: Any) -> Any:
        """Flask.__init__: Flask is seen once an application of it is made: Quart only imports it."""
        modules, fault = self._book.modules, self._book.fault

        def __init__(app: Any, *args: Any, **options: Any) -> None:  # noqa: N807  # stands in for it
            try:
                if "flask" not in modules:
                    modules["flask"] = version_of("flask")
            except Exception as error:
                fault("application start", error)
            original(app, *args, **options)

        __init__.__wrapped__ = original  # type: ignore[attr-defined]  # for inspect.signature
        return __init__

    def _wsgi_app(self, original: Any) -> Any:
        fault, owner_of = self._book.fault, self._book.owner_of

        def wsgi_app(app: Any, environ: Any, start_response: Any) -> Any:
            request = None
            try:
                request = _begin(environ, owner_of())
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
        """Flask.full_dispatch_request: it knows the route, and returns the response as it will be sent.

        It raises where no handler took an error: what Flask sends then is taken to be no stream.
        """
        book, fault, on_application = self._book, self._book.fault, self._on_application
        context_of = getattr(getattr(flask.globals, "_cv_request", None), "get", None)  # until Flask 3.1
        seen_apps: set[int] = set()

        def full_dispatch_request(app: Any, *context: Any) -> Any:
            request = current_request.get()
            try:
                if request is not None:
                    # `flask.request` would cost as much as all the rest; from Flask 3.2 on it is handed over.
                    here = context[0] if context else context_of and context_of()
                    rule = (here.request if here else flask.request).url_rule
                    request.label = f"{request.method} {'(no route)' if rule is None else rule.rule}"
                if id(app) not in seen_apps:
                    seen_apps.add(id(app))
                    on_application()
                    book.routes += routes_of(app)
            except Exception as error:
                fault("request dispatch", error)
            response = original(app, *context)
            try:
                # A passed-through file is closed by the server, not by its response.
                if request is not None and response.is_streamed and not response.direct_passthrough:
                    request.begun = True
                    response.call_on_close(lambda: _closed(request))
            except Exception as error:
                fault("response", error)
            return response

        return full_dispatch_request


def routes_of(app: Any) -> tuple[str, ...]:
    """Return `GET /customers/<int:customer_id>` for each route and method, without static files."""
    return tuple(
        sorted(
            f"{method} {rule.rule}"
            for rule in app.url_map.iter_rules()
            if rule.endpoint.rpartition(".")[2] != "static"
            for method in (rule.methods or ())
            if method not in IMPLIED_METHODS
        )
    )


def _begin(environ: Any, owner: Owner) -> Request:
    outer = current_request.get()
    if outer is not None and outer.returned:
        outer = None  # a streamed response that its server never closed
    request = Request(str(environ.get("REQUEST_METHOD", "?")), outer, owner)
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
    """Return the version of an installed package."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415  # not needed where Flask is not

    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
