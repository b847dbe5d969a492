"""One server with an empty database, for benchmarks and tests that need no stack."""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rushhour.process.guard import Guard
from rushhour.stack.paths import cache_dir, copy_configuration, open_cache, server_account
from rushhour.stack.postgres.cluster import create_roles, initdb
from rushhour.stack.postgres.programs import install
from rushhour.stack.postgres.server import Secrets, start_server
from rushhour.stack.work import work_dir

SERVER_STOP_S = 5.0


@dataclass(frozen=True, slots=True)
class BareServer:
    """`dsn` (libpq) is the superuser's, `role_dsn` and `url` (SQLAlchemy) are the database owner's."""

    dsn: str
    role_dsn: str
    url: str
    port: int
    bin: Path


@contextmanager
def bare_server(
    guard: Guard,
    cache: Path | None = None,
    postgres_bin: Path | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[BareServer]:
    """Start it with the stack's own configuration and these settings; it is gone at the end."""
    account = server_account()
    opened = open_cache(cache or cache_dir(), account)
    installation = install(postgres_bin, opened, account)
    with work_dir(opened, guard) as work:
        passwords = Secrets()
        copy_configuration(work)
        initdb(guard, installation, work / "primary", passwords)
        server = start_server(
            guard,
            installation,
            "server",
            work / "primary",
            configuration=work,
            passwords=passwords,
            log=work / "server.log",
            settings=settings or {},
            stop_signal=signal.SIGQUIT,
        )
        try:
            create_roles(server)
            yield BareServer(
                server.admin_dsn, server.role_dsn, server.url("bare"), server.port, installation.bin
            )
        finally:
            server.child.stop(SERVER_STOP_S)
