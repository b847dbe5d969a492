"""Rows a second while filling the medium data, against `pgbench -i` on the same server.

Both start with an empty database and end with filled, indexed tables that are ready for queries. pgbench has
one table of any size with one key; the service's seven have keys, indexes and foreign keys, all checked.
"""

import os
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from psycopg2 import sql
from psycopg2.extensions import make_dsn

from benchmarks.table import Row
from rushhour.process.guard import Guard
from rushhour.scenario.model import Data
from rushhour.stack.postgres.bare import BareServer, bare_server
from rushhour.stack.postgres.seeding import seed
from rushhour.stack.postgres.seeding.settings import SEEDING
from rushhour.stack.postgres.seeding.tables import tables
from rushhour.stack.postgres.server import connected

SCHEMA: Final = Path(__file__).parents[1] / "app" / "schema.sql"
DATA: Final = Data(size="medium")
ROUNDS: Final = 3
PGBENCH_ROWS_PER_SCALE: Final = 100_011  # accounts, tellers and a branch
PGBENCH_TIMEOUT_S: Final = 600
BOUND: Final = 1.0


def run() -> list[Row]:
    """The median ratio of three rounds, in each of which both are measured, one right after the other."""
    rows = sum(table.row_count for table in tables(DATA))
    scale = round(rows / PGBENCH_ROWS_PER_SCALE)
    ours, theirs = [], []
    with Guard() as guard, bare_server(guard, settings=SEEDING) as server:
        for _ in range(ROUNDS):
            ours.append(rows / _seconds(server, _fill))
            theirs.append(scale * PGBENCH_ROWS_PER_SCALE / _seconds(server, _pgbench(server, scale)))
    ratio = statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
    return [
        Row(
            f"seeding medium ({rows / 1e6:.1f} M rows) against pgbench -i",
            f"{statistics.median(ours):,.0f} and {statistics.median(theirs):,.0f} rows/s: {ratio:.2f} times",
            f">= {BOUND:g}",
            ratio >= BOUND,
        )
    ]


def _seconds(server: BareServer, work: Callable[[str], None]) -> float:
    """How long the work takes on a database of its own; making and dropping that is not counted."""
    name = sql.Identifier("measured")
    with connected(server.dsn) as admin, admin.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE DATABASE {}").format(name))
        try:
            began = time.monotonic()
            work(make_dsn(server.dsn, dbname="measured"))
            return time.monotonic() - began
        finally:
            cursor.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
            cursor.execute("CHECKPOINT")  # what one left to write is not the other's to pay for


def _fill(dsn: str) -> None:
    seed.fill(dsn, SCHEMA, DATA, lambda *_: None)


def _pgbench(server: BareServer, scale: int) -> Callable[[str], None]:
    def work(dsn: str) -> None:
        subprocess.run(
            [server.bin / "pgbench", "--initialize", "--quiet", f"--scale={scale}", dsn],
            env={**os.environ, "LC_ALL": "C"},
            capture_output=True,
            timeout=PGBENCH_TIMEOUT_S,
            check=True,
        )

    return work
