"""The agent as something that goes in and out of a process: two processes differ by more than it costs."""

from collections.abc import Callable
from types import ModuleType

from rushhour.agent.book import Book
from rushhour.agent.call_sites import Classifier
from rushhour.agent.flask_requests import FlaskPatch, current_request
from rushhour.agent.sampler import Sampler
from rushhour.agent.sqlalchemy_pools import PoolPatch
from rushhour.agent.stacks import StackFinder


class Agent:
    """All that the agent does in a process of SQLAlchemy and, where that is given, Flask."""

    def __init__(
        self,
        directory: str,
        renew: Callable[[], None],
        sqlalchemy: ModuleType,
        flask: ModuleType | None = None,
    ) -> None:
        book, classifier = Book(), Classifier()
        self._sampler = Sampler(book, classifier, directory, lambda: None)
        self._requests = FlaskPatch(book, classifier)
        find = StackFinder(classifier).hot_path()
        self._pools = PoolPatch(book, classifier, find, current_request, self._sampler.ensure_running)
        self._renew = (
            renew  # makes the pool's connections anew: the agent knows those that it saw being opened
        )
        self._modules = sqlalchemy, flask

    def go_in(self) -> None:
        """From now on it observes."""
        sqlalchemy, flask = self._modules
        self._pools.apply(sqlalchemy)
        if flask is not None:
            self._requests.apply(flask)
        self._renew()
        self._sampler.resume()
        self._sampler.ensure_running()

    def go_out(self) -> None:
        """From now on it does not, and has no thread."""
        self._pools.remove()
        self._requests.remove()
        self._renew()
        self._sampler.pause()
