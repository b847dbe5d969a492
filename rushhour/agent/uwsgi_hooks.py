"""What uWSGI, which calls Python from C, tells by hooks alone: that it forked, and that a request has ended.

uWSGI forks without `os.fork`, so Python's own hooks are not called. A thread that holds the interpreter's
lock at that moment leaves the worker with a lock that nobody releases: so in the process that forks, the
agent starts none. What the service checks out while it is loaded there is not seen; its workers are.
"""

from __future__ import annotations

import os
from threading import get_ident, main_thread
from typing import TYPE_CHECKING, Any

from .book import SERVERS, Book, Request
from .flask_requests import current_request
from .server_requests import ServerPatch, end

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from .sampler import Sampler


class UwsgiHooks:
    """Put in when SQLAlchemy is imported, which is before uWSGI reads its hooks."""

    def __init__(self, book: Book, sampler: Sampler, servers: ServerPatch) -> None:
        self._book = book
        self._sampler = sampler
        self._servers = servers
        self._uwsgi: Any = None

    def apply(self, uwsgi: ModuleType) -> None:
        self._uwsgi = uwsgi
        if uwsgi.worker_id():  # lazy-apps: loaded after the fork, where only the interpreter is older
            self._begin_here()
        else:
            self._sampler.hold_back()
            _chain(uwsgi, "post_fork_hook", self._forked)
        options = {_text(name) for name in uwsgi.opt}
        if not options & {"enable-threads", "threads", "gevent", "asyncio"}:
            self._book.fault(
                "uWSGI", RuntimeError("without --enable-threads it samples only during requests")
            )
        _chain(uwsgi, "after_req_hook", self._request_ended)

    def again(self, _decorators: ModuleType) -> None:
        """`uwsgidecorators` puts its own hook in the place of every other."""
        if self._uwsgi is not None and self._uwsgi.worker_id() == 0:
            _chain(self._uwsgi, "post_fork_hook", self._forked)

    def _begin_here(self) -> None:
        if os.getpid() != self._sampler.pid:
            self._sampler.resume_in_child()
        self._sampler.release()

    def _forked(self) -> None:
        self._begin_here()
        if not self._servers.aside:
            current_request.set(Request(SERVERS, None))  # the first one of this thread

    def _request_ended(self) -> None:
        if self._servers.aside:
            return
        request = current_request.get()
        if request is None:  # a thread's first request, whose start was not seen
            request = Request(SERVERS, None)
            if get_ident() != main_thread().ident:  # there, modules may have been imported before
                for hold in self._book.live.copy():
                    if hold.request is None and hold.thread == get_ident():
                        hold.request = request
        end(request)
        current_request.set(Request(SERVERS, None))  # the thread's next


def _chain(uwsgi: Any, name: str, ours: Callable[[], None]) -> None:
    before = getattr(uwsgi, name, None)

    def hook() -> None:
        ours()
        if before is not None:
            before()

    setattr(uwsgi, name, hook)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
