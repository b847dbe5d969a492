"""Runs on a machine that fails them, in one way at a time.

What must not happen: a hang, a fault of rushhour itself, something left behind, or a pass of a run that could
not write what it saw. What only root can do is left out for others.
"""

import random
import shutil
import time
from pathlib import Path

from tests.faults.adversities import Adversity, adversities, can_try
from tests.faults.caller import Caller
from tests.faults.counts import Counts
from tests.faults.harness import CONTROL, control, start

KINDS = ("false pass", "fault", "hung", "left behind", CONTROL)


def campaign(seed: int, tries: int, folder: Path) -> Counts:
    """Each adversity `tries` times; the seed chooses what they fall on."""
    counts, dice, began = Counts("adverse machines", seed), random.Random(seed), time.monotonic()  # noqa: S311 - the same tries each time
    control(folder, folder / "cache", "embedded", counts)
    with Caller(60.0) as caller:
        for at in range(tries):
            for adversity in adversities(folder, dice):
                if can_try(adversity):
                    runs = folder / f"runs-{at}-{adversity.name.replace(' ', '-')}"
                    _try(adversity, runs, folder / "cache", counts, caller)
    counts.seconds = time.monotonic() - began
    return counts


def _try(adversity: Adversity, runs: Path, cache: Path, counts: Counts, caller: Caller) -> None:
    runs.mkdir()
    with adversity.ground(runs, cache):
        harness = start(runs, cache, "embedded", adversity.environment, adversity.limits)
        if adversity.while_it_runs is not None:
            adversity.while_it_runs(harness, runs)
        counts.note(adversity.name)
        code, words = harness.ended(counts, adversity.name)
        if code is not None:
            counts.ended(code)
        if code == 0 and not adversity.may_pass:
            counts.blame("false pass", f"{adversity.name}: {words[-400:]}")
        if code == 0:
            whole = caller.call("verify", *(str(run) for run in runs.iterdir() if run.is_dir()))
            if whole.code:
                counts.blame("false pass", f"{adversity.name}: verify {whole.code}: {whole.output[-400:]}")
    shutil.rmtree(runs)
