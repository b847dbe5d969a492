"""The forecast of a production, as verdict.json stores it."""

from dataclasses import dataclass
from typing import Literal

from rushhour.rundir.facts import CallSite

Answer = Literal["yes", "no", "unsure"]


@dataclass(frozen=True, slots=True)
class Range:
    """An expected figure and its 80 % interval."""

    expected: float
    low: float
    high: float

    def __contains__(self, measured: float) -> bool:
        return self.low <= measured <= self.high


@dataclass(frozen=True, slots=True)
class PoolForecast:
    """What is expected of a pool of one process."""

    pool: str
    capacity: int | None
    in_use_max: Range
    wait_p99_ms: Range | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """Whether a release would exhaust a pool in a production.

    `exhausted_after_s` counts from the start of the day's curve; `exhausted_at` is the same as times of day
    (expected, earliest, latest), for a curve with a clock. `headline` says it in one sentence.
    """

    exhausts: Answer
    headline: str
    reasons: tuple[str, ...]
    place: str  # "800 customers, 1 instance with 1 process of 64 threads"
    customers: int
    chance: float  # share of the replayed courses in which a pool was exhausted
    pool: str | None = None
    cause: str | None = None
    site: CallSite | None = None
    endpoint: str | None = None
    exhausted_after_s: Range | None = None
    exhausted_at: tuple[str, ...] = ()
    timeouts: Range | None = None  # of the replayed time
    replayed_s: float = 0.0
    threads_max: Range | None = None  # of one process
    requests_per_s: Range | None = None  # at the peak
    pools: tuple[PoolForecast, ...] = ()
    assumptions: tuple[str, ...] = ()
    curve: tuple[tuple[float, float], ...] = ()  # of the day: (seconds since its start, customers)
    pushes_s: tuple[float, ...] = ()
    starts_s: float | None = None  # time of day at which the curve starts
