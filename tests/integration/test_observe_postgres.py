"""The server sampler on real PostgreSQL: busy, full, paused, gone, and behind."""

import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import psycopg2.extras
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812  # the library's class is in lower case

from rushhour.observe.link import Link
from rushhour.observe.logs import kind_of
from rushhour.observe.postgres import DEADLINE_S, ServerSampler
from rushhour.process.guard import Guard
from rushhour.rundir import RunDir
from rushhour.rundir.facts import REPLAY, ServerSample
from rushhour.stack import Server
from rushhour.stack.postgres.bare import BareServer, bare_server
from rushhour.stack.processes.stack import EmbeddedStack
from tests.free_ports import free_port
from tests.integration.stack_subject import RowsSeeder, quiet, subject

SOON_S = 30.0
MAX_CONNECTIONS = 12  # five of them are reserved for superusers


@pytest.fixture(scope="module")
def small(guard: Guard, cache: Path) -> Iterator[BareServer]:
    """A server that is soon full, and that may be paused without harm to other tests."""
    settings = {"max_connections": str(MAX_CONNECTIONS), "max_wal_senders": "1"}
    with bare_server(guard, cache, settings=settings) as server:
        yield server


def sampler_of(dsn: str, port: int = 0) -> ServerSampler:
    return ServerSampler(Server("primary", "127.0.0.1", port, "referrals", dsn), time.monotonic)


@pytest.fixture
def sampler(small: BareServer) -> Iterator[ServerSampler]:
    """One that has its connection."""
    with closing(sampler_of(small.dsn)) as sampler:
        until(sampler, lambda sample: sample.error is None and sample.connections == 1)  # others have ended
        yield sampler


def until(sampler: ServerSampler, reached: Callable[[ServerSample], bool]) -> ServerSample:
    deadline_s = time.monotonic() + SOON_S
    while not reached(sample := sampler.sample()):
        assert time.monotonic() < deadline_s, f"not reached within {SOON_S} s; last: {sample}"
        time.sleep(0.05)
    return sample


def as_service(server: BareServer) -> Connection:
    return psycopg2.connect(server.role_dsn, application_name="service")


@contextmanager
def as_admin(server: BareServer) -> Iterator[Connection]:
    with closing(psycopg2.connect(server.dsn, application_name="test")) as connection:
        connection.autocommit = True
        yield connection


def postmaster(server: BareServer) -> psutil.Process:
    with as_admin(server) as admin, admin.cursor() as cursor:
        cursor.execute("SELECT pg_read_file('postmaster.pid')")
        row = cursor.fetchone()
    assert row is not None
    return psutil.Process(int(row[0].splitlines()[0]))


@contextmanager
def paused(server: BareServer) -> Iterator[None]:
    """All of the server's processes stopped, as `docker pause` does; the kernel still takes connections."""
    family = [root := postmaster(server), *root.children(recursive=True)]

    def tell(what: signal.Signals) -> None:
        for process in family:
            with suppress(psutil.NoSuchProcess):  # the backend of a connection that was closed just now
                process.send_signal(what)

    try:
        tell(signal.SIGSTOP)
        yield
    finally:
        tell(signal.SIGCONT)


def end(server: BareServer, pid: int) -> None:
    with as_admin(server) as admin, admin.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", (pid,))


def own_backends(server: BareServer) -> set[int]:
    with as_admin(server) as admin, admin.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'rushhour'")
        return {row[0] for row in cursor.fetchall()}


def test_a_quiet_primary(sampler: ServerSampler) -> None:
    sample = until(sampler, lambda sample: sample.connections == 1)
    assert (sample.states, sample.waits) == ({}, {})
    assert (sample.max_connections, sample.reserved) == (MAX_CONNECTIONS, 5)
    assert (sample.in_recovery, sample.streaming, sample.conflicts) == (False, False, 0)
    assert (sample.conflicts_by_kind, sample.replay_wait) == ({}, None)
    assert (sample.oldest_xact_s, sample.oldest_idle_in_xact_s) == (None, None)
    assert (sample.lag_s, sample.lag_bytes) == (None, None)
    assert sample.commits is not None
    assert sample.commits > 0


