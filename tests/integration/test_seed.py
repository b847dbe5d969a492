"""Seeding on a real server: all rows, all keys, ready for queries; and stopped in the middle."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from rushhour.process.waiting import came_true
from rushhour.scenario.model import Data
from rushhour.stack.postgres.bare import BareServer
from rushhour.stack.postgres.seeding import seed
from rushhour.stack.postgres.seeding.copy_binary import Kind
from rushhour.stack.postgres.seeding.dataset import referrals_of
from rushhour.stack.postgres.seeding.tables import COLUMNS, tables
from tests.integration.fresh_database import SCHEMA, FreshDatabase, fresh_database

TINY = Data(size="tiny")
DEADLINE_S = 60.0


class Seen:
    """What was told of the progress."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, float, float | None, str]] = []
        self.threads: set[str] = set()

    def __call__(self, step: str, done: float = 0, total: float | None = None, unit: str = "") -> None:
        self.steps.append((step, done, total, unit))
        self.threads.add(threading.current_thread().name)


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Seen()


@pytest.fixture(scope="module")
def filled(pg: BareServer, seen: Seen) -> Iterator[FreshDatabase]:
    with fresh_database(pg) as database:
        seed.fill(database.dsn, SCHEMA, TINY, seen)
        yield database


@pytest.fixture
def empty(pg: BareServer) -> Iterator[FreshDatabase]:
    with fresh_database(pg) as database:
        yield database


def public_tables(database: FreshDatabase) -> list[str]:
    found = database.rows("SELECT relname FROM pg_stat_user_tables ORDER BY 1")
    return [name for (name,) in found]


def content(database: FreshDatabase, name: str) -> str:
    """A hash over a table's rows, whatever their order."""
    [(found,)] = database.rows(
        f"SELECT md5(string_agg(row, '|' ORDER BY row)) FROM (SELECT t::text AS row FROM {name} t) rows"  # noqa: S608  # names are ours
    )
    return str(found)


def test_every_row_is_there(filled: FreshDatabase) -> None:
    for table in tables(TINY):
        [(count,)] = filled.rows(f"SELECT count(*) FROM {table.name}")  # noqa: S608  # names are ours
        assert count == table.row_count


def test_rows_are_read_back_as_they_were_made(filled: FreshDatabase) -> None:
    assert filled.rows("SELECT email, display_name, tier FROM customers WHERE id = 1") == [
        ("c1@example.test", "customer 1", "gold")
    ]
    assert filled.rows("SELECT min(created_at)::text FROM referrals") == [("2023-01-01 00:00:00+00",)]
    [(count,)] = filled.rows("SELECT count(*) FROM referrals WHERE customer_id = 1")
    assert count == referrals_of(1) == 60
    assert filled.rows("SELECT step, status FROM status_events WHERE referral_id = 1 ORDER BY step")[0] == (
        1,
        "invited",
    )


def test_column_kinds_are_those_of_the_schema(filled: FreshDatabase) -> None:
    names: dict[str, Kind] = {
        "bigint": "int8",
        "integer": "int4",
        "text": "text",
        "timestamp with time zone": "timestamptz",
    }
    found: dict[str, dict[str, Kind]] = {}
    for table, column, data_type in filled.rows(
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = 'public' ORDER BY ordinal_position"
    ):
        found.setdefault(table, {})[column] = names[data_type]
    assert found == COLUMNS


def test_keys_and_foreign_keys_are_there_and_checked(filled: FreshDatabase) -> None:
    assert filled.rows(
        "SELECT contype, count(*), bool_and(convalidated) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace AND contype IN ('p', 'f') GROUP BY 1 ORDER BY 1"
    ) == [("f", 6, True), ("p", 7, True)]
    assert filled.rows("SELECT count(*) FROM pg_indexes WHERE schemaname = 'public'") == [(10,)]


def test_nothing_is_left_to_vacuum_and_the_first_plan_knows_the_tables(filled: FreshDatabase) -> None:
    for table in tables(TINY):
        [(tuples, visible)] = filled.rows(
            "SELECT reltuples, relallvisible FROM pg_class WHERE oid = %s::regclass", table.name
        )
        [(pages,)] = filled.rows(f"SELECT count(DISTINCT (ctid::text::point)[0]) FROM {table.name}")  # noqa: S608  # names are ours
        assert (tuples, visible) == (table.row_count, pages)
    plan = filled.rows("EXPLAIN SELECT count(*), max(created_at) FROM referrals WHERE customer_id = 1")
    assert "Index Only Scan using referrals_customer_id_created_at_idx" in str(plan)


def test_the_services_own_rows_follow_the_seeded_ones(filled: FreshDatabase) -> None:
    for name in ("customers", "referrals", "rewards", "campaigns", "products"):
        [(last, following)] = filled.rows(
            f"SELECT max(id), nextval(pg_get_serial_sequence('{name}', 'id')) FROM {name}"  # noqa: S608  # names are ours
        )
        assert following == last + 1


def test_progress_counts_every_row_and_comes_from_the_caller(filled: FreshDatabase, seen: Seen) -> None:
    total = float(sum(table.row_count for table in tables(TINY)))
    assert seen.steps[-1] == ("fill tables", total, total, "rows")
    done = [step[1] for step in seen.steps]
    assert done == sorted(done)
    assert seen.threads == {threading.current_thread().name}


def test_the_same_seed_is_the_same_content_and_another_is_not(
    filled: FreshDatabase, empty: FreshDatabase, pg: BareServer
) -> None:
    seed.fill(empty.dsn, SCHEMA, TINY, Seen())
    with fresh_database(pg) as other:
        seed.fill(other.dsn, SCHEMA, Data(size="tiny", seed=2), Seen())
        for name in ("referrals", "status_events", "payouts"):
            assert content(empty, name) == content(filled, name)
            assert content(other, name) != content(filled, name)


def test_an_error_on_the_server_is_raised_and_leaves_no_thread(empty: FreshDatabase) -> None:
    empty.rows("CREATE TABLE status_events (in_the_way int)")
    with pytest.raises(psycopg2.errors.DuplicateTable, match="status_events"):
        seed.fill(empty.dsn, SCHEMA, TINY, Seen())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lane")]


def test_ctrl_c_stops_every_lane_and_what_was_not_finished_is_gone(empty: FreshDatabase) -> None:
    class Interrupt(Seen):
        def __call__(self, step: str, done: float = 0, total: float | None = None, unit: str = "") -> None:
            super().__call__(step, done, total, unit)
            if done:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seed.fill(empty.dsn, SCHEMA, Data(size="medium"), Interrupt())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lane")]
    assert "status_events" not in public_tables(empty)  # the largest, begun first, ended last
    backends = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    assert came_true(lambda: empty.rows(backends) == [(1,)], DEADLINE_S)  # each ends after its connection


def test_a_schema_that_is_not_there(empty: FreshDatabase, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        seed.fill(empty.dsn, tmp_path / "none.sql", TINY, Seen())


def test_the_locustfile_draws_the_customers_that_are_seeded() -> None:
    """It keeps a copy of the skew, so that it runs with stock Locust and nothing of rushhour."""
    program = (
        "import random\n"
        "from {module} import draw_customer, referrals_of\n"
        "rng = random.Random(5)\n"
        "print([referrals_of(n) for n in range(1, 3001)], [draw_customer(rng, 10_000) for _ in range(500)])\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program.format(module=module)],
            cwd=SCHEMA.parents[1],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        for module in ("rushhour.stack.postgres.seeding.dataset", "locustfiles.referrals")
    ]
    assert said[0] == said[1] != ""
