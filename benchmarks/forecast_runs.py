"""Forecasts from runs of few customers, beside runs at full scale: exhausts or not, most in use, when."""

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.forecast_cases import Inside, met, not_measured
from benchmarks.harness import NotMeasuredError, kept_run
from benchmarks.table import Row
from rushhour.errors import InsufficientDataError
from rushhour.forecast.answer import forecast
from rushhour.judging.judge import judge_history, read_scenario
from rushhour.metrics.measure import measure
from rushhour.metrics.pools import PoolMetrics
from rushhour.rundir import History, RunDir, load_history
from rushhour.rundir import facts as f
from rushhour.scenario.model import Production
from rushhour.verdict.forecast import Forecast, Range

MOST_UNSURE: Final = 1 / 8
MOST_CPU_S: Final = 10.0
SMALL_SHARE: Final = 0.1  # of the customers
EVENING: Final = "rush-hour over 75s"


@dataclass(frozen=True, slots=True)
class Case:
    """A release or defect: a run of few customers, and the run at full scale that it is forecast for."""

    name: str
    small: tuple[str, ...]  # arguments of `rushhour run`
    full: tuple[str, ...]
    production: Production


def _release(release: str, scenario: str) -> Case:
    evening = Production(customers=800, think_time=10.0, push_share=0.2, day=EVENING)
    return Case(f"release {release}", ("staging", "--release", release), (scenario,), evening)


