"""Fill an empty database with the referrals service's tables and rows, by COPY, as fast as it takes them.

Each table is made and filled in one transaction, so that COPY may FREEZE its rows: nothing is left to vacuum,
and a server with `wal_level = minimal` writes no WAL. Keys come after rows, foreign keys after all tables.
"""

import hashlib
import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from threading import Event, Lock
from typing import Final

from psycopg2 import sql
from psycopg2.extensions import connection as Connection  # noqa: N812  # the library's class is in lower case

from rushhour.errors import UsageError
from rushhour.scenario.model import Data
from rushhour.stack import Progress
from rushhour.stack.postgres.seeding import copy_binary, dataset, rows, schema_file
from rushhour.stack.postgres.seeding import tables as table_rows
from rushhour.stack.postgres.seeding.copy_binary import HEADER, TRAILER
from rushhour.stack.postgres.seeding.lanes import Job, Lanes
from rushhour.stack.postgres.seeding.schema_file import TableSchema, read_schema
from rushhour.stack.postgres.seeding.tables import Table, tables

_SOURCES: Final = (copy_binary, dataset, rows, schema_file, table_rows)
SMALL: Final = 10_000  # rows
_SETTINGS: Final = (
    "SET max_parallel_maintenance_workers = 0",  # the lanes already use the cores
    "SET enable_hashjoin = off",  # a foreign key is checked fastest by merging two indexes in the same order
)


def fingerprint(schema: Path, data: Data) -> str:
    """Return a text that changes with what `fill` would write. Raises OSError for an unreadable schema."""
    files = [schema, Path(__file__), *(Path(str(module.__file__)) for module in _SOURCES)]
    digests = [hashlib.sha256(file.read_bytes()).digest() for file in files]
    return hashlib.sha256(b"".join(digests) + f"{data.size} {data.seed}".encode()).hexdigest()[:16]


def fill(dsn: str, target_schema: Path, data: Data, progress: Progress) -> None:
    """Create the schema's tables, fill and index them; `dsn` is that of the database's owner.

    Raises UsageError for a schema that does not fit the data, psycopg2.Error when the server refuses.
    """
    schema = read_schema(target_schema)
    filled = sorted(tables(data), key=_takes, reverse=True)
    if problems := list(_misfits(target_schema, set(schema.tables), {table.name for table in filled})):
        raise UsageError(problems)
    lanes = Lanes(dsn, _SETTINGS)
    stored = _Stored()
    total = sum(table.row_count for table in filled)
    jobs = [
        Job(table.name, partial(_fill_table, table, schema.tables[table.name], stored)) for table in filled
    ]
    for reference in schema.references:
        # Adding it locks both tables against each other's jobs, checking it against little.
        add, check = f"{reference.statement} NOT VALID", reference.check
        jobs.append(Job(add, partial(_execute, add), after=reference.tables, alone=True))
        jobs.append(Job(check, partial(_execute, check), after=frozenset((add,))))
    lanes.run(jobs, lambda: progress("fill tables", stored.rows, total, "rows"))


def _takes(table: Table) -> float:
    """Order jobs: the longest first, but what is done at once before all, for references wait for it."""
    return table.row_count * len(table.columns) if table.row_count > SMALL else float("inf")


def _misfits(schema: Path, known: set[str], filled: set[str]) -> Iterator[str]:
    for name in sorted(filled - known):
        yield f"{schema}: no CREATE TABLE {name}, which the data has rows for"
    for name in sorted(known - filled):
        yield f"{schema}: table {name} is not one that the data has rows for ({', '.join(sorted(filled))})"


class _Stored:
    """How many rows were sent so far, by all lanes together."""

    def __init__(self) -> None:
        self.rows = 0
        self._lock = Lock()

    def add(self, rows: int) -> None:
        with self._lock:
            self.rows += rows


class _Stream(io.RawIOBase):
    """A table as the file that psycopg2 reads, one piece at a time, whatever size it asks for."""

    def __init__(self, table: Table, stored: _Stored, stop: Event) -> None:
        self._pieces = self._all(table, stored, stop)

    def read(self, _size: int = -1, /) -> bytes:
        return next(self._pieces, b"")

    @staticmethod
    def _all(table: Table, stored: _Stored, stop: Event) -> Iterator[bytes]:
        yield HEADER
        for piece, row_count in table.pieces():
            if stop.is_set():
                raise InterruptedError(f"stopped while filling {table.name}")
            yield piece
            stored.add(row_count)
        yield TRAILER


def _fill_table(
    table: Table, schema: TableSchema, stored: _Stored, connection: Connection, stop: Event
) -> None:
    name = sql.Identifier(table.name)
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    copy = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary, FREEZE)").format(name, columns)
    with connection.cursor() as cursor:
        cursor.execute(schema.create)
        cursor.copy_expert(copy, _Stream(table, stored, stop))
        for statement in schema.keys:
            cursor.execute(statement)
        if "id" in table.columns:  # the service's own rows go on from here
            cursor.execute(
                sql.SQL("SELECT setval(pg_get_serial_sequence(%s, 'id'), max(id)) FROM {}").format(name),
                (table.name,),
            )
        cursor.execute(sql.SQL("ANALYZE {}").format(name))


def _execute(statement: str, connection: Connection, _: Event) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
