"""A trivial service and seed, to test the stack without the referrals service."""

import hashlib
import threading
from pathlib import Path

import psycopg2

from rushhour.scenario.model import Data, Load, Pool, Postgres, Scenario, Service, Target
from rushhour.stack import Progress

WSGI = """
import json, os

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(dict(os.environ)).encode()]
"""
ROWS = 100


class RowsSeeder:
    """Creates one table with a hundred rows, and counts how often it was asked to."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.fills = 0
        self.fault = fault
        self._lock = threading.Lock()

    def fingerprint(self, schema: Path, data: Data) -> str:
        return hashlib.sha256(schema.read_bytes() + repr(data).encode()).hexdigest()

    def fill(self, dsn: str, schema: Path, data: Data, progress: Progress) -> None:
        with self._lock:
            self.fills += 1
        if self.fault is not None:
            raise self.fault
        connection = psycopg2.connect(dsn)
        with connection, connection.cursor() as cursor:
            cursor.execute(schema.read_text())
            cursor.execute("INSERT INTO kept SELECT generate_series(1, %s)", (ROWS,))
        connection.close()


def quiet(step: str, done: float = 0, total: float | None = None, unit: str = "") -> None:
    """Progress that nobody looks at."""


def subject(
    root: Path,
    *,
    seed: int = 1,
    command: str = "{python} -m gunicorn --bind {host}:{port} --threads {threads} stack_wsgi:app",
    postgres: Postgres | None = None,
) -> Scenario:
    """A scenario around a service that answers every path with its own environment."""
    (root / "schema.sql").write_text("CREATE TABLE kept (id int PRIMARY KEY)")
    (root / "stack_wsgi.py").write_text(WSGI)
    return Scenario(
        name="subject",
        target=Target(
            name="subject",
            command=command,
            health="/health",
            releases=("1.0",),
            schema="schema.sql",
            environment={"PRIMARY": "{primary_url}", "REPLICA": "{replica_url}", "RELEASE": "{release}"},
            root=str(root),
        ),
        load=Load(users=1, duration=1.0),
        release="1.0",
        expect="healthy",
        data=Data(size="tiny", seed=seed),
        pool=Pool(size=5, max_overflow=2, timeout=1.5),
        service=Service(
            workers=1, threads=2, environment={"POOL": "{pool_size}+{max_overflow}/{pool_timeout}"}
        ),
        postgres=postgres or Postgres(max_connections=30),
    )
