"""Sizes that were predicted from one run, beside runs that have them: waits and time-outs around the knee."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import forecast_pool
from benchmarks.forecast_cases import Case, Compared, Found, Inside, inside, not_measured, setting_of, words
from benchmarks.harness import NotMeasuredError, kept_run
from benchmarks.table import Row
from rushhour.forecast.demand import Demand
from rushhour.forecast.queueing import predict
from rushhour.forecast.recorded import read_demand
from rushhour.judging.judge import read_scenario
from rushhour.metrics.window import find_window
from rushhour.rundir import History, RunDir, load_history
from rushhour.scenario.model import Scenario

POOL: Final = "replica"
MOST_CPU_S: Final = 10.0
SIZES: Final = 60
REPEATS: Final = 40
NO_WAIT_S: Final = 0.001  # a thread that is handed a connection at once runs within it
RETRIES: Final = 2  # as in locustfiles/referrals.py
COMMON: Final = (
    "--stack",
    "embedded",
    "--duration",
    "24s",
    "--set",
    "load.warm_up=8s",
    "--set",
    "data.size=small",
)
# A query of 0.4 s in the server that needs no CPU, so that a pool of a few connections is near its knee.
SLOW: Final = ("zoo-saturation", "--set", "service.threads=64", "--set", "load.client_timeout=20s")
# Release 1.1.1 as it is: holds of some milliseconds, most of them CPU of the server.
FAST: Final = (
    *("rush-hour-hotfix", "--set", "load.shape=steady", "--set", "load.spawn_rate=100"),
    *("--set", "load.think_time=1s", "--set", "service.threads=64", "--set", "pool.timeout=1s"),
)


@dataclass(frozen=True, slots=True)
class Group:
    """Cases that are predicted from one run."""

    name: str
    scenario: tuple[str, ...]
    measured: Case  # the run that the others are predicted from
    cases: tuple[Case, ...]


GROUPS: Final = (
    Group(
        "slow query",
        SLOW,
        Case(30, 10),
        (
            Case(10),
            Case(8),
            Case(6),
            Case(4, 2, timeout_s=2.0),
            Case(4, processes=2),
            Case(3, 2, processes=2),
            Case(6, threads=10),
            Case(8, 2, users=90),
        ),
    ),
    Group(
        "release 1.1.1",
        FAST,
        Case(8, 4, users=120),
        (Case(1, users=120), Case(1, 1, users=200), Case(1, users=200), Case(1, processes=2, users=200)),
    ),
)


def run(folder: Path) -> tuple[list[Row], list[Inside]]:
    """The model beside SQLAlchemy's pool; then a row for each configuration of a service."""
    pool_rows, of_pool = forecast_pool.run()
    found = Found()
    demand: Demand | None = None
    for group in GROUPS:
        try:
            demand = demand_of(_run(folder, group, group.measured))
        except NotMeasuredError as error:
            found.missing += len(group.cases)
            found.rows.append(not_measured(group.name, error))
            continue
        for case in group.cases:
            try:
                run_dir = _run(folder, group, case)
            except NotMeasuredError as error:
                found.missing += 1
                found.rows.append(not_measured(f"{group.name}: {case}", error))
            else:
                compare(found, group, case, demand, run_dir)
    of_runs = inside("runs", found)
    return [*pool_rows, *found.rows, of_runs.row(), _cpu_of_a_table(demand)], [of_pool, of_runs]


def _run(folder: Path, group: Group, case: Case) -> RunDir:
    return kept_run(folder, *group.scenario, *COMMON, *case.arguments())


def demand_of(run_dir: RunDir) -> Demand:
    return read_demand(run_dir.path.name, read_scenario(run_dir), load_history(run_dir))


def compare(found: Found, group: Group, case: Case, demand: Demand, run_dir: RunDir) -> None:
    """Add what was predicted and measured of a case."""
    scenario, history = read_scenario(run_dir), load_history(run_dir)
    seconds, wait_s, timeouts = measured(scenario, history)
    figures = predict(
        demand, setting_of(demand, case, seconds, retries=RETRIES), repeats=REPEATS, requests=400_000
    ).pools[POOL]
    wait, timed_out = Compared(figures.wait_p99_s, wait_s), Compared(figures.timeout_share, timeouts)
    found.figures += [wait, timed_out]
    found.rows.append(words(f"{group.name}: {case}", wait, timed_out))


def measured(scenario: Scenario, history: History) -> tuple[float, float, float]:
    """Return a run's measured seconds, the 99th percentile of its waits, and its share of time-outs.

    Of a wait the run knows the bucket of a histogram, whose bounds are a factor of two apart: its middle on a
    logarithmic scale is nearest to all that the wait may be.
    """
    window = find_window(history, scenario.load.warm_up)
    if window is None:
        raise RuntimeError("the run has no load")
    waits_us: dict[int, int] = {}
    for row in history.times:
        if row.pool == POOL and window.measures(row.t_s):
            for bound, count in row.wait_us.items():
                waits_us[bound] = waits_us.get(bound, 0) + count
    timeouts = [one for one in history.pool_timeouts if one.pool == POOL and window.measures(one.t_s)]
    asked = sum(waits_us.values()) + len(timeouts)
    wait_s, upto = scenario.pool.timeout, 0
    for bound, count in sorted(waits_us.items()):
        upto += count
        if upto >= 0.99 * asked:
            wait_s = min(wait_s, bound / 1e6) / math.sqrt(2)
            break
    return (
        window.load_ended_s - window.measured_from_s,
        0.0 if wait_s < NO_WAIT_S else wait_s,
        len(timeouts) / asked,
    )


def _cpu_of_a_table(demand: Demand | None) -> Row:
    """Measure the CPU of the predictions of a table of sizes, by the demand of a run."""
    name, bound = f"CPU of a table of {SIZES} sizes", f"<= {MOST_CPU_S:g} s"
    if demand is None:
        return Row(name, "not measured: no run to predict from", bound, None)
    began_s = time.process_time()
    for size in range(1, SIZES + 1):
        predict(demand, setting_of(demand, Case(size), 60.0))
    took_s = time.process_time() - began_s
    return Row(name, f"{took_s:.1f} s", bound, took_s <= MOST_CPU_S)
