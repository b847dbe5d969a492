"""What the agent costs per check-out over other drivers, versions of SQLAlchemy and kinds of workers.

Each runs in an environment of tests/matrix, where the agent goes in and out of one process; times are CPU
times of that process, in which the server has no part. The work is nothing but the cycle.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.cycle_cost import cost_row
from benchmarks.table import Row
from rushhour.process.guard import Guard
from rushhour.stack.postgres.bare import BareServer, bare_server
from tests.matrix.environments import environment_of


@dataclass(frozen=True, slots=True)
class Pair:
    """One line of the table."""

    sqlalchemy: str
    driver: str
    worker: str

    @property
    def packages(self) -> tuple[str, ...]:
        """What its environment holds."""
        more = {"gevent": ("gevent",), "asyncio": ("greenlet",)}.get(self.worker, ())
        return (f"sqlalchemy=={self.sqlalchemy}.*", *DRIVERS[self.driver][1], *more)


# driver -> SQLAlchemy's name of it, and its package
DRIVERS: Final = {
    "psycopg2": ("postgresql+psycopg2", ("psycopg2-binary",)),
    "psycopg": ("postgresql+psycopg", ("psycopg[binary]",)),
    "asyncpg": ("postgresql+asyncpg", ("asyncpg",)),
    "SQLite": ("sqlite", ()),
}
PAIRS: Final = (
    Pair("1.4", "psycopg2", "sync"),
    Pair("2.0", "psycopg2", "gthread"),
    Pair("2.1", "psycopg2", "sync"),
    Pair("2.1", "psycopg", "gthread"),
    Pair("2.1", "psycopg", "gevent"),
    Pair("2.1", "SQLite", "gthread"),
    Pair("2.1", "asyncpg", "asyncio"),
    Pair("2.0", "psycopg", "asyncio"),
)


def run() -> list[Row]:
    """Measure for about three minutes; the first time, environments are made as well."""
    with (
        tempfile.TemporaryDirectory(prefix="rushhour-bench-") as folder,
        Guard() as guard,
        bare_server(guard) as server,
    ):
        return [row_of(pair, server, Path(folder)) for pair in PAIRS]


def row_of(pair: Pair, server: BareServer, out: Path) -> Row:
    python = environment_of(pair.packages) / "python"
    at = server.url.partition("://")[2].partition("?")[0]
    scheme = DRIVERS[pair.driver][0]
    url = f"sqlite:///{out}/bench.db" if scheme == "sqlite" else f"{scheme}://{at}"
    name = f"agent: SQLAlchemy {pair.sqlalchemy}, {pair.driver}, {pair.worker}"
    return cost_row(name, python, url, pair.worker, out)
