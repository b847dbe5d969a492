"""The agent as something that goes in and out of a process: two processes differ by more than it costs."""

import sys
from collections.abc import Callable
from types import ModuleType

from rushhour.agent.asgi_requests import StarlettePatch
from rushhour.agent.book import Book
from rushhour.agent.call_sites import Classifier
from rushhour.agent.flask_requests import FlaskPatch, current_request
from rushhour.agent.sampler import Sampler
from rushhour.agent.server_requests import ASGI, ServerPatch
from rushhour.agent.sqlalchemy_pools import PoolPatch
from rushhour.agent.stacks import StackFinder
from rushhour.agent.uses import ORM, UsePatch


class Agent:
    """All that the agent does in a process of SQLAlchemy and, where they are given, Flask or Starlette."""

    def __init__(
        self,
        directory: str,
        renew: Callable[[], None],
        sqlalchemy: ModuleType,
        flask: ModuleType | None = None,
        starlette: ModuleType | None = None,  # its `applications`
    ) -> None:
        book, classifier = Book(), Classifier()
        self._sampler = Sampler(book, classifier, directory, lambda: None)
        self._requests = FlaskPatch(book, classifier)
        self._requests_asgi = StarlettePatch(book, classifier)
        self._servers = ServerPatch(book)
        self._uses = UsePatch(book, current_request)
        find = StackFinder(classifier).hot_path()
        self._pools = PoolPatch(book, classifier, find, current_request, self._sampler.ensure_running)
        self._renew = (
            renew  # makes the pool's connections anew: the agent knows those that it saw being opened
        )
        self._modules = sqlalchemy, flask, starlette
        self._is_in = False

    def go_in(self) -> None:
        """From now on it observes; where it did already, it begins anew."""
        if self._is_in:
            self.go_out()
        self._is_in = True
        sqlalchemy, flask, starlette = self._modules
        self._pools.apply(sqlalchemy)
        self._uses.apply(sqlalchemy)
        if ORM in sys.modules:
            self._uses.apply(sys.modules[ORM])
        if flask is not None:
            self._requests.apply(flask)
        if starlette is not None:
            self._requests_asgi.apply(starlette)
            for name in ASGI.keys() & sys.modules.keys():
                self._servers.apply(sys.modules[name])
        self._renew()
        self._sampler.resume()
        self._sampler.ensure_running()

    def go_out(self) -> None:
        """From now on it does not, and has no thread."""
        if self._is_in:
            self._sampler.pause()
        self._is_in = False
        self._pools.remove()
        self._uses.remove()
        self._requests.remove()
        self._requests_asgi.remove()
        self._servers.remove()
        self._renew()
