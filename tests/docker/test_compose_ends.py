"""What is left of a Compose stack: nothing, however it ends; and what is told when it does not come up."""

import gc
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from docker import DockerClient

from rushhour.errors import StackError
from rushhour.process.guard import Guard
from rushhour.rundir import RunDir
from rushhour.scenario.model import SCENARIO, Scenario
from rushhour.stack.compose.down import bring_down_compose
from rushhour.stack.compose.engine import engine_url
from rushhour.stack.compose.project import (
    PROJECT_LABEL,
    parts,
    remove_project,
)
from rushhour.stack.compose.running import ComposeRunning
from rushhour.stack.compose.stack import ComposeStack
from rushhour.stack.locks import locked
from rushhour.stack.owner import WORK_LABEL
from tests.docker.compose_subject import ROOT, Relay, everything, quiet, wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")

HARNESS = """
import signal
import sys
import time
from pathlib import Path
from rushhour.process.guard import Guard
from rushhour.rundir import create_run_dir
from rushhour.scenario.model import SCENARIO
from rushhour.stack.compose.stack import ComposeStack

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with it ignored

def say(step, done=0, total=None, unit=""):
    print(step, flush=True)

scenario = SCENARIO.validate_json(Path(sys.argv[1]).read_text())
with Guard() as guard:
    run = create_run_dir(Path(sys.argv[2]), "harness")
    with ComposeStack(guard, cache=Path(sys.argv[3])).up(scenario, run, say):
        print("up", flush=True)
        time.sleep(120)
"""


