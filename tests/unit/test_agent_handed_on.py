"""What may carry a connection on, and that looking for it keeps nothing alive and raises nothing."""

import asyncio
import gc
import weakref
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker

from rushhour.agent.handed_on import MOST_MEMBERS, _referents, carries, watch_result
from rushhour.agent.owners import TASK, Owner, has_ended, owner_finder

ENGINE = create_engine("sqlite://")


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)


class OwnSession(Session):
    """A service's own kind."""


class OwnDictionary(OrderedDict[int, int]):
    """It has an attribute beside its entries."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session


@contextmanager
def scope() -> Iterator[Session]:
    with Session(ENGINE) as session:
        yield session


def closure(session: Session) -> object:
    return lambda: session


def carriers() -> list[object]:
    session = Session(ENGINE)
    return [
        session,
        OwnSession(ENGINE),
        AsyncSession(),
        session.execute,
        partial(print, session),
        closure(session),
        {"session": session},
        {session: "its key"},
        defaultdict(list, {1: [session]}),
        OwnDictionary(session),
        (1, [session]),
        SimpleNamespace(repository=SimpleNamespace(session=session)),
        scope(),
        scope().__enter__,
        session.execute(text("select 1")),
        ENGINE.connect(),
        ENGINE.raw_connection(),
    ]


@pytest.mark.parametrize("found", carriers(), ids=lambda found: type(found).__name__)
def test_what_holds_a_connection(found: object) -> None:
    assert carries(None, found)


@pytest.mark.parametrize(
    "found",
    [
        None,
        1,
        "a",
        [1, {"a": (2.0, b"")}],
        ENGINE,
        sessionmaker(ENGINE),
        scoped_session(sessionmaker(ENGINE)),
        Customer(id=1),
        [Customer(id=1)],
        test_what_holds_a_connection,
        SimpleNamespace(engine=ENGINE, number=1),
        partial(print, 1),
    ],
    ids=lambda found: type(found).__name__,
)
def test_other_objects_do_not_hold_a_connection(found: object) -> None:
    assert not carries(found)


class Proxy:
    """One that fails whatever it is asked, as a proxy of Flask's does outside of a request."""

    def __getattribute__(self, name: str) -> object:
        raise RuntimeError(f"no {name} here")


class Nameless:
    """Its module has no name."""


Nameless.__module__ = None  # type: ignore[assignment]  # as a class made by hand may have it


def half_closed() -> Iterator[int]:
    yield 1
    yield 2


def test_objects_that_raise_on_inspection_do_not_hold_a_connection() -> None:
    running = half_closed()
    next(running)
    running.close()  # type: ignore[attr-defined]  # it is a generator
    assert not carries(Proxy(), Nameless(), [Proxy()], {"a": Nameless()})
    assert carries(running)  # not seen: it may


def test_a_row_and_a_large_result_do_not_hold_a_connection() -> None:
    with ENGINE.connect() as connection:
        rows = connection.execute(text("select 1")).all()
    assert not carries(rows, [{"number": n} for n in range(10_000)])


class OwnList(list[int]):
    """A service's own kind."""


def cached_answers() -> object:
    @cache
    def answer(number: int) -> int:
        return number

    for number in range(9 * MOST_MEMBERS):
        answer(number)
    return answer


@pytest.mark.parametrize(
    "found",
    [
        *(kind(range(9 * MOST_MEMBERS)) for kind in (list, tuple, set, deque, OwnList, Counter)),
        OrderedDict.fromkeys(range(9 * MOST_MEMBERS)),
        cached_answers(),
    ],
    ids=lambda found: type(found).__name__,
)
def test_of_a_large_object_a_bounded_part_is_looked_at(found: object) -> None:
    """An event loop waits for it at the end of a task."""
    assert len(list(_referents(found, type(found)))) <= MOST_MEMBERS


