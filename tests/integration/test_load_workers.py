"""Workers started by hand, as on other machines: they join with the same code, or are told why not."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from rushhour.load.master_address import MasterAddress
from rushhour.process.child import Child
from rushhour.process.ports import HOST
from rushhour.rundir import History, load_history
from rushhour.rundir import facts as f
from rushhour.scenario.model import Load
from tests.free_ports import free_port
from tests.integration.load_subject import ROOT, Server, loading, recorded, serving

pytestmark = pytest.mark.long

ENDS_WITHIN_S = 60
LOCUSTFILE = """
from locust import FastHttpUser, constant, task

class Eager(FastHttpUser):
    wait_time = constant(0.05)

    @task
    def ask(self):
        self.client.get("/ok")
"""
COUNTS_REBALANCING = """
from pathlib import Path
from locust import events
from locust.dispatch import UsersDispatcher

class Counting(UsersDispatcher):
    def _prepare_rebalance(self):
        super()._prepare_rebalance()
        Path("rebalanced").touch()

@events.init.add_listener
def count(environment, **_):
    environment.dispatcher_class = Counting
"""


def workers(
    master: MasterAddress, *locustfiles: Path
) -> AbstractContextManager[list[subprocess.Popen[bytes]]]:
    """One `rushhour worker` for each file; killed if they are still there at the end."""
    return running(*(["rushhour", "worker", str(master), "--locustfile", str(path)] for path in locustfiles))


@contextmanager
def running(*commands: list[str], open_files: int | None = None) -> Iterator[list[subprocess.Popen[bytes]]]:
    """One process for each module and its arguments; killed if they are still there at the end."""
    limited = ["sh", "-c", f'ulimit -n {open_files}; exec "$@"', "sh"] if open_files else []
    started = [
        subprocess.Popen(
            [*limited, sys.executable, "-m", *command],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for command in commands
    ]
    try:
        yield started
    finally:
        for process in started:
            process.terminate()  # its guard ends what it started
            process.wait(ENDS_WITHIN_S)


def load(count: int) -> Load:
    return Load(
        users=6,
        duration=3.0,
        shape="steady",
        spawn_rate=20.0,
        locustfile="own.py",
        workers=count,
        warm_up=0.0,
    )


def said(process: Child) -> str:
    return " ".join(process.tail())


def faults(history: History) -> str:
    return " ".join(
        str(event.detail.get("error")) for event in history.events if event.name == f.OBSERVER_FAULT
    )


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of a run."""

    code: int
    said: str
    history: History
    served: Counter[str]
    worker_codes: tuple[int, ...] = ()
    rebalanced: bool = False


def joined(tmp_path: Path) -> Ended:
    (tmp_path / "own.py").write_text(LOCUSTFILE + COUNTS_REBALANCING)
    master = MasterAddress(HOST, free_port(), wait_s=60)
    with (
        serving(Server()) as server,
        loading(server, load(2), tmp_path / "run", root=tmp_path, master=master) as (process, run),
        workers(master, tmp_path / "own.py", tmp_path / "own.py") as started,
    ):
        code = process.wait(120)
        worker_codes = tuple(worker.wait(ENDS_WITHIN_S) for worker in started)
        rebalanced = (tmp_path / "rebalanced").exists()
        return Ended(code, said(process), load_history(run), Counter(server.counts), worker_codes, rebalanced)


def other_code(tmp_path: Path) -> Ended:
    (tmp_path / "own.py").write_text(LOCUSTFILE)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "own.py").write_text(LOCUSTFILE.replace("0.05", "0.5"))
    master = MasterAddress(HOST, free_port(), wait_s=60)
    with (
        serving(Server()) as server,
        loading(server, load(2), tmp_path / "run", root=tmp_path, master=master) as (process, run),
        workers(master, tmp_path / "own.py", tmp_path / "old" / "own.py"),
    ):
        return Ended(process.wait(120), said(process), load_history(run), Counter(server.counts))


def without_rushhour(tmp_path: Path) -> Ended:
    (tmp_path / "own.py").write_text(LOCUSTFILE)
    master = MasterAddress(HOST, free_port(), wait_s=60)
    plain = ["locust", "--worker", "-f", str(tmp_path / "own.py")]
    with (
        serving(Server()) as server,
        loading(server, load(1), tmp_path / "run", root=tmp_path, master=master) as (process, run),
        running([*plain, "--master-host", master.host, "--master-port", str(master.port)]),
    ):
        return Ended(process.wait(120), said(process), load_history(run), Counter(server.counts))


def few_files(tmp_path: Path) -> Ended:
    (tmp_path / "own.py").write_text(LOCUSTFILE)
    master = MasterAddress(HOST, free_port(), wait_s=60)
    command = ["rushhour", "worker", str(master), "--locustfile", str(tmp_path / "own.py")]
    with (
        serving(Server()) as server,
        loading(server, load(1), tmp_path / "run", root=tmp_path, master=master) as (process, run),
        running(command, open_files=205),
    ):
        return Ended(process.wait(120), said(process), load_history(run), Counter(server.counts))


STORIES: dict[str, Callable[[Path], Ended]] = {
    "joined": joined,
    "other code": other_code,
    "without rushhour": without_rushhour,
    "few files": few_files,
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Ended]]:
    """All runs at once, because they mostly wait; a call waits for the run that it names."""
    paths = {name: tmp_path_factory.mktemp("workers") for name in STORIES}
    with ThreadPoolExecutor(len(STORIES)) as threads:
        runs = {name: threads.submit(story, paths[name]) for name, story in STORIES.items()}
        yield lambda name: runs[name].result(timeout=300)


def test_workers_that_were_started_by_hand_count_as_forked_ones_do(ended: Callable[[str], Ended]) -> None:
    run = ended("joined")
    assert run.code == 0, run.said
    assert run.worker_codes == (0, 0)
    assert recorded(run.history) == run.served
    assert {row.worker for row in run.history.requests} == {"worker-0", "worker-1"}
    assert max(sample.users for sample in run.history.generator) == 3
    assert not run.rebalanced, "the customers of a worker that ended in good order were given to the others"


def test_a_worker_with_other_code_ends_the_run_with_its_reason(ended: Callable[[str], Ended]) -> None:
    run = ended("other code")
    assert run.code == 3, run.said
    assert "differs from the master's" in faults(run.history)
    assert "differs from the master's" in run.said
    assert not run.served, "customers came before all workers had joined"


def test_a_worker_without_rushhour_ends_the_run_with_its_reason(ended: Callable[[str], Ended]) -> None:
    run = ended("without rushhour")
    assert run.code == 3, run.said
    assert "for worker-0 to join: was it started by `rushhour worker`?" in faults(run.history)
    assert not run.served


def test_a_worker_whose_machine_cannot_carry_its_customers_says_so_before_any_comes(
    ended: Callable[[str], Ended],
) -> None:
    run = ended("few files")
    assert run.code == 3, run.said
    assert "worker-0 cannot take part: 6 customers in a Locust process need 206 open files" in faults(
        run.history
    )
    assert "the hard limit is 205 (ulimit -Hn): raise it" in faults(run.history)
    assert not run.served
    assert run.history.event(f.LOAD_STARTED) is None


def test_a_master_that_is_not_an_address_is_refused(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "rushhour", "worker", "here", "--locustfile", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=ENDS_WITHIN_S,
        check=False,
    )
    assert ended.returncode == 64
    assert "'here' is not HOST:PORT" in ended.stderr
