"""Claims of docs/security.md about a stack that is up: ports, command lines, modes, and what a run leaves."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest

from rushhour.load.locust import locust_command
from rushhour.process.guard import Guard
from rushhour.process.ports import HOST
from rushhour.rundir import RunDir, create_run_dir
from rushhour.scenario.model import Scenario
from rushhour.stack.processes.running import EmbeddedRunning
from rushhour.stack.processes.stack import EmbeddedStack
from tests.integration.stack_subject import RowsSeeder, quiet, subject

SECRET = "hunter2Sw0rdfish"


@dataclass(frozen=True, slots=True)
class Up:
    """A stack that is up, its run directory, and its cache."""

    running: EmbeddedRunning
    run: RunDir
    cache: Path
    scenario: Scenario

    def passwords(self) -> list[str]:
        return list(vars_of(self.running.primary.passwords).values())

    def family(self) -> list[psutil.Process]:
        """This process and all that it started."""
        return [psutil.Process(), *psutil.Process().children(recursive=True)]


def vars_of(secrets: object) -> dict[str, str]:
    return {name: getattr(secrets, name) for name in ("superuser", "replicator", "role")}


@pytest.fixture(scope="module")
def up(guard: Guard, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One stack for all tests: they only look at it. The agent serves metrics in it."""
    scenario = subject(tmp_path_factory.mktemp("subject"))
    environment = {
        **scenario.target.environment,
        "DB_PASSWORD": SECRET,
        "CACHE_URL": f"redis://:{SECRET}@cache/0",
    }
    target = replace(scenario.target, environment=environment)
    scenario = replace(scenario, target=target)
    run = create_run_dir(tmp_path_factory.mktemp("runs"), "subject")
    with EmbeddedStack(guard, cache=cache, seeder=RowsSeeder()).up(scenario, run, quiet) as running:
        run.write_json("scenario.json", scenario)
        yield Up(running, run, cache, scenario)


def connections(family: list[psutil.Process], kind: str) -> Iterator[tuple[str, Any]]:
    """Each connection with the name of its process; those of one that has ended meanwhile are gone."""
    for process in family:
        with suppress(psutil.Error):
            yield from [(process.name(), connection) for connection in process.net_connections(kind)]


def test_everything_listens_on_loopback_alone(up: Up) -> None:
    found = {
        (name, connection.laddr.ip)
        for name, connection in connections(up.family(), "inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert len(found) >= 2  # the servers, and the service
    assert [one for one in found if not ip_address(one[1]).is_loopback] == []
    datagrams = {
        connection.laddr.ip
        for _, connection in connections(up.family(), "udp")
        if connection.laddr and not connection.raddr
    }
    assert [one for one in datagrams if not ip_address(one).is_loopback] == []


def test_no_password_stands_on_a_command_line(up: Up) -> None:
    lines = []
    for process in up.family():
        with suppress(psutil.Error):  # a backend of PostgreSQL, say, which has ended meanwhile
            lines.append(" ".join(process.cmdline()))
    assert any("postgres" in line for line in lines)
    for secret in (SECRET, *up.passwords()):
        assert [line for line in lines if secret in line] == []


def test_no_password_lies_in_a_run_directory(up: Up) -> None:
    for path in up.run.path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for secret in (SECRET, *up.passwords()):
                assert secret.encode() not in content, path


def test_only_the_owner_enters_a_run_directory_and_the_agent_writes_into_it(up: Up) -> None:
    assert stat.S_IMODE(up.run.path.stat().st_mode) == 0o700
    assert any(up.run.agent.glob("*.jsonl"))
    assert (up.run.logs / "service.log").exists()
    assert (up.run.logs / "primary.log").stat().st_size > 0


def holding_a_password(up: Up) -> list[tuple[Path, int]]:
    """Small files of the cache that hold one, with their modes; servers make and remove files meanwhile."""
    found = []
    for parent, _, names in os.walk(up.cache):
        for path in (Path(parent, name) for name in names):
            with suppress(FileNotFoundError):
                if path.is_file() and path.stat().st_size < 1_000_000:
                    content, mode = path.read_bytes(), stat.S_IMODE(path.stat().st_mode)
                    if any(secret.encode() in content for secret in up.passwords()):
                        found.append((path, mode))
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_reads_nothing_of_a_run_or_of_the_servers(up: Up) -> None:
    program = (
        "import os, sys\nos.setgroups([]); os.setgid(65533); os.setuid(65533)\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n        open(path, 'rb').read(1); print(path)\n    except OSError: pass\n"
    )
    run_files = [str(path) for path in up.run.path.rglob("*") if path.is_file()]
    holding = [str(path) for path, _ in holding_a_password(up)]
    assert run_files
    assert holding  # the template's manifest, and the replica's password file
    read = subprocess.run(
        [sys.executable, "-I", "-c", program, *run_files, *holding],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert read.stdout == ""


def test_files_that_hold_a_password_are_their_owners_alone(up: Up) -> None:
    for path, mode in holding_a_password(up):
        assert not mode & 0o077, path


@pytest.mark.parametrize("role", ["postgres", "referrals", "replicator"])
def test_the_servers_refuse_whoever_has_no_password(role: str, up: Up) -> None:
    for server in up.running.servers:
        with pytest.raises(psycopg2.OperationalError, match=r"password|no pg_hba"):
            psycopg2.connect(host=HOST, port=server.port, user=role, dbname="postgres", connect_timeout=60)


def test_locust_and_its_master_bind_to_loopback(up: Up) -> None:
    load = replace(up.scenario.load, workers=2)
    command = locust_command(
        replace(up.scenario, load=load), up.running.service_url, up.run, Path(up.scenario.target.root)
    )
    assert command[command.index("--master-bind-host") + 1] == HOST
    assert command[command.index("--master-host") + 1] == HOST
    assert "--headless" in command  # no web UI beside a run