def test_watching_a_task_keeps_no_value_of_its_context_and_no_task_alive() -> None:
    current, variable = owner_finder(), ContextVar[object]("variable")

    async def work() -> weakref.ref[OwnSession]:
        value = OwnSession(ENGINE)
        token, seen = variable.set(value), weakref.ref(value)
        current()
        variable.reset(token)
        del value, token
        return seen

    async def main() -> None:
        task = asyncio.create_task(work())
        seen, value = weakref.ref(task), await task
        assert value() is None
        del task
        await asyncio.sleep(0)
        gc.collect()
        assert seen() is None

    asyncio.run(main())


class Worker:
    """Runs its jobs in tasks of its own, as libraries do, and keeps one that runs."""

    def __init__(self) -> None:
        self.runs: asyncio.Task[None] | None = None
        self.session: OwnSession | None = None

    async def job(self, proceed: asyncio.Event, *, keeps: bool = False) -> None:
        session = OwnSession(ENGINE)
        await proceed.wait()
        if keeps:
            self.session = session


@pytest.mark.parametrize("keeps", [False, True])
def test_the_jobs_that_a_worker_runs_are_not_what_one_of_them_has_handed_on(keeps: bool) -> None:
    async def main() -> bool:
        worker, proceed = Worker(), asyncio.Event()

        worker.runs = asyncio.create_task(worker.job(asyncio.Event()))
        owner, task = Owner(TASK, 0), asyncio.create_task(worker.job(proceed, keeps=keeps))
        watch_result(task, owner, lambda _: True)
        proceed.set()
        await task
        await asyncio.sleep(0)
        worker.runs.cancel()
        return owner.result_carries is not False

    assert asyncio.run(main()) is keeps


def decorated(function: Callable[..., Awaitable[None]]) -> Callable[..., Coroutine[None, None, None]]:
    async def wrapper(*arguments: object) -> None:
        await function(*arguments)

    return wrapper


class Unit:
    session: Session | None = None

    async def start(self) -> None:
        self.session = Session(ENGINE)

    decorated_start = decorated(start)


async def start(unit: Unit) -> None:
    unit.session = Session(ENGINE)


async def use(_: Session) -> None:
    pass


@pytest.mark.parametrize(
    ("run", "carried"),
    [
        (lambda: (unit := Unit(), unit.start()), True),
        (lambda: (unit := Unit(), unit.decorated_start()), True),
        (lambda: (unit := Unit(), start(unit)), True),
        (lambda: (session := Session(ENGINE), use(session)), False),  # its maker has it
    ],
)
def test_a_task_may_leave_a_session_to_what_it_was_given(run: Any, carried: bool) -> None:
    """Also where the service keeps the task, which has returned nothing."""

    async def main() -> None:
        unit, coroutine = run()
        task = asyncio.create_task(coroutine)
        owner = Owner(TASK, 0)
        owner.ref = weakref.ref(task)
        watch_result(task, owner, lambda _: True)
        await task
        await asyncio.sleep(0)
        assert has_ended(owner, 1.0)
        assert owner.result_carries is carried
        del unit

    asyncio.run(main())


@pytest.mark.parametrize("is_out", [False, True])
def test_a_result_is_looked_at_only_where_its_task_left_a_connection_out(is_out: bool) -> None:
    """An event loop waits for it, and a large result takes a while."""

    async def answer() -> Session:
        return Session(ENGINE)

    async def main() -> bool:
        owner, task = Owner(TASK, 0), asyncio.create_task(answer())
        watch_result(task, owner, lambda found: found is owner and is_out)
        await task
        await asyncio.sleep(0)
        return owner.result_carries is not False

    assert asyncio.run(main()) is is_out


class Keeper:
    """An object with a session, one of whose methods a job is given to call."""

    def __init__(self) -> None:
        self.session = Session(ENGINE)

    def done(self) -> None:
        """Is called at the end."""


@pytest.mark.parametrize("given", [Keeper().done, partial(Keeper().done), [Keeper().done]])
def test_an_object_whose_method_was_given_counts_only_if_asked_for(given: object) -> None:
    assert carries(given)
    assert not carries(given, selves=False)
    assert carries(given, Session(ENGINE).close, selves=True)
