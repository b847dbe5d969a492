"""What a replay takes, a site and the stages of requests, and what it saw of them (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PoolRules:
    """A pool of each process; without a capacity it never makes a request wait."""

    capacity: int | None
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a request: it holds connections of `pools` while it works.

    `cpu_s` is CPU time in the process, `server_s` CPU time of the servers, by name, and `idle_s` any other
    time. `keeps`: its thread keeps the connection for good, and uses it again. `forgets` is the chance that
    the connection is not given back when the request ends. `aside` is the number of the process where it is
    the work of no request, on no thread of the server's.
    """

    pools: tuple[str, ...] = ()
    cpu_s: float = 0.0
    idle_s: float = 0.0
    server_s: tuple[tuple[str, float], ...] = ()
    keeps: bool = False
    forgets: float = 0.0
    aside: int | None = None


Arrival = tuple[float, tuple[Stage, ...]]  # when, in seconds, and what the request does


@dataclass(frozen=True, slots=True)
class Site:
    """Where requests are replayed: the processes, their threads and pools, the servers behind them."""

    processes: int
    threads: int | None  # of each process; None: no limit
    pools: Mapping[str, PoolRules]
    servers: Mapping[str, float]  # cores that a server may use
    cores: float = 1.0  # that the threads of one process can use
    eager: bool = False  # all threads start with the process


@dataclass(slots=True)
class PoolSeen:
    """What a replay saw of a pool, in the fullest process."""

    in_use_max: int = 0  # sampled
    full_s: float | None = None  # when it had handed out all connections for the first time
    exhausted_s: float | None = None  # since when it was full as a check-out timed out, or all were lost
    timeouts: int = 0
    first_timeout_s: float | None = None
    checkouts: int = 0
    lost_max: int = 0  # connections of a process that were lost for good
    waits_s: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Seen:
    """What a replay saw."""

    pools: dict[str, PoolSeen]
    threads_max: int = 0  # started in a process
    busy_max: int = 0  # at work at the same time in a process
    requests: int = 0
