"""Units of work other than requests: threads, executors, tasks and greenlets that leave a connection out."""

from pathlib import Path

import pytest

from rushhour.rundir import facts as f
from tests.integration.agent_subject import Subject, line_of

LEFT = """
agent_wrote("ended")
next_sample()
os._exit(0)
"""


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    for name in ("service", "agent"):
        (tmp_path / name).mkdir()
    return Subject(tmp_path / "service", tmp_path / "agent")


def leaked(subject: Subject, program: str) -> list[f.CheckOut]:
    """The check-outs that the agent says have leaked, each taken at the line that is marked."""
    observed = subject.run(program)
    found = [out for out in observed.checkouts.values() if out.lost is not None]
    line = line_of(subject.folder / "service.py", "leak")
    assert {out.site.line for out in found} == {line}
    assert observed.last_samples["service.db"].leaked == len(found)
    return found


def test_a_job_of_an_executor_whose_scoped_session_is_never_removed(subject: Subject) -> None:
    found = leaked(
        subject,
        """
from concurrent.futures import ThreadPoolExecutor
registry = scoped_session(sessionmaker(engine()))
def job():
    registry.execute(ONE).all()  # leak
executor = ThreadPoolExecutor(1)
for _ in range(3):
    executor.submit(job).result()
"""
        + LEFT,
    )
    assert [(out.lost, out.endpoint, out.scoped) for out in found] == [("owner-idle", None, True)]


@pytest.mark.parametrize(
    ("made", "scoped"),
    [
        ("scoped_session(sessionmaker(engine()))", True),
        ("scoped_session(lambda: Own(engine()))", True),
        ("scoped_session(sessionmaker(engine()), scopefunc=lambda: 1)", False),  # not for its thread
        ("Own(engine())", False),
        ("sessionmaker(engine())()", False),
    ],
)
def test_a_session_that_a_registry_keeps_for_its_thread_is_known(
    subject: Subject, made: str, scoped: bool
) -> None:
    observed = subject.run(f"""
class Own(Session):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
session = {made}
session.execute(ONE).all()
next_sample()
os._exit(0)
""")
    assert [out.scoped for out in observed.checkouts.values()] == [scoped]


def test_a_session_that_outlives_jobs_which_follow_each_other_closely(subject: Subject) -> None:
    """The thread never waits for half a second between two jobs, and each of them uses the session."""
    found = leaked(
        subject,
        """
from concurrent.futures import ThreadPoolExecutor
registry = scoped_session(sessionmaker(engine()))
def job():
    registry.execute(ONE).all()  # leak
    time.sleep(0.25)
executor = ThreadPoolExecutor(1)
def jobs():
    while True:
        executor.submit(job).result()
        time.sleep(0.3)
threading.Thread(target=jobs, daemon=True).start()
"""
        + LEFT,
    )
    assert [(out.lost, out.endpoint) for out in found] == [("owner-idle", None)]


def test_a_job_that_still_runs_has_not_leaked(subject: Subject) -> None:
    observed = subject.run("""
from concurrent.futures import ThreadPoolExecutor
db = engine()
def job():
    with Session(db) as session:
        session.execute(ONE).all()
        time.sleep(1.5)
ThreadPoolExecutor(1).submit(job).result()
next_sample()
""")
    [checkout] = observed.checkouts.values()
    assert (checkout.lost, checkout.request_ended_s, checkout.returned_by) == (None, None, "close")


def test_threads_that_end_and_leave_their_sessions_to_a_list(subject: Subject) -> None:
    found = leaked(
        subject,
        """
kept, sessions = [], sessionmaker(engine(pool_size=3))
def work():
    own = sessions()
    kept.append(own)
    own.execute(ONE).all()  # leak
for _ in range(3):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    time.sleep(0.05)
agent_wrote("ended", count=3)
"""
        + LEFT,
    )
    assert [out.lost for out in found] == ["owner-ended"] * 3
    assert len({out.owner for out in found}) == 3  # although the system uses a thread's number again


def test_a_later_thread_of_the_same_number_holds_nothing_when_it_is_turned_away(subject: Subject) -> None:
    observed = subject.run("""
from sqlalchemy.exc import TimeoutError
kept, numbers, sessions = [], set(), sessionmaker(engine(pool_size=1, max_overflow=0))
def work():
    numbers.add(threading.get_ident())
    own = sessions()
    kept.append(own)
    try:
        own.execute(ONE).all()
    except TimeoutError:
        pass
for _ in range(4):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
agent_wrote("timeout", 3)
print(len(numbers))
os._exit(0)
""")
    timeouts = observed.of(f.PoolTimeout)
    assert len(timeouts) == 3
    assert {timeout.holding for timeout in timeouts} == {0}


