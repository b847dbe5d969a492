"""What is recommended for a pool, and the table behind it."""

from dataclasses import dataclass

from rushhour.forecast.demand import Demand, PoolDemand
from rushhour.forecast.queueing import PoolPrediction, Setting


@dataclass(frozen=True, slots=True)
class Row:
    """What a pool of so many connections would show."""

    capacity: int
    figures: PoolPrediction
    calm: PoolPrediction  # the same where the customers do not act together
    server_connections: int  # at most, over all processes and instances
    enough: bool


def opened_at_most(capacity: int, usable: int | None) -> int:
    """Return how many connections a process opens of a pool, if its threads can have so many out."""
    return capacity if usable is None else min(capacity, usable)


@dataclass(frozen=True, slots=True)
class PoolSize:
    """The recommendation for a pool, and the table behind it."""

    pool: str
    demand: PoolDemand
    rows: tuple[Row, ...]  # by rising capacity; none where the figures would not hold
    enough: int | None  # the smallest capacity that is enough; None: unknown
    pool_size: int | None
    max_overflow: int | None
    together: int | None  # connections that all processes use at once at most, as a pooler would see it
    reasons: tuple[str, ...]
    beyond: tuple[str, ...]  # why the figures may not hold
    usable: int | None = None  # connections that the threads of a process can have out; None: not bounded

    def opened(self, capacity: int) -> int:
        """Return how many connections of such a pool a process opens at most."""
        return opened_at_most(capacity, self.usable)

    @property
    def in_words(self) -> str:
        """The recommendation in the service's own words."""
        if self.pool_size is None:
            return "no size can be recommended"
        return f"pool_size={self.pool_size}, max_overflow={self.max_overflow}"


@dataclass(frozen=True, slots=True)
class Sizing:
    """The sizes of all pools of a service."""

    demand: Demand
    setting: Setting
    wait_s: float
    max_connections: int | None  # as the user said it; None: as the run's servers have it
    pools: tuple[PoolSize, ...]
