"""The Compose stack from nothing to healthy, its images built and its data kept."""

import tempfile
import time
from pathlib import Path

from benchmarks.harness import ROOT
from benchmarks.interval import median_of
from benchmarks.table import Row
from rushhour.errors import StackError
from rushhour.process.guard import Guard
from rushhour.rundir import create_run_dir
from rushhour.scenario.file import load_scenarios
from rushhour.stack.compose.engine import find_engine
from rushhour.stack.compose.stack import ComposeStack

NAME = "Compose up to healthy, small data"
BOUND_S = 20.0
ROUNDS = 6


def run() -> list[Row]:
    """The median of six after one that builds what is missing; without an engine a row that says so."""
    try:
        find_engine(None)
    except StackError as error:
        return [Row(NAME, f"not measured: {str(error).splitlines()[0]}", f"<= {BOUND_S:g} s", None)]
    scenario = load_scenarios(ROOT / "scenarios.yaml").select(["gate"], None)[0]
    taken_s = []
    with tempfile.TemporaryDirectory() as runs, Guard() as guard:
        stack = ComposeStack(guard)
        stack.prepare([scenario.release], _quiet)
        for _ in range(ROUNDS + 1):
            began = time.monotonic()
            with stack.up(scenario, create_run_dir(Path(runs), "compose"), _quiet):
                taken_s.append(time.monotonic() - began)
    return [median_of(taken_s[1:]).in_seconds(NAME, most_s=BOUND_S)]


def _quiet(step: str, done: float = 0, total: float | None = None, unit: str = "") -> None:
    """Nothing is shown while it is timed."""
