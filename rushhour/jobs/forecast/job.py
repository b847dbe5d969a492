"""Reads a saved run, and forecasts the production that the command line and the scenario name."""

from dataclasses import dataclass, replace

from rushhour.errors import UsageError
from rushhour.forecast.answer import forecast
from rushhour.judging.judge import judge_history, read_scenario
from rushhour.rundir import RunDir, load_history
from rushhour.scenario.model import Production, ProductionPool, Scenario
from rushhour.verdict.forecast import Forecast


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says; None: as the scenario's `production:`, and else as the run."""

    customers: int | None = None
    instances: int | None = None
    workers: int | None = None
    threads: int | None = None
    pool_size: int | None = None
    max_overflow: int | None = None
    think_time_s: float | None = None
    push_share: float | None = None
    day: str | None = None


def forecast_run(name: str, run: RunDir, asked: Asked) -> Forecast:
    """Forecast a production from a saved run; `name` is for messages.

    Raises RunDataError for a run that cannot be read, UsageError for wrong numbers, and InsufficientDataError
    for a run that does not hold enough.
    """
    scenario, history = read_scenario(run), load_history(run)
    stack = history.environment.stack if history.environment else "unknown"
    verdict = judge_history(run, scenario, history, stack)
    return forecast(name, scenario, history, verdict, production_of(name, scenario, asked))


def production_of(name: str, scenario: Scenario, asked: Asked) -> Production:
    """Complete what was asked by the scenario's `production:`. Raises UsageError for wrong numbers."""
    customers = asked.customers or (scenario.production.customers if scenario.production else None)
    if customers is None:
        what = f"its scenario {scenario.name} names no production"
        raise UsageError([f"{name}: {what}; say how many customers there are: --customers 800"])
    base = scenario.production or Production(customers=customers)
    pool = base.pool or ProductionPool()
    pool = replace(
        pool,
        size=pool.size if asked.pool_size is None else asked.pool_size,
        max_overflow=pool.max_overflow if asked.max_overflow is None else asked.max_overflow,
    )
    return replace(
        base,
        customers=customers,
        instances=asked.instances or base.instances,
        workers=asked.workers or base.workers,
        threads=asked.threads or base.threads,
        pool=pool,
        think_time=asked.think_time_s or base.think_time,
        push_share=base.push_share if asked.push_share is None else asked.push_share,
        day=base.day if asked.day is None else asked.day,
    )
