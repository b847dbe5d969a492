"""One PostgreSQL cluster: made, started as our own child, asked, and copied as a replica's base."""

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

from rushhour.child import Child, run_tool, start, wait_until
from rushhour.errors import StackError
from rushhour.guard import Guard
from rushhour.stack.paths import give
from rushhour.stack.ports import HOST, free_port, lost_race
from rushhour.stack.postgres import Installation

SUPERUSER: Final = "postgres"
REPLICATOR: Final = "replicator"
ROLE: Final = "referrals"  # the service's; not a superuser, so reserved connections stay for the observers
DATABASE: Final = "referrals"
MAINTENANCE: Final = "template1"  # there in every cluster
SLOT: Final = "replica"
RESERVED_CONNECTIONS: Final = 5  # superuser_reserved_connections in postgresql.conf

TOOL_TIMEOUT_S: Final = 60.0
BACKUP_TIMEOUT_S: Final = 1800.0
START_TIMEOUT_S: Final = 30.0
STREAM_TIMEOUT_S: Final = 30.0
CLEAN_STOP_S: Final = 120.0
PORT_ATTEMPTS: Final = 3
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
    """A server that is up, as our child."""

    name: str
    port: int
    child: Child
    passwords: Secrets

    def dsn(self, user: str, password: str, dbname: str = DATABASE) -> str:
        """A libpq connection string."""
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

    def url(self, application_name: str) -> str:
        """SQLAlchemy's URL of the service's role; it names the driver, which 2.1 no longer implies."""
        return (
            f"postgresql+psycopg2://{ROLE}:{self.passwords.role}@{HOST}:{self.port}/{DATABASE}"
            f"?application_name={application_name}"
        )


def initdb(guard: Guard, installation: Installation, data: Path, passwords: Secrets) -> None:
    """Make an empty cluster in `data`, with the superuser's password set."""
    data.mkdir(mode=0o700)
    give(data, installation.account)
    password_file = data.parent / "superuser-password"
    write_private(password_file, passwords.superuser + "\n", installation)
    try:
        run_tool(
            guard,
            [
                installation.program("initdb"),
                f"--pgdata={data}",
                f"--username={SUPERUSER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                "--no-instructions",
            ],
            environment=installation.environment,
            account=installation.account,
            timeout_s=TOOL_TIMEOUT_S,
        )
    finally:
        password_file.unlink()


def sync_cluster(guard: Guard, installation: Installation, data: Path) -> None:
    """Write a cluster that is not in use through to the disk."""
    run_tool(
        guard,
        [installation.program("initdb"), "--sync-only", f"--pgdata={data}"],
        environment=installation.environment,
        account=installation.account,
        timeout_s=BACKUP_TIMEOUT_S,
    )


def create_roles(server: PostgresServer) -> None:
    """The service's role and database, and the replica's role."""
    passwords = server.passwords
    dsn = server.dsn(SUPERUSER, passwords.superuser, MAINTENANCE)
    with connected(dsn) as admin, admin.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD %s", (passwords.role,))
        cursor.execute(f"CREATE ROLE {REPLICATOR} LOGIN REPLICATION PASSWORD %s", (passwords.replicator,))
        cursor.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE} TEMPLATE template0")


def drop_spare_databases(server: PostgresServer) -> None:
    """Leave the service's database and template1, where maintenance connects.

    Each database is 300 files, which every clone has to create; and creating files is slow where many were
    removed a moment ago, as between the scenarios of a suite (ext4 does not use an inode again at once).
    """
    with connected(server.admin_dsn) as admin, admin.cursor() as cursor:
        cursor.execute("ALTER DATABASE template0 IS_TEMPLATE false")
        cursor.execute("DROP DATABASE template0")
        cursor.execute("DROP DATABASE postgres")


def base_backup(
    guard: Guard, installation: Installation, primary: PostgresServer, data: Path, private: Path
) -> None:
    """Copy the primary as the base of a standby, and make the slot that keeps its WAL from here on."""
    data.mkdir(mode=0o700)
    give(data, installation.account)
    run_tool(
        guard,
        [
            installation.program("pg_basebackup"),
            f"--pgdata={data}",
            f"--dbname={primary_conninfo(primary.port, primary.passwords, private, installation)}",
            "--no-password",
            "--checkpoint=fast",
            "--wal-method=stream",
            "--create-slot",
            f"--slot={SLOT}",
            "--no-sync",
        ],
        environment=installation.environment,
        account=installation.account,
        timeout_s=BACKUP_TIMEOUT_S,
    )
    signal_file = data / "standby.signal"
    signal_file.touch()
    give(signal_file, installation.account)


def primary_conninfo(port: int, passwords: Secrets, private: Path, installation: Installation) -> str:
    """How the replica reaches the primary; the password goes through a file, so `ps` does not show it."""
    passfile = private / "replicator.pgpass"
    write_private(passfile, f"{HOST}:{port}:*:{REPLICATOR}:{passwords.replicator}\n", installation)
    return make_dsn(
        host=HOST,
        port=port,
        user=REPLICATOR,
        passfile=str(passfile),
        application_name=SLOT,
        connect_timeout=5,
    )


def write_private(path: Path, text: str, installation: Installation) -> None:
    """Write a file that only the account which PostgreSQL runs as can read."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    give(path, installation.account)


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
    for attempt in range(PORT_ATTEMPTS):
        port = choose_port()
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
        try:
            wait_until(
                f"{name} to accept connections", partial(_refusal, server, data), child, START_TIMEOUT_S
            )
        except BaseException as error:
            child.stop(grace_s=1)
            if isinstance(error, StackError) and lost_race(child.tail(50)) and attempt + 1 < PORT_ATTEMPTS:
                continue
            raise
        return server
    raise AssertionError("unreachable: the last attempt returns or raises")


def _refusal(server: PostgresServer, data: Path) -> str | None:
    """Why the server does not take a connection yet; None when it does.

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
        return _last_line(error)


def wait_for_streaming(primary: PostgresServer, replica: PostgresServer) -> None:
    """Until the primary sees the replica stream, and the replica says that it is in recovery."""
    with connected(primary.admin_dsn) as on_primary, connected(replica.admin_dsn) as on_replica:

        def not_yet() -> str | None:
            primary.child.check_alive()
            recovering = ask(on_replica, "SELECT pg_is_in_recovery()::text")
            state = ask(on_primary, "SELECT state FROM pg_stat_replication WHERE application_name = %s", SLOT)
            if recovering == "true" and state == "streaming":
                return None
            return f"pg_stat_replication.state {state}, pg_is_in_recovery {recovering}"

        try:
            wait_until("the primary to see the replica stream", not_yet, replica.child, STREAM_TIMEOUT_S)
        except psycopg2.Error as error:
            for server in (primary, replica):
                server.child.check_alive()
            raise StackError(
                f"while waiting for the replica to stream: {_last_line(error)}; the replica's log:",
                replica.child.tail(),
            ) from error


def ask(connection: Connection, query: str, *values: object) -> str | None:
    """The first column of the first row, as text; None without a row."""
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        row = cursor.fetchone()
    return None if row is None else str(row[0])


@contextmanager
def connected(dsn: str) -> Iterator[Connection]:
    """A connection in autocommit mode, closed at the end."""
    connection = psycopg2.connect(dsn)
    try:
        connection.autocommit = True
        yield connection
    finally:
        connection.close()


def _last_line(error: psycopg2.Error) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
