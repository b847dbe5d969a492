"""Where a release is forecast for: customers, processes, threads, pools and the course of a day (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass

from rushhour.errors import InsufficientDataError, UsageError
from rushhour.forecast.behaviour import Setup
from rushhour.forecast.replayed import PoolRules
from rushhour.forecast.setting import PoolSetting
from rushhour.scenario.day import Day, parse_day, steady_day
from rushhour.scenario.model import Production, ProductionPool


@dataclass(frozen=True, slots=True)
class Place:
    """A production. Pools are those of each process."""

    customers: int
    instances: int
    workers: int  # processes of each instance
    threads: int | None  # of each process; None: unknown, and not limited
    pools: Mapping[str, PoolRules]
    day: Day
    steady: bool  # no curve was given: all customers, for a day, and no push
    think_s: float
    push_share: float

    @property
    def processes(self) -> int:
        return self.instances * self.workers

    def in_words(self) -> str:
        """`800 customers, 1 instance with 1 process of 64 threads`."""
        instances = f"{self.instances} instance" + ("s" if self.instances > 1 else "")
        processes = f"{self.workers} process" + ("es" if self.workers > 1 else "")
        threads = "" if self.threads is None else f" of {self.threads} threads"
        return f"{self.customers:,} customers, {instances} with {processes}{threads}"


def place_of(production: Production, setup: Setup) -> Place:
    """Complete what `production:` leaves out by what the run shows. Raises UsageError for a wrong day."""
    pools = {name: _rules(seen, production.pool or ProductionPool()) for name, seen in setup.pools.items()}
    try:
        day = parse_day(production.day) if production.day.strip() else steady_day()
    except ValueError as error:
        raise UsageError([f"day: {error}"]) from None
    return Place(
        customers=production.customers,
        instances=production.instances,
        workers=production.workers or setup.processes,
        threads=production.threads or setup.threads,
        pools=pools,
        day=day,
        steady=not production.day.strip(),
        think_s=production.think_time or setup.think_s,
        push_share=setup.push_share if production.push_share is None else production.push_share,
    )


def _rules(seen: PoolSetting, wanted: ProductionPool) -> PoolRules:
    """Return a pool of a process: as it was seen, but for what is wanted otherwise.

    Raises InsufficientDataError for a size without an overflow where the run had no limit.
    """
    if seen.max_overflow < 0 and wanted.size is not None and wanted.max_overflow is None:
        raise InsufficientDataError(
            "the run's pools have no limit, and a size alone sets none: name a max_overflow, as well"
        )
    there = PoolSetting(
        seen.size if wanted.size is None else wanted.size,
        seen.max_overflow if wanted.max_overflow is None else wanted.max_overflow,
        seen.timeout_s if wanted.timeout is None else wanted.timeout,
    )
    return PoolRules(there.capacity, there.timeout_s)
