"""`rushhour doctor`: what this machine can run, and what is missing."""

import os
import platform
import shutil
import socket
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from rushhour.alarms.promtool import find_promtool
from rushhour.errors import StackError
from rushhour.process.ports import HOST
from rushhour.stack.compose.engine import find_engine
from rushhour.stack.paths import cache_dir
from rushhour.stack.postgres.programs import find_binaries, server_version
from rushhour.stack.processes.limits import describe_limits

MIN_FREE_MB = 2048  # a template of size small and two clones of it
MIN_MEMORY_MB = 2048


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor: `ok` False only where the embedded stack cannot run without it."""

    what: str
    ok: bool
    found: str
    advice: str = ""


def examine(postgres_bin: Path | None = None) -> list[Finding]:
    """Examine this machine for what matters before a run; never raises."""
    return [*_machine(), *_postgres(postgres_bin), *_optional()]


def _machine() -> Iterator[Finding]:
    version = platform.python_version()
    yield Finding("Python", sys.version_info >= (3, 11), version, "install Python 3.11 or newer")
    cores = os.cpu_count() or 1
    yield Finding(
        "cores", True, str(cores), "" if cores > 1 else "with one core the generator will be starved"
    )
    memory_mb = psutil.virtual_memory().available // 2**20
    yield Finding("memory free", memory_mb >= MIN_MEMORY_MB, f"{memory_mb} MB", f"free {MIN_MEMORY_MB} MB")
    cache = cache_dir()
    existing = next(parent for parent in (cache, *cache.parents) if parent.exists())
    free_mb = shutil.disk_usage(existing).free // 2**20
    yield Finding(
        "disk free",
        free_mb >= MIN_FREE_MB and os.access(existing, os.W_OK),
        f"{free_mb} MB in {cache}",
        f"free {MIN_FREE_MB} MB there, or set RUSHHOUR_CACHE to a folder with room that you may write to",
    )
    try:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
        yield Finding("loopback", True, "127.0.0.1 can be bound")
    except OSError as error:
        yield Finding("loopback", False, str(error), "rushhour needs free ports on 127.0.0.1")


def _postgres(postgres_bin: Path | None) -> Iterator[Finding]:
    try:
        binaries = find_binaries(postgres_bin)
        yield Finding("PostgreSQL", True, f"{server_version(binaries)} in {binaries}")
    except StackError as error:
        yield Finding(
            "PostgreSQL", False, str(error).splitlines()[0], "run `make venv`, or pass --postgres-bin"
        )


def _optional() -> Iterator[Finding]:
    yield Finding("CPU limits", True, describe_limits())
    yield Finding("container engine", True, _engine())
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    missing = "none; Prometheus rules stay unknown in alarm audits: `make alert-tools`"
    yield Finding("promtool", True, find_promtool() or missing)
    yield Finding("Chromium", True, browser or "none; the tests of the report page will be skipped")


def _engine() -> str:
    """Say which engine `--stack auto` would take, or why none; an engine elsewhere is never asked."""
    try:
        engine = find_engine()
    except StackError as error:
        return f"none: {str(error).splitlines()[0]}; the embedded stack needs none"
    return f"{engine.version} with Compose {engine.compose} at {engine.base_url}"


def render_findings(findings: Iterable[Finding]) -> RenderableType:
    """Return what was found, and what to do where something is missing."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        mark = Text("ok", "green") if finding.ok else Text("missing", "bold red")
        advice = f"\n{finding.advice}" if finding.advice and not finding.ok else ""
        table.add_row(mark, finding.what, Text(finding.found + advice))
    return table
