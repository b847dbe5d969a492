"""Greenlets of eventlet, which wait for each other in the queue of a pool, or block the loop of all."""

from pathlib import Path

import pytest

from rushhour.rundir import facts as f
from tests.integration.agent_subject import Subject, line_of
from tests.integration.test_agent_greenlets import waits_elsewhere, waits_in_the_queue
from tests.matrix.environments import environment_of

EVENTLET = """
import eventlet
eventlet.monkey_patch()
import eventlet.event, eventlet.tpool
spawn, pause = eventlet.spawn, eventlet.sleep
def finish(threads, timeout=None):
    for thread in threads:
        thread.wait()
def by_event(work):
    done = eventlet.event.Event()
    def run():
        work()
        done.send(1)
    eventlet.spawn(run)
    done.wait()
def by_pool(work):
    pool = eventlet.GreenPool(2)
    pool.spawn(work)
    pool.waitall()
ASKS = dict(
    wait=lambda work: eventlet.spawn(work).wait(),
    event=by_event, pool=by_pool,
    imap=lambda work: list(eventlet.GreenPool(2).imap(lambda _: work(), [1])),
    tpool=lambda work: eventlet.tpool.execute(work),
)
"""
SERVED = """
import eventlet, eventlet.patcher, eventlet.wsgi
if os.environ["PATCHED"] == "1":
    eventlet.monkey_patch()
sleep = eventlet.patcher.original("time").sleep
db = engine(pool_size=5)
@event.listens_for(db, "connect")
def define(connection, _):
    connection.create_function("slow", 0, lambda: sleep(0.4))
def asks():
    with db.connect() as own:
        own.execute(text("select slow()"))  # asks
def sleeps():
    with db.connect() as own:
        own.execute(ONE)
        sleep(0.4)  # sleeps
def yields():
    with db.connect() as own:
        own.execute(ONE)
        eventlet.sleep(0.4)  # yields
def app(environ, start_response):
    globals()[os.environ["DOES"]]()
    start_response("200 OK", [("Content-Length", "0")])
    return []
listener = eventlet.listen(("127.0.0.1", 0))
eventlet.spawn(eventlet.wsgi.server, listener, app, log_output=False)
def visit(_):
    with eventlet.connect(listener.getsockname()) as client:
        client.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        assert client.recv(100).startswith(b"HTTP/1.")
        assert not client.recv(100)
visitors = eventlet.GreenPool(3)
def seen():
    # A process that stands still is not looked at.
    return sum(one["samples"] for one in records() if one["k"] == "loop" and one["t"] >= began)
began = time.monotonic()
while seen() < 10:
    list(visitors.imap(visit, range(6)))
os._exit(0)
"""
ASKS = ("wait", "event", "pool", "tpool")


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    for name in ("service", "agent"):
        (tmp_path / name).mkdir()
    programs = environment_of(("eventlet", "sqlalchemy"))
    return Subject(tmp_path / "service", tmp_path / "agent", str(programs / "python"))


@pytest.mark.parametrize(
    ("ask", "hub"),
    [*((ask, "") for ask in ASKS), pytest.param("imap", "asyncio", id="imap on asyncio's loop")],
)
def test_a_greenlet_that_waits_for_another_in_the_queue_waits_for_a_connection(
    subject: Subject, ask: str, hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if hub:
        monkeypatch.setenv("EVENTLET_HUB", hub)
    waits_in_the_queue(subject, EVENTLET, ask)


def test_a_greenlet_that_waits_for_another_without_a_connection_is_elsewhere(subject: Subject) -> None:
    waits_elsewhere(subject, EVENTLET, "wait")


@pytest.mark.parametrize(
    ("does", "patched"),
    [
        pytest.param("sleeps", "1", id="sleeps"),
        pytest.param("yields", "1", id="yields"),
        pytest.param("asks", "0", id="asks under its server alone"),
    ],
)
def test_what_blocks_the_loop_of_all_greenlets_is_seen_with_its_line(
    subject: Subject, does: str, patched: str
) -> None:
    observed = subject.run(SERVED, DOES=does, PATCHED=patched, PYTHONWARNINGS="ignore")
    loops = observed.of(f.LoopSample)
    at = (does, line_of(subject.folder / "service.py", does))
    there = sum(
        loop.at_site or 0 for loop in loops if loop.site and (loop.site.function, loop.site.line) == at
    )
    looks, in_driver = sum(loop.samples for loop in loops), sum(loop.driver or 0 for loop in loops)
    # Some looks fall on other lines: the first connection takes a while, and SQLite itself does not yield.
    assert (there > looks / 2) is (does != "yields"), loops
    assert (in_driver > looks / 2) is (does == "asks"), loops
