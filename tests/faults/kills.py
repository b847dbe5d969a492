"""Runs of which one process is killed at a random moment: nothing stays, nothing hangs, nothing passes by it.

The harness, its reaper, Locust, the service's master and workers (each with its agent), PostgreSQL's servers
and their backends are victims alike, on this machine and within containers; the signal is SIGKILL, or for the
harness also SIGINT and SIGTERM.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from rushhour.process.reaper import is_alive
from tests.faults.caller import Caller
from tests.faults.counts import Counts
from tests.faults.engine import engine_seen
from tests.faults.harness import CONTROL, control, start
from tests.faults.saved import CODES

KINDS = ("false pass", "fault", "hung", "left behind", "cannot be judged", CONTROL)
ASKED = {"harness": (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)}
BREAKS_A_RUN = ("load", "service", "primary", "replica")  # without these nothing was measured to the end


@dataclass(frozen=True, slots=True)
class Shot:
    """What was killed, how and when (wall clock, to be laid over the run's own moments).

    Without a `hit` it had ended before, by itself, and the run may pass.
    """

    victim: str
    how: signal.Signals
    hit: bool
    wall_s: float


def campaign(seed: int, tries: int, folder: Path, stack: str) -> Counts:
    counts, dice, began = Counts(f"kills, {stack}", seed), random.Random(seed), time.monotonic()  # noqa: S311 - the same tries each time
    cache = Path(os.environ.get("RUSHHOUR_CACHE") or folder / "cache")
    with Caller(60.0) as caller, _ground(stack) as ground:
        latest_s = control(folder, cache, stack, counts, ground.left)
        for at in range(tries):
            _try(at, latest_s, dice, folder / f"runs-{at}", cache, stack, ground, counts, caller)
    counts.seconds = time.monotonic() - began
    return counts


@dataclass(frozen=True, slots=True)
class Ground:
    """A stack: who lives there, what was left."""

    victims: Callable[[], dict[str, list[psutil.Process]]] = dict
    left: Callable[[], list[str]] = list


@contextmanager
def _ground(stack: str) -> Iterator[Ground]:
    if stack == "embedded":
        yield Ground()
        return
    with engine_seen() as engine:
        yield Ground(engine.victims, engine.left)


def _try(  # noqa: PLR0917
    at: int,
    latest_s: float,
    dice: random.Random,
    runs: Path,
    cache: Path,
    stack: str,
    ground: Ground,
    counts: Counts,
    caller: Caller,
) -> None:
    runs.mkdir()
    harness = start(runs, cache, stack, left_elsewhere=ground.left)
    shot = _shoot(harness.process, dice, latest_s, ground)
    counts.note(f"{shot.victim} by {shot.how.name}" if shot.hit else "nobody, it had ended by itself")
    told = f"try {at}: {shot.victim} by {shot.how.name}"
    code, _ = harness.ended(counts, told)
    for run in sorted(path for path in runs.iterdir() if path.is_dir() and not path.is_symlink()):
        if not (run / "scenario.json").is_file():
            continue
        answer = caller.call("judge", str(run))
        if answer.code not in CODES or (answer.code == 64 and (run / "events.jsonl").is_file()):
            counts.blame("cannot be judged", f"{told}: exit code {answer.code}: {answer.output[-400:]}")
        passed = answer.code == 0 or (code == 0 and shot.victim != "harness")
        breaks = shot.hit and shot.victim in (*BREAKS_A_RUN, "harness")
        if passed and breaks and _while_it_measured(run, shot.wall_s):
            counts.blame("false pass", f"{told}: run {code}, judged {answer.code}: {answer.output[-300:]}")
    shutil.rmtree(runs)


def _shoot(harness: subprocess.Popen[bytes], dice: random.Random, latest_s: float, ground: Ground) -> Shot:
    """Wait for a random moment, then end a random one of the kinds of processes that are there."""
    time.sleep(dice.uniform(0.2, latest_s))
    living: dict[str, list[psutil.Process]] = {"harness": [psutil.Process(harness.pid)], **ground.victims()}
    with suppress(psutil.Error):
        for process in psutil.Process(harness.pid).children(recursive=True):
            with suppress(psutil.Error):
                living.setdefault(_role(process), []).append(process)
    victim = dice.choice(sorted(living))
    how = dice.choice(ASKED.get(victim, (signal.SIGKILL,)))
    return Shot(victim, how, hit(dice.choice(living[victim]), how), time.time())


def hit(process: psutil.Process, how: signal.Signals) -> bool:
    """Send a signal; whether it met a process that still ran."""
    try:
        if not is_alive(process):
            return False
        process.send_signal(how)
    except psutil.Error:
        return False
    return True


def _role(process: psutil.Process) -> str:
    words = " ".join(process.cmdline())
    parent = process.parent()
    above = " ".join(parent.cmdline()) if parent else ""
    for server in ("primary", "replica"):
        if "postgres" in words and f"/{server}" in words:
            return server
        if words.startswith(f"postgres: {server}"):
            return f"{server}'s backend"
    if "rushhour.process.reaper" in words:
        return "reaper"
    if "gunicorn" in words:
        return "service's worker" if "gunicorn" in above else "service"
    if "locust" in words or "rushhour.load" in words:
        return "load"
    return "helper"


def _while_it_measured(run: Path, wall_s: float) -> bool:
    """Whether the moment lies between the load's start and its end, as the run's own events have them."""
    moments: dict[str, float] = {}
    anchor = None
    with suppress(OSError, ValueError):
        for line in (run / "events.jsonl").read_text().splitlines():
            row = json.loads(line)
            moments[row["name"]] = row["t_s"]
            if row["name"] == "anchor":
                anchor = row["detail"]["wall_s"]
    if anchor is None or "load_started" not in moments:
        return False
    at = wall_s - anchor
    return bool(moments["load_started"] < at < moments.get("load_ended", float("inf")) - 0.5)
