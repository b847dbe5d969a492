"""The schema file, sorted for a bulk load; what is wrong with it is told with file and line."""

from pathlib import Path

import pytest

from rushhour.errors import UsageError
from rushhour.scenario.model import Data
from rushhour.stack.postgres.seeding import seed
from rushhour.stack.postgres.seeding.schema_file import read_schema
from rushhour.stack.postgres.seeding.tables import COLUMNS

SCHEMA = Path(__file__).parents[2] / "app" / "schema.sql"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "schema.sql"
    path.write_text(text)
    return path


def no_progress(step: str, done: float = 0, total: float | None = None, unit: str = "") -> None:
    raise AssertionError(f"nothing is done with a schema that does not fit, not even {step}")


def test_statements_are_sorted(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "-- a comment; with a semicolon\n"
        "create table a (id int NOT NULL); -- another\n"
        "CREATE TABLE b (id int NOT NULL, a_id int);\n"
        "ALTER TABLE b ADD CONSTRAINT b_fkey\n    FOREIGN KEY (a_id) REFERENCES a (id);\n"
        "ALTER TABLE a ADD CONSTRAINT a_pkey PRIMARY KEY (id);\n"
        "CREATE UNIQUE INDEX b_idx ON b (a_id);\n",
    )
    schema = read_schema(path)
    assert schema.tables["a"].create == "create table a (id int NOT NULL)"
    assert schema.tables["a"].keys == ("ALTER TABLE a ADD CONSTRAINT a_pkey PRIMARY KEY (id)",)
    assert schema.tables["b"].keys == ("CREATE UNIQUE INDEX b_idx ON b (a_id)",)
    [reference] = schema.references
    assert reference.tables == {"a", "b"}
    assert "FOREIGN KEY (a_id)" in reference.statement


def test_every_problem_is_reported_with_its_line(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "CREATE TABLE a (id int);\n\nDROP TABLE a;\n"
        "CREATE INDEX c_idx ON c (id);\nCREATE VIEW v AS\n  SELECT 1;\n",
    )
    with pytest.raises(UsageError) as raised:
        read_schema(path)
    known = "CREATE TABLE, CREATE INDEX, ALTER TABLE ... ADD CONSTRAINT"
    assert raised.value.problems == (
        f"{path}:3: 'DROP TABLE a' is none of {known}",
        f"{path}:4: no CREATE TABLE c before this statement",
        f"{path}:5: 'CREATE VIEW v AS' is none of {known}",
    )


def test_a_schema_that_does_not_fit_the_data_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    path = written(tmp_path, "CREATE TABLE customers (id bigint);\nCREATE TABLE orders (id bigint);\n")
    with pytest.raises(UsageError) as raised:
        seed.fill("host=nowhere.invalid", path, Data(size="tiny"), no_progress)
    missing = sorted(set(COLUMNS) - {"customers"})
    assert raised.value.problems[:-1] == tuple(
        f"{path}: no CREATE TABLE {name}, which the data has rows for" for name in missing
    )
    assert raised.value.problems[-1].startswith(f"{path}: table orders is not one that the data has rows for")


def test_the_services_schema_has_a_table_for_all_rows() -> None:
    assert set(read_schema(SCHEMA).tables) == set(COLUMNS)


def test_fingerprint_follows_schema_size_and_seed(tmp_path: Path) -> None:
    path = written(tmp_path, SCHEMA.read_text())
    prints = {
        seed.fingerprint(SCHEMA, Data(size="tiny")),
        seed.fingerprint(SCHEMA, Data(size="small")),
        seed.fingerprint(SCHEMA, Data(size="tiny", seed=2)),
    }
    assert len(prints) == 3
    assert seed.fingerprint(path, Data(size="tiny")) in prints
    path.write_text(SCHEMA.read_text() + "-- a change\n")
    assert seed.fingerprint(path, Data(size="tiny")) not in prints


def test_fingerprint_of_a_missing_schema(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        seed.fingerprint(tmp_path / "none.sql", Data())
