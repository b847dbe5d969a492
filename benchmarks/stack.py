"""How long until the stack is ready, from a kept template."""

import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.harness import ROOT
from benchmarks.interval import median_of
from benchmarks.table import Row
from rushhour.process.guard import Guard
from rushhour.rundir import RunDir
from rushhour.scenario.file import load_scenarios
from rushhour.scenario.model import Scenario
from rushhour.stack.processes.stack import EmbeddedStack

SCENARIO: Final = "rush-hour"
STARTS: Final = 6
BOUND_S: Final = 5.0


def run() -> list[Row]:
    """Primary, replica and service of `rush-hour` ready: the first start, which may seed, is not counted."""
    scenario = load_scenarios(ROOT / "scenarios.yaml").scenarios[SCENARIO]
    with Guard() as guard, tempfile.TemporaryDirectory() as runs:
        stack = EmbeddedStack(guard)
        _, *took_s = [ready_s(stack, scenario, Path(runs) / str(start)) for start in range(STARTS + 1)]
    name = f"stack ready from a kept template, size {scenario.data.size}"
    return [median_of(took_s).in_seconds(name, most_s=BOUND_S)]


def ready_s(stack: EmbeddedStack, scenario: Scenario, run_dir: Path) -> float:
    """Seconds until streaming is seen, the replica is in recovery and the service is healthy."""
    began_s = time.monotonic()
    with stack.up(scenario, RunDir(run_dir), lambda *_step, **_more: None):
        return time.monotonic() - began_s
