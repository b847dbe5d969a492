"""The live state of a run, for the terminal and the web page."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PoolGauge:
    """The current state of a pool, summed over the service's processes."""

    pool: str
    checked_out: int
    capacity: int | None
    waiting: int
    leaked: int
    timeouts: int


@dataclass(frozen=True, slots=True)
class HolderGauge:
    """A call site's current use of a pool; `out` counts check-outs that are a second old or leaked."""

    pool: str
    site: str  # "app/x.py:12 list_referrals"
    endpoint: str | None  # None outside a request
    out: int
    leaked: int  # of them, with their unit of work ended
    oldest_s: float
    checkouts: int
    held_s: float  # connection-seconds so far, of check-outs that came back and of those that are out


@dataclass(frozen=True, slots=True)
class LiveState:
    """The newest figures, None if unknown. Rates are over the last whole second."""

    elapsed_s: float = 0.0  # since the load started
    users: int | None = None
    rps: float | None = None
    server_errors_per_s: float | None = None
    requests: int = 0
    server_errors: int = 0
    pools: tuple[PoolGauge, ...] = ()
    holders: tuple[HolderGauge, ...] = ()  # the worst first
    cpu_cores: Mapping[str, float] = field(default_factory=dict)  # component -> cores
    cpu_limits: Mapping[str, float] = field(default_factory=dict)
    lag_s: float | None = None
    moments: tuple[str, ...] = ()  # "12.3 s  pool replica full: 30 of 30, 30 leaked"
