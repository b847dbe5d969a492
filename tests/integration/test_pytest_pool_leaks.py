"""`pytest --pool-leaks` in a project of somebody else's, run as its own pytest."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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


PLUGIN = "rushhour.jobs.attach.pytest_plugin"


def run_pytest(
    folder: Path, *options: str, shop: str = SHOP, tests: str = TESTS
) -> subprocess.CompletedProcess[str]:
    (folder / "shop.py").write_text(shop)
    (folder / "test_shop.py").write_text(tests)
    (folder / "pytest.ini").write_text("[pytest]\n")
    plugins = ["-p", PLUGIN] if "--pool-leaks" in options else []
    # On a CI server pytest repeats each error in full in its summary.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTEST_") and name not in ("CI", "BUILD_NUMBER")
    }
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


def errors_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    lines = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("ERROR ")]
    return sorted(name.partition("::")[2] for name in lines)


def test_the_summary_adds_up_the_workers_of_xdist(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "-p", "xdist", "-n", "2", "--pool-leaks")
    assert errors_of(done) == ["test_drops", "test_last", "test_leaks"], done.stdout + done.stderr
    [summary] = [line for line in done.stdout.splitlines() if line.startswith("pool leaks:")]
    assert summary.startswith("pool leaks: 3 tests left connections out (")
    assert "sqlalchemy 2." in summary
    assert summary.endswith(", in 2 workers)")


def annotated(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stdout.splitlines() if line.startswith("::")]


@pytest.mark.parametrize(
    "workers", [(), pytest.param(("-p", "xdist", "-n", "2", "--dist", "loadfile"), marks=pytest.mark.long)]
)
def test_leaks_are_annotated_at_the_line_that_took_the_connection(
    workers: tuple[str, ...], tmp_path: Path
) -> None:
    options = ("--annotate", "github", "--annotate", "sarif=leaks.sarif")
    done = run_pytest(tmp_path, *workers, "--pool-leaks", *options)
    assert done.returncode == 1, done.stdout + done.stderr
    shop, tests = tmp_path / "shop.py", tmp_path / "test_shop.py"
    lines = {("shop.py", line_of(shop, "leak")), ("shop.py", line_of(shop, "dropped"))}
    lines |= {("test_shop.py", line_of(tests, "careless"))}
    found = [re.match(r"::error file=(.*?),line=(\d+),title=", line) for line in annotated(done)]
    assert {(item[1], int(item[2])) for item in found if item} == lines
    assert len(found) == 3
    results = json.loads((tmp_path / "leaks.sarif").read_text())["runs"][0]["results"]
    assert len(results) == 3


def test_without_a_leak_nothing_is_annotated_and_without_sqlalchemy_a_doubt(tmp_path: Path) -> None:
    clean = "import shop\n\ndef test_clean():\n    assert shop.items() == 1\n"
    done = run_pytest(tmp_path, "--pool-leaks", "--annotate", "github", tests=clean)
    assert (done.returncode, annotated(done)) == (0, [])
    done = run_pytest(tmp_path, "--pool-leaks", "--annotate", "github", tests="def test_none():\n    pass\n")
    (doubt,) = annotated(done)
    assert done.returncode == 0
    assert doubt.startswith("::warning title=pytest --pool-leaks%3A unknown::SQLAlchemy was never imported")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            ("--pool-leaks", "--annotate", "githbu"),
            "unknown format 'githbu'; known: github, gitlab, sarif, none",
        ),
        (("-p", PLUGIN, "--annotate", "github"), "--annotate needs --pool-leaks"),
    ],
)
def test_a_wrong_annotate_is_bad_usage(options: tuple[str, ...], problem: str, tmp_path: Path) -> None:
    done = run_pytest(tmp_path, *options)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert problem in done.stderr


def test_a_worker_of_xdist_that_dies_is_reported_as_unknown(tmp_path: Path) -> None:
    tests = "import os\ndef test_dies(): os._exit(3)\ndef test_lives(): pass\n"
    done = run_pytest(tmp_path, "-p", "xdist", "-n", "1", "--pool-leaks", tests=tests)
    assert "pool leaks: 1 workers ended early: their tests' connections are unknown" in done.stdout


XFAIL_TESTS = """
import pytest
import shop

@pytest.fixture
def broken():
    yield
    raise ValueError("teardown")

@pytest.mark.xfail
def test_fails_and_leaks():
    test_fails_and_leaks.kept = shop.engine.connect()
    raise ValueError

