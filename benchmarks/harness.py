"""Runs rushhour as a user would, for benchmarks of the whole."""

import subprocess
import sys
from pathlib import Path

from rushhour.rundir import History, RunDir, load_history

ROOT = Path(__file__).parents[1]
TIMEOUT_S = 1200


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


def run_history(runs: Path, *arguments: str) -> History:
    """`rushhour run`, and what its run directory holds. Raises RuntimeError on exit 2 or above."""
    ended = rushhour("run", *arguments, "--runs", str(runs))
    if ended.returncode > 1:
        raise RuntimeError(
            f"rushhour run {' '.join(arguments)}: exit {ended.returncode}\n{ended.stdout}{ended.stderr}"
        )
    return load_history(RunDir((runs / "latest").resolve()))
