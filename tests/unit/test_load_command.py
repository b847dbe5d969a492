"""Where load may go, and with which command line and environment Locust is started."""

from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rushhour.errors import UsageError
from rushhour.load.locust import locust_command, locust_environment, start_load
from rushhour.process.guard import Guard
from rushhour.rundir import RunDir
from rushhour.scenario.hosts import check_host
from rushhour.scenario.model import Load, Pool, Scenario, Target


def scenario(
    root: Path, locustfile: str = "locustfiles/referrals.py", workers: int = 0, seed: int = 1
) -> Scenario:
    target = Target(name="t", command="c", health="/health", releases=("1",), schema="s.sql", root=str(root))
    return Scenario(
        name="s",
        target=target,
        load=Load(users=800, duration=75.0, locustfile=locustfile, workers=workers, seed=seed),
        release="1",
        expect="healthy",
        pool=Pool(timeout=30.0),
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000",
        "http://localhost",
        "http://[::1]:80/",
        "https://127.9.9.9",
        "http://LocalHost",
    ],
)
def test_loopback_is_always_allowed(url: str) -> None:
    assert check_host(url) == []


@pytest.mark.parametrize(
    "url",
    [
        "http://example.test",
        "http://192.168.0.1",
        "http://0.0.0.0:80",
        "http://localhost.example.test",
        "http://127.0.0.1.example.test",
        "http://127.0.0.1@example.test",
        "http://127.1",  # means 127.0.0.1 to some, but is a name to others
    ],
)
def test_other_hosts_need_allow_host(url: str) -> None:
    (problem,) = check_host(url)
    host = urlsplit(url).hostname
    assert f"--allow-host {host}" in problem
    assert check_host(url, allow_host=host) == []
    assert check_host(url, allow_host="other.test") == [problem]


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "", "ftp://127.0.0.1", "http://", "http://[::1", "http://127.0.0.1:x"]
)
def test_what_is_not_a_url_is_refused(url: str) -> None:
    assert len(check_host(url, allow_host="127.0.0.1")) == 1


def test_every_problem_is_reported_before_anything_starts(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    with pytest.raises(UsageError) as caught:
        start_load(Guard(), scenario(tmp_path, locustfile="none.py"), "http://example.test", run, 0.0)
    assert len(caught.value.problems) == 2
    assert "example.test" in caught.value.problems[0]
    assert str(tmp_path / "none.py") in caught.value.problems[1]
    assert not run.path.exists()


def test_the_command_line(tmp_path: Path) -> None:
    command = locust_command(scenario(tmp_path), "http://127.0.0.1:1", RunDir(tmp_path / "run"), tmp_path)
    pairs = dict(pairwise(command))
    assert pairs["-f"].split(",")[0] == str(tmp_path / "locustfiles/referrals.py")
    assert pairs["--stop-timeout"] == "61"  # a customer's patience and a little more
    assert pairs["--users"] == "800"
    assert pairs["--html"] == str(tmp_path / "run/locust.html")
    assert "--processes" not in command


def test_workers_meet_their_master_on_loopback(tmp_path: Path) -> None:
    command = locust_command(
        scenario(tmp_path, workers=3), "http://127.0.0.1:1", RunDir(tmp_path / "run"), tmp_path
    )
    pairs = dict(pairwise(command))
    assert pairs["--processes"] == "3"
    assert pairs["--master-bind-host"] == "127.0.0.1"
    assert pairs["--master-bind-port"] == pairs["--master-port"]


def test_the_scenario_alone_sets_locusts_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCUST_USERS", "5000")
    environment = locust_environment(scenario(tmp_path, seed=7), RunDir(tmp_path / "run"), 12.5)
    assert "LOCUST_USERS" not in environment
    assert environment["RUSHHOUR_ANCHOR_WALL_S"] == "12.5"
    assert environment["RUSHHOUR_SEED"] == "7"
    assert environment["RUSHHOUR_CUSTOMERS"] == "10000"
    assert float(environment["RUSHHOUR_PUSH_AT_S"]) > 75 / 2
