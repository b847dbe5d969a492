"""The service under gunicorn, as it is deployed: the incident's error reaches the client and the log."""

import http.client
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from rushhour.process.child import Child, start
from rushhour.process.guard import Guard
from rushhour.process.ports import HOST
from rushhour.scenario.model import Data
from rushhour.stack.postgres.bare import BareServer
from rushhour.stack.postgres.seeding import seed
from tests.free_ports import free_port
from tests.integration.fresh_database import SCHEMA, fresh_database

ROOT = Path(__file__).parents[2]
AT_ONCE = 8
DEADLINE_S = 120
LIMIT = "QueuePool limit of size 1 overflow 0 reached, connection timed out, timeout 0.30"


def get(port: int, path: str) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection(HOST, port, timeout=DEADLINE_S)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


@pytest.fixture
def service(pg: BareServer, guard: Guard, tmp_path: Path) -> Iterator[tuple[Child, int]]:
    """Release 1.1 with one connection to each database, and the port it listens on."""
    port = free_port()
    with fresh_database(pg) as database:
        seed.fill(database.dsn, SCHEMA, Data(size="tiny"), lambda *_: None)
        child = start(
            guard,
            "service",
            [
                *(sys.executable, "-m", "gunicorn", "app:create_app()", f"--bind={HOST}:{port}"),
                *("--worker-class=gthread", f"--threads={AT_ONCE}", "--graceful-timeout=1"),
            ],
            log=tmp_path / "service.log",
            environment={
                "PATH": os.environ["PATH"],
                "REFERRALS_RELEASE": "1.1",
                "REFERRALS_PRIMARY_URL": database.url,
                "REFERRALS_REPLICA_URL": database.url,
                "REFERRALS_POOL_SIZE": "1",
                "REFERRALS_MAX_OVERFLOW": "0",
                "REFERRALS_POOL_TIMEOUT": "0.3",
            },
            cwd=ROOT,
        )
        try:
            child.wait_until("health to answer 200", lambda: not_well(port), DEADLINE_S)
            yield child, port
        finally:
            child.stop(grace_s=3)


def not_well(port: int) -> str | None:
    try:
        status, body = get(port, "/health")
    except OSError as error:
        return str(error)
    return None if status == 200 else f"{status} {body!r}"


def test_the_incident_reaches_client_and_log(service: tuple[Child, int]) -> None:
    child, port = service
    assert get(port, "/customers/1/referrals")[0] == 200  # a tester alone sees nothing
    failed: list[bytes] = []
    began_s = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as customers:
        while not failed:
            assert time.monotonic() - began_s < DEADLINE_S, "no request failed"
            answers = customers.map(lambda _: get(port, "/customers/1/referrals"), range(AT_ONCE))
            failed = [body for status, body in answers if status == 500]
    assert json.loads(failed[0]) == {
        "error": "internal server error",
        "type": "sqlalchemy.exc.TimeoutError",
    }
    assert child.log is not None
    log = child.log.read_text()
    assert LIMIT in log
    assert "Exception on /customers/1/referrals [GET]" in log
    assert 'app/referrals.py", line' in log
