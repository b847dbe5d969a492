"""How fast the medium data is filled, against plain COPY and against `pgbench -i` on the same server.

All start with an empty database. Seeding and pgbench end with filled, indexed tables that are ready for
queries: pgbench has one table of any size with one key; the service's seven have keys, indexes and foreign
keys, all checked. Plain COPY is the floor: the same bytes from files, one table after the other, keyless.
"""

import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor  # noqa: N812  # the library's class is in lower case
from psycopg2.extensions import make_dsn

from benchmarks.interval import median_of
from benchmarks.machine import MOST_OTHERS, machine_use
from benchmarks.table import Row
from rushhour.process.guard import Guard
from rushhour.scenario.model import Data
from rushhour.stack.postgres.bare import BareServer, bare_server
from rushhour.stack.postgres.seeding import seed
from rushhour.stack.postgres.seeding.copy_binary import HEADER, TRAILER
from rushhour.stack.postgres.seeding.schema_file import read_schema
from rushhour.stack.postgres.seeding.settings import SEEDING
from rushhour.stack.postgres.seeding.tables import Table, tables
from rushhour.stack.postgres.server import connected

SCHEMA: Final = Path(__file__).parents[1] / "app" / "schema.sql"
DATA: Final = Data(size="medium")
ROUNDS: Final = 6
PGBENCH_ROWS_PER_SCALE: Final = 100_011  # accounts, tellers and a branch
PGBENCH_TIMEOUT_S: Final = 600
BOUND: Final = 1.0
COPY_BOUND: Final = 1.3
ALL_BUSY: Final = 0.9  # of the time of all cores: nothing is left that keys could be built beside on


@dataclass(frozen=True, slots=True)
class Filled:
    """How long it took to fill a database, and how large that then was."""

    seconds: float
    mb: float
    busy: float  # share of the time of all cores
    others: float  # share that others had than this process and the server

    @property
    def speed(self) -> float:
        """MB a second."""
        return self.mb / self.seconds


def run() -> list[Row]:
    """The median ratios of six rounds, in each of which all are measured, one right after the other."""
    rows = sum(table.row_count for table in tables(DATA))
    scale = round(rows / PGBENCH_ROWS_PER_SCALE)
    ours: list[Filled] = []
    plain: list[Filled] = []
    theirs: list[Filled] = []
    with (
        Guard() as guard,
        bare_server(guard, settings=SEEDING) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        files = [_file_of(table, Path(folder)) for table in tables(DATA)]
        for _ in range(ROUNDS):
            ours.append(_filled(server, _fill))
            plain.append(_filled(server, partial(_copy, files)))
            theirs.append(_filled(server, _pgbench(server, scale)))
    pgbench_rows = scale * PGBENCH_ROWS_PER_SCALE
    kinds = list(zip(ours, plain, theirs, strict=True))
    in_rows = median_of([rows / a.seconds / (pgbench_rows / b.seconds) for a, _, b in kinds])
    in_bytes = median_of([a.speed / b.speed for a, _, b in kinds])
    asked = median_of([a.speed / min(b.speed, copied.speed) for a, copied, b in kinds])
    what = f"seeding medium ({rows / 1e6:.1f} M rows)"
    return [
        # No bound by rows: pgbench's have one key, these ten keys and indexes, and six foreign keys to check.
        Row(
            f"{what} against pgbench -i",
            f"{_median(rows / each.seconds for each in ours):,.0f} and "
            f"{_median(pgbench_rows / each.seconds for each in theirs):,.0f} rows/s: x {in_rows:.2f}",
            "",
            None,
        ),
        asked.row(
            f"{what} against pgbench -i, by size on disk",
            f"{_median(each.speed for each in ours):.0f} and {_median(each.speed for each in theirs):.0f} "
            f"MB/s: x {in_bytes:.2f}; plain COPY of the same rows "
            f"{_median(each.speed for each in plain):.0f} MB/s, x {asked:.2f} of the lesser of both",
            # A row of pgbench is mostly padding. Where not even plain COPY of narrower rows reaches its bytes
            # a second, plain COPY is what is asked for.
            f">= {BOUND:g}, or plain COPY's",
            least=BOUND,
        ),
        copy_row(f"{what} with keys and indexes against plain COPY without", ours, plain),
    ]


def copy_row(name: str, ours: Sequence[Filled], plain: Sequence[Filled]) -> Row:
    """Seeding beside plain COPY, round by round.

    Keys and indexes take as much CPU as COPY itself. On two cores that is more than the second one has left,
    and then nothing but to leave them out would be faster.
    """
    over = median_of([a.seconds / b.seconds for a, b in zip(ours, plain, strict=True)])
    busy, others = median_of([each.busy for each in ours]), _median(each.others for each in ours)
    near, full = over.within(most=COPY_BOUND), busy.within(least=ALL_BUSY)
    if full and others > MOST_OTHERS:
        full = None
    ok = True if near or full else False if (near, full) == (False, False) else None
    measured = (
        f"{_median(each.seconds for each in ours):.1f} and {_median(each.seconds for each in plain):.1f} s: "
        f"x {over:.2f}, all cores {busy:.0%} busy, {others:.0%} with other programs"
    )
    return Row(name, measured, f"<= {COPY_BOUND:g}, or all busy", ok, unsure=ok is None)


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _filled(server: BareServer, work: Callable[[str], None]) -> Filled:
    """Fill a database of its own; making, measuring and dropping that is not counted."""
    name = sql.Identifier("measured")
    with connected(server.dsn) as admin, admin.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE DATABASE {}").format(name))
        try:
            empty = _size(cursor)
            with machine_use() as use:
                work(make_dsn(server.dsn, dbname="measured"))
            return Filled(use.seconds, (_size(cursor) - empty) / 1e6, use.busy, use.others)
        finally:
            cursor.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
            cursor.execute("CHECKPOINT")  # what one left to write is not the other's to pay for


def _size(cursor: Cursor) -> int:
    cursor.execute("SELECT pg_database_size('measured')")
    found = cursor.fetchone()
    return int(found[0]) if found else 0


def _file_of(table: Table, folder: Path) -> tuple[Table, Path]:
    """Write a table's rows as COPY takes them."""
    path = folder / table.name
    with path.open("wb") as file:
        file.write(HEADER)
        file.writelines(piece for piece, _ in table.pieces())
        file.write(TRAILER)
    return table, path


def _copy(files: list[tuple[Table, Path]], dsn: str) -> None:
    schema = read_schema(SCHEMA)
    with connected(dsn) as connection, connection.cursor() as cursor:
        for table, path in files:
            cursor.execute(schema.tables[table.name].create)
            columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
            copy = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)")
            with path.open("rb") as file:
                cursor.copy_expert(copy.format(sql.Identifier(table.name), columns), file)


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
