"""The agent in real SQLAlchemy pools on SQLite files: each way a check-out can begin, wait, fail and end."""

from pathlib import Path

import pytest

from rushhour.rundir import facts as f
from tests.integration.agent_subject import Subject, line_of


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    for name in ("service", "agent"):
        (tmp_path / name).mkdir()
    return Subject(tmp_path / "service", tmp_path / "agent")


def test_a_closed_session_is_counted_and_not_written_one_by_one(subject: Subject) -> None:
    observed = subject.run("""
def work(session):
    with session:
        session.execute(ONE)
db = engine()
for _ in range(50):
    work(Session(db))
next_sample()
""")
    last = observed.last_samples["service.db"]
    assert (last.kind, last.size, last.max_overflow, last.timeout_s, last.capacity) == (
        "QueuePool",
        2,
        1,
        0.2,
        3,
    )
    assert (last.checkouts, last.checkins, last.connects, last.timeouts) == (50, 50, 1, 0)
    assert (last.checked_out, last.live, last.leaked, last.waiting) == (0, 0, 0, 0)
    assert observed.checkouts == {}
    total = observed.site_totals["work"]
    assert (total.checkouts, total.endpoint) == (50, None)
    assert 0 < total.max_hold_s <= total.held_s
    times = observed.of(f.PoolTimes)
    assert sum(sum(histogram.hold_us.values()) for histogram in times) == 50
    assert sum(sum(histogram.wait_us.values()) for histogram in times) == 50
    assert sum(sum(histogram.create_us.values()) for histogram in times) == 1
    assert observed.of(f.AgentProcess)[-1].sqlalchemy is not None


def test_a_scoped_session_that_is_never_removed_stays_out_with_its_line(subject: Subject) -> None:
    observed = subject.run("""
registry = scoped_session(sessionmaker(engine()))
def list_referrals():
    return registry.execute(ONE).all()  # leak
def handler():
    list_referrals()
done = threading.Event()
def worker():
    handler()
    handler()  # the second call reuses the first one's connection
    done.wait(60)
thread = threading.Thread(target=worker, name="worker-1")
thread.start()
agent_wrote("out")
until(lambda: time.monotonic() - records()[-1]["t"] < 1 and any(
    one["k"] == "sample" and one["t"] - out["taken"] > 1
    for out in records() if out["k"] == "out" for one in records()))
os._exit(0)  # with the connection still out
""")
    [checkout] = observed.checkouts.values()
    line = line_of(subject.folder / "service.py", "leak")
    assert checkout.site == f.CallSite("service.py", line, "list_referrals")
    assert [frame.split()[1] for frame in checkout.stack] == ["list_referrals", "handler", "worker"]
    assert (checkout.thread, checkout.server_pid, checkout.endpoint) == ("worker-1", None, None)
    assert (checkout.returned_by, checkout.request_ended_s) == (f.PROCESS_ENDED, None)
    last = observed.last_samples["service.db"]
    assert (last.live, last.checked_out, last.checkouts, last.checkins) == (1, 1, 1, 0)


def test_how_check_outs_came_back(subject: Subject) -> None:
    observed = subject.run("""
import gc
gc.disable()
db = engine(pool_size=5)
closed = db.connect()  # close
dropped = db.connect()  # gc
invalid = db.connect()  # invalidate
detached = db.connect()  # detach
cyclic = Session(db)
cyclic.execute(ONE)  # cycle
cyclic.me = cyclic
taken = time.monotonic()
agent_wrote("out", count=5)
until(lambda: time.monotonic() - taken >= 1.0)
closed.close()
del dropped
invalid.invalidate()
invalid.close()
detached.detach()
detached.close()
del cyclic
next_sample()
assert len([one for one in records() if one["k"] == "back"]) == 4, records()
gc.collect()
agent_wrote("back", count=5)
next_sample()
""")
    path = subject.folder / "service.py"
    assert {checkout.site.line: checkout.returned_by for checkout in observed.checkouts.values()} == {
        line_of(path, "close"): "close",
        line_of(path, "gc"): "gc",
        line_of(path, "invalidate"): "invalidate",
        line_of(path, "detach"): "detach",
        line_of(path, "cycle"): "gc",
    }
    assert all(
        (checkout.returned_s or 0) - checkout.taken_s >= 1.0 for checkout in observed.checkouts.values()
    )
    last = observed.last_samples["service.db"]
    assert (last.live, last.checked_out, last.checkouts, last.checkins) == (0, 0, 5, 5)