def test_states_waits_and_ages_of_the_service_but_not_of_the_observers(
    small: BareServer, sampler: ServerSampler
) -> None:
    with closing(as_service(small)) as forgotten, closing(as_service(small)) as idle, ExitStack() as exits:
        idle.autocommit = True
        for connection in (forgotten, idle):
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        busy = exits.enter_context(
            closing(psycopg2.connect(small.role_dsn, application_name="service", async_=True))
        )
        psycopg2.extras.wait_select(busy)
        exits.callback(end, small, busy.info.backend_pid)  # closing does not end a query that runs
        busy.cursor().execute("SELECT pg_sleep(60)")
        # Both: the server reads what a session waits for after its state, which may have been another then.
        states = {"active": 1, "idle": 1, "idle in transaction": 1}
        waits = {"Client:ClientRead": 2, "Timeout:PgSleep": 1}
        sample = until(sampler, lambda sample: (sample.states, sample.waits) == (states, waits))
        assert sample.connections == 4
        later = until(sampler, lambda later: (later.oldest_idle_in_xact_s or 0) > 0.2)
        assert sample.oldest_idle_in_xact_s is not None
        assert later.oldest_xact_s is not None
        assert later.oldest_idle_in_xact_s is not None
        assert sample.oldest_idle_in_xact_s < later.oldest_idle_in_xact_s <= later.oldest_xact_s


def test_who_waits_for_a_lock_and_for_whom(small: BareServer, sampler: ServerSampler) -> None:
    with ExitStack() as open_connections:
        blocker, waiter, idle = (open_connections.enter_context(closing(as_service(small))) for _ in range(3))
        with closing(as_service(small)) as setup, setup, setup.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS hot (id int primary key, n int)")
            cursor.execute("INSERT INTO hot VALUES (1, 0) ON CONFLICT DO NOTHING")
        idle.cursor().execute("SELECT 1")
        blocker.cursor().execute("UPDATE hot SET n = n + 1")
        assert until(sampler, lambda sample: sample.error is None).lock_waits == ()
        thread = threading.Thread(target=lambda: waiter.cursor().execute("UPDATE hot SET n = n + 1"))
        thread.start()
        try:
            sample = until(sampler, lambda sample: bool(sample.lock_waits))
        finally:
            blocker.rollback()
            thread.join(SOON_S)
        [wait] = sample.lock_waits
        assert (wait.pid, wait.blocked_by) == (waiter.info.backend_pid, blocker.info.backend_pid)
        assert wait.blocker_state == "idle in transaction"
        assert wait.waited_s is not None
        assert wait.blocker_state_s is not None
        assert wait.blocker_xact_s is not None
        assert wait.blocker_xact_s >= wait.waited_s
        assert wait.name == wait.blocker_name
        assert (wait.name or "").startswith("service of user ")
        assert wait.statement == "UPDATE hot"
        waiter.rollback()
        assert until(sampler, lambda sample: sample.error is None).lock_waits == ()


def test_a_full_server_is_still_seen(small: BareServer, sampler: ServerSampler) -> None:
    with ExitStack() as exits:
        deadline_s = time.monotonic() + SOON_S
        refusal = ""
        taken = 0
        while "remaining connection slots" not in refusal:
            assert time.monotonic() < deadline_s, f"never full; last: {refusal!r}"
            try:
                exits.enter_context(closing(as_service(small)))
                taken += 1
            except psycopg2.OperationalError as error:
                refusal = str(error)
        sample = until(sampler, lambda sample: sample.error is None)
        assert sum(sample.states.values()) >= taken
        assert sample.connections is not None
        # One that comes only now gets in too, through the reserved connections.
        with closing(sampler_of(small.dsn)) as late:
            until(late, lambda sample: sample.error is None)


def test_a_paused_server_costs_one_deadline_and_its_connection_is_kept(
    small: BareServer, sampler: ServerSampler
) -> None:
    before = own_backends(small)
    with paused(small):
        began_s = time.monotonic()
        sample = sampler.sample()
        took_s = time.monotonic() - began_s
        assert sample.error is not None
        assert re.match(r"waited ([2-9]|\d\d+)\.\d s for the server's answer", sample.error)
        assert (sample.server, sample.connections, sample.states) == ("primary", None, {})
        assert took_s < DEADLINE_S * 5  # its own deadline, with room for a machine that is busy
    assert until(sampler, lambda sample: sample.error is None).max_connections == MAX_CONNECTIONS
    assert own_backends(small) == before


def test_a_connection_that_the_server_ended_is_opened_again(
    small: BareServer, sampler: ServerSampler
) -> None:
    before = own_backends(small)
    with as_admin(small) as admin, admin.cursor() as cursor:
        for pid in before:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    sample = sampler.sample()
    assert sample.error is not None
    assert "terminating connection due to administrator command" in sample.error
    assert until(sampler, lambda sample: sample.error is None).max_connections == MAX_CONNECTIONS
    assert not own_backends(small) & before


