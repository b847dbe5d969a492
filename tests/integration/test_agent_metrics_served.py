"""The agent's metrics as Prometheus scrapes them, from a service with several processes."""

import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from rushhour.agent.environment import agent_environment
from tests.free_ports import free_port
from tests.shop_service import SHOP

DEADLINE_S = 120.0
POOL = 'db_client_connection_pool_name="shop.db"'
USED = f'db_client_connection_count{{{POOL},db_client_connection_state="used"}}'
TAKEN = f"db_client_connection_use_time_seconds_count{{{POOL}}}"


@dataclass(frozen=True, slots=True)
class Shop:
    """gunicorn with two workers, whose agents serve metrics."""

    process: subprocess.Popen[bytes]
    port: int
    metrics_port: int
    agent_dir: Path

    def get(self, path: str, port: int | None = None) -> str | None:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        except OSError:
            return None
        finally:
            connection.close()

    def figures(self) -> dict[str, float]:
        return figures_in(self.get("/metrics", self.metrics_port))

    def written(self) -> dict[str, float]:
        """What outlives a kill: each process writes its figures once a second."""
        file = self.agent_dir / "pools.prom"
        return figures_in(file.read_text() if file.exists() else None)

    def until(
        self, name: str, wanted: float, seen: Callable[[], dict[str, float]] | None = None
    ) -> dict[str, float]:
        deadline = time.monotonic() + DEADLINE_S
        while (figures := (seen or self.figures)()).get(name) != wanted:
            assert time.monotonic() < deadline, f"{name} is {figures.get(name)}, not {wanted}"
            time.sleep(0.05)
        return figures


def figures_in(text: str | None) -> dict[str, float]:
    return {name: float(value) for name, value in re.findall(r"^(\w.*) (\S+)$", text or "", re.MULTILINE)}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    (tmp_path / "shop.py").write_text(SHOP)
    agent_dir = tmp_path / "agent"
    agent_dir.mkdir()
    port, metrics_port = free_port(), free_port()
    base = {**os.environ, "DATABASE_URL": f"sqlite:///{tmp_path}/shop.db", "RUSHHOUR_AGENT_JOURNAL": "off"}
    command = [sys.executable, "-m", "gunicorn", "shop:app", "--workers", "2", "--threads", "4"]
    command += ["--bind", f"127.0.0.1:{port}", "--no-control-socket"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**base, **agent_environment(agent_dir, base, metrics=str(metrics_port))},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    one = Shop(process, port, metrics_port, agent_dir)
    try:
        one.until("rushhour_agent_processes", 2)
        yield one
    finally:
        workers = psutil.Process(process.pid).children()
        process.terminate()
        try:
            process.wait(DEADLINE_S)
        finally:
            for worker in workers:
                if worker.is_running():
                    worker.kill()


@pytest.mark.long
def test_one_address_serves_the_metrics_of_all_workers(shop: Shop) -> None:
    for _ in range(20):
        assert shop.get("/items") == "1\n"
    figures = shop.until(TAKEN, 20)
    assert figures[USED] == 0
    assert figures[f"db_client_connection_max{{{POOL}}}"] == 6  # 2 x (2 + 1)
    assert shop.get("/report/2026") == "1\n"
    shop.until(f"rushhour_pool_leaked_connections{{{POOL}}}", 1)
    assert shop.figures()[USED] == 1
    shop.until(TAKEN, 20, shop.written)
    for worker in psutil.Process(shop.process.pid).children():  # whoever serves is among them
        worker.send_signal(signal.SIGKILL)
    shop.until("rushhour_agent_processes", 2)
    figures = shop.until(USED, 0)
    assert figures[TAKEN] == 20  # a sum does not fall when workers are replaced
    assert shop.get("/elsewhere", shop.metrics_port) == "GET /metrics\n"
    assert sorted(path.suffix for path in shop.agent_dir.glob("*.jsonl")) == []


def test_a_client_that_sends_nothing_does_not_delay_other_clients(shop: Shop) -> None:
    silent = http.client.HTTPConnection("127.0.0.1", shop.metrics_port, timeout=DEADLINE_S)
    silent.connect()
    assert shop.figures()["rushhour_agent_processes"] == 2
    silent.close()
