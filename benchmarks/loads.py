"""Runs loads against the page of page.py, for benchmarks of the generator."""

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from benchmarks.harness import ROOT
from rushhour.load.locust import STOP_GRACE_S, start_load
from rushhour.process.guard import Guard
from rushhour.rundir import History, RunDir, load_history
from rushhour.rundir.facts import Outcome
from rushhour.scenario.model import Load, Pool, Scenario, Target

ENDS_WITHIN_S: Final = 40.0
MOST_FAILED: Final = 0.01  # of the requests: a failed one costs something else than an answered one


def page_scenario(name: str, load: Load) -> Scenario:
    """A scenario whose service is a page that somebody else serves."""
    target = Target(name="page", command="-", health="/", releases=("1",), schema="-", root=str(ROOT))
    return Scenario(
        name=name, target=target, load=load, release="1", expect="healthy", pool=Pool(timeout=1.0)
    )


def run_loads(url: str, scenarios: Sequence[Scenario]) -> list[History]:
    """Run loads beside each other, to their ends; their times are since the same moment.

    Raises RuntimeError where requests failed, and StackError where a load did not end in order.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        guard, anchor_wall_s = stack.enter_context(Guard()), time.time()
        run_dirs = [RunDir(Path(folder) / str(number)) for number in range(len(scenarios))]
        started = []
        for scenario, run_dir in zip(scenarios, run_dirs, strict=True):
            process = start_load(guard, scenario, url, run_dir, anchor_wall_s)
            stack.callback(process.stop, STOP_GRACE_S)
            started.append(process)
        for scenario, process in zip(scenarios, started, strict=True):
            process.wait(scenario.load.duration + ENDS_WITHIN_S)
            process.check()
        histories = [load_history(run_dir) for run_dir in run_dirs]
    for history in histories:
        refuse_failures(history)
    return histories


def refuse_failures(history: History) -> None:
    """Raise RuntimeError where requests failed, or none was sent: it is another load then."""
    sent = sum(row.count for row in history.requests)
    failed = sum(row.count for row in history.requests if row.outcome is not Outcome.OK)
    if not sent or failed > MOST_FAILED * sent:
        raise RuntimeError(f"{failed:,} of {sent:,} requests to the page failed")
