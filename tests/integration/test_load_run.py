"""Real Locust against a server that counts: nothing is lost, nothing is made up.

The runs mostly wait, so they take place at the same time; each test then looks at one of them. A run
that no selected test looks at does not take place.
"""

import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
import pytest
from hdrh.histogram import HdrHistogram

from rushhour.load.locust import STOP_GRACE_S
from rushhour.rundir import History, load_history
from rushhour.rundir import facts as f
from rushhour.scenario.model import Load
from tests.integration.alertmanager_subject import ATTEMPTS, watched
from tests.integration.load_subject import ROOT, Server, loading, recorded, serving, wait_for

CUSTOMERS, MANY = 40, 100  # who come, and the requests that they send at least
PUSHED = 100  # who are there when the push comes
IN_FLIGHT = 10  # who wait for their first answer when the load ends
STOOD_STILL_S = 0.5

# Sends each request once, and then idles.
OUTCOMES = """
from locust import FastHttpUser, HttpUser, constant, task

REQUESTS = ["ok", "missing", "error", "pool", "close", "cut", "hang", "moved"]

class Fast(FastHttpUser):
    fixed_count = 1
    network_timeout = 3.0
    wait_time = constant(60)

    @task
    def all(self):
        for path in REQUESTS:
            self.client.get("/fast/" + path)
        self.client.get("http://127.0.0.1:1/", name="/fast/refused")
        with self.client.get("/fast/garbage", catch_response=True) as answer:
            answer.failure("not what was expected")

class Plain(HttpUser):
    fixed_count = 1
    wait_time = constant(60)

    @task
    def all(self):
        for path in REQUESTS:
            self.client.get("/plain/" + path, timeout=3.0)
"""

EAGER = """
from locust import FastHttpUser, constant, task

class Eager(FastHttpUser):
    wait_time = constant(0.05)

    @task
    def ask(self):
        self.client.get("/ok")
"""


@dataclass(frozen=True)
class Ended:
    """A run after its end; `code` is Locust's exit code, `failure` what Child.check() then said."""

    history: History
    code: int
    counts: Counter[str]
    server: Server
    path: Path
    failure: str
    left: tuple[psutil.Process, ...]  # of Locust's processes


def tell(
    path: Path,
    load: Load,
    *,
    text: str = "",
    server: Server | None = None,
    meanwhile: Callable[..., object] = lambda **_: None,
    pool_timeout_s: float = 2.0,
) -> Ended:
    """Run a load to its end, which `meanwhile` may bring about; `text` is a locustfile of a user's own."""
    root = ROOT
    if text:
        (path / load.locustfile).write_text(text)
        root = path
    with (
        serving(server or Server()) as subject,
        loading(subject, load, path / "run", pool_timeout_s, root=root) as (process, run),
    ):
        family: list[psutil.Process] = []
        meanwhile(process=process, run=run, server=subject, family=family)
        code = process.wait(load.duration + 90)
        failure = ""
        try:
            process.check()
        except Exception as error:  # noqa: BLE001  # a test looks at it
            failure = str(error)
        process.stop(STOP_GRACE_S)
        _, left = psutil.wait_procs(family, timeout=60)
        return Ended(load_history(run), code, subject.counts, subject, run.path, failure, tuple(left))


def most_users(history: History) -> int:
    """The customers of all workers in the second with most of them."""
    users: Counter[int] = Counter()
    for sample in history.generator:
        users[sample.t_s] += sample.users
    return max(users.values(), default=0)


def latest_users(history: History) -> list[int]:
    """The customers of each worker, by its latest sample."""
    return list({sample.worker: sample.users for sample in history.generator}.values())


def own(users: int, duration: float, workers: int = 0) -> Load:
    return Load(
        users=users,
        duration=duration,
        shape="steady",
        spawn_rate=20.0,
        locustfile="own.py",
        workers=workers,
    )


def longer(
    path: Path,
    durations: Iterable[float],
    run: Callable[[Path, float], Ended],
    enough: Callable[[Ended], object],
) -> Ended:
    """The first run that shows enough; each takes longer than the one before, for a busy machine."""
    for duration in durations:
        folder = path / f"{duration:g}"
        folder.mkdir()
        ended = run(folder, duration)
        if enough(ended):
            break
    return ended


