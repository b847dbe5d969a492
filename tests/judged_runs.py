"""Runs through the public command, on whichever stack, and what they left."""

import json
import subprocess
import sys
from collections import Counter
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


def hold_against_access_log(folder: Path) -> None:
    """Fail unless the run's own files have the requests of the service's access log.

    The log also holds the probes of the service's health, and may hold requests whose customer gave up.
    """
    log = (folder / "logs/access.log").read_text(encoding="utf-8").splitlines()
    asked = sum('"GET /health' not in line for line in log)
    recorded: Counter[str] = Counter()
    for line in (folder / "requests.jsonl").read_text().splitlines():
        row = json.loads(line)
        recorded[row["outcome"]] += row["count"]
    given_up = recorded.pop("client_timeout", 0)
    del recorded["connect_error"]
    assert 0 < recorded.total() <= asked <= recorded.total() + given_up, (asked, recorded, given_up)
