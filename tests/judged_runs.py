"""Runs through the public command, on whichever stack, and what they left."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TIMEOUT_S = 300
ATTEMPTS = 3  # a machine busy with other work makes a run unknown, as it should: then once more
BUSY = (
    "busy with other work",
    "the load generator fell behind",
    "the load generator stood still",
    "the load generator was starved",
)

Ended = subprocess.CompletedProcess[str]


def rushhour(*arguments: str) -> Ended:
    """The command as a user calls it, in the root of the repository."""
    return subprocess.run(
        [sys.executable, "-m", "rushhour", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def run(runs: Path, name: str, *options: str) -> tuple[Ended, Path]:
    """One scenario, again while the machine was too busy to tell; its run directory."""
    for attempt in range(ATTEMPTS):
        folder = runs / f"{name}-{attempt}"
        ended = rushhour("run", name, "--runs", str(folder), *options)
        if ended.returncode != 2:
            break
    return ended, (folder / "latest").resolve()


def told(run: tuple[Ended, Path]) -> Any:
    """Its verdict.json: a pass, or unknown for no other reason than a machine that was busy each time."""
    ended, folder = run
    verdict = read(folder / "verdict.json")
    if ended.returncode == 2 and any(why in verdict["reasons"][0] for why in BUSY):
        return verdict
    assert (ended.returncode, verdict["verdict"]) == (0, "pass"), ended.stdout + ended.stderr
    return verdict


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def asked_and_recorded(folder: Path) -> tuple[int, int]:
    """Requests in the service's access log and in the run's own files.

    The log also holds the probes of the service's health, and requests whose customer was no longer there.
    """
    log = (folder / "logs/access.log").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in (folder / "requests.jsonl").read_text().splitlines()]
    answered = sum(row["count"] for row in rows if row["outcome"] not in {"client_timeout", "connect_error"})
    return sum('"GET /health' not in line for line in log), answered
