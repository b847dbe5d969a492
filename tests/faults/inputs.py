"""Damaged files of a user's own: scenarios, alarm policies, rules, timelines; read, or refused in words.

What must not happen: a command that hangs, ends as a fault of rushhour itself, or needs 500 MB more.
"""

import random
import shutil
import time
from pathlib import Path

from tests.faults.caller import ROOT, Caller
from tests.faults.counts import Counts
from tests.faults.damage import drawn
from tests.faults.saved import DEADLINE_S, count_answer
from tests.unit import histories as h
from tests.unit.saved_runs import save

KINDS = ("fault", "hung", "memory")
TIMELINE = "t_s,requests,http_5xx\n" + "".join(f"{60 * at},{900 + at},{at % 3}\n" for at in range(30))


def campaign(seed: int, tries: int, folder: Path) -> Counts:
    counts, dice, began = Counts("files of users", seed), random.Random(seed), time.monotonic()  # noqa: S311 - the same tries each time
    run = save(folder / "run", h.incident(), h.scenario()).path
    whole = folder / "whole"
    whole.mkdir()
    (whole / "timeline.csv").write_text(TIMELINE)
    shutil.copy(ROOT / "scenarios.yaml", whole)
    alerts = sorted(path for path in (ROOT / "infra" / "alerts").rglob("*.y*ml"))
    for path in alerts:
        shutil.copy(path, whole / f"alerts-{path.name}")
    commands: dict[str, tuple[str, ...]] = {
        "timeline.csv": ("alarms", "--timeline", "{file}"),
        "scenarios.yaml": ("list", "--scenarios", "{file}"),
        **{
            f"alerts-{path.name}": ("alarms", str(run), "--as", "it-was", "--policies", "{file}")
            for path in alerts
        },
    }
    with Caller(DEADLINE_S) as caller:
        for at in range(tries):
            name = dice.choice(sorted(commands))
            work = folder / f"damaged-{at}"
            work.mkdir()
            file = work / name.removeprefix("alerts-")
            shutil.copy(whole / name, file)
            shutil.copy(whole / "timeline.csv", work / "neighbour.txt")
            kinds = []
            for _ in range(dice.choice((1, 1, 2))):
                if not file.is_file() or file.stat().st_size == 0:
                    break
                kind, damage = drawn(dice)
                if kind == "pipe":  # what a user names may be a pipe: it is read as long as somebody writes
                    continue
                damage(file, dice)
                kinds.append(kind)
            answer = caller.call(*(word.format(file=file) for word in commands[name]))
            count_answer(counts, name, answer, f"try {at}, {name}: {' and '.join(kinds)}")
            shutil.rmtree(work)
    counts.seconds = time.monotonic() - began
    return counts
