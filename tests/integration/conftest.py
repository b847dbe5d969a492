"""Real servers for the integration tests; everything lies in one temporary cache, gone at the end."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rushhour.process.guard import Guard
from rushhour.stack.postgres.bare import BareServer, bare_server


@pytest.fixture(scope="session")
def cache() -> Iterator[Path]:
    """RUSHHOUR_CACHE for the session: a directory that PostgreSQL's account can enter, unlike pytest's."""
    path = Path(tempfile.mkdtemp(prefix="rushhour-tests-"))
    path.chmod(0o755)
    before = os.environ.get("RUSHHOUR_CACHE")
    os.environ["RUSHHOUR_CACHE"] = str(path)
    yield path
    if before is None:
        del os.environ["RUSHHOUR_CACHE"]
    else:
        os.environ["RUSHHOUR_CACHE"] = before
    shutil.rmtree(path)


@pytest.fixture(scope="session", autouse=True)
def _embedded() -> Iterator[None]:
    """These tests are of the embedded stack, also where an engine answers; tests/docker has the other's."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RUSHHOUR_STACK", "embedded")
        yield


@pytest.fixture(scope="session")
def guard() -> Iterator[Guard]:
    with Guard() as guard:
        yield guard


@pytest.fixture(scope="session")
def pg(guard: Guard, cache: Path) -> Iterator[BareServer]:
    """One server with an empty database: `dsn`, `role_dsn`, `url`, `port`, `bin`."""
    with bare_server(guard, cache) as server:
        yield server