def test_a_server_that_is_not_there_is_said_to_refuse() -> None:
    dsn = f"host=127.0.0.1 port={free_port()} user=postgres"
    with closing(sampler_of(dsn)) as sampler:
        assert "Connection refused" in (sampler.sample().error or "")
    with closing(Link(dsn, retry_s=600.0)) as link:
        with pytest.raises(psycopg2.OperationalError, match="Connection refused"):
            link.fetch_row("SELECT 1", DEADLINE_S)
        with pytest.raises(TimeoutError, match="not connected; the next attempt comes within 600 s"):
            link.fetch_row("SELECT 1", DEADLINE_S)


def test_a_server_that_accepts_and_says_nothing_costs_one_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with closing(sampler_of(f"host=127.0.0.1 port={port} user=postgres")) as sampler:
            error = sampler.sample().error
    assert re.fullmatch(r"waited ([2-9]|\d\d+)\.\d s for the connection to open", error or "")


@pytest.fixture(scope="module")
def pair(
    guard: Guard, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Server]]:
    """A primary and its streaming replica, with a table of a hundred rows."""
    root = tmp_path_factory.mktemp("pair")
    stack = EmbeddedStack(guard, cache=cache, seeder=RowsSeeder())
    with stack.up(subject(root), RunDir(root), quiet) as running:
        primary, replica = running.servers
        yield primary, replica


@contextmanager
def session_on(server: Server, **options: Any) -> Iterator[Connection]:
    """A superuser's session that passes for the service's."""
    with closing(psycopg2.connect(server.admin_dsn, application_name="service")) as connection:
        connection.set_session(**options)
        yield connection


def ask(connection: Connection, *statements: str) -> Any:
    """The first column of the last one's first row; None without."""
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        row = cursor.fetchone() if cursor.description else None
    return None if row is None else row[0]


