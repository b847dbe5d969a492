"""history.sqlite3: one row per judged run, which outlives the run's directory."""

import dataclasses
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from rushhour.errors import RunDataError, UnavailableError
from rushhour.jobs.archive.directories import find_runs, runs_folder_of
from rushhour.jobs.archive.lock import held
from rushhour.jobs.archive.rows import RunRow, read_row, row_of
from rushhour.rundir import RunDir
from rushhour.verdict.judge import Verdict

FILE: Final = "history.sqlite3"
BUSY_TIMEOUT_S: Final = 5.0

_COLUMNS: Final = tuple(field.name for field in dataclasses.fields(RunRow))
_BROKEN: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

# One script per version of the schema: a database is brought from its user_version to the newest.
MIGRATIONS: Final = (
    """
    CREATE TABLE run (
        run TEXT PRIMARY KEY,  -- directory, relative to the runs folder
        night TEXT,
        started_at TEXT NOT NULL,
        scenario TEXT NOT NULL,
        release TEXT NOT NULL,
        stack TEXT NOT NULL,
        code_commit TEXT,
        expected TEXT NOT NULL,
        observed TEXT NOT NULL,
        verdict TEXT NOT NULL CHECK (verdict IN ('pass', 'fail', 'unknown')),
        headline TEXT NOT NULL,
        cause TEXT NOT NULL,
        site_file TEXT,
        site_line INTEGER,
        site_function TEXT,
        requests INTEGER,
        achieved_rps REAL,
        http_5xx INTEGER,
        http_5xx_rate REAL,
        queuepool_timeouts INTEGER,
        leaked_connections INTEGER,
        pool_in_use_max INTEGER,
        pool_capacity INTEGER,
        p50_ms REAL,
        p95_ms REAL,
        p99_ms REAL,
        primary_cpu_cores_mean REAL,
        replica_cpu_cores_mean REAL,
        time_to_exhaustion_s REAL
    );
    CREATE INDEX run_scenario ON run (scenario, started_at);
    CREATE INDEX run_night ON run (night);
    """,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild found."""

    rows: int
    unjudged: int
    broken: tuple[str, ...]

    def __str__(self) -> str:
        words = f"{self.rows} judged run{'s' * (self.rows != 1)}"
        words += f", {self.unjudged} never judged and left out" if self.unjudged else ""
        return words + (f", {len(self.broken)} that cannot be read: {self.broken[0]}" if self.broken else "")


class RunHistory:
    """The database of one runs folder. Each method opens and closes it, so no lock is held between them.

    A missing or broken database is built anew from the run directories; `notes` say so. Every method raises
    UnavailableError when the database cannot be had: locked, not writable, or written by a newer rushhour.
    """

    def __init__(self, runs: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self._runs = runs
        self._busy_timeout_s = busy_timeout_s
        self.path: Final = runs / FILE
        self.notes: list[str] = []

    def record(self, row: RunRow) -> None:
        """Keep a judged run, in place of what was kept of it before."""
        with self._open(new=row) as database:
            _write(database, [row])

    def rows(self, *, scenario: str | None = None, limit: int = 1000) -> list[RunRow]:
        """Return the last runs, oldest first."""
        return self._ask("WHERE ? IS NULL OR scenario = ?", (scenario, scenario), limit)

    def nights(self, last: int) -> list[RunRow]:
        """Return the runs of the last nights, oldest first."""
        newest = "SELECT DISTINCT night FROM run WHERE night IS NOT NULL ORDER BY night DESC LIMIT ?"
        return self._ask(f"WHERE night IN ({newest})", (last,), -1)

    def rebuild(self) -> Rebuilt:
        """Read every run directory again. Rows of runs whose directories are gone stay as they are."""
        with self._open(fill=False) as database:
            return _fill(database, self._runs)

    def _ask(self, where: str, values: tuple[object, ...], limit: int) -> list[RunRow]:
        query = (
            f"SELECT {', '.join(_COLUMNS)} FROM run {where} "  # noqa: S608 - constants of this class
            "ORDER BY started_at DESC, run DESC LIMIT ?"
        )
        with self._open() as database:
            found = database.execute(query, (*values, limit)).fetchall()
        return [RunRow(*values) for values in reversed(found)]

    @contextmanager
    def _open(self, *, fill: bool = True, new: RunRow | None = None) -> Iterator[sqlite3.Connection]:
        """Open a connection in a transaction, at the newest schema; a new database is filled first."""
        self._runs.mkdir(parents=True, exist_ok=True)
        try:
            self._set_aside_if_broken()
            with closing(
                sqlite3.connect(self.path, timeout=self._busy_timeout_s, isolation_level=None)
            ) as database:
                database.execute("BEGIN IMMEDIATE")
                if self._migrate(database) == 0 and fill:
                    rebuilt = _fill(database, self._runs, without=new)
                    if rebuilt.rows or rebuilt.broken:
                        self.notes.append(f"{self.path} is built anew from the run directories: {rebuilt}")
                yield database
                database.execute("COMMIT")
        except sqlite3.Error as error:
            raise UnavailableError(
                f"{self.path}: {error}; the runs are whole, and `rushhour history --rebuild` reads them again"
            ) from error

    def _migrate(self, database: sqlite3.Connection) -> int:
        """Return the version that was found; the newest is there afterwards."""
        (found,) = database.execute("PRAGMA user_version").fetchone()
        if found > len(MIGRATIONS):
            raise UnavailableError(
                f"{self.path} was written by a newer rushhour (schema {found}; this one knows "
                f"{len(MIGRATIONS)}): use that one, or move the file away to have it built anew"
            )
        for script in MIGRATIONS[found:]:
            for statement in script.split(";"):
                database.execute(statement)
        database.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        return int(found)

    def _set_aside_if_broken(self) -> None:
        if not self.path.exists() or not (why := _broken(self.path, self._busy_timeout_s)):
            return
        with held(self.path.with_suffix(".lock"), "repair of the history", timeout_s=self._busy_timeout_s):
            if not _broken(self.path, self._busy_timeout_s):
                return  # another process was faster
            aside = self.path.with_name(f"{FILE}.broken-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
            self.path.rename(aside)
            for left in (self.path.with_name(f"{FILE}{ending}") for ending in ("-journal", "-wal", "-shm")):
                left.unlink(missing_ok=True)
            self.notes.append(f"{self.path} is broken ({why}); it is kept as {aside.name}")


def remember(run: RunDir, verdict: Verdict, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> list[str]:
    """Keep a run that was just judged in the history of its runs folder; what the user should know of it.

    Never raises for want of the history: the run itself is whole.
    """
    try:
        history = RunHistory(runs_folder_of(run), busy_timeout_s=busy_timeout_s)
        history.record(row_of(run, verdict))
    except (UnavailableError, RunDataError) as error:
        return [f"this run is not in the history of runs: {error}"]
    return history.notes


def _broken(path: Path, busy_timeout_s: float) -> str | None:
    """Return why this file is no database any more; None if it is a database."""
    try:
        with closing(sqlite3.connect(path, timeout=busy_timeout_s)) as database:
            (said,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode in _BROKEN:
            return str(error)
        raise
    return None if said == "ok" else str(said)


def _fill(database: sqlite3.Connection, runs: Path, without: RunRow | None = None) -> Rebuilt:
    rows: list[RunRow] = []
    unjudged, broken = 0, []
    for run in find_runs(runs):
        try:
            row = read_row(run)
        except RunDataError as error:
            broken.append(str(error))
            continue
        if row is None:
            unjudged += 1
        elif without is None or row.run != without.run:
            rows.append(row)
    _write(database, rows)
    return Rebuilt(len(rows), unjudged, tuple(broken))


def _write(database: sqlite3.Connection, rows: Iterable[RunRow]) -> None:
    marks = ", ".join("?" * len(_COLUMNS))
    database.executemany(
        f"INSERT OR REPLACE INTO run ({', '.join(_COLUMNS)}) VALUES ({marks})",  # noqa: S608 - constants
        [dataclasses.astuple(row) for row in rows],
    )
