"""A service of the user's own Compose file under load: named with file and line, and nothing is left."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient

from rushhour.errors import StackError
from rushhour.process.guard import Guard
from rushhour.rundir import RunDir
from rushhour.scenario.file import load_scenarios
from rushhour.scenario.model import Scenario
from rushhour.stack.compose.failure import COMPOSE_LABEL
from rushhour.stack.compose.project import Part, parts
from rushhour.stack.compose_service.stack import ComposeServiceStack
from rushhour.stack.owner import WORK_LABEL
from tests.docker.compose_subject import quiet, wait_until
from tests.judged_runs import ATTEMPTS, BUSY
from tests.shop_service import CUSTOMERS, SHOP

DEADLINE_S = 150.0
SETUP = """
import os, sqlalchemy as sa
with sa.create_engine(os.environ['DATABASE_URL']).begin() as connection:
    connection.execute(sa.text('create table item (id int primary key)'))
print('one table made')
"""
SERVED = 'CMD ["python", "-m", "gunicorn", "shop:app", "-b", "0.0.0.0:8000", "--threads", "12"]'
DOCKERFILE = f"""
FROM {{image}}
WORKDIR /srv/shop
COPY src/ .
{SERVED}
"""
COMPOSE = """
services:
  shop:
    build: .
    container_name: rushhour-test-shop
    environment: { DATABASE_URL: nowhere, PYTHONPATH: /opt/none }
    ports: ["8000:8000"]
    depends_on: { db: { condition: service_healthy }, once: { condition: service_completed_successfully } }
    restart: always
  db:
    image: postgres:18
    command: [postgres, "-clisten_addresses=*"]
    environment: { POSTGRES_PASSWORD: own }
    stop_signal: SIGKILL
    ports: ["8000:5432"] # no two containers can have the same one: that of a run is published elsewhere
    volumes: ["data:/var/lib/postgresql"]
    healthcheck: { test: [CMD, pg_isready, -h, 127.0.0.1], interval: 300ms, retries: 20 }
  once: { image: "python:3.13-slim", command: ["true"] }
volumes: { data: { name: rushhour-test-data } }
"""
SCENARIOS = """
defaults:
  data: { size: tiny }
  pool: { size: 2, max_overflow: 1, timeout: 1s }
  target: { name: shop, compose: compose.yaml, service: shop, health: /health }
  load:
    shape: steady
    users: 40
    spawn_rate: 40
    duration: 5s
    warm_up: 1s
    client_timeout: 9s
    locustfile: c.py
scenarios:
  evening:
    target: { setup: "{python} setup_shop.py", environment: { DATABASE_URL: "{primary_url}" } }
    expect: exhausted
    cause: scope-never-removed
  own-database:
    target:
      setup: "{python} setup_shop.py"
      environment: { DATABASE_URL: "postgresql+psycopg2://postgres:own@db/postgres" }
    expect: exhausted
    cause: scope-never-removed