def came_true(what: str, condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {SOON_S} s: {what}"
        time.sleep(0.02)


def test_a_replica_streams_falls_behind_and_catches_up(pair: tuple[Server, Server]) -> None:
    on_primary, on_replica = (ServerSampler(server, time.monotonic) for server in pair)
    with closing(on_primary), closing(on_replica):
        assert until(on_primary, lambda sample: sample.streaming is True).in_recovery is False
        level = until(on_replica, lambda sample: sample.lag_bytes == 0)
        assert (level.in_recovery, level.streaming, level.lag_s) == (True, True, 0.0)
        with session_on(pair[0], autocommit=True) as primary, session_on(pair[1]) as replica:
            ask(replica, "SELECT pg_wal_replay_pause()")
            ask(primary, "CREATE TABLE late AS SELECT generate_series(1, 1000) AS id")
            try:
                until(on_replica, lambda s: (s.lag_s or 0) > 0.3 and (s.lag_bytes or 0) > 10_000)
            finally:
                ask(replica, "SELECT pg_wal_replay_resume()")
            level = until(on_replica, lambda sample: sample.lag_bytes == 0)
            assert level.lag_s == 0.0


def replayed(primary: Connection) -> None:
    """Wait until the replica has replayed all; the primary says so, as a read of the replica may be ended."""
    end = ask(primary, "SELECT pg_current_wal_lsn() - '0/0'")
    replayed_lsn = "SELECT replay_lsn - '0/0' FROM pg_stat_replication"
    came_true("replayed", lambda: (ask(primary, replayed_lsn) or 0) >= end)


@contextmanager
def replay_ends_reads(primary: Connection, replica: Connection) -> Iterator[None]:
    """The replica waits for no read, and the primary keeps no row for it, and vacuums nothing by itself."""
    ask(primary, "ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()")
    ask(replica, "ALTER SYSTEM SET max_standby_streaming_delay = 0")
    ask(replica, "ALTER SYSTEM SET hot_standby_feedback = off", "SELECT pg_reload_conf()")
    try:
        came_true("reloaded", lambda: ask(replica, "SHOW max_standby_streaming_delay") == "0")
        kept = "SELECT count(*) FROM pg_replication_slots WHERE xmin IS NOT NULL"
        came_true("no more feedback", lambda: ask(primary, kept) == 0)
        vacuums = "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'autovacuum%'"
        came_true("no more autovacuum", lambda: ask(primary, vacuums) == 0)
        replayed(primary)
        yield
    finally:
        for connection in (primary, replica):
            ask(connection, "ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()")
        came_true("reloaded", lambda: ask(replica, "SHOW max_standby_streaming_delay") == "-1")


def has_ended(by_kind: dict[str, int], sample: ServerSample) -> bool:
    return sample.conflicts_by_kind == by_kind


DELETE = ("DELETE FROM kept WHERE id IN (SELECT min(id) FROM kept)", "VACUUM kept")
ALTER = ("ALTER TABLE kept ADD COLUMN IF NOT EXISTS note text", "ALTER TABLE kept DROP COLUMN note")


def test_reads_that_a_replica_ends_to_replay_are_counted_by_kind(pair: tuple[Server, Server]) -> None:
    sampler = ServerSampler(pair[1], time.monotonic)
    with ExitStack() as exits:
        exits.enter_context(closing(sampler))
        primary, replica = (exits.enter_context(session_on(server, autocommit=True)) for server in pair)
        exits.enter_context(replay_ends_reads(primary, replica))
        assert until(sampler, lambda sample: sample.error is None).conflicts_by_kind == {}
        asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        for changes, found in ((DELETE, {"snapshot": 1}), (ALTER, {"snapshot": 1, "lock": 1})):
            with session_on(pair[1]) as reads, ThreadPoolExecutor(1) as thread:
                query = thread.submit(ask, reads, "SELECT count(*), pg_sleep(60) FROM kept")
                came_true("the read runs", lambda: ask(replica, asleep) == 1)
                ask(primary, *changes)
                with pytest.raises(psycopg2.errors.SerializationFailure) as caught:
                    query.result(SOON_S)
                assert caught.value.pgcode == "40001"
                line = f"sqlalchemy.exc.OperationalError: (SerializationFailure) {caught.value}"
                assert kind_of(line.splitlines()[0]) == "recovery_conflict"
            replayed(primary)  # what is yet to come would end later reads, those of the sampler among them
            until(sampler, partial(has_ended, found))
        with session_on(pair[1], isolation_level="REPEATABLE READ") as idle:
            ask(idle, "SELECT count(*) FROM kept")
            ask(primary, *DELETE)
            replayed(primary)
            sample = until(sampler, lambda sample: sample.conflicts == 3)
            assert sample.conflicts_by_kind == {"snapshot": 2, "lock": 1}
            with pytest.raises(psycopg2.OperationalError):  # the replica has ended the session
                ask(idle, "SELECT 1")


def test_replay_that_waits_for_a_read_is_a_link_of_the_chain(pair: tuple[Server, Server]) -> None:
    """The replica waits for its reads, however long they take: the stack's own setting."""
    sampler = ServerSampler(pair[1], time.monotonic)
    with ExitStack() as exits:
        exits.enter_context(closing(sampler))
        primary, replica = (exits.enter_context(session_on(server, autocommit=True)) for server in pair)
        reads, waits = (exits.enter_context(session_on(pair[1])) for _ in range(2))
        startup = ask(replica, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'")
        ask(reads, "SELECT count(*) FROM kept")
        ask(primary, *ALTER)
        alone = until(sampler, lambda sample: bool(sample.lock_waits))
        assert [(wait.pid, wait.blocked_by) for wait in alone.lock_waits] == [
            (startup, reads.info.backend_pid)
        ]
        assert (alone.replay_wait, alone.waits.get("Lock:relation", 0)) == ("Lock:relation", 0)
        with ThreadPoolExecutor(1) as thread:
            query = thread.submit(ask, waits, "SELECT count(*) FROM kept")
            try:
                sample = until(sampler, lambda sample: len(sample.lock_waits) == 2)
            finally:
                reads.rollback()
            query.result(SOON_S)
        behind, first = sorted(sample.lock_waits, key=lambda wait: wait.name == REPLAY)
        assert (behind.pid, behind.blocked_by) == (waits.info.backend_pid, startup)
        assert (first.pid, first.blocked_by) == (startup, reads.info.backend_pid)
        assert (behind.blocker_name, first.name, first.blocker_state) == (
            REPLAY,
            REPLAY,
            "idle in transaction",
        )
        waits.rollback()
        # A sample reads the sessions before the lag.
        level = until(sampler, lambda sample: (sample.lag_bytes, sample.replay_wait) == (0, None))
        assert (level.lock_waits, level.conflicts_by_kind) == ((), alone.conflicts_by_kind)
