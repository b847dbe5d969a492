"""What a service of the user's own needs before it starts: an empty database, its URLs, its set-up."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import psycopg2

from rushhour.errors import StackError
from rushhour.process.child import start
from rushhour.process.guard import Guard
from rushhour.process.waiting import wait_until
from rushhour.scenario.model import Data, Scenario
from rushhour.stack import Progress
from rushhour.stack.postgres.server import ask, connected, last_line

REPLAY_TIMEOUT_S: Final = 60.0
SETUP_STOP_S: Final = 2.0


class NoRows:
    """The seeder of a service that makes its own tables: the database stays empty."""

    def fingerprint(self, schema: Path, data: Data) -> str:  # noqa: ARG002  # as every seeder's
        """Return the same text for all of them: they share a template."""
        return "empty-database--"

    def fill(self, dsn: str, schema: Path, data: Data, progress: Progress) -> None:
        """Fill nothing."""


def with_scheme(url: str, scheme: str) -> str:
    """Return the URL for another driver; asyncpg refuses libpq's options in it."""
    parts = urlsplit(url)._replace(scheme=scheme)
    return (parts._replace(query="") if scheme.endswith("asyncpg") else parts).geturl()


def run_setup(
    guard: Guard,
    scenario: Scenario,
    command: list[str],
    environment: Mapping[str, str],
    log: Path,
) -> None:
    """Run the set-up command to its end.

    Raises StackError, with its last lines, when it fails or takes too long.
    """
    root = Path(scenario.target.root)
    child = start(guard, "target.setup", command, log=log, environment=environment, cwd=root)
    try:
        wait_until(
            "target.setup to end",
            lambda: "it runs" if child.poll() is None else None,
            scenario.target.setup_timeout,
            f"raise setup_timeout, or see the last lines of {log}:",
            tail=child.tail,
        )
        child.check()
    finally:
        child.stop(SETUP_STOP_S)


class _Admitting(Protocol):
    """A server that the harness may connect to as a superuser."""

    @property
    def admin_dsn(self) -> str: ...


def wait_for_replay(primary: _Admitting, replica: _Admitting) -> None:
    """Wait until the replica has all that the primary has now, so that the service finds it on both.

    Raises StackError at the deadline, and where a server does not answer.
    """
    what = "the replica to replay what target.setup wrote"
    try:
        with connected(primary.admin_dsn) as on_primary, connected(replica.admin_dsn) as on_replica:
            target = ask(on_primary, "SELECT pg_current_wal_lsn()::text")

            def behind() -> str | None:
                query = "SELECT (pg_last_wal_replay_lsn() >= %s::pg_lsn)::text"
                if ask(on_replica, query, target) == "true":
                    return None
                seen = ask(on_replica, "SELECT pg_last_wal_replay_lsn()::text")
                return f"it is at {seen}, the primary at {target}"

            wait_until(what, behind, REPLAY_TIMEOUT_S, "see the replica's log")
    except psycopg2.Error as error:
        raise StackError(f"while waiting for {what}: {last_line(error)}; see the servers' logs") from error


def interpreter(scenario: Scenario, default: str) -> str:
    """Return the Python that {python} stands for, and whose folder comes first on PATH."""
    named = scenario.target.python
    if not named:
        return default
    # Not resolved: the interpreter of a virtual environment is a link, and found by its own name.
    return os.path.normpath(Path(scenario.target.root, named)) if os.sep in named else named
