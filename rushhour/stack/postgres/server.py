"""Starts a PostgreSQL server as a child process, and waits for it."""

import secrets
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812  # the library's class is in lower case
from psycopg2.extensions import make_dsn

from rushhour.errors import StackError
from rushhour.process.child import Child, start
from rushhour.process.guard import Guard
from rushhour.process.ports import HOST, free_port, on_free_ports
from rushhour.stack.postgres.programs import Installation

SUPERUSER: Final = "postgres"
REPLICATOR: Final = "replicator"
ROLE: Final = "referrals"  # the service's; not a superuser, so reserved connections stay for the observers
DATABASE: Final = "referrals"
MAINTENANCE: Final = "template1"  # there in every cluster
SLOT: Final = "replica"
RESERVED_CONNECTIONS: Final = 5  # superuser_reserved_connections in postgresql.conf

START_TIMEOUT_S: Final = 30.0
STREAM_TIMEOUT_S: Final = 30.0
STATUS_LINE: Final = 8  # of postmaster.pid: starting, standby, ready, stopping
_CONNECT_TIMEOUT_S: Final = 3


@dataclass(frozen=True, slots=True)
class Secrets:
    """Passwords of one template's roles, generated when it is built."""

    superuser: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    replicator: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    role: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server, as a child process."""

    name: str
    port: int
    child: Child
    passwords: Secrets

    def dsn(self, user: str, password: str, dbname: str = DATABASE) -> str:
        """Return a libpq connection string."""
        return make_dsn(
            host=HOST,
            port=self.port,
            dbname=dbname,
            user=user,
            password=password,
            connect_timeout=_CONNECT_TIMEOUT_S,
        )

    @property
    def admin_dsn(self) -> str:
        return self.dsn(SUPERUSER, self.passwords.superuser) + " application_name=rushhour"

    @property
    def role_dsn(self) -> str:
        return self.dsn(ROLE, self.passwords.role)

    def url(self, application_name: str, port: int | None = None) -> str:
        """Return SQLAlchemy's URL of the service's role; it names the driver, which 2.1 no longer implies.

        `port` is that of a relay to the server, if it is reached by one.
        """
        return (
            f"postgresql+psycopg2://{ROLE}:{self.passwords.role}@{HOST}:{port or self.port}/{DATABASE}"
            f"?application_name={application_name}"
        )


def start_server(
    guard: Guard,
    installation: Installation,
    name: str,
    data: Path,
    *,
    configuration: Path,
    passwords: Secrets,
    log: Path,
    settings: Mapping[str, str],
    stop_signal: signal.Signals,
    admit: Callable[[int], None] = lambda _pid: None,
    choose_port: Callable[[], int] = free_port,
) -> PostgresServer:
    """Start a server and wait until it answers; tries other ports when its port was taken meanwhile.

    Raises StackError with the log's last lines.
    """

    def attempt(port: int) -> PostgresServer:
        fixed = {
            "config_file": str(configuration / "postgresql.conf"),
            "hba_file": str(configuration / "pg_hba.conf"),
            "listen_addresses": HOST,
            "port": str(port),
            "unix_socket_directories": "",  # no path that may be too long, nothing left in /tmp
            "cluster_name": name,
        }
        command = [installation.program("postgres"), "-D", str(data)]
        for key, value in {**fixed, **settings}.items():
            command += ["-c", f"{key}={value}"]
        child = start(
            guard,
            name,
            command,
            log=log,
            environment=installation.environment,
            cwd=data,
            account=installation.account,
            stop_signal=stop_signal,
            admit=admit,
        )
        server = PostgresServer(name, port, child, passwords)
        refusal = partial(_refusal, server, data)
        child.wait_until_up(f"{name} to accept connections", refusal, START_TIMEOUT_S, grace_s=1)
        return server

    return on_free_ports(choose_port, attempt)


def _refusal(server: PostgresServer, data: Path) -> str | None:
    """Return why the server does not take a connection yet; None when it does.

    Its own file is asked first, as pg_ctl does, so that nothing is sent to another program on the same port.
    """
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        lines = []
    if len(lines) < STATUS_LINE or lines[0] != str(server.child.pid):
        return "no postmaster.pid of this server yet"
    if (status := lines[STATUS_LINE - 1].strip()) != "ready":
        return f"status {status} in postmaster.pid"
    try:
        with connected(server.dsn(SUPERUSER, server.passwords.superuser, MAINTENANCE)):
            return None
    except psycopg2.OperationalError as error:
        return last_line(error)


def wait_for_streaming(primary: PostgresServer, replica: PostgresServer) -> None:
    """Wait until the primary sees the replica stream, and the replica is in recovery."""
    try:
        with connected(primary.admin_dsn) as on_primary, connected(replica.admin_dsn) as on_replica:
            replica.child.wait_until(
                "the primary to see the replica stream",
                partial(_not_streaming, primary, on_primary, on_replica),
                STREAM_TIMEOUT_S,
            )
    except psycopg2.Error as error:
        for server in (primary, replica):
            server.child.check_alive()
        raise StackError(
            f"while waiting for the replica to stream: {last_line(error)}; the replica's log:",
            replica.child.tail(),
        ) from error


def _not_streaming(primary: PostgresServer, on_primary: Connection, on_replica: Connection) -> str | None:
    """Return why the replica does not stream yet, or None if it does."""
    primary.child.check_alive()
    recovering = ask(on_replica, "SELECT pg_is_in_recovery()::text")
    state = replica_state(on_primary)
    if recovering == "true" and state == "streaming":
        return None
    return f"pg_stat_replication.state {state}, pg_is_in_recovery {recovering}"


def replica_state(on_primary: Connection) -> str | None:
    """Return how the primary sees the replica: `streaming` once it follows; None while it is not there."""
    return ask(on_primary, "SELECT state FROM pg_stat_replication WHERE application_name = %s", SLOT)


def ask(connection: Connection, query: str, *values: object) -> str | None:
    """Return the first column of the first row as text, or None without a row."""
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        row = cursor.fetchone()
    return None if row is None else str(row[0])


@contextmanager
def connected(dsn: str) -> Iterator[Connection]:
    """Open a connection in autocommit mode, and close it when the block ends."""
    connection = psycopg2.connect(dsn)
    try:
        connection.autocommit = True
        yield connection
    finally:
        connection.close()


def last_line(error: psycopg2.Error) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