def test_a_job_that_keeps_a_connection_from_an_earlier_one_and_asks_for_another(subject: Subject) -> None:
    observed = subject.run("""
from concurrent.futures import ThreadPoolExecutor
from sqlalchemy.exc import TimeoutError
kept, sessions = [], sessionmaker(engine(pool_size=1, max_overflow=0))
def job():
    own = sessions()
    kept.append(own)
    own.execute(ONE).all()
executor = ThreadPoolExecutor(1)
executor.submit(job).result()
agent_wrote("ended")
try:
    executor.submit(job).result()
except TimeoutError:
    pass
agent_wrote("timeout")
os._exit(0)
""")
    [timeout] = observed.of(f.PoolTimeout)
    assert (timeout.holding, timeout.kept) == (0, 1)


@pytest.mark.long
def test_a_thread_of_an_event_loops_executor_only_fetched_it_for_a_coroutine(subject: Subject) -> None:
    observed = subject.run("""
import asyncio
session = Session(engine())
async def main():
    await asyncio.to_thread(session.execute, ONE)
    await asyncio.sleep(1.5)
    await asyncio.to_thread(session.close)
asyncio.run(main())
next_sample()
""")
    assert [out.lost for out in observed.checkouts.values()] == [None]


def test_a_greenlet_that_ended(subject: Subject) -> None:
    pytest.importorskip("gevent")
    found = leaked(
        subject,
        """
import gevent
kept, sessions = [], sessionmaker(engine())
def work():
    own = sessions()
    kept.append(own)
    own.execute(ONE).all()  # leak
greenlet = gevent.spawn(work)  # it is kept, and has ended
greenlet.join()
"""
        + LEFT,
    )
    assert [out.lost for out in found] == ["owner-ended"]


@pytest.mark.long
def test_a_greenlet_that_waits_goes_on_holding(subject: Subject) -> None:
    pytest.importorskip("gevent")
    observed = subject.run("""
import gevent
sessions = sessionmaker(engine())
def work():
    with sessions() as own:
        own.execute(ONE).all()
        gevent.sleep(1.5)
gevent.spawn(work).join()
next_sample()
""")
    assert [out.lost for out in observed.checkouts.values()] == [None]


OWN_WORKERS = """
import queue
registry = scoped_session(sessionmaker(engine()))
items = {queue}()
def handle(item):
    registry.execute(ONE).all()  # leak
    {after}
def work():
    while True:
        handle(items.get())
threading.Thread(target=work, daemon=True).start()
for number in range(4):
    items.put(number)
    time.sleep(0.7)
"""


@pytest.mark.long
@pytest.mark.parametrize("queue", ["queue.Queue", "queue.SimpleQueue"])
def test_a_worker_of_its_own_that_never_removes_its_session(subject: Subject, queue: str) -> None:
    found = leaked(subject, OWN_WORKERS.format(queue=queue, after="pass") + LEFT)
    assert [out.lost for out in found] == ["owner-idle"]


@pytest.mark.long
def test_a_worker_of_its_own_that_removes_its_session(subject: Subject) -> None:
    program = OWN_WORKERS.format(queue="queue.Queue", after="registry.remove()")
    observed = subject.run(program + "next_sample()\nos._exit(0)\n")
    assert [out.lost for out in observed.checkouts.values()] == []


@pytest.mark.long
def test_a_job_that_waits_for_the_results_of_others_has_not_leaked(subject: Subject) -> None:
    observed = subject.run("""
import queue
registry = scoped_session(sessionmaker(engine()))
results = queue.Queue()
def load():
    registry.execute(ONE).all()
def job():
    load()
    for _ in range(3):
        results.get()
    registry.remove()
thread = threading.Thread(target=job)
thread.start()
for number in range(3):
    time.sleep(0.7)
    results.put(number)
thread.join()
next_sample()
""")
    [checkout] = observed.checkouts.values()
    assert (checkout.lost, checkout.returned_by) == (None, "close")


INITIALIZERS = {
    "executor": """
from concurrent.futures import ThreadPoolExecutor
own = threading.local()
def begin():
    own.connection = db.connect()
jobs = ThreadPoolExecutor(1, initializer=begin)
jobs.submit(lambda: own.connection.execute(ONE).all()).result()
""",
    "thread pool": """
from multiprocessing.pool import ThreadPool
kept = []
jobs = ThreadPool(1, initializer=lambda: kept.append(db.connect()))
time.sleep(1.5)
jobs.apply(lambda: kept[0].execute(ONE).all())
""",
    "processes": """
import multiprocessing
kept = []
def begin():
    kept.append(db.connect())
def job():
    kept[0].execute(ONE).all()
    return os.getpid()
jobs = multiprocessing.get_context("fork").Pool(1, initializer=begin)
pid = jobs.apply(job)
agent_wrote("sample", 15, pid=pid)
""",
    "processes of an executor": """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
kept = []
def begin():
    kept.append(db.connect())
def job():
    kept[0].execute(ONE).all()
    return os.getpid()
jobs = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork"), initializer=begin)
pid = jobs.submit(job).result()
agent_wrote("sample", 15, pid=pid)
""",
}


