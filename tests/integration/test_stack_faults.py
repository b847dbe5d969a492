"""Servers that are made to fail, on real PostgreSQL: paused, stopped, killed, and back."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest

from rushhour.errors import StackError
from rushhour.process.guard import Guard
from rushhour.rundir import RunDir
from rushhour.stack import TakesFaults
from rushhour.stack.postgres.server import PostgresServer
from rushhour.stack.processes.running import EmbeddedRunning
from rushhour.stack.processes.stack import EmbeddedStack
from tests.integration.stack_subject import ROWS, RowsSeeder, quiet, subject

DEADLINE_S = 60.0


def until(what: str, probe: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not probe():
        assert time.monotonic() < deadline, f"waited {DEADLINE_S} s for {what}"
        time.sleep(0.02)


def rows(server: PostgresServer, within_s: float = DEADLINE_S) -> object:
    """What a query answers; the error's class where no connection opens in that time."""
    try:
        connection = psycopg2.connect(server.admin_dsn, connect_timeout=int(within_s))
    except psycopg2.OperationalError as error:
        return "refused" if "refused" in str(error) else "silent"
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM kept")
        row = cursor.fetchone()
    connection.close()
    return None if row is None else row[0]


def streaming(running: EmbeddedRunning) -> bool:
    connection = psycopg2.connect(running.primary.admin_dsn)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")
        found = cursor.fetchone()
    connection.close()
    return found == (1,)


@pytest.fixture(scope="module")
def running(guard: Guard, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRunning]:
    scenario = subject(tmp_path_factory.mktemp("subject"))
    stack = EmbeddedStack(guard, cache=cache, seeder=RowsSeeder())
    with stack.up(scenario, RunDir(tmp_path_factory.mktemp("run")), quiet) as running:
        yield running


def test_a_paused_server_is_silent_and_goes_on(running: EmbeddedRunning) -> None:
    before = psycopg2.connect(running.replica.admin_dsn)  # its connections stay open
    running.fault("replica", "pause")
    assert rows(running.replica, within_s=2) == "silent"
    assert rows(running.primary) == ROWS
    running.check_alive()
    running.fault("replica", "unpause")
    assert rows(running.replica) == ROWS
    with before, before.cursor() as cursor:
        cursor.execute("SELECT 1")
    before.close()
    until("the replica to stream", lambda: streaming(running))


@pytest.mark.parametrize("how", ["stop", "kill"])
@pytest.mark.parametrize("server", ["replica", "primary"])
def test_a_server_that_was_stopped_or_killed_starts_again_on_its_port(
    running: EmbeddedRunning, server: str, how: str
) -> None:
    target = running.primary if server == "primary" else running.replica
    running.fault(server, "stop" if how == "stop" else "kill")
    assert target.child.poll() == (0 if how == "stop" else -signal.SIGKILL)
    assert rows(target) == "refused"
    running.check_alive()  # as intended
    running.fault(server, "start")
    again = running.primary if server == "primary" else running.replica
    assert (again.port, again.child.pid != target.child.pid) == (target.port, True)
    assert rows(again) == ROWS
    until("the replica to stream", lambda: streaming(running))
    assert running.meters[server].read().processes > 0
    running.check_alive()


def test_a_server_that_dies_by_itself_is_still_noticed(running: EmbeddedRunning) -> None:
    backends = psutil.Process(running.replica.child.process.pid).children(recursive=True)
    running.replica.child.process.kill()
    until("its end", lambda: running.replica.child.poll() is not None)
    until("its backends to see that", lambda: not any(backend.is_running() for backend in backends))
    with pytest.raises(StackError, match="replica was ended by SIGKILL"):
        running.check_alive()
    running.fault("replica", "start")  # as the other tests need it
    until("the replica to stream", lambda: streaming(running))


def test_unknown_servers_are_refused(running: EmbeddedRunning) -> None:
    assert isinstance(running, TakesFaults)
    with pytest.raises(StackError, match="unknown server 'standby'; known: primary, replica"):
        running.fault("standby", "pause")