def test_what_garbage_collection_takes_back_under_asyncio_is_not_detached(subject: Subject) -> None:
    """SQLAlchemy detaches a collected connection of an async dialect; only the caller's `detach()` is one."""
    observed = subject.run("""
import asyncio, gc, warnings
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
warnings.simplefilter("ignore")  # SQLAlchemy warns that the connection was not returned
gc.disable()
db = engine(pool_size=5)
db.dialect.is_async = True  # any driver does: none of its own awaits are needed here
db = AsyncEngine(db)

async def main():
    closed, dropped, cyclic = AsyncSession(db), AsyncSession(db), AsyncSession(db)
    await closed.connection()  # close
    await dropped.connection()  # dropped
    await cyclic.connection()  # cycle
    cyclic.me = cyclic
    detached = db.sync_engine.connect()  # detach
    abandoned = db.sync_engine.raw_connection()  # proxy
    taken = time.monotonic()
    agent_wrote("out", count=5)
    until(lambda: time.monotonic() - taken >= 1.0)
    await closed.close()
    detached.detach()
    detached.close()
    del dropped, cyclic, abandoned
    gc.collect()
    agent_wrote("back", count=5)

asyncio.run(main())
""")
    path = subject.folder / "service.py"
    assert {checkout.site.line: checkout.returned_by for checkout in observed.checkouts.values()} == {
        line_of(path, "close"): "close",
        line_of(path, "dropped"): "gc",
        line_of(path, "cycle"): "gc",
        line_of(path, "detach"): "detach",
        line_of(path, "proxy"): "gc",
    }


def test_a_dropped_engine_holds_nothing(subject: Subject) -> None:
    """An engine per request: the pools come one after another under one name, and its counters go on."""
    observed = subject.run("""
import gc
for _ in range(3):
    engine().connect()  # dropped at once
    gc.collect()
    next_sample()
""")
    last = observed.last_samples["service.db"]
    assert (last.live, last.checked_out, last.checkouts, last.checkins, last.connects) == (0, 0, 3, 3, 3)


def test_time_outs_name_the_waiter_and_waiters_are_counted(subject: Subject) -> None:
    observed = subject.run("""
from sqlalchemy.exc import TimeoutError
db = engine(pool_timeout=2.0)  # long enough for a sample in which all of them wait
held = [db.connect() for _ in range(3)]
raised = []
def starved():
    try:
        db.connect()  # starved
    except TimeoutError as error:
        raised.append(str(error))
threads = [threading.Thread(target=starved) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
agent_wrote("timeout", count=4)
next_sample()
print(raised[0])
""")
    assert "QueuePool limit of size 2 overflow 1 reached" in observed.stdout
    timeouts = observed.of(f.PoolTimeout)
    assert len(timeouts) == 4
    assert {timeout.site.line for timeout in timeouts} == {line_of(subject.folder / "service.py", "starved")}
    assert all(timeout.waited_s > 1.9 for timeout in timeouts)  # SQLAlchemy waits by the wall clock
    samples = observed.of(f.PoolSample)
    assert max(sample.waiting for sample in samples) == 4
    assert max(sample.checked_out for sample in samples) == 3
    assert (samples[-1].timeouts, samples[-1].waiting) == (4, 0)


def test_waiting_and_connecting_are_counted_separately(subject: Subject) -> None:
    """A wait that ended well is in the histogram of waits, a slow connect in that of connects."""
    observed = subject.run("""
import sqlite3
def slow_connect():
    began = time.monotonic()
    time.sleep(0.15)
    slept.append(time.monotonic() - began)
    return sqlite3.connect(DB, check_same_thread=False)
slept, began = [], time.monotonic()
db = engine(creator=slow_connect, pool_size=1, max_overflow=0, pool_timeout=10)
first = db.connect()
whole, second = time.monotonic() - began, []
thread = threading.Thread(target=lambda: second.append(db.connect()))
thread.start()
until(lambda: any(row[6] for one in records() if one["k"] == "sample" for row in one["pools"]))  # waiting
next_sample()
first.close()
thread.join()
second[0].close()
print(slept[0] * 1e6, whole * 1e6)
""")
    slept_us, whole_us = (float(word) for word in observed.stdout.split())
    times = observed.of(f.PoolTimes)
    create = {bound: n for histogram in times for bound, n in histogram.create_us.items()}
    wait = sorted(bound for histogram in times for bound, n in histogram.wait_us.items() for _ in range(n))
    [(bound, count)] = create.items()  # of a power of two
    assert count == 1
    assert slept_us < bound <= 2 * whole_us
    assert wait[0] <= 2 * (whole_us - slept_us)  # the one that had to connect did not wait
    assert wait[1] > 100_000  # the other waited for more than a sample


