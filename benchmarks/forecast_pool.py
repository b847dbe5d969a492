"""The model beside SQLAlchemy's own pool: customers who sleep, whom a busy machine disturbs little."""

import json
import subprocess
import sys
from collections.abc import Sequence
from math import fsum
from typing import Any, Final

from benchmarks.forecast_cases import Case, Compared, Found, Inside, inside, setting_of, words
from benchmarks.harness import ROOT
from benchmarks.table import Row
from rushhour.forecast.demand import Demand, EndpointDemand, PoolDemand, Use
from rushhour.forecast.durations import Durations
from rushhour.forecast.interval import quantile
from rushhour.forecast.queueing import predict

SECONDS: Final = 20.0
POOL: Final = "replica"
SUBJECT: Final = "benchmarks.subjects.sleeping_customers"
REPEATS: Final = 40
MEASURED: Final = Case(30, 10, users=60)  # that the others are predicted from
CASES: Final = (
    Case(10, users=60),
    Case(8, users=60),
    Case(6, users=60),
    Case(4, 2, timeout_s=2.0, users=60),
    Case(4, users=30),
    Case(3, 2, users=30),
    Case(6, threads=16, users=60),
    Case(8, 2, users=90),
    Case(12, users=90),
    Case(2, 1, users=30),
)


def run() -> tuple[list[Row], Inside]:
    """A row for each configuration, and how many measured figures lie in their intervals."""
    running = [_start(case) for case in (MEASURED, *CASES)]
    try:
        first, *others = [_read(process) for process in running]
    finally:
        for process in running:
            process.kill()
    found, demand = Found(), _demand(first)
    for case, measured in zip(CASES, others, strict=True):
        figures = predict(demand, setting_of(demand, case, SECONDS), repeats=REPEATS, requests=400_000).pools[
            POOL
        ]
        asked = len(measured["waits_s"]) + measured["timeouts"]
        waits = sorted([*measured["waits_s"], *[case.timeout_s] * measured["timeouts"]])
        wait = Compared(figures.wait_p99_s, quantile(waits, 0.99))
        timed_out = Compared(figures.timeout_share, measured["timeouts"] / asked)
        found.figures += [wait, timed_out]
        found.rows.append(words(f"SQLAlchemy's pool: {case}", wait, timed_out))
    of_pool = inside("SQLAlchemy's pool", found)
    return [*found.rows, of_pool.row()], of_pool


def _start(case: Case) -> subprocess.Popen[str]:
    arguments = (case.size, case.overflow, case.timeout_s, case.threads, case.users, SECONDS)
    command = [sys.executable, "-m", SUBJECT, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def _read(process: subprocess.Popen[str]) -> dict[str, Any]:
    said, _ = process.communicate(timeout=4 * SECONDS)
    if process.returncode:
        raise RuntimeError(f"{SUBJECT}: exit code {process.returncode}")
    found: dict[str, Any] = json.loads(said)
    return found


def _demand(measured: dict[str, Any]) -> Demand:
    """Return the demand that the run with a large pool showed."""
    holds, answers = measured["holds_s"], measured["answers_s"]
    hold = Durations(tuple(sorted(holds)), len(holds))
    share, per_s = len(holds) / len(answers), len(answers) / SECONDS
    customers = MEASURED.users or 0
    return Demand(
        run=SUBJECT,
        service=SUBJECT,
        release="",
        scenario="",
        customers=customers,
        think_s=customers / per_s - _mean(answers),
        requests_per_s=per_s,
        endpoints=(
            EndpointDemand("asks", share, (Use(POOL, 1.0, hold),), 0.0),
            EndpointDemand("does not", 1 - share, (), 0.0),
        ),
        pools=(PoolDemand(POOL, 30, 10, 1.0, 1, len(holds), hold, None, 0, ()),),
        processes=1,
        threads=MEASURED.threads,
        instances=1,
        seconds=(),
        cpu={},
        limits={},
        latency_s=_mean(answers),
        few={},
    )


def _mean(values: Sequence[float]) -> float:
    return fsum(values) / len(values)
