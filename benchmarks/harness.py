"""Runs rushhour as a user would, for benchmarks of the whole."""

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rushhour.rundir import History, RunDir, load_history

ROOT: Final = Path(__file__).parents[1]
TIMEOUT_S: Final = 1200
ATTEMPTS: Final = 3
UNKNOWN: Final = 2  # the exit code of a run that is unknown


class NotMeasuredError(Exception):
    """A run that a benchmark needs is unknown, however often it is repeated."""


def rushhour(*arguments: str) -> subprocess.CompletedProcess[str]:
    """One command, its output kept."""
    return subprocess.run(
        [sys.executable, "-m", "rushhour", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def run_history(folder: Path, *arguments: str) -> History:
    """What a run's directory holds; see `kept_run`."""
    return load_history(kept_run(folder, *arguments))


@contextmanager
def folder_of_runs(kept: str | None) -> Iterator[Path]:
    """The folder in which a benchmark's runs lie: one that is kept, or one that goes with the benchmark."""
    if kept:
        folder = Path(kept).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)


def kept_run(folder: Path, *arguments: str) -> RunDir:
    """`rushhour run`, unless the folder holds a run of the same arguments.

    A run that is unknown, as on a machine that is busy with other work, is repeated. Raises NotMeasuredError
    where it stays unknown, and RuntimeError on exit 64 or above.
    """
    of_these = folder / hashlib.sha256(" ".join(arguments).encode()).hexdigest()[:12]
    for _ in range(ATTEMPTS):
        if (of_these / "latest").exists():
            return RunDir((of_these / "latest").resolve())
        ended = rushhour("run", *arguments, "--runs", str(of_these))
        if ended.returncode > UNKNOWN:
            raise RuntimeError(
                f"rushhour run {' '.join(arguments)}: exit {ended.returncode}\n{ended.stdout}{ended.stderr}"
            )
        if ended.returncode == UNKNOWN:
            (of_these / "latest").unlink()
    if not (of_these / "latest").exists():
        raise NotMeasuredError(f"rushhour run {' '.join(arguments)}: unknown in {ATTEMPTS} runs")
    return RunDir((of_these / "latest").resolve())
