"""A greenlet that holds a connection and waits for another greenlet in the queue of the pool."""

from pathlib import Path

import pytest

from rushhour.rundir import facts as f
from tests.integration.agent_subject import Subject, line_of

GEVENT = """
import gevent.monkey
gevent.monkey.patch_all()
import gevent, gevent.event, gevent.pool, gevent.queue, queue
from concurrent.futures import ThreadPoolExecutor
spawn, pause, finish = gevent.spawn, gevent.sleep, gevent.joinall
def by_event(work):
    done = gevent.event.Event()
    def run():
        work()
        done.set()
    gevent.spawn(run)
    done.wait()
def by_result_of_a_link(work):
    result = gevent.event.AsyncResult()
    def run():
        result.set(work())
    gevent.spawn(run)
    result.get()
def by_queue(work):
    results = gevent.queue.Queue()
    def run():
        results.put(work())
    gevent.spawn(run)
    results.get()
def by_standard_queue(work):
    results = queue.Queue()
    def run(results=results):
        results.put(work())
    gevent.spawn(run)
    results.get()
def by_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
def by_executor(work):
    with ThreadPoolExecutor(1) as executor:
        executor.submit(work).result()
def by_full_pool(work):
    pool = gevent.pool.Pool(1)
    pool.spawn(work)
    pool.spawn(int)
def by_imap(work):
    for _ in gevent.pool.Pool(2).imap(lambda _: work(), [1]):
        pass
def by_two_generations(work):
    gevent.spawn(lambda: gevent.spawn(work).join()).join()
def by_group(work):
    group = gevent.pool.Group()
    group.spawn(work)
    group.join()
class Batch:
    def run(self, work):
        self.first = gevent.spawn(work)
        self.first.join(timeout=5)
ASKS = dict(
    join=lambda work: gevent.spawn(work).join(),
    get=lambda work: gevent.spawn(work).get(),
    joinall=lambda work: gevent.joinall([gevent.spawn(int), gevent.spawn(work)], timeout=5),
    wait=lambda work: gevent.wait([gevent.spawn(work)]),
    iwait=lambda work: list(gevent.iwait([gevent.spawn(work)])),
    pool_apply=lambda work: gevent.pool.Pool(2).apply(work),
    pool_map=lambda work: gevent.pool.Pool(2).map(lambda _: work(), [1]),
    threadpool=lambda work: gevent.get_hub().threadpool.apply(work),
    threadpool_spawn=lambda work: gevent.get_hub().threadpool.spawn(work).get(),
    attribute=lambda work: Batch().run(work),
    event=by_event, result_of_a_link=by_result_of_a_link, queue=by_queue, standard_queue=by_standard_queue,
    thread=by_thread, executor=by_executor, full_pool=by_full_pool, imap=by_imap, group=by_group,
    two_generations=by_two_generations,
)
"""
HELD = """
from sqlalchemy.exc import TimeoutError
db = engine(pool_size=1, max_overflow=0, pool_timeout=1.0)
def samples():
    return sum(one["k"] == "sample" for one in records())
def second():
    enough = samples() + 5  # a process that stands still is not looked at
    while samples() < enough:
        try:
            with db.connect() as own:  # second
                own.execute(ONE)
            return
        except TimeoutError:
            pass
def holder():
    with db.connect() as first:  # first
        first.execute(ONE)
        ASKS[os.environ["ASK"]](os.environ["CURED"] == "1" and cured or second)
def cured():
    enough = samples() + 5
    while samples() < enough:
        pause(0.1)
finish([spawn(holder)], timeout=10)
pause(0.3)
next_sample()
os._exit(0)
"""
OF_GEVENT = (
    *("join", "get", "joinall", "wait", "iwait", "pool_apply", "pool_map", "threadpool", "threadpool_spawn"),
    *("attribute", "event", "result_of_a_link", "queue", "standard_queue", "thread", "executor", "full_pool"),
    *("imap", "group", "two_generations"),
)
OFTEN = ("join", "get", "joinall", "wait", "queue", "pool_map")  # the others are tested by `make test-long`
KINDS = [pytest.param(ask, marks=() if ask in OFTEN else pytest.mark.long) for ask in OF_GEVENT]


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    for name in ("service", "agent"):
        (tmp_path / name).mkdir()
    return Subject(tmp_path / "service", tmp_path / "agent")


@pytest.mark.parametrize("ask", KINDS)
def test_a_greenlet_that_waits_for_another_in_the_queue_waits_for_a_connection(
    subject: Subject, ask: str
) -> None:
    waits_in_the_queue(subject, GEVENT, ask)


@pytest.mark.long
@pytest.mark.parametrize("ask", KINDS)
def test_a_greenlet_that_waits_for_another_without_a_connection_is_elsewhere(
    subject: Subject, ask: str
) -> None:
    waits_elsewhere(subject, GEVENT, ask)


def waits_in_the_queue(subject: Subject, library: str, ask: str) -> None:
    """The holder waits for another greenlet, which waits for a connection: both lines are named."""
    observed = subject.run(library + HELD, ASK=ask, CURED="0", PYTHONWARNINGS="ignore")
    looks = observed.of(f.PoolDoing)
    queue, elsewhere = sum(look.queue for look in looks), sum(look.elsewhere for look in looks)
    assert queue > max(1, elsewhere)
    service = subject.folder / "service.py"
    lines = {
        (place.taken.line, place.seen.line if place.seen else None)
        for look in looks
        for place in look.places
        if place.what == "queue"
    }
    assert lines == {(line_of(service, "first"), line_of(service, "second"))}
    assert {timeout.holding for timeout in observed.of(f.PoolTimeout)} == {1}


def waits_elsewhere(subject: Subject, library: str, ask: str) -> None:
    """The holder waits for another greenlet that takes no connection."""
    observed = subject.run(library + HELD, ASK=ask, CURED="1", PYTHONWARNINGS="ignore")
    looks = observed.of(f.PoolDoing)
    assert sum(look.queue for look in looks) == 0
    assert sum(look.elsewhere for look in looks) > 1
