"""Damaged run directories: judged, compared, audited, verified; none may pass that lost what it rests on.

What must not happen: a command that hangs or ends as a fault of rushhour itself, one that needs 500 MB more,
and a run that passes although the rows of one of its files are not those that were written.
"""

import random
import shutil
import time
from pathlib import Path
from typing import Any

from rushhour.rundir.manifest import read_manifests
from tests.faults.caller import Answer, Caller
from tests.faults.counts import Counts
from tests.faults.damage import drawn
from tests.faults.harness import CONTROL
from tests.unit import histories as h
from tests.unit.forecast_runs import measured
from tests.unit.forecast_runs import scenario as steady
from tests.unit.saved_runs import save

DEADLINE_S = 10.0
GROWTH_MB = 500.0
KINDS = ("false pass", "fault", "hung", "memory", CONTROL)
FACTS = ("requests.jsonl", "generator.jsonl", "pool.jsonl", "postgres.jsonl", "host.jsonl", "events.jsonl")
AUDITED = ("requests.jsonl", "pool.jsonl", "events.jsonl")  # an audit of alarms reads no other
IDLE: dict[str, Any] = {"replica_cores": 0.001, "service_cores": 0.001}
OTHERS = ("scenario.json", "environment.json", "verdict.json")
CODES = {0, 1, 2, 64}
UNDAMAGED = {  # where these do not hold, no damage could make a difference
    ("healthy", "judge"): 0,
    ("healthy", "verify"): 0,
    ("healthy", "alarms"): 0,
    ("healthy", "forecast"): 0,
    ("steady", "size"): 0,
    ("steady", "judge"): 0,
    ("leaking", "judge"): 1,
}


def campaign(seed: int, tries: int, folder: Path) -> Counts:
    counts, dice, began = Counts("saved runs", seed), random.Random(seed), time.monotonic()  # noqa: S311 - the same tries each time
    bases = {
        "healthy": save(folder / "healthy", h.healthy(), h.scenario(release="1.1.1")).path,
        "leaking": save(folder / "leaking", h.incident(), h.scenario()).path,
        "steady": save(folder / "steady", measured(**IDLE), steady()).path,
    }
    commands = {
        "judge": ("judge", "{run}"),
        "verify": ("verify", "{run}"),
        "compare": ("compare", str(bases["healthy"]), "{run}"),
        "alarms": ("alarms", "{run}", "--as", "it-was"),
        "report": ("report", "{run}"),
        "forecast": ("forecast", "{run}", "--customers", "900"),
        "size": ("size", "{run}"),
        "history": ("history", "--rebuild", "--runs", "{folder}"),
        "annotate": ("judge", "{run}", "--annotate", "sarif={folder}/sarif", "--comment", "{folder}/comment"),
    }
    with Caller(DEADLINE_S) as caller:
        for (base, name), code in UNDAMAGED.items():
            answer = caller.call(*(word.format(run=bases[base], folder=folder) for word in commands[name]))
            if answer.code != code:
                counts.blame(CONTROL, f"{name} of an undamaged {base} run ends with {answer.code}")
        for at in range(tries):
            base = dice.choice(sorted(bases))
            run = folder / f"damaged-{at}" / "20250101T180000Z-gate"
            shutil.copytree(bases[base], run)
            damages = [_damage(run, dice) for _ in range(dice.choice((1, 1, 1, 2, 3)))]
            command = dice.choice(sorted(commands)) if dice.random() < 0.5 else "judge"
            answer = caller.call(*(word.format(run=run, folder=run.parent) for word in commands[command]))
            told = f"try {at}, {base}, {command}: {'; '.join(damages)}"
            count_answer(counts, command, answer, told)
            if answer.code == 0 and _must_not_pass(command, base, bases[base], run):
                counts.blame("false pass", f"{told}: {answer.output[-300:]}")
            shutil.rmtree(run.parent)
    counts.seconds = time.monotonic() - began
    return counts


def _damage(run: Path, dice: random.Random) -> str:
    manifests = sorted(str(path.relative_to(run)) for path in (run / "manifest").glob("*"))
    name = dice.choice([*FACTS, *FACTS, *OTHERS, *manifests])
    kind, damage = drawn(dice)
    path = run / name
    if not path.is_file() or path.stat().st_size == 0:
        return f"{name} left as it is"
    damage(path, dice)
    return f"{kind} in {name}"


def count_answer(counts: Counts, kind: str, answer: Answer, told: str) -> None:
    """Count a try of this kind, and what must not happen to any command."""
    counts.note(kind)
    if answer.code is not None:
        counts.ended(answer.code)
    if answer.code is None:
        counts.blame("hung", f"{told}: {answer.output} after {answer.seconds:.1f} s")
    elif answer.code not in CODES or "Traceback" in answer.output:
        counts.blame("fault", f"{told}: exit code {answer.code}: {answer.output[-600:]}")
    elif answer.grown_mb > GROWTH_MB:
        counts.blame("memory", f"{told}: {answer.grown_mb:.0f} MB more")


def _must_not_pass(command: str, base: str, original: Path, run: Path) -> bool:
    """Whether an exit code of 0 says of this run what its data do not support."""
    if command in ("judge", "annotate") and base == "leaking":
        # A damaged scenario may expect the leak: then it is another question.
        return _same(original, run, "scenario.json")
    if command in ("judge", "annotate", "verify", "alarms", "forecast", "size") and base != "leaking":
        rests_on = AUDITED if command == "alarms" else FACTS
        return bool(read_manifests(original)) and not all(_same(original, run, name) for name in rests_on)
    return False


def _same(original: Path, run: Path, name: str) -> bool:
    """Whether the file holds the same rows; order and blank lines say nothing, for each row has its time."""
    return (run / name).is_file() and _rows(run / name) == _rows(original / name)


def _rows(path: Path) -> list[bytes]:
    return sorted(line for line in path.read_bytes().splitlines() if line.strip())
