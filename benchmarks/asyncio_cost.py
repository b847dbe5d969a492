"""What the agent costs under asyncio: a bare cycle, and the throughput of a FastAPI service on asyncpg."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.cycle_cost import cost_row
from benchmarks.subject import DEADLINE_S, ROOT, environment
from benchmarks.table import Row
from benchmarks.throughput import Server, control_row, share_row
from rushhour.process.guard import Guard
from rushhour.process.ports import free_port
from rushhour.stack.postgres.bare import bare_server
from tests.matrix.environments import environment_of

PACKAGES: Final = ("fastapi", "uvicorn", "sqlalchemy[asyncio]==2.1.*", "asyncpg")


def asyncio_rows(out: Path) -> list[Row]:
    """Both, in an environment of tests/matrix."""
    python = environment_of(PACKAGES) / "python"
    with Guard() as guard, bare_server(guard) as database:
        url = "postgresql+asyncpg://" + database.url.partition("://")[2].partition("?")[0]
        serve = partial(serving, python, url, out)
        return [
            cost_row("agent: asyncio, a bare cycle on asyncpg", python, url, "asyncio", out),
            share_row("agent: throughput of FastAPI on asyncpg", serve),
            control_row(serve),
        ]


@contextmanager
def serving(python: Path, url: str, folder: Path) -> Iterator[Server]:
    """benchmarks/subjects/fastapi_service.py, once it listens."""
    port, log = free_port(), folder / "fastapi.log"
    settings = environment(None) | {
        "PYTHONPATH": str(ROOT),
        "POOL_SERVICE_DB": url,
        "POOL_SERVICE_AGENT": str(folder),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [python, "-m", "benchmarks.subjects.fastapi_service", str(port)],
            cwd=ROOT,
            env=settings,
            stdout=output,
            stderr=output,
        )
    try:
        wait_for(process, log)
        yield Server(process, port)
    finally:
        process.terminate()
        try:
            process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(DEADLINE_S)


def wait_for(process: subprocess.Popen[bytes], log: Path) -> None:
    """Raises RuntimeError when the service does not say in time that it runs."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        if "Uvicorn running on" in log.read_text():
            return
        time.sleep(0.05)
    raise RuntimeError(f"the service did not start within {DEADLINE_S:g} s: {log.read_text()[-500:]}")
