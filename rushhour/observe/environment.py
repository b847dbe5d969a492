"""Describes versions, commit and machine of a run, for environment.json."""

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import psutil

from rushhour.rundir.facts import Environment
from rushhour.scenario.model import Scenario
from rushhour.stack import Running

GIT_TIMEOUT_S = 5


def describe_environment(scenario: Scenario, stack: str, running: Running | None = None) -> Environment:
    """Describe the environment of a run, as far as it is known; more is known once the stack is up."""
    return Environment(
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        rushhour=metadata.version("rushhour"),
        commit=commit(Path(scenario.target.root)),
        python=platform.python_version(),
        platform=platform.platform(),
        cpu_count=os.cpu_count() or 1,
        memory_mb=psutil.virtual_memory().total // 2**20,
        stack=stack,
        postgres=running.postgres_version if running else None,
        locust=_version("locust"),
        sqlalchemy=_version("sqlalchemy"),
        limits=dict(running.limits) if running else {},
        images=dict(running.images) if running else {},
    )


def commit(root: Path) -> str | None:
    """Return the commit at `root`, with `+` if files differ from it; None outside of git."""
    if shutil.which("git") is None:
        return None
    described = subprocess.run(
        ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"],
        cwd=root,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=GIT_TIMEOUT_S,
        check=False,
    )
    return described.stdout.strip() or None if described.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