def _zoo(defect: str, customers: int, spawn_rate: int) -> Case:
    """The scenario of a defect as it is, from a tenth of its customers for half a minute."""
    few = max(1, int(customers * SMALL_SHARE))
    small = ("--set", f"load.users={few}", "--set", f"load.spawn_rate={few}", "--duration", "30s")
    # Locust starts `spawn_rate` customers at once, each second.
    points = ["0s 0%"]
    for second in range(-(-customers // spawn_rate)):
        share = min(100.0, 100 * (second + 1) * spawn_rate / customers)
        points += [f"{second}.1s {share:g}%", f"{second}.9s {share:g}%"]
    day = ", ".join([*points, "8s 100%"])
    return Case(
        f"zoo {defect}", (f"zoo-{defect}", *small), (f"zoo-{defect}",), Production(customers, day=day)
    )


CASES: Final = (
    _release("1.0", "rush-hour-primary"),
    _release("1.1", "rush-hour"),
    _release("1.1.1", "rush-hour-hotfix"),
    _zoo("scope-never-removed", 200, 150),
    _zoo("scope-never-removed-cured", 200, 150),
    _zoo("unclosed-early-return", 200, 150),
    _zoo("unclosed-early-return-cured", 200, 150),
    _zoo("unclosed-error-path", 200, 150),
    _zoo("saturation", 60, 60),
    _zoo("held-across-external-wait", 40, 60),
    _zoo("nested-checkout", 130, 130),
)


@dataclass(slots=True)
class Found:
    rows: list[Row] = field(default_factory=list)
    inside: int = 0
    figures: int = 0
    wrong: int = 0
    unsure: int = 0
    missing: int = 0  # cases of which a run is unknown
    most_cpu_s: float = 0.0  # of a forecast, its run read and judged

    def add(self, expected: Range, measured: float) -> str:
        self.figures += 1
        self.inside += measured in expected
        interval = f"[{expected.low:.1f} to {expected.high:.1f}]"
        mark = "" if measured in expected else " (outside)"
        return f"{expected.expected:.1f} {interval}, measured {measured:.1f}{mark}"


def run(folder: Path) -> tuple[list[Row], Inside]:
    """A row for each case, and three for all of them."""
    found = Found()
    for case in CASES:
        try:
            small, full = _run(folder, *case.small), _run(folder, *case.full)
        except NotMeasuredError as error:
            found.missing += 1
            found.rows.append(not_measured(f"forecast, {case.name}", error))
            continue
        began_s = time.process_time()
        try:
            made = forecast_of(small, case.production)
        except InsufficientDataError as error:
            made = None
            found.unsure += 1
            found.rows.append(Row(f"forecast, {case.name}", f"refused: {error}", "right or unsure", True))
        found.most_cpu_s = max(found.most_cpu_s, time.process_time() - began_s)
        if made is not None:
            compare(found, case, made, full)
    of_forecasts = Inside("forecasts", found.inside, found.figures, found.missing)
    return [*found.rows, *totals(found, of_forecasts)], of_forecasts


def totals(found: Found, of_forecasts: Inside) -> list[Row]:
    """Say how many answers and figures were right."""
    cases = len(found.rows) - found.missing
    right = cases - found.wrong - found.unsure
    missing = f", {found.missing} not measured" if found.missing else ""
    return [
        Row(
            "forecasts: exhausts or not",
            f"{right} right, {found.unsure} unsure, {found.wrong} wrong{missing}",
            f"none wrong, unsure <= {MOST_UNSURE:.1%}",
            met(not found.wrong and found.unsure <= MOST_UNSURE * cases, found.missing, cases),
        ),
        of_forecasts.row(),
        Row(
            "CPU of a forecast, with reading and judging its run",
            f"at most {found.most_cpu_s:.1f} s",
            f"<= {MOST_CPU_S:g} s",
            met(found.most_cpu_s <= MOST_CPU_S, found.missing, cases),
        ),
    ]


def _run(folder: Path, *arguments: str) -> RunDir:
    return kept_run(folder, *arguments, "--stack", "embedded")


def forecast_of(run_dir: RunDir, production: Production) -> Forecast:
    scenario, history = read_scenario(run_dir), load_history(run_dir)
    verdict = judge_history(run_dir, scenario, history, "embedded")
    return forecast(run_dir.path.name, scenario, history, verdict, production)


def compare(found: Found, case: Case, made: Forecast, full: RunDir) -> None:
    """Add what was forecast and measured of a case."""
    history = load_history(full)
    measured = measure(read_scenario(full), history).pool
    exhausted = exhausted_pools(measured, history)
    right = {"yes": made.pool in exhausted, "no": not exhausted, "unsure": None}[made.exhausts]
    found.unsure += right is None
    found.wrong += right is False
    words = [f"{_of(made.exhausts, made.pool)}, measured {_of('yes' if exhausted else 'no', *exhausted)}"]
    by_name = {one.pool: one for one in made.pools}
    if measured.name in by_name and (most := most_in_use(history, measured.name)):
        words.append(f"most in use {found.add(by_name[measured.name].in_use_max, most)}")
    full_s = full_after_s(history, made.pool) if made.pool in exhausted else None
    if made.exhausts == "yes" and made.exhausted_after_s and full_s is not None:
        words.append(f"after s {found.add(made.exhausted_after_s, full_s)}")
    found.rows.append(Row(f"forecast, {case.name}", "; ".join(words), "right or unsure", right is not False))


def _of(answer: str, *pools: str | None) -> str:
    return f"{answer} ({', '.join(filter(None, pools))})" if answer == "yes" else answer


def exhausted_pools(measured: PoolMetrics, history: History) -> tuple[str, ...]:
    """Return the pools that a run exhausted: a check-out timed out there, or all connections were lost."""
    timed_out = {sample.pool for sample in history.pools if sample.timeouts}
    timed_out |= {timeout.pool for timeout in history.pool_timeouts}
    gone = measured.capacity and (measured.leaked or 0) >= measured.capacity
    return tuple(sorted(timed_out | ({measured.name} if gone and measured.name else set())))


def most_in_use(history: History, pool: str) -> int:
    """Return the most connections of a pool that a process had out: of the whole load, as in a forecast."""
    started_s = history.time_of(f.LOAD_STARTED) or 0.0
    out = (each.checked_out for each in history.pools if each.pool == pool and each.t_s >= started_s)
    return max(out, default=0)


def full_after_s(history: History, pool: str | None) -> float | None:
    """Return since when a pool was full as it was exhausted, in seconds since the load started.

    As in a forecast that is the start of the time without a free connection in which the first check-out
    timed out, or which never ended. A connection that a waiting check-out is about to get is not free.
    """
    started_s = history.time_of(f.LOAD_STARTED) or 0.0
    first = min((each.t_s for each in history.pool_timeouts if each.pool == pool), default=math.inf)
    since: dict[int, float] = {}
    for sample in sorted(history.pools, key=lambda each: each.t_s):
        if sample.pool != pool or not started_s <= sample.t_s <= first or not sample.capacity:
            continue
        if sample.checked_out + sample.waiting >= sample.capacity:
            since.setdefault(sample.pid, sample.t_s - started_s)
        else:
            since.pop(sample.pid, None)
    return min(since.values(), default=None)