@pytest.mark.parametrize("kind", sorted(INITIALIZERS))
def test_what_an_initializer_takes_belongs_to_its_worker(subject: Subject, kind: str) -> None:
    observed = subject.run(
        f"""
db = engine(connect_args={{"check_same_thread": False}})
{INITIALIZERS[kind]}
time.sleep(1.5)
next_sample() if {not kind.startswith("processes")} else None
jobs.shutdown() if {kind == "processes of an executor"} else None
os._exit(0)
"""
    )
    assert {out.lost for out in observed.of(f.CheckOut)} == {None}
    assert {sample.leaked for sample in observed.of(f.PoolSample)} == {0}


def test_a_busy_thread_is_never_idle_and_what_its_last_item_left_is_a_leak(
    subject: Subject,
) -> None:
    observed = subject.run("""
from concurrent.futures import ThreadPoolExecutor
from sqlalchemy.exc import TimeoutError
kept, sessions = [], sessionmaker(engine(pool_size=1, max_overflow=0))
def job(number):
    if number:
        time.sleep(1.0)
    own = sessions()
    kept.append(own)
    try:
        own.execute(ONE).all()
    except TimeoutError:
        pass
jobs = ThreadPoolExecutor(1)
done = [jobs.submit(job, number) for number in range(3)]
[one.result() for one in done]
next_sample()
os._exit(0)
""")
    [out] = observed.checkouts.values()
    assert out.lost == "owner-idle"
    timeouts = observed.of(f.PoolTimeout)
    assert len(timeouts) == 2
    assert {(timeout.holding, timeout.kept) for timeout in timeouts} == {(0, 1)}


@pytest.mark.parametrize(("ends", "lost"), [("self.session.close()", 0), ("pass", 1)])
def test_a_session_that_a_job_keeps_in_its_own_object_is_handed_to_nobody(
    subject: Subject, ends: str, lost: int
) -> None:
    observed = subject.run(f"""
from concurrent.futures import ThreadPoolExecutor
sessions = sessionmaker(engine())
class Prices:
    session = None
    def refresh(self):
        self.session = self.session or sessions()
        self.session.execute(ONE).all()
        {ends}
prices, jobs = Prices(), ThreadPoolExecutor(1)
jobs.submit(prices.refresh).result()
if {lost}:
    agent_wrote("ended")
else:
    time.sleep(1.5)
    next_sample()
os._exit(0)
""")
    assert sum(out.lost == "owner-idle" for out in observed.checkouts.values()) == lost


@pytest.mark.parametrize(("closes", "leaked"), [("db.close()", 0), ("pass", 1)])
def test_a_request_that_gives_its_session_to_a_thread_has_not_leaked_it(
    subject: Subject, closes: str, leaked: int
) -> None:
    observed = subject.run(f"""
import urllib.request
from flask import Flask
from werkzeug.serving import make_server
app, sessions = Flask(__name__), sessionmaker(engine(connect_args={{"check_same_thread": False}}))
kept, worked_until = [], []
def finish(db):
    kept.append(db)
    time.sleep(1.5)
    {closes}
    worked_until.append(time.monotonic())
@app.get("/item")
def item():
    db = sessions()
    db.execute(ONE).all()
    threading.Thread(target=finish, args=(db,)).start()
    return "done"
server = make_server("127.0.0.1", 0, app, threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
urllib.request.urlopen(f"http://127.0.0.1:{{server.server_port}}/item").read()
until(lambda: worked_until)
until(lambda: [row[7] for one in records() if one["k"] == "sample" for row in one["pools"]][-1] == {leaked})
next_sample()
print(worked_until[0], flush=True)
os._exit(0)
""")
    samples = observed.of(f.PoolSample)
    assert samples[-1].leaked == leaked
    assert [sample for sample in samples if sample.leaked and sample.t_s < float(observed.stdout)] == []


@pytest.mark.parametrize(("keeps", "lost"), [("self.session = session", {None}), ("pass", {"owner-ended"})])
def test_a_task_that_starts_a_unit_of_work_leaves_its_session_to_that(
    subject: Subject, keeps: str, lost: set[str | None]
) -> None:
    observed = subject.run(f"""
import asyncio
sessions, kept = sessionmaker(engine()), []
class Unit:
    async def start(self):
        session = sessions()
        session.execute(ONE).all()
        kept.append(session)
        {keeps}
async def main():
    unit = Unit()
    await asyncio.create_task(unit.start())
    await asyncio.sleep(1.8)
    if {lost == {"owner-ended"}}:
        agent_wrote("ended")
    kept[0].close()
asyncio.run(main())
next_sample()
""")
    assert {out.lost for out in observed.checkouts.values()} == lost
