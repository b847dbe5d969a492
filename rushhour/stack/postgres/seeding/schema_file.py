"""A schema file's statements, sorted into the order that a bulk load wants."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rushhour.errors import UsageError

_KNOWN: Final = "CREATE TABLE, CREATE INDEX, ALTER TABLE ... ADD CONSTRAINT"
_COMMENT: Final = re.compile(r"--[^\n]*")
_STATEMENT: Final = re.compile(
    r"CREATE\s+TABLE\s+(?P<created>\w+)\s*\("
    r"|ALTER\s+TABLE\s+(?P<altered>\w+)\s+ADD\s+CONSTRAINT\s+(?P<constraint>\w+)\s+(FOREIGN\s+KEY\s*\([^)]*\)\s+REFERENCES\s+(?P<target>\w+)|(PRIMARY|UNIQUE|CHECK)\b)"
    r"|CREATE\s+(UNIQUE\s+)?INDEX\s+\w+\s+ON\s+(?P<indexed>\w+)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class TableSchema:
    """How one table is made: before its rows, and after them."""

    create: str
    keys: tuple[str, ...]  # primary key and indexes


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key, what checks it where it was added unchecked, and the tables to fill before."""

    statement: str
    check: str
    tables: frozenset[str]


@dataclass(frozen=True, slots=True)
class Schema:
    """All of a schema file."""

    tables: dict[str, TableSchema]
    references: tuple[Reference, ...]


def read_schema(path: Path) -> Schema:
    """Read a file of CREATE TABLE, CREATE INDEX and ALTER TABLE ... ADD CONSTRAINT; semicolons end them.

    Raises UsageError that names every other statement, OSError when the file cannot be read.
    """
    create: dict[str, str] = {}
    keys: dict[str, list[str]] = {}
    references: list[Reference] = []
    problems: list[str] = []
    for line, statement in _statements(path.read_text(encoding="utf-8")):
        match = _STATEMENT.match(statement)
        if match is None:
            first = statement.splitlines()[0]
            problems.append(f"{path}:{line}: {first!r} is none of {_KNOWN}")
        elif match["created"]:
            create[match["created"]] = statement
        elif (table := match["altered"] or match["indexed"]) not in create:
            problems.append(f"{path}:{line}: no CREATE TABLE {table} before this statement")
        elif match["target"]:
            check = f"ALTER TABLE {table} VALIDATE CONSTRAINT {match['constraint']}"
            references.append(Reference(statement, check, frozenset((table, match["target"]))))
        else:
            keys.setdefault(table, []).append(statement)
    if problems:
        raise UsageError(problems)
    tables = {name: TableSchema(made, tuple(keys.get(name, ()))) for name, made in create.items()}
    return Schema(tables, tuple(references))


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield each statement with its line."""
    # A comment becomes blanks, so that every offset, and with it the line, stays as it is in the file.
    text = _COMMENT.sub(lambda comment: " " * len(comment[0]), text)
    for part in re.finditer(r"[^;\s][^;]*", text):
        yield text.count("\n", 0, part.start()) + 1, part[0].rstrip()
