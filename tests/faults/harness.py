"""One run of the harness in a campaign: started with a mark, waited for, and looked at for what it left."""

import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from rushhour.stack.locks import is_free
from tests.faults.caller import ROOT
from tests.faults.counts import Counts
from tests.judged_runs import BUSY

MARK = "RUSHHOUR_FAULTS"
SCENARIO = "smoke-hotfix"
LOAD = ("--duration", "6s", "--users", "30")  # shorter ones are unknown: too little of them is measured
DEADLINE_S = 90.0  # from what is done to the run to the harness's end
GONE_WITHIN_S = 45.0  # the guard needs a few seconds, and on a busy machine up to half a minute
FAULT = 70
CONTROLS = 6
QUIET_WITHIN_S = 900.0  # other work on the machine makes a run unknown, and ends
CONTROL = "no pass at all"  # where a run that nothing is done to does not pass, no pass can be a false one
UNHARMED_S = 600.0  # the first run on an engine may have to build an image and to seed the data


@dataclass(frozen=True, slots=True)
class Harness:
    """A running `rushhour run`; `cache` is the campaign's own, so that what stays in it is noticed."""

    process: subprocess.Popen[bytes]
    mark: str
    cache: Path
    output: Path
    left_elsewhere: Callable[[], list[str]] = list  # what an engine still holds of the run

    def ended(self, counts: Counts, told: str, within_s: float = DEADLINE_S) -> tuple[int | None, str]:
        """Wait for its end, and count what must not happen; its exit code (None: it hung) and its words."""
        code: int | None = None
        try:
            code = self.process.wait(timeout=within_s)
        except subprocess.TimeoutExpired:
            counts.blame("hung", f"{told}: the harness still runs {within_s:.0f} s later")
            self.process.kill()
            self.process.wait(timeout=10)
        words = self.output.read_text(errors="replace")
        faulty = code == FAULT or "a fault of rushhour itself" in words
        if faulty or "Traceback (most recent call last)" in words:
            counts.blame("fault", f"{told}: exit code {code}: {words[-800:]}")
        if found := self._left():
            counts.blame("left behind", f"{told}: {', '.join(found)[:600]}")
        return code, words

    def _left(self) -> list[str]:
        """Processes, work directories, held locks and parts of an engine that should be gone."""
        deadline = time.monotonic() + GONE_WITHIN_S
        while True:
            left = [*self._marked(), *(str(path) for path in (self.cache / "work").glob("*"))]
            left += [f"{path} is held" for path in locks_below(self.cache) if not _is_free(path)]
            left += self.left_elsewhere()
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.2)

    def living(self) -> list[psutil.Process]:
        """The run's processes, of any depth."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                # PostgreSQL overwrites its environment; its directory says whose it is.
                mine = process.environ().get(MARK) == self.mark
                mine = mine or Path(process.cwd()).is_relative_to(self.cache)
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def _marked(self) -> list[str]:
        found = []
        for process in self.living():
            with suppress(psutil.Error, OSError):
                found.append(f"{process.pid} {' '.join(process.cmdline())[:100]}")
        return found


def locks_below(folder: Path) -> list[Path]:
    """The lock files of a folder. `Path.rglob` would raise where a directory is removed meanwhile."""
    return [Path(parent, name) for parent, _, names in os.walk(folder) for name in names if "lock" in name]


def _is_free(path: Path) -> bool:
    """Whether nobody holds the lock of a file; what is gone or is no file is free."""
    try:
        return not path.is_file() or is_free(path)
    except OSError:
        return True


def start(  # noqa: PLR0917
    runs: Path,
    cache: Path,
    stack: str,
    environment: Mapping[str, str] | None = None,
    limits: Callable[[], None] | None = None,
    left_elsewhere: Callable[[], list[str]] = list,
) -> Harness:
    """Start a short run that leaves its directory in `runs`; its output lies beside that folder."""
    mark, output = uuid.uuid4().hex, runs.parent / f"{runs.name}.txt"
    command = ["run", SCENARIO, *LOAD, "--stack", stack, "--runs", str(runs)]
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "rushhour", *command],
            cwd=ROOT,
            env={**os.environ, **(environment or {}), MARK: mark, "RUSHHOUR_CACHE": str(cache)},
            stdout=file,
            stderr=file,
            preexec_fn=limits,  # noqa: PLW1509 - no thread runs in this process
        )
    return Harness(process, mark, cache, output, left_elsewhere)


def control(
    folder: Path, cache: Path, stack: str, counts: Counts, left_elsewhere: Callable[[], list[str]] = list
) -> float:
    """Run without harm until one passes, and return how long that took; blame the campaign if none does.

    One that other work on the machine made unknown says nothing: it is tried again until that is over.
    """
    deadline_s, failed, at = time.monotonic() + QUIET_WITHIN_S, 0, 0
    while True:
        runs = folder / f"control-{at}"
        runs.mkdir()
        began = time.monotonic()
        code, words = start(runs, cache, stack, left_elsewhere=left_elsewhere).ended(
            counts, "a run that nothing is done to", within_s=UNHARMED_S
        )
        shutil.rmtree(runs)
        took_s = time.monotonic() - began
        if code == 0 and at:  # the first one also fills the cache
            return took_s
        at += 1
        failed += code != 0 and not any(why in " ".join(words.split()) for why in BUSY)  # lines are wrapped
        if failed == CONTROLS or time.monotonic() > deadline_s:
            counts.blame(CONTROL, f"{at} runs that nothing is done to: {words[-1500:]}")
            return took_s