@pytest.fixture
def harness(scenario: Scenario, cache: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A harness of its own, to be interrupted and killed."""
    stored = tmp_path / "scenario.json"
    stored.write_bytes(SCENARIO.dump_json(scenario))
    process = subprocess.Popen(
        [sys.executable, "-c", HARNESS, str(stored), str(tmp_path / "runs"), str(cache)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    with process:
        yield process
        process.kill()


def read_until(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    for said in process.stdout:
        if said.strip() == line:
            return
    assert process.stderr is not None
    pytest.fail(f"the harness ended before it said {line!r}: {process.stderr.read()}")


def check_for(running: ComposeRunning, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        running.check_alive()
        time.sleep(0.1)


def ours(client: DockerClient) -> int:
    return len(client.api.containers(all=True, filters={"label": PROJECT_LABEL}))


def test_down_removes_everything_that_up_started_but_the_logs(
    guard: Guard, scenario: Scenario, run: RunDir, cache: Path, client: DockerClient
) -> None:
    before = everything(client)
    with ComposeStack(guard, cache=cache).up(scenario, run, quiet) as running:
        assert len(everything(client)["containers"] - before["containers"]) == 3
        running.fault("replica", "pause")  # a paused container has to go too
    assert everything(client) == before
    assert not list((cache / "work").iterdir())
    assert "database system is ready" in (run.logs / "primary.log").read_text()
    assert "started streaming WAL" in (run.logs / "replica.log").read_text()
    assert "Booting worker" in (run.logs / "service.log").read_text()


def test_ctrl_c_during_the_start_removes_the_project(
    harness: subprocess.Popen[str], client: DockerClient
) -> None:
    read_until(harness, "start the containers")
    wait_until("the first container", lambda: ours(client))
    harness.send_signal(signal.SIGINT)
    assert harness.wait(timeout=120) == -signal.SIGINT
    assert ours(client) == 0


def test_containers_are_removed_after_kill_9_of_the_harness(
    harness: subprocess.Popen[str], client: DockerClient, nothing_left: dict[str, set[str]]
) -> None:
    read_until(harness, "up")
    assert ours(client) == 3
    harness.kill()
    wait_until("the guard to remove everything", lambda: everything(client) == nothing_left)


def test_an_image_that_does_not_exist(guard: Guard, scenario: Scenario, run: RunDir, cache: Path) -> None:
    stack = ComposeStack(guard, image="rushhour/no-such-image:0", cache=cache)
    with (
        pytest.raises(
            StackError, match="rushhour/no-such-image:0 is not on this machine and cannot be pulled"
        ),
        stack.up(scenario, run, quiet),
    ):
        pytest.fail("it came up")


def test_an_image_that_does_not_build(
    guard: Guard, scenario: Scenario, run: RunDir, cache: Path, image_of: Callable[[str, str], str]
) -> None:
    no_python = image_of("FROM postgres:18\nRUN rm -f /usr/bin/python3*\n", "rushhour/test-no-python:1")
    stack = ComposeStack(guard, python_image=no_python, cache=cache)
    with pytest.raises(StackError) as caught, stack.up(scenario, run, quiet):
        pytest.fail("it came up")
    assert "the image rushhour/referrals:1.1.1 cannot be built" in str(caught.value)
    assert any("python3" in line and "not found" in line for line in caught.value.log_tail), (
        caught.value.log_tail
    )


def test_a_service_that_ends_is_reported_with_its_last_lines(
    guard: Guard, scenario: Scenario, run: RunDir, cache: Path
) -> None:
    stack = ComposeStack(guard, image="python:3.13-slim", cache=cache)
    with pytest.raises(StackError) as caught, stack.up(scenario, run, quiet):
        pytest.fail("it came up")
    assert str(caught.value).startswith("service ended with exit code 1; the last lines of its log:")
    assert any("No module named gunicorn" in line for line in caught.value.log_tail)
    assert "No module named gunicorn" in (run.logs / "service.log").read_text()


def test_a_replica_that_never_streams(
    guard: Guard, scenario: Scenario, run: RunDir, cache: Path, image_of: Callable[[str, str], str]
) -> None:
    broken = image_of(
        "FROM postgres:18\nUSER root\nRUN ln -sf /bin/false $(command -v pg_basebackup)\n",
        "rushhour/test-no-backup:1",
    )
    stack = ComposeStack(guard, postgres_image=broken, cache=cache)
    with pytest.raises(StackError) as caught, stack.up(scenario, run, quiet):
        pytest.fail("it came up")
    assert str(caught.value).startswith("replica ended with exit code 1")
    assert caught.value.log_tail[-1] == "replica: no copy of the primary after 5 attempts"


def test_a_service_that_is_never_healthy(
    guard: Guard, scenario: Scenario, run: RunDir, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long enough for it to answer the probe, also on a busy machine: else that says "refused".
    monkeypatch.setenv("RUSHHOUR_SERVICE_START_PERIOD", "15s")
    lost = replace(scenario, target=replace(scenario.target, health="/no-such-path"))
    with pytest.raises(StackError) as caught, ComposeStack(guard, cache=cache).up(lost, run, quiet):
        pytest.fail("it came up")
    assert str(caught.value).startswith(
        "service is unhealthy; its probe said: urllib.error.HTTPError: HTTP Error 404"
    )
    assert caught.value.log_tail


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"  # docker-py drops sockets that could not connect
)
def test_an_engine_that_dies_in_the_middle(
    *,
    scenario: Scenario,
    run: RunDir,
    cache: Path,
    client: DockerClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    socket_path = tmp_path / "engine.sock"
    relay = Relay(socket_path, Path(engine_url(os.environ).removeprefix("unix://")))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{socket_path}")

    def up_and_cut() -> str:
        try:
            with Guard() as guard, ComposeStack(guard, cache=cache).up(scenario, run, quiet) as running:
                log = run.logs / "replica.log"  # followed through the engine that is about to die
                wait_until("the replica's log", lambda: "started streaming WAL" in log.read_text())
                relay.cut()
                check_for(running, seconds=60)
        except StackError as error:
            return str(error).splitlines()[0]
        pytest.fail("nobody noticed")

    try:
        said = up_and_cut()
        assert "no longer answers" in said
        assert "then the stack was not removed" in said
        assert "down --volumes` removes it" in said
        assert "started streaming WAL" in (run.logs / "replica.log").read_text()
    finally:
        for part in parts(client.api, PROJECT_LABEL):
            remove_project(client.api, part.labels[PROJECT_LABEL])
        gc.collect()


def test_what_a_dead_run_left_is_removed(client: DockerClient, tmp_path: Path) -> None:
    """Where harness and guard died together, as in a power cut."""
    labels = {PROJECT_LABEL: "rushhour-dead", WORK_LABEL: str(tmp_path)}
    client.containers.create("postgres:18", labels=labels)
    client.networks.create("rushhour-dead", labels=labels)
    with locked(tmp_path / "lock", timeout_s=1):  # as its harness does while it lives
        assert bring_down_compose(tmp_path, templates=False) == []
        assert len(parts(client.api, PROJECT_LABEL)) == 2
    assert bring_down_compose(tmp_path, templates=False) == [
        "removed the containers of rushhour-dead, left by a run that died"
    ]


def test_a_port_in_use(
    guard: Guard, scenario: Scenario, run: RunDir, cache: Path, client: DockerClient
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        stack = ComposeStack(guard, cache=cache, choose_port=lambda: port)
        with pytest.raises(StackError, match="no free ports in 3 attempts"), stack.up(scenario, run, quiet):
            pytest.fail("it came up")
