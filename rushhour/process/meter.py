"""How CPU and memory of one component (a server, the service, the generator) are read."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class MeterReading:
    """One reading; `cpu_s` and `throttled_s` only grow, processes that have ended included."""

    cpu_s: float
    rss_bytes: int
    processes: int
    throttled_s: float | None = None
    age_s: float = (
        0.0  # how long ago the figures were taken: a container's come from its engine, once a second
    )


class Meter(Protocol):
    """Reads one component; `limit_cores` is what it may use at most, None where nothing limits it."""

    @property
    def limit_cores(self) -> float | None: ...

    def read(self) -> MeterReading:
        """Read now; raises ProcessLookupError when the component has ended."""
        ...
