"""Real Locust against a server that counts: nothing is lost, nothing is made up."""

import os
import signal
from collections import Counter
from pathlib import Path

import psutil
import pytest
from hdrh.histogram import HdrHistogram

from rushhour.errors import StackError
from rushhour.history import facts as f
from rushhour.history import load_history
from rushhour.scenario import Load
from tests.integration.load_subject import (
    Server,
    load_to_the_end,
    loading,
    recorded,
    serving,
    wait_for,
)

# Sends what it is told to, without waiting, and then idles.
OUTCOMES = """
import time
import gevent
from locust import FastHttpUser, HttpUser, constant, task

REQUESTS = ["ok", "missing", "error", "pool", "close", "cut", "hang"]

class Fast(FastHttpUser):
    fixed_count = 1
    network_timeout = 0.3
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
            self.client.get("/plain/" + path, timeout=0.3)
"""

EAGER = """
from locust import FastHttpUser, constant, task

class Eager(FastHttpUser):
    wait_time = constant(0.05)

    @task
    def ask(self):
        self.client.get("/ok")
"""


def own(tmp_path: Path, text: str) -> str:
    """A locustfile of a user's own; the path as a scenario names it, from the root `tmp_path`."""
    (tmp_path / "own.py").write_text(text)
    return "own.py"


@pytest.mark.parametrize("processes", [1, 2])
def test_what_is_recorded_is_what_the_server_saw(processes: int, tmp_path: Path) -> None:
    load = Load(
        users=40, duration=4.0, shape="rush-hour", spawn_rate=40.0, think_time=0.2, processes=processes
    )
    with serving(Server()) as server:
        history = load_to_the_end(server, load, tmp_path / "run")
        assert recorded(history) == server.counts
    assert server.total() > 100
    assert {"POST /login", "GET /customers/:id/referrals"} < set(server.counts)
    assert {row.outcome for row in history.requests} == {f.Outcome.OK}
    for row in history.requests:
        assert HdrHistogram.decode(row.latency).get_total_count() == row.count

    names = {"local"} if processes == 1 else {"worker-0", "worker-1"}
    assert (
        {row.worker for row in history.requests} == {sample.worker for sample in history.generator} == names
    )
    assert sum(sample.started for sample in history.generator) == server.total()
    assert max(_users_by_second(history).values()) == 40
    assert any(sample.cpu_cores > 0 for sample in history.generator)

    started_s, ended_s = history.time_of(f.LOAD_STARTED), history.time_of(f.LOAD_ENDED)
    assert started_s is not None
    assert ended_s is not None
    assert ended_s - started_s >= 4.0
    assert history.event(f.OBSERVER_FAULT) is None
    assert (tmp_path / "run/locust.html").stat().st_size > 10_000


def _users_by_second(history: f.History) -> Counter[int]:
    users: Counter[int] = Counter()
    for sample in history.generator:
        users[sample.t_s] += sample.users
    return users


@pytest.mark.parametrize("processes", [1, 2])
def test_requests_in_flight_at_the_end_are_awaited(processes: int, tmp_path: Path) -> None:
    load = Load(users=10, duration=1.0, shape="steady", spawn_rate=20.0, think_time=0.1, processes=processes)
    with serving(Server(slow_s=1.6)) as server:
        history = load_to_the_end(server, load, tmp_path / "run")
        assert recorded(history) == server.counts
    ended_s = history.time_of(f.LOAD_ENDED)
    assert ended_s is not None
    assert max(row.t_s for row in history.requests) > ended_s


def test_every_outcome_has_its_class(tmp_path: Path) -> None:
    load = Load(users=2, duration=2.0, shape="steady", spawn_rate=2.0, locustfile=own(tmp_path, OUTCOMES))
    with serving(Server()) as server:
        history = load_to_the_end(server, load, tmp_path / "run", root=tmp_path)
    seen = {row.endpoint: row.outcome for row in history.requests}
    expected = {
        "ok": f.Outcome.OK,
        "missing": f.Outcome.HTTP_4XX,
        "error": f.Outcome.HTTP_5XX,
        "pool": f.Outcome.QUEUEPOOL_TIMEOUT,
        "close": f.Outcome.CONNECT_ERROR,
        "cut": f.Outcome.CONNECT_ERROR,
        "hang": f.Outcome.CLIENT_TIMEOUT,
    }
    assert seen == {
        **{f"GET /fast/{path}": outcome for path, outcome in expected.items()},
        **{f"GET /plain/{path}": outcome for path, outcome in expected.items()},
        "GET /fast/refused": f.Outcome.CONNECT_ERROR,
        "GET /fast/garbage": f.Outcome.OTHER_ERROR,
    }
    # One request of a customer is one request on the wire, whatever came of it.
    refused = Counter({"GET /fast/refused": 1})
    assert server.counts + refused == recorded(history) == Counter(dict.fromkeys(seen, 1))


def test_the_app_tries_again_twice_and_then_gives_up(tmp_path: Path) -> None:
    load = Load(users=5, duration=4.0, shape="steady", spawn_rate=10.0, think_time=0.1)
    server = Server()
    server.fails = {"POST /login"}
    with serving(server):
        history = load_to_the_end(server, load, tmp_path / "run")
    assert set(server.counts) == {"POST /login"}  # without a log-in there is nothing to see
    assert recorded(history) == server.counts
    retries = sum(sample.retries for sample in history.generator)
    first = server.total() - retries
    assert 0 < retries <= 2 * first
    assert retries >= 2 * (first - load.users)  # only a customer's last attempts may be missing


