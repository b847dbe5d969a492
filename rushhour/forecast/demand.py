"""What the customers of a run ask of the pools of a process: the facts that a prediction starts from (pure).

They are read from a run (recorded.py), or from metrics that were scraped in production (scraped.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from rushhour.forecast.durations import Durations
from rushhour.forecast.limits import ServerLimit
from rushhour.rundir import facts as f

FEWEST_CHECKOUTS: Final = 200  # of a pool: two of them are its slowest hundredth
ANY: Final = "any request"  # where endpoints of check-outs and of requests cannot be joined


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
    latency_s: float | None = None  # mean of its answers; None: not measured


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
    standing: int = 0  # connections of a process that are out all the time, of no request
    beside: float = 1.0  # connections to its server, of all processes, out while one was: on average
    cpu_s: float | None = None  # of its server, for one check-out; None: unknown
    waited_p99_s: tuple[float, float] | None = None  # of the whole load: its bucket's bounds; None: unknown
    shape_known: bool = True  # whether `size` and `max_overflow` were seen; else it is taken to have no limit

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
    answered: Mapping[str, int] = field(default_factory=dict, hash=False)  # endpoint -> requests, soon after


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
    threads: int | None  # of each process; None: unknown
    instances: int
    seconds: tuple[Second, ...]  # healthy ones
    cpu: Mapping[str, float]  # component -> share of the CPU that it may use (0 to 1)
    limits: Mapping[str, ServerLimit]  # of each server
    latency_s: float  # mean of an answer
    few: Mapping[str, int]  # pools that are left out -> check-outs that came back, too few for a distribution
    open_arrivals: bool = False  # requests come at a rate of their own, however slow the answers are
    growth: Mapping[str, float] | None = (
        None  # pool -> how its holds grow with CPU (queueing.py); None: unknown
    )
    full: tuple[Second, ...] = ()  # a pool was full all the time: they say when customers act together
    cores: Mapping[str, float] = field(default_factory=dict)  # component -> cores that it may use

    def pool(self, name: str) -> PoolDemand:
        """Return a pool by its name. Raises KeyError."""
        return {pool.name: pool for pool in self.pools}[name]
