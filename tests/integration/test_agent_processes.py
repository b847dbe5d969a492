"""The agent's own life: start, fork, exec, exit, trouble, and services that are not what it expects."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy

from rushhour.rundir import facts as f
from tests.integration.agent_subject import DEADLINE_S, Subject


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    for name in ("service", "agent"):
        (tmp_path / name).mkdir()
    return Subject(tmp_path / "service", tmp_path / "agent")


def test_a_process_records_its_pid_and_versions(subject: Subject) -> None:
    observed = subject.run('engine()\nagent_wrote("sample")\nprint(os.getpid())')
    first, *_, last = observed.of(f.AgentProcess)
    assert (first.pid, first.ppid, first.forked) == (int(observed.stdout), os.getpid(), False)
    assert (first.sqlalchemy, last.flask) == (None, None)
    assert last.sqlalchemy == sqlalchemy.__version__
    assert last.python == sys.version.split()[0]
    assert last.argv[-1].endswith("service.py")


def test_a_process_without_a_pool_gets_no_thread(subject: Subject) -> None:
    (subject.folder / "bare.py").write_text("import os; print(len(os.listdir('/proc/self/task')))")
    done = subprocess.run(
        [sys.executable, str(subject.folder / "bare.py")],
        env=subject.environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_S,
    )
    assert done.stdout == "1\n"
    assert [type(fact) for fact in subject.watcher().finish()] == [f.AgentProcess]


def test_a_forked_child_starts_a_file_of_its_own(subject: Subject) -> None:
    """With warnings as errors: Python warns of forking a process that has threads."""
    observed = subject.run("""
db = engine(pool_size=5)
held = db.connect()
agent_wrote("out")
child = os.fork()
if child == 0:
    db.dispose(close=False)
    with db.connect() as own:
        agent_wrote("out")
    next_sample()
    os._exit(0)
_, status = os.waitpid(child, 0)
assert status == 0
next_sample()  # the parent's thread goes on
print(os.getpid(), child)
""")
    parent, child = (int(pid) for pid in observed.stdout.split())
    started = {process.pid: process for process in observed.of(f.AgentProcess)}
    assert (started[parent].forked, started[child].forked, started[child].ppid) == (False, True, parent)
    last = {sample.pid: sample for sample in observed.of(f.PoolSample)}
    assert (last[parent].live, last[parent].checkouts) == (1, 1)
    assert (last[child].live, last[child].checkouts, last[child].checkins) == (0, 1, 1)


def test_check_outs_inherited_over_a_fork_are_the_parents(subject: Subject) -> None:
    observed = subject.run("""
db = engine()
held = db.connect()
child = os.fork()
if child == 0:
    held.close()  # as a child does that inherited a session
    next_sample()
    os._exit(0)
os.waitpid(child, 0)
next_sample()
held.close()
next_sample()
print(child)
""")
    child = int(observed.stdout)
    counts = {
        (sample.pid == child): (sample.live, sample.checkouts, sample.checkins)
        for sample in observed.of(f.PoolSample)
    }
    assert counts == {True: (0, 0, 0), False: (0, 1, 1)}


def test_a_process_that_executes_itself_starts_again_in_the_same_file(subject: Subject) -> None:
    observed = subject.run(
        """
held = engine().connect()
agent_wrote("out", count=len(sys.argv))
if len(sys.argv) == 1:
    os.execv(sys.executable, [sys.executable, __file__, "again"])
"""
    )
    processes = observed.of(f.AgentProcess)
    assert len({process.pid for process in processes}) == 1
    assert [process.argv[-1] for process in processes if process.sqlalchemy is None][1] == "again"
    assert observed.of(f.PoolSample)[-1].checkouts == 1


def test_what_a_killed_process_wrote_stays(subject: Subject) -> None:
    observed = subject.run("""
child = os.fork()
if child == 0:
    held = engine().connect()
    time.sleep(60)
