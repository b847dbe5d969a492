"""What the embedded stack decides without starting anything."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from rushhour.errors import StackError, UsageError
from rushhour.process.child import start, tail
from rushhour.process.guard import Guard
from rushhour.process.ports import HOST, free_port, lost_race
from rushhour.process.reaper import CleanupList, end_all, group_pids, remove, remove_all
from rushhour.process.tools import Account
from rushhour.scenario.model import Load, Postgres, Scenario, Service, Target
from rushhour.scenario.target_rules import PLACEHOLDERS
from rushhour.stack.capacity import check_capacity
from rushhour.stack.locks import locked
from rushhour.stack.own_service import wait_for_replay
from rushhour.stack.owner import MACHINE_LABEL, WORK_LABEL, has_ended, owner_labels
from rushhour.stack.paths import ROOTS_CACHE, cache_dir, configuration_dir, first_closed, open_cache
from rushhour.stack.postgres.programs import find_binaries
from rushhour.stack.postgres.server import RESERVED_CONNECTIONS
from rushhour.stack.processes.service import (
    placeholders,
    require_program,
    service_command,
    service_environment,
)

SCENARIO = Scenario(
    name="rush",
    target=Target(
        name="referrals",
        command="{python} -m gunicorn --bind {host}:{port} -w {workers} {logs}/x 'app:create(\"x y\")'",
        health="/health",
        releases=("1.0", "1.1"),
        schema="schema.sql",
        environment={"DATABASE_URL": "{primary_url}", "TIMEOUT": "{pool_timeout}", "RELEASE": "{release}"},
    ),
    load=Load(users=10, duration=60.0),
    release="1.1",
    expect="healthy",
    service=Service(workers=2, threads=8, environment={"TIMEOUT": "7", "POOL": "{pool_size}/{max_overflow}"}),
)


# capacity


def test_pools_that_fit_are_no_problem() -> None:
    assert check_capacity(replace(SCENARIO, postgres=Postgres(max_connections=65))) == []


def test_pools_larger_than_the_server_are_reported_with_the_numbers() -> None:
    (problem,) = check_capacity(replace(SCENARIO, postgres=Postgres(max_connections=64)))
    assert problem == (
        "scenario rush: 2 worker(s) x (20 + 10) connections = 60 to each server, which takes 59 "
        "(max_connections 64 less 5 reserved for observers); lower the pool or the workers, "
        "or set postgres.max_connections to at least 65"
    )


def test_reserved_connections_are_those_of_the_configuration() -> None:
    lines = (configuration_dir() / "postgresql.conf").read_text().splitlines()
    settings = dict(line.split("#")[0].split("=", 1) for line in lines if "=" in line.split("#")[0])
    plain = {key.strip(): value.strip() for key, value in settings.items()}
    assert int(plain["superuser_reserved_connections"]) == RESERVED_CONNECTIONS
    assert plain["fsync"] == "on"  # only seeding turns it off


# the service's command and environment


def test_command_is_filled_in_and_split_as_a_shell_would() -> None:
    values = placeholders(SCENARIO, 8123, "postgresql://p", "postgresql://r", Path("/runs/a b/logs"))
    command = service_command(SCENARIO, values)
    assert command[1:] == [
        *("-m", "gunicorn", "--bind", "127.0.0.1:8123", "-w", "2", "/runs/a b/logs/x"),
        'app:create("x y")',
    ]


def test_environment_is_the_base_and_the_scenario_alone() -> None:
    values = placeholders(SCENARIO, 8123, "postgresql://p", "postgresql://r", Path("/runs/a b/logs"))
    found = service_environment(SCENARIO, values, {"HOME": "/home/x", "AWS_SECRET": "s", "PATH": "/usr/bin"})
    path = found.pop("PATH").split(os.pathsep)
    assert path[-1] == "/usr/bin"
    assert found == {
        "HOME": "/home/x",
        "DATABASE_URL": "postgresql://p",
        "TIMEOUT": "7",  # the scenario's own goes before the target's
        "RELEASE": "1.1",
        "POOL": "20/10",
    }


def test_unknown_placeholder_names_those_that_are_known() -> None:
    odd = replace(SCENARIO, target=replace(SCENARIO.target, command="serve {prot}"))
    with pytest.raises(UsageError, match=r"service.command: '\{prot\}'.*known: \{python\}, \{host\}"):
        service_command(odd, placeholders(SCENARIO, 1, "p", "r", Path("/logs")))


def test_a_scenario_file_is_checked_for_the_same_placeholders() -> None:
    assert set(PLACEHOLDERS) == placeholders(SCENARIO, 1, "p", "r", Path("/logs")).keys()


def test_an_open_quote_is_an_error() -> None:
    odd = replace(SCENARIO, target=replace(SCENARIO.target, command="serve 'app"))
    with pytest.raises(UsageError, match=r"service\.command: No closing quotation: serve 'app"):
        service_command(odd, {})


def test_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="there is no program no-such-server to run"):
        require_program(["no-such-server"], {"PATH": "/usr/bin"}, tmp_path)
    with pytest.raises(StackError, match="is not a directory"):
        require_program(["python3"], {"PATH": "/usr/bin"}, tmp_path / "gone")


# ports


def test_free_port_can_be_bound() -> None:
    with socket.create_server((HOST, free_port())) as bound:
        assert bound.getsockname()[0] == HOST


@pytest.mark.parametrize(
    ("line", "lost"),
    [
        ('LOG:  could not bind IPv4 address "127.0.0.1": Address already in use', True),
        ("[ERROR] Connection in use: ('127.0.0.1', 8000)", True),
        ("FATAL:  could not access the data directory", False),
    ],
)
def test_lost_race_is_read_from_the_log(line: str, lost: bool) -> None:
    assert lost_race(["LOG:  starting", line]) is lost


# paths


def test_cache_is_the_chosen_one() -> None:
    assert cache_dir({"RUSHHOUR_CACHE": "/data/cache"}) == Path("/data/cache")
    by_default = cache_dir({"XDG_CACHE_HOME": "/home/x/.cache"})
    assert by_default == (ROOTS_CACHE if os.geteuid() == 0 else Path("/home/x/.cache/rushhour"))


def test_closed_directory_is_found() -> None:
    with tempfile.TemporaryDirectory() as name:  # unlike pytest's, under directories that everyone may enter
        root = Path(name)
        root.chmod(0o755)
        cache = root / "closed" / "cache"
        cache.mkdir(parents=True)
        stranger = Account("stranger", 54321, 54321)
        assert first_closed(cache, stranger) is None
        cache.parent.chmod(0o700)
        assert first_closed(cache, stranger) == cache.parent.resolve()
        assert first_closed(cache, None) is None  # the caller itself
        with pytest.raises(
            StackError, match=r"runs as stranger, who cannot enter .*closed.*\n?.*RUSHHOUR_CACHE"
        ):
            open_cache(cache, stranger)


def test_missing_directory_of_programs(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="no such directory of PostgreSQL programs; pass --postgres-bin"):
        find_binaries(tmp_path / "gone")


# the guard's book, and logs


def test_the_cleanup_list_applies_the_messages_of_the_harness(tmp_path: Path) -> None:
    book = CleanupList("owner")
    book.note('{"do": "adopt", "pid": 7, "created": 1.5, "signal": 3}')
    book.note(f'{{"do": "remove", "path": "{tmp_path}"}}')
    assert book.adopted == {7: (1.5, 3)}
    assert book.paths == [tmp_path]


def test_removing_a_missing_path_succeeds(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert remove_all([tmp_path / "full", tmp_path / "gone"], deadline_s=0) == []
    assert remove(tmp_path / "full")
    assert group_pids(tmp_path) == []


def test_what_ignores_its_signal_is_killed_although_the_machine_stood_still_until_the_deadline() -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-uc", stubborn], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            created = psutil.Process(process.pid).create_time()
            cleanup = CleanupList("nobody", {process.pid: (created, signal.SIGTERM)})
            assert end_all(cleanup, deadline_s=time.monotonic() - 1) == set()
            assert process.wait(60) == -signal.SIGKILL
        finally:
            process.kill()


def test_tail_starts_where_this_process_did(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("old\n")
    start = log.stat().st_size
    with log.open("a") as file:
        file.write("".join(f"line {number}\n\n" for number in range(20)))
    assert tail(log, 2, start) == ("line 18", "line 19")
    assert tail(log, 100, start)[0] == "line 0"
    assert tail(tmp_path / "gone") == ()


def test_a_child_that_ends_before_its_gate_opens_is_a_broken_stack(tmp_path: Path) -> None:
    def end(pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        deadline_s = time.monotonic() + 60
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline_s:
            time.sleep(0.01)

    log = tmp_path / "service.log"
    environment = {"PATH": os.defpath}
    with Guard() as guard, pytest.raises(StackError, match=r"^service was ended by SIGKILL"):
        start(guard, "service", ["sleep", "30"], log=log, environment=environment, admit=end)


@pytest.mark.parametrize(
    "where",
    [
        {"command": "serve {port} {primary_url}"},
        {"command": "serve {port}", "setup": "make-tables {replica_url}"},
        {"command": "serve {port}", "environment": {"DB": "{replica_url}"}},
        {"compose": ("compose.yaml",), "service": "shop", "environment": {"DB": "{primary_url}"}},
    ],
)
def test_pools_on_rushhours_own_servers_have_to_fit_them(where: dict[str, Any]) -> None:
    target = Target(name="shop", **where)
    assert check_capacity(replace(SCENARIO, target=target, postgres=Postgres(max_connections=64)))


@pytest.mark.parametrize(
    "where",
    [
        {"command": "serve {port}", "environment": {"DB": "sqlite:///shop.db"}},
        {"app": "shop:app"},
        {"compose": ("compose.yaml",), "service": "shop"},
        {"url": "http://127.0.0.1:8000"},
    ],
)
def test_pools_on_a_database_of_the_services_own_are_not_held_against_ours(where: dict[str, Any]) -> None:
    target = Target(name="shop", **where)
    assert check_capacity(replace(SCENARIO, target=target, postgres=Postgres(max_connections=64))) == []


# who started what stands in an engine


def of_a_harness(cache: Path) -> tuple[Path, dict[str, str]]:
    """Its work directory and its labels."""
    work = cache / "work" / "7-abc"
    work.mkdir(parents=True)
    return work, owner_labels(work)


def test_a_harness_has_ended_when_its_own_folder_shows_no_lock(tmp_path: Path) -> None:
    work, labels = of_a_harness(tmp_path)
    with locked(work / "lock", timeout_s=1):
        assert not has_ended(labels)
    assert has_ended(labels)
    shutil.rmtree(work)  # as the sweep of the next run does
    assert has_ended(labels)
    assert owner_labels(work) == labels


@pytest.mark.parametrize("seen", ["no such folder", "another cache there", "another machine", "no labels"])
def test_a_harness_whose_lock_cannot_be_seen_counts_as_living(tmp_path: Path, seen: str) -> None:
    work, labels = of_a_harness(tmp_path / "cache")
    if seen in {"no such folder", "another cache there"}:
        (tmp_path / "cache").rename(tmp_path / "elsewhere")
    if seen == "another cache there":
        of_a_harness(tmp_path / "cache")
    if seen == "another machine":
        labels |= {MACHINE_LABEL: "another"}
    if seen == "no labels":
        labels = {WORK_LABEL: str(work)}
    assert not has_ended(labels)


def test_a_harness_of_an_older_rushhour_has_ended_when_its_lock_is_there_and_free(tmp_path: Path) -> None:
    labels = {WORK_LABEL: str(tmp_path)}
    with locked(tmp_path / "lock", timeout_s=1):
        assert not has_ended(labels)
    assert has_ended(labels)


@dataclass(frozen=True)
class Gone:
    """A server that has ended."""

    admin_dsn: str


def test_a_server_that_ends_after_the_set_up_is_a_broken_stack() -> None:
    gone = Gone(f"host={HOST} port={free_port()} connect_timeout=5")
    with pytest.raises(StackError, match="while waiting for the replica to replay"):
        wait_for_replay(gone, gone)