@pytest.mark.xfail(strict=False)
def test_passes_and_leaks():
    test_passes_and_leaks.kept = shop.engine.connect()

@pytest.mark.xfail
def test_leaks_and_its_teardown_fails(broken):
    test_leaks_and_its_teardown_fails.kept = shop.engine.connect()

@pytest.mark.xfail
def test_only_fails():
    raise ValueError

@pytest.mark.xfail
@pytest.mark.allow_pool_leaks
def test_may_leak():
    test_may_leak.kept = shop.engine.connect()
    raise ValueError
"""


def test_a_leak_in_an_xfail_test_is_an_error(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "--pool-leaks", tests=XFAIL_TESTS)
    assert errors_of(done) == [
        "test_fails_and_leaks",
        "test_leaks_and_its_teardown_fails",
        "test_passes_and_leaks",
    ], done.stdout + done.stderr
    assert done.returncode == 1
    assert done.stdout.count("after this test 1 pool connection still out") == 3


FIXTURE_TESTS = """
import pytest, unittest
import shop
from shop import Session

class Repository:
    def __init__(self):
        self.session = Session()

@pytest.fixture(scope="module")
def session():
    session = Session()
    yield session
    session.close()

@pytest.fixture(scope="session")
def scoped():
    yield shop.reporting
    shop.reporting.remove()

@pytest.fixture(scope="module")
def repository():
    made = Repository()
    yield lambda: made.session
    made.session.close()

@pytest.fixture(scope="module", autouse=True)
def hidden():
    kept = []
    hidden_ones.append(kept.append)
    yield
    [session.close() for session in kept]

hidden_ones = []

@pytest.fixture(scope="module")
def forgets():
    yield Session()

def use(session):
    assert session.execute(shop.text("select 1")).scalar() == 1  # use

def test_session(session): use(session)
def test_scoped(scoped): use(scoped)
def test_repository(repository): use(repository())
def test_hidden():
    one = Session()
    hidden_ones[0](one)
    use(one)

class TestCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls): cls.session = Session()
    @classmethod
    def tearDownClass(cls): cls.session.close()
    def test_of_a_class(self): use(self.session)

class TestPlain:
    def setup_class(cls): cls.session = Session()
    def teardown_class(cls): cls.session.close()
    def test_of_a_plain_class(self): use(self.session)

def setup_module(): global of_module; of_module = Session()
def teardown_module(): of_module.close()
def test_of_the_module(): use(of_module)

def test_leaks_of_its_own(session):
    test_leaks_of_its_own.kept = Session()
    use(test_leaks_of_its_own.kept)

def test_forgetful_fixture(forgets): use(forgets)
def test_last(session): use(session)
"""


def test_a_connection_that_a_wider_fixture_closes_is_the_fixtures(tmp_path: Path) -> None:
    shop = SHOP.replace("def items", "Session = sessionmaker(bind=engine)\n\ndef items")
    done = run_pytest(tmp_path, "--pool-leaks", shop=shop, tests=FIXTURE_TESTS)
    assert errors_of(done) == ["test_last", "test_leaks_of_its_own"], done.stdout + done.stderr
    late = "fixture forgets (module) has been torn down, and 1 pool connection still out"
    assert done.stdout.count("still out") == 2
    assert late in done.stdout
    assert f"taken at test_shop.py:{line_of(tmp_path / 'test_shop.py', 'use')} use" in done.stdout


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


JOB_TESTS = """
import asyncio
from concurrent.futures import ThreadPoolExecutor
import shop

jobs = ThreadPoolExecutor(1)

def test_a_job_leaves_it_out():
    assert jobs.submit(shop.report).result() == 1

def test_a_job_hands_it_on():
    connection = jobs.submit(shop.engine.connect).result()
    connection.close()

def test_a_task_hands_it_on():
    async def main():
        connection = await asyncio.to_thread(shop.engine.connect)
        connection.close()
    asyncio.run(main())
"""


def test_a_job_of_an_executor_that_leaves_one_out_fails_its_test(tmp_path: Path) -> None:
    shop = SHOP.replace(
        '"sqlite:///shop.db"', '"sqlite:///shop.db", connect_args={"check_same_thread": False}'
    )
    done = run_pytest(tmp_path, "--pool-leaks", shop=shop, tests=JOB_TESTS)
    assert errors_of(done) == ["test_a_job_leaves_it_out"], done.stdout + done.stderr
    assert f"taken at shop.py:{line_of(tmp_path / 'shop.py', 'leak')} report" in done.stdout
