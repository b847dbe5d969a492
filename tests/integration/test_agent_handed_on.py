"""Connections that are taken in one thread, task or greenlet and used, or kept, in another: no leaks.

Each program holds its connections long after their first owner is idle or has ended, without a statement.
Its twin takes them in the same way and leaves them.
"""

from pathlib import Path

import pytest

from rushhour.rundir import facts as f
from tests.integration.agent_subject import Subject

SEEN = """
def seen_unused():
    # Until the agent has looked again, with all that was taken unused for longer than it waits for that.
    since = time.monotonic() + 1.2
    until(lambda: any(one["k"] == "sample" and one["t"] >= since for one in records()))
"""
THREADS = """
import queue
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool

db = engine(pool_size=20, connect_args={"check_same_thread": False})
sessions = sessionmaker(db)
jobs, pool, handed = ThreadPoolExecutor(2), ThreadPool(2), queue.Queue()

class Repository:
    def __init__(self, **own):
        self.__dict__.update(own)
    def open(self):
        self.connection = db.connect()
        self.connection.execute(ONE).all()
    def count(self):
        self.session.execute(ONE).all()
    def begin(self):
        self.session = sessions()
        self.session.execute(ONE).all()
    def done(self):
        return self.session

def used_connection():
    connection = db.connect()
    connection.execute(ONE).all()
    return connection

def used_session():
    session = sessions()
    session.execute(ONE).all()
    return {"session": session, "count": 1}
"""
KEPT_BY_THREADS = """
def result_of_an_executor():
    return jobs.submit(db.connect).result()

def used_result_of_an_executor():
    return jobs.submit(used_session).result()["session"]

def result_of_a_thread_pool():
    return pool.apply(used_connection)

def session_that_a_job_connects():
    session = sessions()
    jobs.submit(session.execute, ONE).result().all()
    return session

def session_in_a_closure():
    session = sessions()
    jobs.submit(lambda: session.execute(ONE).all()).result()
    return session

def session_that_a_thread_connects():
    session = sessions()
    thread = threading.Thread(target=lambda: session.execute(ONE).all())
    thread.start()
    thread.join()
    return session

def session_of_an_object():
    repository = Repository(session=sessions())
    jobs.submit(repository.count).result()
    return repository.session

def connection_that_a_job_gives_an_object():
    repository = Repository()
    jobs.submit(repository.open).result()
    return repository.connection

def session_of_a_method_that_a_job_returns():
    def begin():
        repository = Repository()
        repository.begin()
        return repository.done
    return jobs.submit(begin).result()()

def connection_that_is_used_from_a_queue():
    thread = threading.Thread(target=lambda: handed.put(used_connection()))
    thread.start()
    thread.join()
    connection = handed.get()
    connection.execute(ONE).all()
    return connection

marks = ("_that_", "_of_", "_in_a_")
kept = [case() for name, case in list(globals().items()) if any(mark in name for mark in marks)]
assert len(kept) == 10
seen_unused()
for connection in kept:
    connection.close()
next_sample()
"""
TASKS = """
import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor

db = engine(pool_size=20, connect_args={"check_same_thread": False})
sessions, own = sessionmaker(db), ThreadPoolExecutor(2)

class Holder:
    pass
"""
KEPT_BY_TASKS = """
def open_in(holder):
    holder.connection = db.connect()
    holder.connection.execute(ONE).all()

async def take():
    connection = db.connect()
    connection.execute(ONE).all()
    return connection

async def count(session):
    return len(session.execute(ONE).all())

async def main():
    loop, kept = asyncio.get_running_loop(), []
    kept.append(await asyncio.to_thread(db.connect))
    kept.append(await loop.run_in_executor(own, db.connect))
    for executor in (None, own):
        session = sessions()
        await loop.run_in_executor(executor, session.execute, ONE)
        kept.append(session)
        await loop.run_in_executor(executor, open_in, holder := Holder())
        await loop.run_in_executor(executor, holder.connection.execute, ONE)
        kept.append(holder.connection)
    kept.append(await asyncio.create_task(take()))
    kept += await asyncio.gather(take(), take())
    kept.append(await asyncio.wait_for(take(), 5))
    session = sessions()
    await asyncio.gather(count(session))
    kept.append(session)
    await asyncio.to_thread(seen_unused)
    for connection in kept:
        connection.close()

async def fixture():
    with db.connect() as connection:
        connection.execute(ONE).all()
        yield connection

def main_of_a_fixture():
    # As pytest-asyncio does it: set up in one task, used in a second one, torn down in a third.
    with asyncio.Runner() as runner:
        generator = fixture()
        async def step():
            return await anext(generator, None)
        runner.run(step())
        runner.run(asyncio.to_thread(seen_unused))
        runner.run(step())

async def main_of_an_exit_stack():
    # Filled in one task, unwound in another; and handed to another task by one that goes round a loop.
    stack, items, filled = contextlib.AsyncExitStack(), asyncio.Queue(), asyncio.Queue()
    async def fill():
        await stack.enter_async_context(contextlib.asynccontextmanager(fixture)())
    async def fill_more():
        while True:
            generator = await items.get()
            await anext(generator)
            await filled.put(generator)
    await asyncio.create_task(fill())
    filling = asyncio.create_task(fill_more())
    for _ in range(2):
        await items.put(fixture())
    await asyncio.to_thread(seen_unused)
    await asyncio.create_task(stack.aclose())
    for _ in range(2):
        await (await filled.get()).aclose()
    filling.cancel()

asyncio.run(main())
main_of_a_fixture()
asyncio.run(main_of_an_exit_stack())
next_sample()
"""
GREENLETS = """
import gevent
db = engine(pool_size=20, connect_args={"check_same_thread": False})
sessions = sessionmaker(db)
"""
KEPT_BY_GREENLETS = """
def take():
    connection = db.connect()
    connection.execute(ONE).all()
    return connection

session = sessions()
kept = [gevent.spawn(take).get(), gevent.spawn(db.connect).get(), session]
gevent.spawn(session.execute, ONE).join()
seen_unused()
for connection in kept:
    connection.close()
next_sample()
"""


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    for name in ("service", "agent"):
        (tmp_path / name).mkdir()
    return Subject(tmp_path / "service", tmp_path / "agent")