def whole(path: Path, workers: int) -> Ended:
    """Again, and longer, while a busy machine kept customers from coming in time."""

    def run(folder: Path, duration: float) -> Ended:
        load = Load(
            users=CUSTOMERS,
            duration=duration,
            shape="rush-hour",
            spawn_rate=40.0,
            think_time=0.2,
            workers=workers,
        )
        return tell(folder, load)

    def enough(ended: Ended) -> bool:
        return most_users(ended.history) >= CUSTOMERS and ended.counts.total() > MANY

    return longer(path, (4.0, 12.0, 36.0), run, lambda ended: ended.code or enough(ended))


def in_flight(path: Path, workers: int) -> Ended:
    """Again, and longer, while a busy machine kept customers from coming in time."""

    def hold(run, server, **_):  # type: ignore[no-untyped-def]
        wait_for("the load to end", lambda: load_history(run).time_of(f.LOAD_ENDED) is not None)
        server.holds = False

    def run(folder: Path, duration: float) -> Ended:
        load = Load(
            users=IN_FLIGHT,
            duration=duration,
            shape="steady",
            spawn_rate=20.0,
            think_time=0.1,
            workers=workers,
        )
        server = Server()
        server.holds = True
        return tell(folder, load, server=server, meanwhile=hold)

    return longer(path, (2.5, 10.0, 30.0), run, lambda ended: ended.counts.total() >= IN_FLIGHT)


def outcomes(path: Path) -> Ended:
    return tell(path, own(2, 6.0), text=OUTCOMES)


def no_log_in(path: Path) -> Ended:
    server = Server()
    server.fails = {"POST /login"}
    load = Load(users=5, duration=4.0, shape="steady", spawn_rate=10.0, think_time=0.1)
    return tell(path, load, server=server)


def pushed(path: Path) -> Ended:
    """Again while the machine stood still: who comes at once then comes before and after that."""
    # Their think time is longer than the test: whoever comes a second time comes because of the push.
    load = Load(users=PUSHED, duration=6.0, shape="rush-hour", spawn_rate=60.0, think_time=300.0)
    for attempt in range(ATTEMPTS):
        folder = path / str(attempt)
        folder.mkdir()
        with watched() as machine:
            ended = tell(folder, load)
        sent_late_s = max(sample.lateness_max_ms for sample in ended.history.generator) / 1000
        if max(machine.late_s, sent_late_s) < STOOD_STILL_S:
            break
    return ended


def stopped(path: Path, workers: int) -> Ended:
    def stop(process, run, **_):  # type: ignore[no-untyped-def]
        wait_for("a second's rows", lambda: bool(load_history(run).requests))
        process.stop(STOP_GRACE_S)

    return tell(path, own(5, 60.0, workers), text=EAGER, meanwhile=stop)


def hanging(path: Path) -> Ended:
    def stop(process, server, family, **_):  # type: ignore[no-untyped-def]
        wait_for("requests that hang", lambda: server.total() == 4)
        family += psutil.Process(process.pid).children(recursive=True)
        process.stop(STOP_GRACE_S)

    text = EAGER.replace("/ok", "/hang")
    return tell(path, own(4, 60.0, workers=2), text=text, meanwhile=stop, pool_timeout_s=30.0)


def killed(path: Path) -> Ended:
    def kill(process, run, **_):  # type: ignore[no-untyped-def]
        wait_for("two seconds' rows", lambda: len({row.t_s for row in load_history(run).requests}) >= 2)
        os.kill(process.pid, signal.SIGKILL)

    return tell(path, own(5, 60.0), text=EAGER, meanwhile=kill)


def lost_worker(path: Path, signum: signal.Signals) -> Ended:
    """Again, and longer, while the load was over before its workers had their customers."""

    def lose_one(process, run, **_):  # type: ignore[no-untyped-def]
        def ready() -> bool:
            history = load_history(run)
            return len({row.worker for row in history.requests}) == 2 and latest_users(history) == [2, 2]

        wait_for("workers with customers", lambda: ready() or process.poll() is not None)
        if process.poll() is None:
            for worker in psutil.Process(process.pid).children()[:1]:
                worker.send_signal(signum)

    def run(folder: Path, duration: float) -> Ended:
        return tell(folder, own(4, duration, workers=2), text=EAGER, meanwhile=lose_one)

    return longer(path, (12.0, 36.0), run, lambda ended: ended.history.event(f.WORKER_LOST))


