"""The interface of meters, which read CPU and memory of one component."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class MeterReading:
    """A reading of a meter; `cpu_s` and `throttled_s` only grow and include processes that have ended."""

    cpu_s: float
    rss_bytes: int
    processes: int
    throttled_s: float | None = None
    age_s: float = (
        0.0  # how long ago the figures were taken: a container's come from its engine, once a second
    )


class Meter(Protocol):
    """Reads CPU and memory of a component; `limit_cores` is its CPU limit, or None."""

    @property
    def limit_cores(self) -> float | None: ...

    def read(self) -> MeterReading:
        """Read the current figures. Raises ProcessLookupError if the component has ended."""
        ...