agent_wrote("out", pid=child)
os.kill(child, 9)
os.waitpid(child, 0)
""")
    [checkout] = observed.of(f.CheckOut)
    assert checkout.site.function == "<module>"
    assert checkout.returned_s is None
    children = [process for process in observed.of(f.AgentProcess) if process.forked]
    assert {(process.exited_s, process.none_out) for process in children} == {(None, False)}


@pytest.mark.parametrize(("leaves_it", "none_out"), [(False, True), (True, False)])
def test_of_a_killed_process_it_is_known_whether_anything_was_out(
    subject: Subject, leaves_it: bool, none_out: bool
) -> None:
    """However short before; and its parent's connections are not its own."""
    observed = subject.run(f"""
held = engine().connect()
reads, writes = os.pipe()
child = os.fork()
if child == 0:
    db = engine()
    with db.connect():
        next_sample()
    held = db.connect()
    if not {leaves_it}:
        held.close()
    os.write(writes, b"1")
    time.sleep(60)
os.read(reads, 1)
os.kill(child, 9)
os.waitpid(child, 0)
with open(os.path.join(os.environ["RUSHHOUR_AGENT_DIR"], str(os.getpid()) + ".out"), "rb") as mark:
    print(child, mark.read())
""")
    pid, mark = observed.stdout.split()
    newest = {process.pid: process for process in observed.of(f.AgentProcess)}
    assert (newest[int(pid)].exited_s, newest[int(pid)].none_out) == (None, none_out)
    assert mark == r"b'\x00'"  # the parent's own is out


def test_a_process_that_ends_by_a_signal_of_its_own_says_what_is_out(subject: Subject) -> None:
    """uvicorn ends so, when it was asked to by a signal."""
    observed = subject.run("""
import signal
child = os.fork()
if child == 0:
    db = engine()
    with db.connect():
        next_sample()
    held = db.connect()
    signal.raise_signal(signal.SIGTERM)
assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.raise_signal(signal.SIGTERM)
db = engine()
db.connect().close()
next_sample()
print(child)
""")
    child = int(observed.stdout)
    [out] = [checkout for checkout in observed.of(f.CheckOut) if checkout.returned_by == "process-ended"]
    assert out.pid == child
    newest = {process.pid: process for process in observed.of(f.AgentProcess)}
    assert all(process.exited_s is not None for process in newest.values())


def test_the_last_sample_is_written_at_exit(subject: Subject) -> None:
    observed = subject.run("""
db = engine()
for _ in range(7):
    db.connect().close()
""")
    assert observed.last_samples["service.db"].checkins == 7


def test_the_services_own_sitecustomize_still_runs(subject: Subject) -> None:
    own = subject.folder / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("import os; os.environ['OWN_SITECUSTOMIZE'] = __file__")
    observed = subject.run(
        'print(os.environ["OWN_SITECUSTOMIZE"]); import sitecustomize; print(sitecustomize.__file__)',
        PYTHONPATH=str(own),
    )
    assert observed.stdout.split() == [str(own / "sitecustomize.py")] * 2


def test_an_unwritable_directory_is_reported_in_one_line(subject: Subject) -> None:
    missing = subject.agent_dir / "missing"
    environment = {**subject.environment(), "RUSHHOUR_AGENT_DIR": str(missing)}
    (subject.folder / "service.py").write_text("""
from sqlalchemy import create_engine
from sqlalchemy.pool import Pool
db = create_engine("sqlite://")
db.connect().close()
db.dispose()
print(Pool.connect.__module__)
""")
    done = subprocess.run(
        [sys.executable, str(subject.folder / "service.py")],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_S,
    )
    assert done.stdout == "sqlalchemy.pool.base\n"  # not even patched
    [line] = done.stderr.splitlines()
    assert line.startswith("rushhour agent: process ")
    assert str(missing) in line


def test_a_file_that_fails_later_gives_sqlalchemy_its_methods_back(subject: Subject) -> None:
    program = subject.write("""
from sqlalchemy.pool import Pool
import resource, signal
db = engine()
assert Pool.connect.__module__.startswith("_rushhour_agent")
agent_wrote("sample")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = os.path.getsize(os.path.join(os.environ["RUSHHOUR_AGENT_DIR"], f"{os.getpid()}.jsonl"))
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))  # as a full disk would
until(lambda: Pool.connect.__module__ == "sqlalchemy.pool.base")
with db.connect() as connection:
    print(connection.execute(ONE).scalar())
""")
    done = subprocess.run(
        [sys.executable, str(program)],
        env=subject.environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_S,
    )
    assert done.stdout == "1\n"
    told = [line for line in done.stderr.splitlines() if line.startswith("rushhour agent:")]
    assert len(told) == 1  # coverage of this test may fail on the same limit, and say so
    assert "is no longer observed" in told[0]


