"""What a prediction is for: the settings that an operator chooses (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass

from rushhour.forecast.demand import Demand


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
    threads: int | None  # of each process; None: not bounded
    processes: int  # of each instance
    instances: int
    customers: int  # of all instances together
    activity: float = 1.0  # how much more often a customer asks than in the run
    retries: int = 0  # of a request that timed out; each comes sooner than a customer would think
    horizon_s: float = 60.0  # the figures are of this long a time


def measured_setting(demand: Demand) -> Setting:
    """Return the setting of the run itself."""
    pools = {pool.name: PoolSetting(pool.size, pool.max_overflow, pool.timeout_s) for pool in demand.pools}
    return Setting(pools, demand.threads, demand.processes, demand.instances, demand.customers)
