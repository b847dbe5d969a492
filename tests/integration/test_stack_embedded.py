"""The embedded stack on real PostgreSQL: up, replicating, alive, gone."""

import http.client
import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg2
import pytest

from rushhour.errors import StackError
from rushhour.process.guard import Guard
from rushhour.process.ports import HOST, free_port
from rushhour.process.reaper import is_alive
from rushhour.rundir import RunDir
from rushhour.scenario.model import Scenario
from rushhour.stack.processes.running import EmbeddedRunning
from rushhour.stack.processes.stack import EmbeddedStack
from rushhour.stack.work import sweep
from tests.integration.stack_subject import ROWS, RowsSeeder, quiet, subject

DEADLINE_S = 60.0


def until(what: str, probe: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not probe():
        assert time.monotonic() < deadline, f"waited {DEADLINE_S} s for {what}"
        time.sleep(0.02)


def ask(dsn: str, query: str) -> object:
    connection = psycopg2.connect(dsn)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(query)
            row = cursor.fetchone() if cursor.description else None
        return None if row is None else row[0]
    finally:
        connection.close()


@pytest.fixture(scope="module")
def seeder() -> RowsSeeder:
    return RowsSeeder()


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    return subject(tmp_path_factory.mktemp("subject"))


@pytest.fixture
def stack(guard: Guard, cache: Path, seeder: RowsSeeder) -> EmbeddedStack:
    return EmbeddedStack(guard, cache=cache, seeder=seeder)


@pytest.fixture(scope="module")
def running(
    guard: Guard,
    cache: Path,
    seeder: RowsSeeder,
    scenario: Scenario,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[EmbeddedRunning]:
    """One stack for the tests that only look at it."""
    with EmbeddedStack(guard, cache=cache, seeder=seeder).up(
        scenario, RunDir(tmp_path_factory.mktemp("run")), quiet
    ) as running:
        yield running


def test_streams_and_replicates(running: EmbeddedRunning) -> None:
    primary, replica = running.servers
    assert [primary.name, replica.name] == ["primary", "replica"]
    assert ask(primary.admin_dsn, "SELECT state FROM pg_stat_replication") == "streaming"
    assert ask(primary.admin_dsn, "SELECT pg_is_in_recovery()") is False
    assert ask(replica.admin_dsn, "SELECT pg_is_in_recovery()") is True
    assert ask(replica.admin_dsn, "SELECT count(*) FROM kept") == ROWS

    ask(primary.admin_dsn, "INSERT INTO kept VALUES (-1)")
    until(
        "the row to reach the replica",
        lambda: ask(replica.admin_dsn, "SELECT count(*) FROM kept WHERE id = -1") == 1,
    )


def test_both_servers_share_their_settings(running: EmbeddedRunning) -> None:
    for server in running.servers:
        assert ask(server.admin_dsn, "SHOW max_connections") == "30"  # as the scenario says
        assert ask(server.admin_dsn, "SHOW fsync") == "on"  # off only while seeding
        assert ask(server.admin_dsn, "SHOW wal_level") == "replica"
        assert ask(server.admin_dsn, "SHOW max_standby_streaming_delay") == "-1"
        assert ask(server.admin_dsn, "SHOW listen_addresses") == HOST


def test_observers_get_in_when_the_service_took_every_connection(running: EmbeddedRunning) -> None:
    replica = running.replica
    clients = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
    until("earlier tests' backends to end", lambda: ask(replica.admin_dsn, clients) == 1)
    taken: list[psycopg2.extensions.connection] = []
    try:
        # 30 less the 5 reserved; the walsender and the replica's receiver take none of them.
        taken += [psycopg2.connect(replica.role_dsn) for _ in range(25)]
        with pytest.raises(psycopg2.OperationalError, match="reserved for roles with the SUPERUSER"):
            psycopg2.connect(replica.role_dsn)
        assert ask(replica.admin_dsn, "SELECT 1") == 1
    finally:
        for connection in taken:
            connection.close()


def test_service_gets_its_own_environment_only(running: EmbeddedRunning) -> None:
    connection = http.client.HTTPConnection(urlsplit(running.service_url).netloc, timeout=DEADLINE_S)
    connection.request("GET", "/anything")
    environment = json.loads(connection.getresponse().read())
    connection.close()
    assert environment["RELEASE"] == "1.0"
    assert environment["POOL"] == "5+2/1.5"
    assert environment["RUSHHOUR_AGENT_DIR"]
    assert "PYTEST_CURRENT_TEST" not in environment  # nothing of the shell that started the harness
    primary, replica = running.servers
    assert f"@{HOST}:{primary.port}/" in environment["PRIMARY"]
    assert f"@{HOST}:{replica.port}/" in environment["REPLICA"]
    dsn = environment["PRIMARY"].replace("postgresql+psycopg2", "postgresql")
    assert ask(dsn, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False


def test_meters_and_limits_cover_every_component(running: EmbeddedRunning) -> None:
    assert set(running.meters) == set(running.limits) == {"primary", "replica", "service"}
    for meter in running.meters.values():
        reading = meter.read()
        assert reading.cpu_s > 0
        assert reading.rss_bytes > 2**20
        assert reading.processes >= 1
    assert running.meters["replica"].limit_cores is not None or "only" in running.limits["replica"]
    running.check_alive()


def test_second_start_clones_and_leaves_nothing(
    running: EmbeddedRunning, guard: Guard, cache: Path, seeder: RowsSeeder, tmp_path: Path
) -> None:
    scenario = subject(tmp_path)
    stack = EmbeddedStack(guard, cache=cache, seeder=seeder)
    before, fills = set((cache / "work").iterdir()), seeder.fills
    with stack.up(scenario, RunDir(tmp_path), quiet) as second:
        pids = [child.pid for child in (second.primary.child, second.replica.child, second.service.child)]
        family = [
            process for pid in pids for process in (psutil.Process(pid), *psutil.Process(pid).children(True))
        ]
        # A clone, not the data that the first stack writes to.
        assert ask(second.primary.admin_dsn, "SELECT count(*) FROM kept") == ROWS
        sweep(cache / "work")  # what another start does: it must touch neither of the two stacks
        assert ask(second.replica.admin_dsn, "SELECT count(*) FROM kept") == ROWS
    assert seeder.fills == fills
    assert not [process for process in family if is_alive(process)]
    assert set((cache / "work").iterdir()) == before
    assert {"primary.log", "replica.log", "service.log"} <= {
        log.name for log in (tmp_path / "logs").iterdir()
    }
    running.check_alive()


def test_a_dead_replica_is_reported_with_its_log(
    stack: EmbeddedStack, scenario: Scenario, tmp_path: Path
) -> None:
    pids: list[int] = []

    def lose_replica() -> None:
        with stack.up(scenario, RunDir(tmp_path), quiet) as running:
            pids.extend([running.primary.child.pid, running.service.child.pid])
            psutil.Process(running.replica.child.pid).terminate()
            until("the replica to end", lambda: running.replica.child.poll() is not None)
            running.check_alive()

    with pytest.raises(
        StackError, match="replica ended with exit code 0"
    ) as caught:  # clean-up masks nothing
        lose_replica()
    assert any("received smart shutdown request" in line for line in caught.value.log_tail)
    assert len(pids) == 2
    assert not any(psutil.pid_exists(pid) for pid in pids)


@pytest.mark.usefixtures("running")  # so its template is there
def test_replica_that_cannot_start(
    stack: EmbeddedStack, seeder: RowsSeeder, scenario: Scenario, cache: Path, tmp_path: Path
) -> None:
    schema = Path(scenario.target.root) / scenario.target.schema
    print_of = seeder.fingerprint(schema, scenario.data)[:16]
    (template,) = (cache / "templates").glob(f"tiny-seed1-*-{print_of}")
    control = template / "replica" / "global" / "pg_control"
    control.rename(tmp_path / "pg_control")  # what a bad disk or an eager clean-up does
    try:
        with (
            pytest.raises(StackError, match="replica ended with exit code") as caught,
            stack.up(scenario, RunDir(tmp_path / "run"), quiet),
        ):
            pass
    finally:
        shutil.move(tmp_path / "pg_control", control)
    assert any("pg_control" in line for line in caught.value.log_tail)


def test_port_in_use_is_tried_again(
    guard: Guard, cache: Path, seeder: RowsSeeder, scenario: Scenario, tmp_path: Path
) -> None:
    with socket.create_server((HOST, 0)) as taken:
        first = iter([taken.getsockname()[1]])
        stack = EmbeddedStack(
            guard, cache=cache, seeder=seeder, choose_port=lambda: next(first, None) or free_port()
        )
        with stack.up(scenario, RunDir(tmp_path), quiet) as running:
            assert running.servers[0].port != taken.getsockname()[1]
            running.check_alive()


def test_a_port_that_stays_in_use_is_reported(
    guard: Guard, cache: Path, seeder: RowsSeeder, scenario: Scenario, tmp_path: Path
) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port: int = taken.getsockname()[1]
        stack = EmbeddedStack(guard, cache=cache, seeder=seeder, choose_port=lambda: port)
        with (
            pytest.raises(StackError, match="primary ended with exit code 1") as caught,
            stack.up(scenario, RunDir(tmp_path), quiet),
        ):
            pass
    assert any("Address already in use" in line for line in caught.value.log_tail)


def test_missing_binary_is_named(guard: Guard, cache: Path, scenario: Scenario, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    stack = EmbeddedStack(guard, tmp_path / "bin", cache, seeder=RowsSeeder())
    with (
        pytest.raises(StackError, match=r"no executable postgres, initdb, pg_basebackup; .*--postgres-bin"),
        stack.up(scenario, RunDir(tmp_path), quiet),
    ):
        pass


def test_service_that_ends_at_once(
    stack: EmbeddedStack, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dying = subject(
        tmp_path_factory.mktemp("dying"), command="{python} -c 'raise SystemExit(\"no such setting\")'"
    )
    with (
        pytest.raises(StackError, match="service ended with exit code 1") as caught,
        stack.up(dying, RunDir(tmp_path), quiet),
    ):
        pass
    assert caught.value.log_tail == ("no such setting",)
