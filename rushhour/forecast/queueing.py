"""Predicts waits, time-outs and connections in use for settings that were not run (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rushhour.forecast.demand import Demand
from rushhour.forecast.interval import Estimate


@dataclass(frozen=True, slots=True)
class PoolSetting:
    """The settings of a pool in each process; `max_overflow` -1: no limit."""

    size: int
    max_overflow: int
    timeout_s: float

    @property
    def capacity(self) -> int | None:
        return None if self.max_overflow < 0 else self.size + self.max_overflow


@dataclass(frozen=True, slots=True)
class Setting:
    """What is predicted for."""

    pools: Mapping[str, PoolSetting]
    threads: int  # of each process
    processes: int  # of each instance
    instances: int
    customers: int  # of all instances together
    activity: float = 1.0  # how much more often a customer asks than in the run
    horizon_s: float = 60.0  # the figures are of this long a time


@dataclass(frozen=True, slots=True)
class PoolPrediction:
    """A pool of one process over the horizon. Waits and shares are of check-outs that asked."""

    pool: str
    checkouts_per_s: Estimate
    waits_share: Estimate  # had to wait in the queue
    wait_p99_s: Estimate  # time-outs count with their time-out
    timeout_share: Estimate
    timeouts_per_hour: Estimate  # over all processes
    in_use_mean: Estimate
    in_use_max: Estimate


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a setting would show."""

    setting: Setting
    pools: Mapping[str, PoolPrediction]
    requests_per_s: Estimate
    threads_busy_max: Estimate  # of one process
    queued_max: Estimate  # requests of one process that waited for a thread
    cpu: Mapping[str, float] = field(default_factory=dict)  # component -> share of its CPU (0 to 1)
    beyond: tuple[str, ...] = ()  # why the figures may not hold


def measured_setting(demand: Demand) -> Setting:
    """Return the setting of the run itself."""
    pools = {pool.name: PoolSetting(pool.size, pool.max_overflow, pool.timeout_s) for pool in demand.pools}
    return Setting(pools, demand.threads, demand.processes, demand.instances, demand.customers)


def predict(demand: Demand, setting: Setting, *, repeats: int = 20, seed: int = 1) -> Prediction:
    """Predict what a setting would show; the same arguments always give the same figures."""
    raise NotImplementedError(demand, setting, repeats, seed)
