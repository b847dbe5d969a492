"""Reads from a run what its customers ask of the pools of a process (pure)."""

from dataclasses import dataclass

from rushhour.forecast.durations import Durations
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.scenario.model import Scenario


@dataclass(frozen=True, slots=True)
class SiteDemand:
    """What a call site asks of a pool, over all processes."""

    pool: str
    site: f.CallSite
    endpoint: str | None
    checkouts_per_s: float
    hold_s: float  # mean
    longest_s: float
    share: float  # of the pool's connection-seconds


@dataclass(frozen=True, slots=True)
class Use:
    """Check-outs of a pool by one request of an endpoint."""

    pool: str
    per_request: float
    hold: Durations


@dataclass(frozen=True, slots=True)
class EndpointDemand:
    """An endpoint: its share of the requests, and what one of its requests does."""

    name: str
    share: float
    uses: tuple[Use, ...]
    outside_s: float  # mean time of a request with neither a connection nor a wait for one
    overlaps: bool = False  # it holds the connections of several pools at the same time


@dataclass(frozen=True, slots=True)
class PoolDemand:
    """A pool as it was run, in each of its processes."""

    name: str
    size: int
    max_overflow: int  # -1: no limit
    timeout_s: float
    processes: int  # that have such a pool
    checkouts: int  # in the healthy seconds, over all processes
    hold: Durations
    create_s: float | None  # mean time to open a connection; None: none was opened
    in_use_max: int  # of a process, sampled
    sites: tuple[SiteDemand, ...]  # most connection-seconds first

    @property
    def capacity(self) -> int | None:
        return None if self.max_overflow < 0 else self.size + self.max_overflow


@dataclass(frozen=True, slots=True)
class Second:
    """One healthy second: what resampling needs."""

    t_s: int
    customers: int
    requests: int  # sent, over all processes
    checkouts: int
    held_s: float


@dataclass(frozen=True, slots=True)
class Demand:
    """What the customers of a run ask of the service. Rates are over all processes and instances."""

    run: str
    service: str
    release: str
    scenario: str
    customers: int  # the most at once
    think_s: float  # mean time from an answer to the same customer's next request
    requests_per_s: float
    endpoints: tuple[EndpointDemand, ...]
    pools: tuple[PoolDemand, ...]
    processes: int
    threads: int
    instances: int
    seconds: tuple[Second, ...]
    cpu: dict[str, float]  # component -> share of the CPU that it may use (0 to 1)
    max_connections: dict[str, int]  # server -> its limit

    def pool(self, name: str) -> PoolDemand:
        """Return a pool by its name. Raises KeyError."""
        return {pool.name: pool for pool in self.pools}[name]


def read_demand(run: str, scenario: Scenario, history: History) -> Demand:
    """Read the demand of a run; `run` names it in messages.

    Only healthy seconds count: after the warm-up, during the load, without a pool time-out, a failed request
    or a fault of a server, and in which no pool was full all the time. Raises InsufficientDataError if the
    run has no agent, no such second or too few check-outs.
    """
    raise NotImplementedError(run, scenario, history)
