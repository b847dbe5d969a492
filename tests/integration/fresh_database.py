"""A database of its own on the shared server, so that tests do not meet each other's tables."""

import gc
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import make_dsn, parse_dsn

from rushhour.stack.postgres.bare import BareServer
from rushhour.stack.postgres.server import connected

SCHEMA = Path(__file__).parents[2] / "app" / "schema.sql"


@dataclass(frozen=True, slots=True)
class FreshDatabase:
    """`dsn` (libpq) and `url` (SQLAlchemy) are its owner's, who is no superuser."""

    dsn: str
    url: str

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of a query; none for a statement that returns nothing."""
        with connected(self.dsn) as connection, connection.cursor() as cursor:
            cursor.execute(query, values)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def fresh_database(server: BareServer) -> Iterator[FreshDatabase]:
    name = f"fresh_{uuid.uuid4().hex[:8]}"
    owner = parse_dsn(server.role_dsn)["user"]
    with connected(server.dsn) as admin, admin.cursor() as cursor:
        cursor.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(owner))
        )
        try:
            base, _, query = server.url.partition("?")
            yield FreshDatabase(
                dsn=make_dsn(server.role_dsn, dbname=name),
                url=f"{base.rpartition('/')[0]}/{name}" + (f"?{query}" if query else ""),
            )
        finally:
            gc.collect()  # sessions that threads left behind roll back now, not when their database is gone
            cursor.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
