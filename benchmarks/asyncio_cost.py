"""What the agent costs under asyncio: a bare cycle, and the throughput of a FastAPI service on asyncpg."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.cycle_cost import cost_row
from benchmarks.harness import ROOT
from benchmarks.subject import environment
from benchmarks.table import Row
from benchmarks.throughput import Server, control_row, running, said, share_row
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
    command: list[str | Path] = [python, "-m", "benchmarks.subjects.fastapi_service", str(port)]
    with running(command, settings, log) as process:
        yield Server(process, said(process, log, lambda text: port if "Uvicorn running on" in text else None))
