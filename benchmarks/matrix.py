"""What the agent costs per check-out over other drivers, versions of SQLAlchemy and kinds of workers.

Each pair, with the agent and without, runs side by side in an environment of tests/matrix and is asked in
turn; times are CPU times of the whole process, in which the server has no part. The work is nothing but the
cycle.
"""

import subprocess
import tempfile
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.agent import MAX_ADDED_US, added, ask, environment, subject
from benchmarks.table import Row
from rushhour.process.guard import Guard
from rushhour.stack.embedded.bare import BareServer, bare_server
from tests.matrix.environments import environment_of

ROUNDS: Final = 4
STARTS: Final = 2
ROUND_CYCLES: Final = {"asyncio": 3_000}  # its cycles cost ten times as much
CYCLES: Final = 10_000


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
    cycles = ROUND_CYCLES.get(pair.worker, CYCLES)
    plain: list[float] = []
    agent: list[float] = []
    for _ in range(STARTS):  # no two processes are laid out alike in memory
        with ExitStack() as stack:
            one = stack.enter_context(cycles_of(python, url, pair.worker, None))
            other = stack.enter_context(cycles_of(python, url, pair.worker, out))
            for number in range(ROUNDS):
                turns = ((plain, one), (agent, other))
                for column, process in turns if number % 2 == 0 else reversed(turns):
                    column.append(ask(process, cycles))
    cost = added(agent, plain)
    return Row(
        name=f"agent: SQLAlchemy {pair.sqlalchemy}, {pair.driver}, {pair.worker}",
        measured=f"{cost:.1f} us added to {median(plain):.1f} us",
        bound=f"<= {MAX_ADDED_US:g} us",
        ok=cost <= MAX_ADDED_US,
    )


def cycles_of(
    python: Path, url: str, worker: str, out: Path | None
) -> AbstractContextManager[subprocess.Popen[str]]:
    return subject([python, "benchmarks/subjects/driver_cycle.py", url, worker], environment(out))