def raising(path: Path, workers: int) -> Ended:
    return tell(path, own(2, 2.0, workers), text=EAGER.replace('get("/ok")', 'get("/ok").nonsense()'))


def unreadable(path: Path) -> Ended:
    return tell(path, own(1, 2.0), text="import no_such_module")


STORIES: dict[str, Callable[[Path], Ended]] = {
    "whole-0": partial(whole, workers=0),
    "whole-2": partial(whole, workers=2),
    "in-flight-0": partial(in_flight, workers=0),
    "in-flight-2": partial(in_flight, workers=2),
    "outcomes": outcomes,
    "no-log-in": no_log_in,
    "pushed": pushed,
    "stopped-0": partial(stopped, workers=0),
    "stopped-2": partial(stopped, workers=2),
    "hanging": hanging,
    "killed": killed,
    "killed-worker": partial(lost_worker, signum=signal.SIGKILL),
    "hung-worker": partial(lost_worker, signum=signal.SIGSTOP),
    "raising-0": partial(raising, workers=0),
    "raising-2": partial(raising, workers=2),
    "unreadable": unreadable,
}


def of(*stories: object) -> pytest.MarkDecorator:
    """Marks a test of the runs with these names."""
    return pytest.mark.parametrize("run", stories, indirect=True)


def rare(story: str) -> object:
    return pytest.param(story, marks=pytest.mark.long)


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Ended]]:
    """The runs that the selected tests look at, four at a time; a call waits for the one that it names."""
    selected = [item for item in request.session.items if isinstance(item, pytest.Function)]
    wanted = {item.callspec.params["run"] for item in selected if item.path == request.path}
    paths = {name: tmp_path_factory.mktemp(name) for name in STORIES if name in wanted}
    with ThreadPoolExecutor(4) as pool:
        told = {name: pool.submit(STORIES[name], path) for name, path in paths.items()}
        yield lambda name: told[name].result(timeout=300)


@pytest.fixture
def run(request: pytest.FixtureRequest, runs: Callable[[str], Ended]) -> Ended:
    return runs(request.param)


def fault(run: Ended) -> str:
    event = run.history.event(f.OBSERVER_FAULT)
    assert event is not None
    return str(event.detail["error"])


@pytest.mark.parametrize(
    ("run", "names"),
    [
        ("whole-0", {"local"}),
        pytest.param("whole-2", {"worker-0", "worker-1"}, marks=pytest.mark.long),
    ],
    indirect=["run"],
)
def test_what_is_recorded_is_what_the_server_saw(run: Ended, names: set[str]) -> None:
    history = run.history
    assert run.code == 0, run.failure
    assert recorded(history) == run.counts
    assert run.counts.total() > MANY
    assert {"POST /login", "GET /customers/:id/referrals"} < set(run.counts)
    assert {row.outcome for row in history.requests} == {f.Outcome.OK}
    for row in history.requests:
        assert HdrHistogram.decode(row.latency).get_total_count() == row.count

    assert (
        {row.worker for row in history.requests} == {sample.worker for sample in history.generator} == names
    )
    assert sum(sample.started for sample in history.generator) == run.counts.total()
    assert any(sample.cpu_cores > 0 for sample in history.generator)
    assert most_users(history) == CUSTOMERS

    started_s, ended_s = history.time_of(f.LOAD_STARTED), history.time_of(f.LOAD_ENDED)
    assert started_s is not None
    assert ended_s is not None
    assert round(ended_s - started_s, 3) >= 4.0
    assert history.event(f.OBSERVER_FAULT) is None
    assert (run.path / "locust.html").stat().st_size > 10_000


@of("in-flight-0", rare("in-flight-2"))
def test_requests_in_flight_at_the_end_are_awaited(run: Ended) -> None:
    assert run.code == 0, run.failure
    assert recorded(run.history) == run.counts
    ended_s = run.history.time_of(f.LOAD_ENDED)
    assert ended_s is not None
    # Nothing was answered before; a row tells its time in whole seconds.
    assert min(row.t_s for row in run.history.requests) >= int(ended_s)
    assert {row.outcome for row in run.history.requests} == {f.Outcome.OK}


