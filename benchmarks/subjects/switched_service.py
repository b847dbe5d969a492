"""The service of pool_service.py in which the agent goes in and out: GET /agent/in, GET /agent/out."""

import os
from collections.abc import Callable, Iterable
from typing import Any

import flask
import sqlalchemy

from benchmarks.subjects.pool_service import app as service
from benchmarks.subjects.pool_service import engine
from rushhour.agent.book import Book
from rushhour.agent.call_sites import Classifier, StackFinder
from rushhour.agent.flask_requests import FlaskPatch, current_request
from rushhour.agent.sampler import Sampler
from rushhour.agent.sqlalchemy_pools import PoolPatch


class Agent:
    """All that the agent does in a process of Flask and SQLAlchemy."""

    def __init__(self, directory: str) -> None:
        book, classifier = Book(), Classifier()
        self._sampler = Sampler(book, classifier, directory, lambda: None)
        self._flask = FlaskPatch(book, classifier)
        find = StackFinder(classifier).hot_path()
        self._pools = PoolPatch(book, classifier, find, current_request, self._sampler.ensure_running)
        self._book = book

    def go_in(self) -> None:
        self._pools.apply(sqlalchemy)
        self._flask.apply(flask)
        engine.dispose()  # connections that the agent has seen being opened
        self._sampler.resume()
        self._sampler.ensure_running()

    def go_out(self) -> None:
        self._pools.remove()
        self._flask.remove()
        engine.dispose()
        self._sampler.pause()


agent = Agent(os.environ["POOL_SERVICE_AGENT"])


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    switch = {"/agent/in": agent.go_in, "/agent/out": agent.go_out}.get(environ["PATH_INFO"])
    if switch is None:
        return service(environ, start_response)
    switch()
    start_response("200 OK", [("Content-Length", "0")])
    return []
