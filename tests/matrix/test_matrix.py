"""Services in environments of their own, with the agent in them: `make test-matrix`.

Each case is a virtual environment, a service with one leak and a server. It is asked a few times; then what
`rushhour agent exec` says of it is held against what was asked. What was seen goes to .cache/matrix/seen,
from where `python -m tests.matrix.table` makes the table of docs/matrix.md.
"""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rushhour.stack.postgres.bare import BareServer
from tests.free_ports import free_port
from tests.matrix.cases import CASES, ROUTELESS, Case
from tests.matrix.environments import CACHE, ROOT, environment_of, interpreter_of, versions_of

DEADLINE_S = 120.0
LEAKS = 3  # before a reload, and after it
TOGETHER = 4  # requests at once, until every process has answered one


@dataclass(slots=True)
class Asked:
    """Requests that were answered, by the number of the process that did."""

    port: int
    items: Counter[int] = field(default_factory=Counter)
    leaks: Counter[int] = field(default_factory=Counter)

    def item(self, at_once: int) -> None:
        """The clean endpoint; where nobody listens yet, it does not count."""
        with ThreadPoolExecutor(at_once) as threads:
            pids = list(threads.map(self._ask, ["/items/1"] * at_once))
        self.items.update(pid for pid in pids if pid is not None)

    def leak(self) -> int:
        """The process that has one more of its connections out now."""
        pid = self._ask("/leak/1")
        assert pid is not None
        self.leaks[pid] += 1
        return pid

    def agrees(self, checkouts: int, leaks: int) -> bool:
        return (checkouts, leaks) == (self.items.total() + self.leaks.total(), self.leaks.total())

    def _ask(self, path: str) -> int | None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read().decode()
        except OSError:
            return None
        finally:
            connection.close()
        assert answer.status == http.client.OK, body
        return int(body)