"""


@pytest.fixture
def image(client: DockerClient) -> str:
    """One in which a Flask service can be served: that of a release."""
    for release in ("1.1", "1.1.1", "1.0"):
        if client.images.list(f"rushhour/referrals:{release}"):
            return f"rushhour/referrals:{release}"
    pytest.skip("no image of a release is here; tests/docker/test_compose_run.py builds one")


@pytest.fixture
def folder(tmp_path: Path, image: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUSHHOUR_CACHE", str(cache))
    files = {
        "src/shop.py": SHOP.replace("select 1", "select count(*) from item", 1),  # what its set-up made
        "src/setup_shop.py": SETUP,
        "Dockerfile": DOCKERFILE.format(image=image),
        "compose.yaml": COMPOSE,
        "c.py": CUSTOMERS,
        "scenarios.yaml": SCENARIOS,
    }
    (tmp_path / "src").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def ours(client: DockerClient, cache: Path) -> list[Part]:
    """What runs of these tests hold in an engine that others may use, too."""
    labelled = [
        part for part in parts(client.api, WORK_LABEL) if part.labels[WORK_LABEL].startswith(str(cache))
    ]
    compose = [
        part for part in parts(client.api, COMPOSE_LABEL) if part.labels[COMPOSE_LABEL].endswith("-own")
    ]
    return [*labelled, *compose]


@pytest.fixture(autouse=True)
def nothing_left(client: DockerClient, cache: Path) -> Iterator[None]:
    yield
    assert ours(client, cache) == []


def change(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))


def scenario_of(folder: Path, name: str = "own-database") -> Scenario:
    """Without a set-up, unless a test is about that."""
    scenario = load_scenarios(folder / "scenarios.yaml").scenarios[name]
    return replace(scenario, target=replace(scenario.target, setup=""))


def rushhour(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rushhour", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def verdict_of(folder: Path, name: str, *options: str) -> Any:
    """Of one run, again while the machine was too busy to tell."""
    for _ in range(ATTEMPTS):
        done = rushhour(folder, "run", name, *options)
        verdict = json.loads((folder / "runs" / "latest" / "verdict.json").read_text())
        if not any(why in verdict["reasons"][0] for why in BUSY):
            break
    assert verdict["diagnosis"] is not None, done.stdout + done.stderr
    return verdict


def test_a_leak_in_a_compose_service_is_named_by_the_users_own_file(folder: Path) -> None:
    verdict = verdict_of(folder, "evening")
    run = folder / "runs" / "latest"
    assert "one table made" in (run / "logs" / "setup.log").read_text()
    assert (verdict["observed"], verdict["stack"]) == ("exhausted", "compose")
    assert verdict["diagnosis"]["cause"] == "scope-never-removed"
    site = verdict["diagnosis"]["call_sites"][0]
    line = 1 + next(number for number, text in enumerate(SHOP.splitlines()) if "# leak" in text)
    assert (site["file"], site["line"], site["endpoint"]) == ("src/shop.py", line, "GET /report/:year")
    assert site["pool"] == "primary"  # known as ours, though the container reaches it by another name
    assert "# leak" in (run / "summary.md").read_text()  # the report shows the line itself
    metered = {json.loads(row)["component"] for row in (run / "host.jsonl").read_text().splitlines()}
    assert {"service", "own-db", "primary", "replica"} <= metered
    assert "Booting worker" in (run / "logs" / "service.log").read_text()


def test_a_database_of_its_own_and_no_agent(folder: Path) -> None:
    verdict = verdict_of(folder, "own-database", "--no-agent")
    assert verdict["observed"] == "exhausted"  # by the log alone
    assert verdict["diagnosis"]["call_sites"] == []
    run = folder / "runs" / "latest"
    assert not list((run / "agent").iterdir())
    assert not (run / "postgres.jsonl").exists()  # no server of ours


@pytest.mark.parametrize(
    ("name", "old", "new", "told", "last"),
    [
        (
            "Dockerfile",
            "COPY src/ .",
            "RUN echo no such step; exit 3",
            "service shop cannot be built",
            "no such step",
        ),
        (
            "Dockerfile",
            "shop:app",
            "shp:app",
            "service shop is exited, with exit code 3",
            "No module named 'shp'",
        ),
        (
            "Dockerfile",
            "0.0.0.0:8000",
            "127.0.0.1:8000",
            "(does it listen on 0.0.0.0:8000 in its container?)",
            "Booting",
        ),
        (
            "Dockerfile",
            '"python", ',
            '"python", "-I", ',
            "the service was started without the variable PYTHON",
            "",
        ),
        ("compose.yaml", "pg_isready, -h", "no-such-probe, -h", "db is unhealthy", "ready"),
        ("compose.yaml", 'command: ["true"]', "command: [ls, /gone]", "once ended with exit code 2", "/gone"),
    ],
)
def test_a_container_that_does_not_start_is_reported_with_its_last_lines(
    *,
    folder: Path,
    guard: Guard,
    run: RunDir,
    cache: Path,
    name: str,
    old: str,
    new: str,
    told: str,
    last: str,
) -> None:
    change(folder, name, old, new)
    # Only the one that listens elsewhere is waited for until the end: the others say sooner what is wrong.
    stack = ComposeServiceStack(guard, cache=cache, healthy_within_s=15)
    with pytest.raises(StackError) as caught, stack.up(scenario_of(folder), run, quiet):
        pytest.fail("it came up")
    assert told in str(caught.value)
    assert last in "\n".join(caught.value.log_tail)


def test_a_container_without_python(folder: Path, guard: Guard, run: RunDir, cache: Path) -> None:
    perl = "use IO::Socket; my $l = IO::Socket::INET->new(LocalPort => 8000, Listen => 5) or die; "
    perl += "while (my $c = $l->accept) { my $x = <$c>; print $c qq(HTTP/1.0 200 OK\\r\\n\\r\\n); close $c }"
    (folder / "answer.pl").write_text(perl)
    (folder / "Dockerfile").write_text(
        "FROM python:3.13-slim\nCOPY answer.pl /\nRUN rm -f /usr/bin/python3* /usr/local/bin/python*\n"
        'CMD ["perl", "/answer.pl"]\n'
    )
    with (
        pytest.raises(StackError, match="no agent reports from its container: it has no Python"),
        ComposeServiceStack(guard, cache=cache).up(scenario_of(folder), run, quiet),
    ):
        pytest.fail("it came up")


def test_a_container_with_an_old_python(folder: Path, guard: Guard, run: RunDir, cache: Path) -> None:
    """One that says so: no other can be had here."""
    (folder / "Dockerfile").write_text(
        "FROM python:3.13-slim\nWORKDIR /srv\nRUN touch health && d=$(python3 -c 'import sysconfig as s; "
        "print(s.get_paths()[\"purelib\"])') && mkdir -p $d && echo 'import sys; "
        'sys.version_info = (3, 9, 2); sys.version = "3.9.2"\' >$d/old.pth\n'
        'CMD ["python3", "-m", "http.server", "8000"]\n'
    )
    with (
        pytest.raises(
            StackError, match=r"it says: not started: .* needs CPython 3\.11 or newer, this is 3\.9\.2"
        ),
        ComposeServiceStack(guard, cache=cache).up(scenario_of(folder), run, quiet),
    ):
        pytest.fail("it came up")


def test_a_port_that_is_always_taken(
    folder: Path, guard: Guard, run: RunDir, cache: Path, client: DockerClient
) -> None:
    taken = client.containers.run(
        "python:3.13-slim",
        ["sleep", "120"],
        detach=True,
        ports={"1/tcp": ("127.0.0.1", 0)},
        stop_signal="SIGKILL",
    )
    try:
        taken.reload()
        port = int(taken.attrs["NetworkSettings"]["Ports"]["1/tcp"][0]["HostPort"])
        stack = ComposeServiceStack(guard, cache=cache, choose_port=lambda: port)
        with (
            pytest.raises(StackError, match="no free ports in 3 attempts"),
            stack.up(scenario_of(folder), run, quiet),
        ):
            pytest.fail("it came up")
    finally:
        taken.remove(force=True)


def test_a_set_up_that_fails(folder: Path, guard: Guard, run: RunDir, cache: Path) -> None:
    scenario = scenario_of(folder)
    failing = replace(
        scenario, target=replace(scenario.target, setup="{python} -c 'raise SystemExit(\"no migration 42\")'")
    )
    with (
        pytest.raises(StackError, match=r"target\.setup ended with exit code 1") as caught,
        ComposeServiceStack(guard, cache=cache).up(failing, run, quiet),
    ):
        pytest.fail("it came up")
    assert "no migration 42" in "\n".join(caught.value.log_tail)


def test_bad_files_are_reported_before_anything_is_started(folder: Path) -> None:
    change(folder, "scenarios.yaml", "service: shop", "service: shp")
    done = rushhour(folder, "run", "evening")
    assert (done.returncode, (folder / "runs").exists()) == (64, False)
    assert "scenarios.yaml:5: " in done.stderr
    assert "no service 'shp' in compose.yaml; did you mean shop?" in done.stderr
    change(folder, "scenarios.yaml", "service: shp", "service: shop")
    change(folder, "compose.yaml", "volumes: [", "volume: [")
    done = rushhour(folder, "run", "evening")
    assert (done.returncode, (folder / "runs").exists()) == (64, False)
    assert "Compose refuses it" in done.stderr


def test_an_engine_that_is_not_there_or_not_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{folder}/none.sock")
    done = rushhour(folder, "run", "evening")
    assert (done.returncode, (folder / "runs").exists()) == (2, False)
    assert "no container engine answers at" in done.stderr
    monkeypatch.setenv("DOCKER_HOST", "tcp://engine.example:2375")
    done = rushhour(folder, "run", "evening")
    assert done.returncode == 2
    assert "--allow-host engine.example" in done.stderr


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_after_ctrl_c_and_kill_9(
    folder: Path, cache: Path, client: DockerClient, end: signal.Signals
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "rushhour", "run", "own-database"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        wait_until("the service", lambda: any("-shop-" in part.name for part in ours(client, cache)), 120)
        assert {"container", "volume", "network", "image"} == {part.kind for part in ours(client, cache)}
        process.send_signal(end)
        process.wait(timeout=120)
    wait_until("everything to go", lambda: not ours(client, cache))
