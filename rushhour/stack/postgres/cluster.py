"""One PostgreSQL cluster on disk: made, given its roles, and copied as a replica's base."""

from pathlib import Path
from typing import Final

from psycopg2.extensions import make_dsn

from rushhour.process.guard import Guard
from rushhour.process.ports import HOST
from rushhour.process.tools import run_tool
from rushhour.stack.paths import give
from rushhour.stack.postgres.programs import Installation
from rushhour.stack.postgres.server import (
    DATABASE,
    MAINTENANCE,
    REPLICATOR,
    ROLE,
    SLOT,
    SUPERUSER,
    PostgresServer,
    Secrets,
    connected,
)

TOOL_TIMEOUT_S: Final = 60.0
BACKUP_TIMEOUT_S: Final = 1800.0


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
    """Create the service's role and database, and the replica's role."""
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
    """Say how the replica reaches the primary; the password goes through a file, so `ps` does not show it."""
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
