"""What the benchmarks of predictions share: a configuration, and a measured figure beside its prediction."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import comb, fsum, inf
from typing import Final

from benchmarks.harness import NotMeasuredError
from benchmarks.table import Row
from rushhour.forecast.demand import Demand
from rushhour.forecast.interval import CONFIDENCE, Estimate
from rushhour.forecast.queueing import PoolSetting, Setting, measured_setting

LEAST_INSIDE: Final = CONFIDENCE  # as many as the intervals promise
BY_CHANCE: Final = 0.05  # a part with fewer inside than this chance explains is wrong by itself


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


@dataclass(frozen=True, slots=True)
class Inside:
    """How many measured figures of a part lie in their intervals."""

    name: str
    count: int
    figures: int
    missing: int = 0  # runs, of which nothing is known

    @property
    def chance(self) -> float:
        """The chance of no more than these inside, if each interval is right as often as it promises."""
        figures = self.figures
        return fsum(
            comb(figures, count) * CONFIDENCE**count * (1 - CONFIDENCE) ** (figures - count)
            for count in range(self.count + 1)
        )

    def row(self) -> Row:
        """The part alone.

        Of its twenty figures or so chance puts fewer than 80 % inside in four to five of ten cases where
        every interval is right, so the 80 % bind all parts together, and a part what chance does not explain.
        """
        return Row(
            f"{self.name}: measured figures in their {CONFIDENCE:.0%} intervals",
            self.said(),
            f"not fewer than chance explains ({BY_CHANCE:.0%})",
            met(self.chance >= BY_CHANCE, self.missing, self.figures),
        )

    def said(self) -> str:
        missing = f", {self.missing} runs not measured" if self.missing else ""
        return f"{self.count} of {self.figures}{missing}"


def inside(name: str, found: Found) -> Inside:
    return Inside(name, sum(one.inside for one in found.figures), len(found.figures), found.missing)


def all_inside(parts: Sequence[Inside]) -> Row:
    """The bound: of all figures together."""
    sums = ((part.count, part.figures, part.missing) for part in parts)
    together = Inside("all", *map(sum, zip(*sums, strict=True)))
    return Row(
        f"all measured figures in their {CONFIDENCE:.0%} intervals",
        together.said(),
        f">= {LEAST_INSIDE:.0%}",
        met(together.count >= LEAST_INSIDE * together.figures, together.missing, together.figures),
    )


def met(holds: bool, missing: int, measured: int) -> bool | None:
    """Return whether a bound is met: where it holds, but not all was measured, or nothing, nobody knows."""
    return None if holds and (missing or not measured) else holds


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