def lost_in(subject: Subject, program: str) -> dict[int, tuple[str | None, str | None]]:
    """Line of each check-out -> why it was lost, and what brought it back."""
    found: list[f.CheckOut] = list(subject.run(SEEN + program).checkouts.values())
    return {out.id: (f"{out.site.function}:{out.site.line}", out.lost) for out in found}


@pytest.mark.long
@pytest.mark.parametrize(
    ("program", "connections"),
    [(THREADS + KEPT_BY_THREADS, 10), (TASKS + KEPT_BY_TASKS, 15)],
    ids=["threads", "tasks"],
)
def test_what_was_handed_on_is_no_leak(subject: Subject, program: str, connections: int) -> None:
    lost = lost_in(subject, program)
    assert [line for line, why in lost.values() if why is not None] == []
    assert len(lost) == connections


def test_what_a_greenlet_handed_on_is_no_leak(subject: Subject) -> None:
    pytest.importorskip("gevent")
    lost = lost_in(subject, GREENLETS + KEPT_BY_GREENLETS)
    assert [line for line, why in lost.values() if why is not None] == []
    assert len(lost) == 3


LEFT_BY_THREADS = """
kept = []
def keep():
    session = sessions()
    kept.append(session)
    session.execute(ONE).all()
    return 1

jobs.submit(keep).result()
pool.apply(keep)
repository = Repository()
pool.apply(repository.begin)
jobs.submit(lambda done: kept.append(done.__self__) or kept[-1].begin(), Repository().done).result()
thread = threading.Thread(target=keep)
thread.start()
thread.join()
agent_wrote("ended", count=5)
next_sample()
os._exit(0)
"""
LEFT_BY_TASKS = """
kept = []
def keep():
    session = sessions()
    kept.append(session)
    session.execute(ONE).all()
    return {"count": 1}

async def work():
    return keep()

async def main():
    loop = asyncio.get_running_loop()
    await asyncio.to_thread(keep)
    await loop.run_in_executor(own, keep)
    await asyncio.create_task(work())
    await asyncio.gather(work())
    until(lambda: sum(one["k"] == "ended" for one in records()) == 4)

asyncio.run(main())
next_sample()
os._exit(0)
"""


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (THREADS + LEFT_BY_THREADS, ["owner-ended", *["owner-idle"] * 4]),
        (TASKS + LEFT_BY_TASKS, ["owner-ended", "owner-ended", "owner-idle", "owner-idle"]),
    ],
    ids=["threads", "tasks"],
)
def test_what_was_left_behind_is_a_leak(subject: Subject, program: str, expected: list[str]) -> None:
    assert sorted(str(why) for _, why in lost_in(subject, program).values()) == expected