@of("outcomes")
def test_every_outcome_has_its_class(run: Ended) -> None:
    seen = {row.endpoint: row.outcome for row in run.history.requests}
    expected = {
        "ok": f.Outcome.OK,
        "missing": f.Outcome.HTTP_4XX,
        "error": f.Outcome.HTTP_5XX,
        "pool": f.Outcome.QUEUEPOOL_TIMEOUT,
        "close": f.Outcome.CONNECT_ERROR,
        "cut": f.Outcome.CONNECT_ERROR,
        "hang": f.Outcome.CLIENT_TIMEOUT,
        "moved": f.Outcome.OK,
    }
    assert seen == {
        **{f"GET /fast/{path}": outcome for path, outcome in expected.items()},
        **{f"GET /plain/{path}": outcome for path, outcome in expected.items()},
        "GET /fast/refused": f.Outcome.CONNECT_ERROR,
        "GET /fast/garbage": f.Outcome.OTHER_ERROR,
    }
    # One request of a customer is one request on the wire, whatever came of it.
    refused, followed = Counter({"GET /fast/refused": 1}), Counter({"GET /login-page": 2})
    assert run.counts + refused - followed == recorded(run.history) == Counter(dict.fromkeys(seen, 1))
    assert sum(sample.redirected for sample in run.history.generator) == 2


@of("no-log-in")
def test_the_app_tries_again_twice_and_then_gives_up(run: Ended) -> None:
    assert set(run.counts) == {"POST /login"}  # without a log-in there is nothing to see
    assert recorded(run.history) == run.counts
    retries = sum(sample.retries for sample in run.history.generator)
    first = run.counts.total() - retries
    assert 0 < retries <= 2 * first
    assert retries >= 2 * (first - 5)  # only the five customers' last attempts may be missing


@of("pushed")
def test_a_push_notification_brings_waiting_customers_at_once(run: Ended) -> None:
    assert recorded(run.history) == run.counts
    lists = [at_s for at_s, endpoint in run.server.times if endpoint == "GET /customers/:id/referrals"]
    assert 3 <= len(lists) <= 60  # a fifth of them, by chance more or fewer
    assert max(lists) - min(lists) < 3  # within half a second, the log-in, and a little for the machine
    # Those who came only just then open the app for the first time.
    assert PUSHED <= run.counts["POST /login"] <= PUSHED + len(lists)


@of("stopped-0", rare("stopped-2"))
def test_a_run_that_is_stopped_keeps_what_it_saw(run: Ended) -> None:
    assert recorded(run.history) == run.counts  # the last second's as well
    assert run.code == 3
    assert "the load did not run to its end" in fault(run)


@of("hanging")
def test_stopping_does_not_wait_for_a_server_that_hangs(run: Ended) -> None:
    assert run.counts == {"GET /hang": 4}
    assert not run.left


@of("killed")
def test_a_run_that_is_killed_keeps_what_it_saw(run: Ended) -> None:
    assert run.code == -signal.SIGKILL
    assert len({row.t_s for row in run.history.requests}) >= 2
    assert recorded(run.history) <= run.counts
    assert "SIGKILL" in run.failure


@of(rare("killed-worker"), "hung-worker")
def test_a_lost_worker_is_reported(run: Ended) -> None:
    assert run.code == 3
    assert re.search(r"worker worker-\d was lost \d+ s into the run, 2 customers", fault(run))
    [lost] = [event for event in run.history.events if event.name == f.WORKER_LOST]
    assert lost.detail["users"] == 2


@of("raising-0", "raising-2")
def test_a_locustfile_that_fails_is_reported(run: Ended) -> None:
    assert run.code == 0
    errors = [event.detail for event in run.history.events if event.name == f.LOCUSTFILE_ERROR]
    assert {error["error"] for error in errors} == {"AttributeError"}
    assert all("nonsense" in error["message"] for error in errors)
    line = EAGER.splitlines().index(next(line for line in EAGER.splitlines() if 'get("/ok")' in line)) + 1
    assert all(f".py:{line} in " in error["where"] for error in errors)
    assert sum(error["count"] for error in errors) == recorded(run.history).total()


@of("unreadable")
def test_a_locustfile_that_cannot_be_read_ends_at_once_with_its_reason(run: Ended) -> None:
    assert run.code == 1
    assert "exit code 1" in run.failure
    assert "no_such_module" in run.failure
