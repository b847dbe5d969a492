"""Runs on a machine that fails them: a full disk, few open files, short memory, a clock that is set back.

What must not happen: a hang, a fault of rushhour itself, something left behind, or a pass of a run that could
not write what it saw. Without root there is no small disk, and that one is left out.
"""

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.counts import Counts
from tests.faults.harness import start

KINDS = ("false pass", "fault", "hung", "left behind")
SMALL_DISK = "192k"
SET_BACK_AT_S = 6.0
# libfaketime would reach more than Python, but its time.sleep() fails with EINVAL under Python 3.11.
CLOCK = """
import datetime, os, time

_time, _time_ns, _file = time.time, time.time_ns, os.environ["RUSHHOUR_FAULTS_CLOCK"]

def _shift():
    with open(_file) as file:
        return int(file.read() or 0)

class _Datetime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)

time.time = lambda: _time() + _shift()
time.time_ns = lambda: _time_ns() + _shift() * 1_000_000_000
datetime.datetime = _Datetime
"""


@dataclass(frozen=True, slots=True)
class Adversity:
    """What is wrong with the machine; `may_pass`: a run that saw all may still pass under it."""

    name: str
    may_pass: bool
    environment: Mapping[str, str] = field(default_factory=dict)
    limits: Callable[[], None] | None = None
    while_it_runs: Callable[[], None] | None = None


def campaign(seed: int, tries: int, folder: Path) -> Counts:
    """Each adversity `tries` times; chance plays no part in them."""
    counts, began = Counts("adverse machines", seed), time.monotonic()
    for at in range(tries):
        for adversity in _adversities(folder):
            runs = folder / f"runs-{at}-{adversity.name.replace(' ', '-')}"
            runs.mkdir()
            if adversity.name != "disk full":
                _try(adversity, runs, folder / "cache", counts)
                continue
            if os.geteuid() == 0:
                with _small_disk(runs):
                    _try(adversity, runs, folder / "cache", counts)
    counts.seconds = time.monotonic() - began
    return counts


def _adversities(folder: Path) -> Iterator[Adversity]:
    yield Adversity("disk full", may_pass=False)
    yield Adversity("few open files", may_pass=True, limits=_limit(resource.RLIMIT_NOFILE, 96))
    yield Adversity("short memory", may_pass=True, limits=_limit(resource.RLIMIT_AS, 600 * 1024 * 1024))
    clock = folder / "clock"
    clock.write_text("0")
    (folder / "sitecustomize.py").write_text(CLOCK)

    def set_back() -> None:
        time.sleep(SET_BACK_AT_S)
        clock.write_text("-3600")

    environment = {"PYTHONPATH": str(folder), "RUSHHOUR_FAULTS_CLOCK": str(clock)}
    yield Adversity("clock set back", may_pass=True, environment=environment, while_it_runs=set_back)


def _limit(which: int, value: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(which, (value, value))


@contextmanager
def _small_disk(path: Path) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def _try(adversity: Adversity, runs: Path, cache: Path, counts: Counts) -> None:
    harness = start(runs, cache, "embedded", adversity.environment, adversity.limits)
    if adversity.while_it_runs is not None:
        adversity.while_it_runs()
    counts.note(adversity.name)
    code, words = harness.ended(counts, adversity.name)
    if code == 0 and not adversity.may_pass:
        counts.blame("false pass", f"{adversity.name}: {words[-400:]}")
    if not os.path.ismount(runs):
        shutil.rmtree(runs)
