"""Services in environments of their own, with the agent in them: `make test-matrix`.

Each case is a virtual environment that uv builds from wheels, a service with one leak and a server. Asked is
what `rushhour agent exec` says of it: the line, the endpoint, the versions.
"""

import hashlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from rushhour.stack.ports import free_port
from tests.matrix.services import FASTAPI, FLASK, FLASK_SQLALCHEMY

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "matrix"
BUILD_S, DEADLINE_S = 120.0, 20.0
GUNICORN = "{bin}/gunicorn service:app --bind 127.0.0.1:{port} --no-control-socket --graceful-timeout 1"


@dataclass(frozen=True, slots=True)
class Case:
    """One row of docs/matrix.md."""

    name: str
    packages: tuple[str, ...]
    service: str
    command: str
    sqlalchemy: str  # what its version starts with


CASES = (
    Case(
        "sqlalchemy-1.4, gunicorn sync",
        ("sqlalchemy==1.4.*", "flask", "gunicorn"),
        FLASK,
        GUNICORN,
        "1.4.",
    ),
    Case(
        "sqlalchemy-2.0, flask-sqlalchemy, gunicorn gthread",
        ("sqlalchemy==2.0.*", "flask", "flask-sqlalchemy", "gunicorn"),
        FLASK_SQLALCHEMY,
        f"{GUNICORN} --threads 4",
        "2.0.",
    ),
    Case(
        "sqlalchemy-2.1, gunicorn gthread, preload, two workers",
        ("sqlalchemy==2.1.*", "flask", "gunicorn"),
        FLASK,
        f"{GUNICORN} --threads 4 --workers 2 --preload",
        "2.1.",
    ),
    Case(
        "sqlalchemy-2.1, gunicorn gevent",
        ("sqlalchemy==2.1.*", "flask", "gunicorn[gevent]"),
        FLASK,
        f"{GUNICORN} --worker-class gevent",
        "2.1.",
    ),
    Case(
        "sqlalchemy-2.1, waitress",
        ("sqlalchemy==2.1.*", "flask", "waitress"),
        FLASK,
        "{bin}/waitress-serve --listen 127.0.0.1:{port} service:app",
        "2.1.",
    ),
    Case(
        "sqlalchemy-2.1, uWSGI",
        ("sqlalchemy==2.1.*", "flask", "pyuwsgi"),
        FLASK,
        "{bin}/uwsgi --http-socket 127.0.0.1:{port} --module service:app --master --processes 2 "
        "--enable-threads --die-on-term --need-app",
        "2.1.",
    ),
    Case(
        "sqlalchemy-2.0, fastapi, uvicorn",
        ("sqlalchemy[asyncio]==2.0.*", "fastapi", "uvicorn", "aiosqlite"),
        FASTAPI,
        "{bin}/uvicorn service:app --port {port}",
        "2.0.",
    ),
    Case(
        "sqlalchemy-2.1, fastapi, gunicorn uvicorn worker",
        ("sqlalchemy[asyncio]==2.1.*", "fastapi", "uvicorn", "uvicorn-worker", "gunicorn", "aiosqlite"),
        FASTAPI,
        f"{GUNICORN} --worker-class uvicorn_worker.UvicornWorker",
        "2.1.",
    ),
)


def environment_of(packages: tuple[str, ...]) -> Path:
    """Its folder of programs; built once, for as long as the packages asked for are the same."""
    key = hashlib.sha256("\n".join((sys.version, *packages)).encode()).hexdigest()[:16]
    folder = CACHE / key
    if not (folder / "whole").exists():
        uv = Path(sys.executable).with_name("uv")
        install = (
            "pip",
            "install",
            "--quiet",
            "--only-binary",
            ":all:",
            "--python",
            str(folder / "bin/python"),
        )
        for command in (
            ("venv", "--quiet", "--clear", "--python", sys.executable, str(folder)),
            (*install, *packages),
        ):
            subprocess.run([str(uv), *command], check=True, timeout=BUILD_S)
        (folder / "whole").touch()
    return folder / "bin"


def ask(port: int, path: str) -> int | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
    except OSError:
        return None
    finally:
        connection.close()
    return answer.status


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_leak_is_named(case: Case, tmp_path: Path) -> None:
    programs, port = environment_of(case.packages), free_port()
    (tmp_path / "service.py").write_text(case.service)
    line = 1 + next(
        number for number, text in enumerate(case.service.splitlines()) if text.endswith("# leak")
    )
    command = case.command.format(bin=programs, port=port).split()
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "rushhour", "agent", "exec", "--json", "found.json", "--", *command],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "DATABASE_URL": f"sqlite:///{tmp_path}/service.db"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + DEADLINE_S
            while ask(port, "/items/1") != 200:
                assert time.monotonic() < deadline, log.read_text()
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
            assert [ask(port, f"/leak/{number}") for number in (1, 2)] == [200, 200]
            while "LEAK" not in log.read_text():
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            process.wait(DEADLINE_S)
        finally:
            process.kill()
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["agent_faults"] == []
    [held] = [one for one in found["held"] if one["leaked"]]
    assert (held["site"]["file"], held["site"]["line"], held["leaked"]) == ("service.py", line, 2)
    assert held["endpoint"] == "GET /leak/:number"
    assert dict(found["libraries"])["SQLAlchemy"].startswith(case.sqlalchemy)
    [pool] = found["pools"]
    assert pool["kind"] == ("AsyncAdaptedQueuePool" if "fastapi" in case.packages else "QueuePool")