@pytest.fixture
def database(case: Case, request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """SQLAlchemy's URL of the case's database, and the name under which the agent should know its pool."""
    if case.driver in {"SQLite", "aiosqlite"}:
        scheme = "sqlite" if case.driver == "SQLite" else "sqlite+aiosqlite"
        return f"{scheme}:///{tmp_path}/service.db", "service.db"
    if case.driver == "PyMySQL":
        port = request.getfixturevalue("mariadb_port")
        return f"mysql+pymysql://anyone@127.0.0.1:{port}/service", f"127.0.0.1:{port}/service"
    server: BareServer = request.getfixturevalue("postgres")
    at = server.url.partition("://")[2].partition("?")[0]  # beyond it are options of libpq, for which asyncpg
    address = at.rpartition("@")[2]  # has other names
    return f"postgresql+{case.driver.removesuffix(' async')}://{at}", address


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_leak_is_named(case: Case, database: tuple[str, str], tmp_path: Path) -> None:
    interpreter = None
    if case.python is not None and (interpreter := interpreter_of(case.python)) is None:
        pytest.skip(
            f"no Python {case.python} on PATH or in pyenv: install it, as by `pyenv install {case.python}`"
        )
    programs, asked = environment_of(case.packages, interpreter), Asked(free_port())
    url, pool_name = database
    source = tmp_path / "service.py"
    source.write_text(case.service)
    line = 1 + next(number for number, text in enumerate(case.service.splitlines()) if "# leak" in text)
    log, agent_dir = tmp_path / "log", tmp_path / "agent"
    with exec_with_agent(case, programs, asked.port, url, log) as service:

        def until(what: str, condition: Callable[[], bool]) -> None:
            deadline = time.monotonic() + DEADLINE_S
            while not condition():
                assert time.monotonic() < deadline, (
                    f"not within {DEADLINE_S:g} s: {what}; it has {counted(agent_dir)}\n{log.read_text()}"
                )
                assert service.poll() is None, log.read_text()
                time.sleep(0.05)

        def serves_and_leaks(before: set[int]) -> None:
            def all_serve() -> bool:
                asked.item(1 if case.workers == 1 else TOGETHER)
                return len(set(asked.items) - before) == case.workers

            until("every process serves", all_serve)
            assert {asked.leak() for _ in range(LEAKS)} <= set(asked.items) - before
            until(f"the agent has counted {asked}", lambda: asked.agrees(*counted(agent_dir)))

        serves_and_leaks(set())
        if case.reloads:
            before = processes_with_a_pool(agent_dir)
            source.write_text(case.service + "\n# another release\n")
            # The old process has ended by then. Asked while it ends, it may count what it does not answer.
            until("another process begins", lambda: bool(processes_with_a_pool(agent_dir) - before))
            serves_and_leaks(set(asked.items))
        until("the leak is told while it lasts", lambda: "LEAK" in log.read_text())
        service.send_signal(signal.SIGTERM)
        service.wait(DEADLINE_S)
    found = json.loads((tmp_path / "found.json").read_text())
    check(case, found, asked, pool_name, line)
    text = log.read_text()
    assert "Traceback" not in text, text
    remember(case, programs, found)


def test_an_older_sqlalchemy_is_named_and_left_alone(tmp_path: Path) -> None:
    programs = environment_of(("sqlalchemy==1.4.23",))
    work = (
        "from sqlalchemy import create_engine, text; "
        "print(create_engine('sqlite://').connect().execute(text('select 41 + 1')).scalar())"
    )
    ended = subprocess.run(
        [sys.executable, "-m", "rushhour", "agent", "exec", "--", str(programs / "python"), "-c", work],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "42\n")
    assert "cannot watch this SQLAlchemy" in ended.stderr
    assert "SQLAlchemy 1.4.23 is older than 1.4.24: its pools are not seen" in ended.stderr


def check(case: Case, found: dict[str, Any], asked: Asked, pool_name: str, line: int) -> None:
    """All that was asked was seen, and nothing else is blamed."""
    assert found["agent_faults"] == []
    [held] = found["held"]  # the clean endpoint is not among them
    assert held["site"] == {"file": "service.py", "line": line, "function": held["site"]["function"]}
    assert (held["leaked"], held["outlived"], held["long"]) == (asked.leaks.total(), asked.leaks.total(), 0)
    assert held["endpoint"] == (None if case.framework in ROUTELESS else "GET /leak/:number")
    assert held["pool"] == pool_name
    assert dict(found["libraries"])["Python"].startswith(case.python or "3.")
    assert dict(found["libraries"])["SQLAlchemy"].startswith(case.sqlalchemy.removesuffix("*"))
    [pool] = found["pools"]
    assert (pool["pool"], pool["size"], pool["max_overflow"], pool["timeouts"]) == (pool_name, 5, 10, 0)
    assert pool["kind"] == ("AsyncAdaptedQueuePool" if case.is_async else "QueuePool")
    assert pool["processes"] >= len(asked.items)  # a master or a reloader may have made the engine too
    assert asked.agrees(pool["checkouts"], held["leaked"]), (pool, asked)
    at_once = 1 if case.workers == 1 else TOGETHER
    assert 0 <= pool["checked_out_max"] - max(asked.leaks.values()) <= at_once


def counted(agent_dir: Path) -> tuple[int, int]:
    """Check-outs and leaks, as the newest samples of all processes say."""
    checkouts = leaks = 0
    for file in agent_dir.glob("*.jsonl"):
        rows: list[list[float]] = []
        for text in file.read_text().splitlines(keepends=True):
            if text.startswith('{"k":"sample"') and text.endswith("\n"):
                rows = json.loads(text)["pools"]
        for row in rows:  # as agent/tally.py writes them
            leaks += int(row[7])
            checkouts += int(row[10])
    return checkouts, leaks


def processes_with_a_pool(agent_dir: Path) -> set[str]:
    return {file.stem for file in agent_dir.glob("*.jsonl") if '{"k":"pool"' in file.read_text()}


@contextmanager
def exec_with_agent(
    case: Case, programs: Path, port: int, url: str, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """`rushhour agent exec` of the case's server, from the service's own folder."""
    folder = log.parent
    options = ["--json", "found.json", "--keep", "agent", "--long-hold", "60s"]
    command = case.command.format(bin=programs, port=port).split()
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "DATABASE_URL": url, "PYTHONDONTWRITEBYTECODE": "1"}
    with log.open("w") as output:
        service = subprocess.Popen(
            [sys.executable, "-m", "rushhour", "agent", "exec", *options, "--", *command],
            cwd=folder,
            env=settings,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield service
    finally:
        service.kill()
        service.wait()


def remember(case: Case, programs: Path, found: dict[str, Any]) -> None:
    """For the table."""
    seen = CACHE / "seen"
    seen.mkdir(parents=True, exist_ok=True)
    content = {
        "case": asdict(case),
        "python": dict(found["libraries"])["Python"],
        "versions": versions_of(programs),
        "leaks": found["leaks"],
        "processes": found["pools"][0]["processes"],
        "checkouts": found["pools"][0]["checkouts"],
        "endpoint": found["held"][0]["endpoint"],
    }
    (seen / f"{programs.parent.name}-{CASES.index(case):02}.json").write_text(json.dumps(content) + "\n")