def test_slots_that_are_still_connecting_are_out_but_not_live(subject: Subject) -> None:
    """The signature of a dead server."""
    observed = subject.run("""
import sqlite3
go = threading.Event()
def hanging_connect():
    go.wait(60)
    return sqlite3.connect(DB, check_same_thread=False)
db = engine(creator=hanging_connect)
threads = [threading.Thread(target=lambda: db.connect().close()) for _ in range(2)]
for thread in threads: thread.start()
until(lambda: any(row[4] == 2 for one in records() if one["k"] == "sample" for row in one["pools"]))
go.set()
for thread in threads: thread.join()
""")
    stuck = next(sample for sample in observed.of(f.PoolSample) if sample.checked_out == 2)
    assert (stuck.live, stuck.waiting, stuck.connects) == (0, 0, 0)
    assert observed.last_samples["service.db"].connects == 2


def test_counters_go_on_over_dispose(subject: Subject) -> None:
    observed = subject.run("""
db = engine()
held = db.connect()
db.connect().close()
db.dispose()
db.connect().close()
next_sample()
held.close()
next_sample()
""")
    samples = observed.of(f.PoolSample)
    assert {sample.pool for sample in samples} == {"service.db"}
    assert [sample.checkouts for sample in samples] == sorted(sample.checkouts for sample in samples)
    last = samples[-1]
    assert (last.checkouts, last.checkins, last.live, last.connects) == (3, 3, 0, 3)


def test_nested_check_outs_are_both_seen(subject: Subject) -> None:
    observed = subject.run("""
db = engine()
def outer():
    with db.connect() as one:
        inner()
def inner():
    with db.connect() as two:
        agent_wrote("out", count=2)
outer()
""")
    assert max(sample.live for sample in observed.of(f.PoolSample)) == 2
    assert {name: total.checkouts for name, total in observed.site_totals.items()} == {"outer": 1, "inner": 1}


def test_a_checkout_listener_of_the_service_that_raises_leaves_nothing_behind(subject: Subject) -> None:
    observed = subject.run("""
db = engine()
@event.listens_for(db, "checkout")
def refuse(connection, record, proxy):
    raise RuntimeError("refused by the service")
for _ in range(5):
    try:
        db.connect()
    except RuntimeError as error:
        print(error)
next_sample()
""")
    assert observed.stdout.count("refused by the service") == 5
    last = observed.last_samples["service.db"]
    assert (last.live, last.checked_out, last.checkouts) == (0, 0, 0)


def test_pre_ping_that_reconnects_is_one_check_out(subject: Subject) -> None:
    observed = subject.run("""
db = engine(pool_pre_ping=True)
with db.connect() as connection:
    raw = connection.connection.dbapi_connection
raw.close()  # behind the pool's back
with db.connect() as connection:
    connection.execute(ONE)
next_sample()
""")
    last = observed.last_samples["service.db"]
    assert (last.checkouts, last.checkins, last.connects) == (2, 2, 2)


def test_other_pools(subject: Subject) -> None:
    observed = subject.run("""
from sqlalchemy.pool import NullPool, StaticPool
null = create_engine("sqlite:///" + DB, poolclass=NullPool)
memory = create_engine("sqlite://")
static = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
with null.connect(), null.connect(), memory.connect(), memory.connect(), static.connect(), static.connect():
    next_sample()
next_sample()
""")
    samples = observed.of(f.PoolSample)
    null = [sample for sample in samples if sample.kind == "NullPool"]
    assert (null[0].capacity, max(one.checked_out for one in null), null[-1].checked_out) == (None, 2, 0)
    assert null[-1].checkins == 2
    assert {sample.kind for sample in samples} == {"NullPool", "SingletonThreadPool", "StaticPool"}
    assert {sample.live for sample in observed.last_samples.values()} == {0}


def test_sixty_four_threads_that_close_leave_no_check_out_behind(subject: Subject) -> None:
    observed = subject.run("""
db = engine(pool_size=8, max_overflow=4, pool_timeout=30)
def work():
    for _ in range(100):
        with Session(db) as session:
            session.execute(ONE)
threads = [threading.Thread(target=work) for _ in range(64)]
for thread in threads: thread.start()
for thread in threads: thread.join()
next_sample()
""")
    last = observed.last_samples["service.db"]
    assert (last.checkouts, last.checkins, last.live, last.checked_out) == (6400, 6400, 0, 0)
    assert all(sample.leaked == 0 and sample.live <= 12 for sample in observed.of(f.PoolSample))
    assert all(checkout.returned_by == "close" for checkout in observed.checkouts.values())
    assert sum(sum(histogram.hold_us.values()) for histogram in observed.of(f.PoolTimes)) == 6400


def test_the_engine_keeps_every_option_it_had(subject: Subject) -> None:
    """`create_engine` finds out by their names which options are the engine's."""
    observed = subject.run("""
db = engine(echo=False, hide_parameters=True, logging_name="shop", execution_options={"a": 1})
with db.connect():
    agent_wrote("sample")
print(db.hide_parameters, db.logging_name, dict(db.get_execution_options()))
""")
    assert observed.stdout == "True shop {'a': 1}\n"
    assert observed.last_samples["service.db"].checkouts == 1
