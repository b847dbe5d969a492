"""Facts about the PostgreSQL servers, and about CPU and memory of every component."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Backend:
    """A client backend of a server, from pg_stat_activity; its pid joins it to check-outs."""

    pid: int
    state: str  # "idle in transaction"
    wait: str | None  # "Client:ClientRead"
    state_s: float  # seconds in this state


REPLAY = "startup"  # the name of the process that replays the primary's WAL on a replica
CONFLICT_SAYS = "due to conflict with recovery"  # a replica, to a session that it ended to replay the WAL


@dataclass(frozen=True, slots=True)
class LockWait:
    """A client backend, or the replay of a replica, that waits for a lock, and a backend that blocks it."""

    pid: int
    blocked_by: int  # 0: a prepared transaction
    waited_s: float | None  # seconds since its query began
    blocker_state: str | None  # "idle in transaction"; None: the backend has ended
    blocker_state_s: float | None
    blocker_xact_s: float | None  # how long its transaction has been open
    name: str | None = None  # "referrals of user app": application and user; REPLAY; older runs have none
    blocker_name: str | None = None
    statement: str | None = None  # the waiting statement, as "UPDATE accounts"; None: not visible


@dataclass(frozen=True, slots=True)
class ServerSample:
    """postgres.jsonl: a server, once a second. If `error` is set, the other figures are None or empty."""

    t_s: float
    server: str  # "primary" | "replica"
    error: str | None = None
    max_connections: int | None = None
    states: Mapping[str, int] = field(default_factory=dict)  # client backends of the service by state
    waits: Mapping[str, int] = field(default_factory=dict)  # "Client:ClientRead" -> backends
    connections: int | None = None  # all client backends
    oldest_xact_s: float | None = None
    oldest_idle_in_xact_s: float | None = None
    in_recovery: bool | None = None
    streaming: bool | None = None  # primary: a standby streams; replica: its WAL receiver streams
    lag_s: float | None = None  # replica: age of the last replayed commit while WAL is outstanding
    lag_bytes: int | None = None
    conflicts: int | None = None  # recovery conflicts since start
    commits: int | None = None
    rollbacks: int | None = None
    backends: tuple[Backend, ...] = ()  # the service's, at most 200
    lock_waits: tuple[LockWait, ...] = ()  # of the 50 that waited longest; older runs have none
    reserved: int | None = (
        None  # connections that only superusers get, or a special role; older runs have none
    )
    conflicts_by_kind: Mapping[str, int] = field(default_factory=dict)  # "snapshot" -> `conflicts`
    replay_wait: str | None = None  # what replay waits for, of reads: "IPC:RecoveryConflictSnapshot"


MACHINE = "machine"  # the component of HostSample that is the whole machine
OWN = "own-"  # name prefix of containers that the user's own service depends on


@dataclass(frozen=True, slots=True)
class HostSample:
    """host.jsonl: CPU and memory of a component over about a second."""

    t_s: float
    component: str  # "primary", "replica", "service", "generator", "harness", "machine"
    cpu_cores: float
    rss_mb: float
    processes: int
    limit_cores: float | None = None
    throttled_cores: float | None = None  # CPU seconds per second that its limit made it wait
