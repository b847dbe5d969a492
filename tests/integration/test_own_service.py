"""A service of the user's own under load: `target:` in a scenario, started by rushhour or running already."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.integration.agent_subject import line_of
from tests.judged_runs import ATTEMPTS
from tests.shop_service import CUSTOMERS, SHOP

DEADLINE_S = 300.0
SCENARIOS = """
scenarios:
  evening:
    target:
      name: shop
      command: "{python} -m gunicorn shop:app --bind {host}:{port} --threads {threads} --timeout 60"
      health: /health
      setup: "{python} setup_shop.py"
      environment: { DATABASE_URL: "{primary_url}" }
    data: { size: tiny }
    pool: { size: 2, max_overflow: 1, timeout: 1s }
    service: { threads: 12 }
    load:
      shape: steady
      users: 40
      spawn_rate: 40
      duration: 5s
      warm_up: 1s
      client_timeout: 9s
      locustfile: c.py
    expect: exhausted
    cause: scope-never-removed
  outside:
    target: { url: "http://127.0.0.1:PORT", health: /health }
    load: { shape: steady, users: 5, spawn_rate: 5, duration: 3s, warm_up: 1s, locustfile: c.py }
    thresholds: [p95 < 20s, http_5xx_rate < 1%]
    expect: healthy
"""


class Answers(BaseHTTPRequestHandler):
    """A service of which nothing is known."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # as the base class has it
        """Nothing."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "c.py").write_text(CUSTOMERS)
    (tmp_path / "setup_shop.py").write_text(
        "import os, sqlalchemy as sa\n"
        "with sa.create_engine(os.environ['DATABASE_URL']).begin() as connection:\n"
        "    connection.execute(sa.text('create table item (id int primary key)'))\n"
        "print('one table made')\n"
    )
    return tmp_path


def rushhour(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rushhour", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


@pytest.mark.usefixtures("cache")
def test_a_leak_in_the_users_own_service_is_named_with_its_line(folder: Path) -> None:
    (folder / "scenarios.yaml").write_text(SCENARIOS)
    run = folder / "runs" / "latest"
    for _ in range(ATTEMPTS):
        done = rushhour(folder, "run", "evening")
        verdict = json.loads((run / "verdict.json").read_text())
        # Tests beside it keep the machine busy, so the verdict is unknown; the cause is named all the same.
        if verdict["diagnosis"]["cause"] == "scope-never-removed":
            break
    assert "one table made" in (run / "logs" / "setup.log").read_text()
    assert verdict["observed"] == "exhausted", done.stdout + done.stderr
    assert verdict["diagnosis"]["cause"] == "scope-never-removed", done.stdout
    site = verdict["diagnosis"]["call_sites"][0]
    assert (site["file"], site["line"]) == ("shop.py", line_of(folder / "shop.py", "leak"))
    assert site["endpoint"] == "GET /report/:year"


@pytest.mark.long
def test_a_service_that_runs_already(folder: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        (folder / "scenarios.yaml").write_text(SCENARIOS.replace("PORT", str(server.server_port)))
        done = rushhour(folder, "run", "outside")
    finally:
        server.shutdown()
        server.server_close()
    verdict = json.loads((folder / "runs" / "latest" / "verdict.json").read_text())
    assert verdict["stack"] == "url"
    assert verdict["metrics"]["requests"] > 0, done.stdout + done.stderr
    assert all(threshold["ok"] for threshold in verdict["thresholds"]), done.stdout


def test_a_service_on_another_host_needs_allow_host(folder: Path) -> None:
    (folder / "scenarios.yaml").write_text(SCENARIOS.replace("127.0.0.1:PORT", "shop.example:80"))
    done = rushhour(folder, "run", "outside")
    assert done.returncode == 64
    assert "use --allow-host shop.example if it is yours" in done.stderr
    assert not (folder / "runs").exists()


@pytest.mark.usefixtures("cache")
def test_a_set_up_that_fails_is_reported_with_its_last_lines(folder: Path) -> None:
    (folder / "scenarios.yaml").write_text(SCENARIOS)
    (folder / "setup_shop.py").write_text("raise SystemExit('no migration 42')")
    done = rushhour(folder, "run", "evening")
    assert done.returncode == 2
    assert "target.setup ended with exit code 1" in done.stdout + done.stderr
    assert "no migration 42" in (folder / "runs" / "latest" / "events.jsonl").read_text()
