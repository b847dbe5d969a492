"""`pytest --pool-leaks` in a project of somebody else's, run as its own pytest."""

import os
import subprocess
import sys
from pathlib import Path

from tests.integration.agent_subject import DEADLINE_S, line_of

SHOP = """
from sqlalchemy import create_engine, text
from sqlalchemy.orm import scoped_session, sessionmaker

engine = create_engine("sqlite:///shop.db")
reporting = scoped_session(sessionmaker(bind=engine))

def items():
    with engine.connect() as connection:
        return connection.execute(text("select 1")).scalar()

def report():
    return reporting.execute(text("select 1")).scalar()  # leak

def dropped():
    return sessionmaker(bind=engine)().execute(text("select 1")).scalar()  # dropped
"""
TESTS = """
import pytest
import shop

@pytest.fixture(scope="module")
def connection():
    with shop.engine.connect() as one:
        yield one

@pytest.fixture(scope="module")
def careless():
    return shop.engine.connect()  # careless

@pytest.fixture
def session():
    session = shop.sessionmaker(bind=shop.engine)()
    yield session
    session.close()

def test_clean(connection, session):
    session.execute(shop.text("select 1"))
    assert shop.items() == 1

def test_leaks(connection):
    assert shop.report() == 1  # caller

def test_after_the_leak_is_not_blamed(connection):
    assert shop.items() == 1

def test_drops():
    assert shop.dropped() == 1

@pytest.mark.allow_pool_leaks
def test_may():
    test_may.kept = shop.engine.connect()

def test_last(careless):
    assert shop.items() == 1
"""


def run_pytest(
    folder: Path, *options: str, shop: str = SHOP, tests: str = TESTS
) -> subprocess.CompletedProcess[str]:
    (folder / "shop.py").write_text(shop)
    (folder / "test_shop.py").write_text(tests)
    (folder / "pytest.ini").write_text("[pytest]\n")
    plugins = ["-p", "rushhour.jobs.attach.pytest_plugin"] if "--pool-leaks" in options else []
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *plugins, *options, "test_shop.py"],
        cwd=folder,
        env=environment
        | {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def test_a_test_that_leaves_a_connection_out_fails_with_the_line(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "--pool-leaks")
    shop, tests = tmp_path / "shop.py", tmp_path / "test_shop.py"
    assert done.returncode == 1, done.stdout + done.stderr
    assert "6 passed, 3 errors" in done.stdout
    failed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("ERROR ")]
    assert failed == [f"test_shop.py::{name}" for name in ("test_leaks", "test_drops", "test_last")]
    assert f"taken at shop.py:{line_of(shop, 'leak')} report" in done.stdout
    assert f"called from test_shop.py:{line_of(tests, 'caller')} test_leaks" in done.stdout
    assert "1 pool connection came back by garbage collection alone" in done.stdout
    assert f"taken at shop.py:{line_of(shop, 'dropped')} dropped" in done.stdout
    assert "fixture careless (module) has been torn down, and 1 pool connection still out" in done.stdout
    assert f"taken at test_shop.py:{line_of(tests, 'careless')} careless" in done.stdout
    assert "pool leaks: 3 tests left connections out" in done.stdout


ASYNC_SHOP = """
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

engine = create_engine("sqlite:///shop.db")
engine.dialect.is_async = True
engine = AsyncEngine(engine)

async def dropped():
    return not (await AsyncSession(engine).connection()).closed  # dropped

async def closed():
    async with AsyncSession(engine) as session:
        return not (await session.connection()).closed
"""
ASYNC_TESTS = """
import asyncio, shop

def test_drops():
    assert asyncio.run(shop.dropped())

def test_closes():
    assert asyncio.run(shop.closed())
"""


def test_a_dropped_async_session_fails_its_test(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "--pool-leaks", shop=ASYNC_SHOP, tests=ASYNC_TESTS)
    assert "ERROR test_shop.py::test_drops" in done.stdout, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert "pool leaks: 1 tests left connections out" in done.stdout
    assert "1 pool connection came back by garbage collection alone" in done.stdout
    assert f"taken at shop.py:{line_of(tmp_path / 'shop.py', 'dropped')} dropped" in done.stdout


def test_without_the_option_nothing_is_patched(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "import sqlalchemy.pool as pool\n"
        "def pytest_unconfigure(): assert 'sqlalchemy_pools' not in pool.Pool.connect.__code__.co_filename\n"
        "pytest_plugins = ['rushhour.jobs.attach.pytest_plugin']\n"
        "def pytest_configure(config): config.addinivalue_line('markers', 'allow_pool_leaks')\n"
    )
    done = run_pytest(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout
