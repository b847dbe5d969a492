"""Damaged files of a user's own: scenarios, alarms of every format, exports, logs, metrics; read or refused.

What must not happen: a command that hangs, ends as a fault of rushhour itself, or needs 500 MB more.
"""

import json
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rushhour.agent.metrics import render
from tests.faults.caller import ROOT, Caller
from tests.faults.counts import Counts
from tests.faults.damage import drawn
from tests.faults.saved import DEADLINE_S, count_answer
from tests.unit import histories as h
from tests.unit.saved_runs import save

KINDS = ("fault", "hung", "memory")
TESTS = ROOT / "tests" / "unit"
TIMELINE = "t_s,requests,http_5xx\n" + "".join(f"{60 * at},{900 + at},{at % 3}\n" for at in range(30))
MOMENTS = [f"2026-11-24T18:{at:02}:00+00:00" for at in range(30)]
METRIC_DATA = {
    "MetricDataResults": [
        {"Id": "a", "Label": "HTTPCode_Target_5XX_Count", "Timestamps": MOMENTS, "Values": [1.0] * 30},
        {"Id": "b", "Label": "RequestCount", "Timestamps": MOMENTS, "Values": [900.0] * 30},
    ]
}
OPENAPI = {
    "openapi": "3.1.0",
    "paths": {"/{page}": {"get": {"operationId": "page"}}, "/{a}/{b}": {"get": {}}},
    "components": {"securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Key"}}},
}
_COUNTS = [[0] * 17 + [36_000], 3600.0]
METRICS = {
    "127.0.0.1:5432/shop": {
        "used": 4,
        "idle": 6,
        "pending": 0,
        "leaked": 0,
        "idle_max": 20,
        "max": 30,
        "timeouts": 0,
        **dict.fromkeys(("use", "create", "wait"), _COUNTS),
    }
}


@dataclass(frozen=True, slots=True)
class Input:
    """A whole file, and the command that reads it: `{file}` is its place, `{work}` a folder to write to.

    `beside` are linked into that folder, as the file names them.
    """

    name: str
    content: bytes
    command: tuple[str, ...]
    beside: tuple[Path, ...] = ()


def campaign(seed: int, tries: int, folder: Path) -> Counts:
    counts, dice, began = Counts("files of users", seed), random.Random(seed), time.monotonic()  # noqa: S311 - the same tries each time
    run = save(folder / "run", h.incident(), h.scenario()).path
    inputs = list(_inputs(run))
    with Caller(DEADLINE_S) as caller:
        for at in range(tries):
            chosen = dice.choice(inputs)
            work = folder / f"damaged-{at}"
            work.mkdir()
            file = work / chosen.name
            file.write_bytes(chosen.content)
            (work / "neighbour.txt").write_text(TIMELINE)
            for other in chosen.beside:
                (work / other.name).symlink_to(other)
            kinds = []
            for _ in range(dice.choice((1, 1, 2))):
                if not file.is_file() or file.stat().st_size == 0:
                    break
                kind, damage = drawn(dice)
                if kind == "pipe":  # what a user names may be a pipe: it is read as long as somebody writes
                    continue
                damage(file, dice)
                kinds.append(kind)
            endless = file.is_char_device() and chosen.command[1] == "{file}"
            if not endless:  # a log without an end is read as long as it goes on, as one from a pipe is
                answer = caller.call(*(word.format(file=file, work=work) for word in chosen.command))
                told = f"try {at}, {chosen.name}: {' and '.join(kinds)}"
                count_answer(counts, chosen.command[0], answer, told)
            shutil.rmtree(work)
    counts.seconds = time.monotonic() - began
    return counts


def _inputs(run: Path) -> Iterator[Input]:
    audit = ("alarms", str(run), "--as", "it-was", "--policies", "{file}")
    alerts = ROOT / "infra" / "alerts"
    for path in sorted(path for path in alerts.rglob("*.y*ml")):
        yield Input(path.name, path.read_bytes(), audit, (alerts / "rules",))
    for path in sorted((TESTS / "alarm_files").iterdir()):
        rules = ("--policies", str(alerts / "rules" / "pool.yml")) if path.stem == "alertmanager" else ()
        yield Input(path.name, path.read_bytes(), (*audit, *rules))
    scenarios = (ROOT / "scenarios.yaml").read_bytes()
    listed = ("list", "--scenarios", "{file}")
    yield Input("scenarios.yaml", scenarios, listed, (ROOT / "app", ROOT / "locustfiles", ROOT / "infra"))
    policies = ("--policies", str(alerts / "cloudwatch.yaml"))
    yield Input("timeline.csv", TIMELINE.encode(), ("alarms", "--timeline", "{file}", *policies))
    export = json.dumps(METRIC_DATA, indent=1).encode()
    yield Input("export.json", export, ("alarms", "--timeline", "{file}", *policies))
    for path in sorted((TESTS / "traffic_logs").glob("*.log")):
        yield Input(path.name, path.read_bytes(), ("traffic", "{file}", "--out", "{work}/out"))
    log = str(TESTS / "traffic_logs" / "nginx-timed.log")
    yield Input(
        "openapi.json",
        json.dumps(OPENAPI, indent=1).encode(),
        ("traffic", log, "--out", "{work}/out", "--openapi", "{file}"),
    )
    yield Input("now.prom", render(METRICS, 2).encode(), ("size", "{file}", "--over", "1h"))
