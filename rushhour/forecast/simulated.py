"""What a simulation takes, a process and its customers, and what it counted of them (pure)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Asked:
    """Check-outs of a pool, by its number, by one request; `holds_s` are equally likely."""

    pool: int
    per_request: float
    holds_s: Sequence[float]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of request."""

    share: float
    asks: tuple[Asked, ...]
    outside_s: float
    overlaps: bool  # keeps each connection until it has ended


@dataclass(frozen=True, slots=True)
class Bounds:
    """The settings of a pool; `capacity` may be infinite.

    `cores` of its server are this process's part of them, infinite where sharing is left out; a hold that is
    drawn was measured beside `beside` connections, and `on_cpu` is the share of it that computed or waited
    for a core.
    """

    size: float
    capacity: float
    timeout_s: float
    create_s: float
    standing: int = 0  # connections that are out all the time
    server: str = ""
    cores: float = math.inf
    beside: float = 1.0
    on_cpu: float = 0.0


@dataclass(frozen=True, slots=True)
class World:
    """A process. `activity` is how active customers are in each step of time, in turn: 1.0 is their mean.

    `mixes` are the shares of the kinds in the same steps, where they are not always the same.
    """

    kinds: tuple[Kind, ...]
    pools: tuple[Bounds, ...]
    threads: float
    customers: int
    think_s: float
    activity: tuple[float, ...] = (1.0,)
    mixes: tuple[tuple[float, ...], ...] = ()
    step_s: float = 1.0
    busy: float = 0.0  # share of the time in which the interpreter has another thread to run
    retries: int = 0  # of a request that failed
    retry_s: float = 0.5  # the first retry comes within this time, each further one within twice as long


@dataclass(slots=True)
class PoolTally:
    """What was counted of a pool after the warm-up."""

    asked: int = 0
    waits_s: list[float] = field(default_factory=list)  # of those that waited; time-outs with their time-out
    served_s: list[float] = field(default_factory=list)  # from asking to giving back; time-outs as above
    timeouts: int = 0
    in_use_max: int = 0
    in_use_s: float = 0.0  # connection-seconds


@dataclass(slots=True)
class Tally:
    """What was counted of a process after the warm-up."""

    pools: list[PoolTally]
    seconds: float
    requests: int = 0
    threads_max: int = 0
    queued_max: int = 0


def slowed(out: float, cores: float) -> float:
    """Return how much longer work takes beside others; alone, it has a core of its own."""
    return max(1.0, out / cores) if out > 1.0 else 1.0