def test_it_runs_where_rushhour_is_not_installed(subject: Subject) -> None:
    """Isolated from the tree and its editable install: only SQLAlchemy can be imported."""
    program = subject.write("""
try:
    import rushhour
except ModuleNotFoundError:
    print("no rushhour here")
engine().connect().close()
""")
    site_packages = Path(sqlalchemy.__file__).parent.parent
    libraries = subject.folder / "libraries"
    libraries.mkdir()
    for name in ("sqlalchemy", "typing_extensions.py", "greenlet"):
        if (site_packages / name).exists():
            (libraries / name).symlink_to(site_packages / name)
    done = subprocess.run(
        [sys._base_executable, str(program)],  # type: ignore[attr-defined]  # the interpreter below the venv
        env=subject.environment(PYTHONPATH=str(libraries), PYTHONNOUSERSITE="1"),
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_S,
    )
    assert done.stdout == "no rushhour here\n"
    assert [fact.checkins for fact in subject.watcher().finish() if isinstance(fact, f.PoolSample)][-1] == 1


def test_gevent_patched_services_do_not_deadlock(subject: Subject) -> None:
    """Greenlets that wait for the pool yield to each other, and the sampler runs beside their loop."""
    program = subject.folder / "gevent_service.py"
    program.write_text("""
from gevent import monkey
monkey.patch_all()
import gevent, json, os, time
from sqlalchemy import create_engine, text
path = os.path.join(os.path.dirname(__file__), "gevent.db")
db = create_engine("sqlite:///" + path, pool_size=2, max_overflow=0)
def samples():
    name = os.path.join(os.environ["RUSHHOUR_AGENT_DIR"], f"{os.getpid()}.jsonl")
    if not os.path.exists(name):
        return 0  # the agent's thread has not opened it yet
    with open(name) as file:
        return sum(json.loads(line)["k"] == "sample" for line in file.read().split("\\n")[:-1])
def work():
    with db.connect() as connection:
        connection.execute(text("select 1"))
        before, deadline = samples(), time.monotonic() + 10
        while samples() < before + 2:  # one of them saw all six
            assert time.monotonic() < deadline
            gevent.sleep(0.02)
gevent.joinall([gevent.spawn(work) for _ in range(6)], raise_error=True)
""")
    environment = subject.environment()
    environment.pop("PYTHONWARNINGS")  # gevent's own
    subprocess.run([sys.executable, str(program)], env=environment, check=True, timeout=DEADLINE_S)
    samples = [fact for fact in subject.watcher().finish() if isinstance(fact, f.PoolSample)]
    assert (samples[-1].checkouts, samples[-1].checkins, samples[-1].live) == (6, 6, 0)
    assert max(sample.waiting for sample in samples) == 4
    assert max(sample.live for sample in samples) == 2


def test_faults_of_the_agent_are_counted_and_not_raised(subject: Subject) -> None:
    """A pool that keeps no attributes cannot be followed; the service must not notice."""
    program = subject.write("""
from sqlalchemy.pool import QueuePool
import sqlite3
class Odd(QueuePool):
    def _do_get(self):
        record = super()._do_get()
        record.__dict__.pop("_rushhour_slot", None)
        return record
db = engine(poolclass=Odd)
for _ in range(3):
    with db.connect() as connection:
        print(connection.execute(ONE).scalar())
agent_wrote("fault", where="check-out")
agent_wrote("fault", where="check-in")
db.dispose()
""")
    done = subprocess.run(
        [sys.executable, str(program)],
        env=subject.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n1\n1\n", "")
    faults = [fact for fact in subject.watcher().finish() if isinstance(fact, f.AgentFault)]
    assert {fault.where for fault in faults} == {"leaving the queue", "check-out", "check-in"}
    assert all("has no attribute '_rushhour_slot'" in fault.error for fault in faults)


def test_every_line_is_json_and_explained_before_it_is_used(subject: Subject) -> None:
    subject.run('held = engine().connect()\nagent_wrote("out")')
    [file] = subject.agent_dir.glob("*.jsonl")
    kinds = [json.loads(line)["k"] for line in file.read_text().splitlines()]
    assert kinds[0] == "start"
    assert kinds[-1] == "exit"
    assert kinds.index("pool") < kinds.index("sample")
    assert kinds.index("line") < kinds.index("stack") < kinds.index("out")
