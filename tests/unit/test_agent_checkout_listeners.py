"""A listener of `checkout` that asks for a connection has the one that its pool is about to hand out."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import event, exc
from sqlalchemy.pool import QueuePool

from rushhour.agent.book import Book, Request
from rushhour.agent.call_sites import Classifier
from rushhour.agent.flask_requests import current_request
from rushhour.agent.sqlalchemy_pools import PoolPatch
from rushhour.agent.stacks import StackFinder

FIRST = "test_a_time_out_of_a_listener_says_that_it_has_a_connection"


@pytest.fixture
def book() -> Iterator[Book]:
    book, classifier = Book(), Classifier()
    patch = PoolPatch(book, classifier, StackFinder(classifier).hot_path(), current_request, lambda: None)
    patch.apply(sqlalchemy)
    token = current_request.set(Request("GET", None))
    yield book
    current_request.reset(token)
    patch.remove()
    assert not book.faults


def engine_with(listener: Any, **options: int) -> sqlalchemy.Engine:
    engine = sqlalchemy.create_engine(
        "sqlite://",
        poolclass=QueuePool,
        pool_timeout=0.01,
        connect_args={"check_same_thread": False},
        **options,
    )
    event.listen(engine, "checkout", listener)
    return engine


def test_a_time_out_of_a_listener_says_that_it_has_a_connection(book: Book) -> None:
    seen = list[Any]()

    def looks_up_the_tenant(*_: object) -> None:
        with pytest.raises(exc.TimeoutError):
            engine.connect()
        seen.extend((hold.request, hold.owner) for hold in book.live)

    engine = engine_with(looks_up_the_tenant, pool_size=1, max_overflow=0)
    with engine.connect():
        [hold] = book.live
        [timeout] = book.timeouts
        assert timeout.holding == (1, 0)
        assert seen == [(hold.request, hold.owner)]  # it was known while the listener waited
        assert [site.function for site in hold.stack.sites][:1] == [FIRST]
        assert timeout.stack.sites[0].function == "looks_up_the_tenant"
    assert not book.live


def test_a_connection_that_a_listener_fails_with_is_gone(book: Book) -> None:
    def looks_up_the_tenant(*_: object) -> None:
        engine.connect()

    engine = engine_with(looks_up_the_tenant, pool_size=1, max_overflow=0)
    with pytest.raises(exc.TimeoutError):
        engine.connect()
    assert [timeout.holding for timeout in book.timeouts] == [(1, 0)]
    assert not book.live


def test_each_connection_on_the_way_of_listeners_is_known(book: Book) -> None:
    depth, functions = list[int](), list[list[str]]()

    def looks_up_the_tenant(*_: object) -> None:
        if len(depth) < 2:
            depth.append(1)
            try:
                engine.connect().close()
            except exc.TimeoutError:
                if not functions:
                    functions.append([hold.stack.sites[0].function for hold in book.live])
                raise

    engine = engine_with(looks_up_the_tenant, pool_size=1, max_overflow=1)
    with pytest.raises(exc.TimeoutError):
        engine.connect()
    assert [timeout.holding for timeout in book.timeouts] == [(2, 0)]
    assert functions == [["test_each_connection_on_the_way_of_listeners_is_known", "looks_up_the_tenant"]]
    assert not book.live


def test_a_listener_that_gets_its_connection_leaves_one_check_out_of_each(book: Book) -> None:
    inner = list[int]()

    def looks_up_the_tenant(*_: object) -> None:
        if not inner:
            inner.append(1)
            engine.connect().close()

    engine = engine_with(looks_up_the_tenant, pool_size=1, max_overflow=1)
    with engine.connect():
        assert len(book.live) == 1
    assert not book.live
    assert not book.timeouts
