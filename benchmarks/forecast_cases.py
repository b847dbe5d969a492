"""What the benchmarks of predictions share: a configuration, and a measured figure beside its prediction."""

from dataclasses import dataclass, field, replace
from math import inf
from typing import Final

from benchmarks.harness import NotMeasuredError
from benchmarks.table import Row
from rushhour.forecast.demand import Demand
from rushhour.forecast.interval import CONFIDENCE, Estimate
from rushhour.forecast.queueing import PoolSetting, Setting, measured_setting

LEAST_INSIDE: Final = CONFIDENCE  # as many as the intervals promise


@dataclass(frozen=True, slots=True)
class Case:
    """A configuration that is run and predicted."""

    size: int
    overflow: int = 0
    timeout_s: float = 1.0
    threads: int = 64
    processes: int = 1
    users: int | None = None  # None: as many as in the run that it is predicted from

    def __str__(self) -> str:
        users = f", {self.users} customers" if self.users else ""
        return f"{self.size} + {self.overflow}, {self.threads} threads, {self.processes} processes{users}"

    def arguments(self) -> tuple[str, ...]:
        settings = {
            "pool.size": self.size,
            "pool.max_overflow": self.overflow,
            "pool.timeout": f"{self.timeout_s:g}s",
            "service.threads": self.threads,
            "service.workers": self.processes,
        }
        if self.users:
            settings["load.users"] = self.users
        return tuple(text for key, value in settings.items() for text in ("--set", f"{key}={value}"))


@dataclass(frozen=True, slots=True)
class Compared:
    """A measured figure beside its prediction."""

    predicted: Estimate
    measured: float

    @property
    def inside(self) -> bool:
        return self.measured in self.predicted


@dataclass(slots=True)
class Found:
    rows: list[Row] = field(default_factory=list)
    figures: list[Compared] = field(default_factory=list)
    missing: int = 0  # configurations whose run is unknown


def words(name: str, wait: Compared, timed_out: Compared) -> Row:
    """Return the row of a configuration."""
    text = (
        f"wait p99 {_ms(wait.predicted)}, measured {wait.measured * 1e3:.0f} ms; "
        f"time-outs {_percent(timed_out.predicted)}, measured {timed_out.measured:.1%}"
    )
    outside = [part for part, one in (("wait", wait), ("time-outs", timed_out)) if not one.inside]
    return Row(name, text, f"outside: {' and '.join(outside)}" if outside else "inside", None)


def inside(name: str, found: Found) -> Row:
    """Say how many measured figures lie in their intervals; of a run that is missing nothing is known."""
    count = sum(one.inside for one in found.figures)
    missing = f", {found.missing} configurations not measured" if found.missing else ""
    return Row(
        f"{name}: measured figures in their {CONFIDENCE:.0%} intervals",
        f"{count} of {len(found.figures)}{missing}",
        f">= {LEAST_INSIDE:.0%}",
        met(count >= LEAST_INSIDE * len(found.figures), found.missing),
    )


def met(holds: bool, missing: int) -> bool | None:
    """Return whether a bound is met: where it holds, but not all was measured, nobody knows."""
    return None if holds and missing else holds


def not_measured(name: str, error: NotMeasuredError) -> Row:
    """Return the row of a configuration or case whose run is unknown."""
    return Row(name, f"not measured: {error}", "", None)


def setting_of(demand: Demand, case: Case, seconds: float, *, retries: int = 0) -> Setting:
    """Return the setting of a case, over as long a time as its run measured."""
    pools = {pool.name: PoolSetting(case.size, case.overflow, case.timeout_s) for pool in demand.pools}
    ran = measured_setting(demand)
    return replace(
        ran,
        pools=pools,
        threads=case.threads,
        processes=case.processes,
        customers=case.users or ran.customers,
        retries=retries,
        horizon_s=seconds,
    )


def _ms(found: Estimate) -> str:
    return f"{found.value * 1e3:.0f} [{found.low * 1e3:.0f} to {found.high * 1e3:.0f}] ms"


def _percent(found: Estimate) -> str:
    high = found.high if found.high != inf else 1.0
    return f"{found.value:.1%} [{found.low:.1%} to {high:.1%}]"