def test_a_push_notification_brings_waiting_customers_at_once(tmp_path: Path) -> None:
    # Their think time is longer than the test: whoever comes a second time comes because of the push.
    load = Load(users=60, duration=6.0, shape="rush-hour", spawn_rate=60.0, think_time=300.0)
    with serving(Server()) as server:
        history = load_to_the_end(server, load, tmp_path / "run")
        lists = [at_s for at_s, endpoint in server.times if endpoint == "GET /customers/:id/referrals"]
    assert recorded(history) == server.counts
    assert 3 <= len(lists) <= 40  # a quarter of them, by chance more or fewer
    assert max(lists) - min(lists) < 4  # within two seconds, and a little for the machine
    # Those who came only just then open the app for the first time.
    assert 60 <= server.counts["POST /login"] <= 60 + len(lists)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_that_is_stopped_keeps_what_it_saw(processes: int, tmp_path: Path) -> None:
    locustfile = own(tmp_path, EAGER)
    load = Load(
        users=5, duration=60.0, shape="steady", spawn_rate=10.0, locustfile=locustfile, processes=processes
    )
    with (
        serving(Server()) as server,
        loading(server, load, tmp_path / "run", root=tmp_path) as (process, run),
    ):
        wait_for("a second's rows", lambda: bool(load_history(run).requests))
        process.stop()
        code = process.poll()
        history = load_history(run)
        assert recorded(history) == server.counts  # the last second's as well
    assert code not in (0, None)
    fault = history.event(f.OBSERVER_FAULT)
    assert fault is not None
    assert "the load did not run to its end" in fault.detail["error"]


def test_stopping_does_not_wait_for_a_server_that_hangs(tmp_path: Path) -> None:
    text = EAGER.replace("/ok", "/hang")
    load = Load(
        users=4, duration=60.0, shape="steady", spawn_rate=10.0, locustfile=own(tmp_path, text), processes=2
    )
    with (
        serving(Server()) as server,
        loading(server, load, tmp_path / "run", pool_timeout_s=30.0, root=tmp_path) as (process, _),
    ):
        wait_for("requests that hang", lambda: server.total() == 4)
        family = psutil.Process(process.pid).children(recursive=True)
        process.stop()
        assert process.poll() is not None
        assert len(family) == 2
        gone, alive = psutil.wait_procs(family, timeout=5)
        assert not alive, gone


def test_a_run_that_is_killed_keeps_what_it_saw(tmp_path: Path) -> None:
    load = Load(users=5, duration=60.0, shape="steady", spawn_rate=10.0, locustfile=own(tmp_path, EAGER))
    with (
        serving(Server()) as server,
        loading(server, load, tmp_path / "run", root=tmp_path) as (process, run),
    ):
        wait_for("two seconds' rows", lambda: len({row.t_s for row in load_history(run).requests}) >= 2)
        before = recorded(load_history(run))
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(5) == -signal.SIGKILL
        assert before <= recorded(load_history(run)) <= server.counts
        with pytest.raises(StackError, match="SIGKILL"):
            process.check()


def test_a_lost_worker_is_told_of(tmp_path: Path) -> None:
    load = Load(
        users=4, duration=3.0, shape="steady", spawn_rate=10.0, locustfile=own(tmp_path, EAGER), processes=2
    )
    with (
        serving(Server()) as server,
        loading(server, load, tmp_path / "run", root=tmp_path) as (process, run),
    ):
        wait_for("both workers", lambda: len({row.worker for row in load_history(run).requests}) == 2)
        victim = psutil.Process(process.pid).children()[0]
        victim.kill()
        assert process.wait(30) == 3
        history = load_history(run)
    fault = history.event(f.OBSERVER_FAULT)
    assert fault is not None
    assert "lost with what it had not reported" in fault.detail["error"]


def test_a_locustfile_that_fails_is_told_of(tmp_path: Path) -> None:
    broken = EAGER.replace('self.client.get("/ok")', 'self.client.get("/ok").nonsense()')
    load = Load(users=1, duration=2.0, shape="steady", locustfile=own(tmp_path, broken))
    with (
        serving(Server()) as server,
        loading(server, load, tmp_path / "run", root=tmp_path) as (process, run),
    ):
        assert process.wait(20) == 3
        fault = load_history(run).event(f.OBSERVER_FAULT)
        assert fault is not None
        assert "the locustfile raised" in fault.detail["error"]
        assert "nonsense" in fault.detail["error"]


def test_a_locustfile_that_cannot_be_read_ends_at_once_with_its_reason(tmp_path: Path) -> None:
    load = Load(users=1, duration=2.0, shape="steady", locustfile=own(tmp_path, "import no_such_module"))
    with serving(Server()) as server, loading(server, load, tmp_path / "run", root=tmp_path) as (process, _):
        process.wait(20)
        with pytest.raises(StackError, match="exit code 1") as caught:
            process.check()
        assert "no_such_module" in str(caught.value)
