"""What was observed in a run, as facts: one frozen dataclass per line of the run directory's files.

`t_s` is seconds since the run's anchor (the `anchor` event) on the monotonic clock; it is comparable across
all files of a run. Field names carry their units.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """How a request ended, as its customer saw it."""

    OK = "ok"  # 2xx and 3xx
    HTTP_4XX = "http_4xx"
    QUEUEPOOL_TIMEOUT = "queuepool_timeout"  # a 5xx whose body names SQLAlchemy's pool time-out
    HTTP_5XX = "http_5xx"  # any other 5xx
    CONNECT_ERROR = "connect_error"  # refused, reset, closed before an answer
    CLIENT_TIMEOUT = "client_timeout"  # the customer gave up waiting
    OTHER_ERROR = "other_error"


SERVER_ERRORS = frozenset({Outcome.QUEUEPOOL_TIMEOUT, Outcome.HTTP_5XX})
FAILURES = frozenset(Outcome) - {Outcome.OK, Outcome.HTTP_4XX}


@dataclass(frozen=True, slots=True)
class RequestCount:
    """requests.jsonl: requests of one endpoint that *ended* in one second with one outcome, at one worker.

    Rows with equal (t_s, endpoint, outcome) add up. `latency` is a base64 HDR histogram of microseconds
    (1 us to 5 min, three significant digits) of `count` values.
    """

    t_s: int
    endpoint: str  # "GET /customers/:id/referrals"
    outcome: Outcome
    count: int
    latency: str
    worker: str = "local"


@dataclass(frozen=True, slots=True)
class GeneratorSample:
    """generator.jsonl: one Locust process during one second.

    `started` counts requests put on the wire, retries included (`retries` of them). Lateness is how much
    later than planned a timer of the event loop fired. `cpu_cores` is that process's use (1.0: a whole core).
    `redirected` counts requests that were answered by another address than they asked.
    """

    t_s: int
    worker: str
    users: int
    started: int
    retries: int
    lateness_p99_ms: float
    lateness_max_ms: float
    cpu_cores: float
    redirected: int = 0


@dataclass(frozen=True, slots=True)
class AgentProcess:
    """pool.jsonl `process`: a process of the service in which the agent started."""

    t_s: float
    pid: int
    ppid: int
    python: str
    sqlalchemy: str | None  # None: not imported (yet)
    flask: str | None
    argv: tuple[str, ...] = ()
    forked: bool = False
    starlette: str | None = None  # FastAPI is built on it
    routes: tuple[str, ...] = ()  # "GET /customers/<int:customer_id>/referrals", where the framework tells


@dataclass(frozen=True, slots=True)
class PoolSample:
    """pool.jsonl `sample`: one pool of one process, ten times a second. Counters only grow."""

    t_s: float
    pid: int
    pool: str  # the server's name where its address is known ("replica"), else host:port/dbname
    kind: str  # "QueuePool"
    size: int
    max_overflow: int  # -1: no limit
    timeout_s: float
    checked_out: int  # as the pool itself counts: slots that are still connecting included
    live: int  # check-outs that the agent holds live proxies of
    waiting: int  # threads in the queue for a connection
    leaked: int  # live check-outs whose request has ended
    timeouts: int
    connects: int
    checkouts: int
    checkins: int

    @property
    def capacity(self) -> int | None:
        """Connections the pool may hand out at most; None without a limit."""
        return None if self.max_overflow < 0 else self.size + self.max_overflow


@dataclass(frozen=True, slots=True)
class CallSite:
    """The application's frame that checked a connection out; `file` relative to the service's root."""

    file: str
    line: int
    function: str


@dataclass(frozen=True, slots=True)
class CheckOut:
    """pool.jsonl `checkout`: a check-out that outlived its request or lasted a second or more.

    Written when it became notable, again when its request ended and when it came back: the last line with
    the same (pid, id) holds. `returned_by` is "close", "gc" (only garbage collection brought it back),
    "detach", "invalidate"; None while it is out. "process-ended" means that it never came back: its process
    ended with it, or fell silent for five seconds (should it speak again, a line without `returned_s`
    follows).
    """

    t_s: float  # when this line was written
    pid: int
    id: int
    pool: str
    site: CallSite
    stack: tuple[str, ...]  # application frames, innermost first: "app/x.py:12 list_referrals"
    endpoint: str | None  # None outside a request
    thread: str
    server_pid: int | None
    taken_s: float
    request_ended_s: float | None = None
    returned_s: float | None = None
    returned_by: str | None = None
    # While its request ran, its thread was looked at ten times a second, and was seen this often
    in_driver: int = 0  # waiting for the server
    in_queue: int = 0  # waiting for another connection, in a queue or for it to open
    elsewhere: int = 0
    stands_at: CallSite | None = None  # the application's line, when it was last seen outside the driver
    streams: bool = False  # its response was being sent


@dataclass(frozen=True, slots=True)
class SiteTotal:
    """pool.jsonl `site`: running totals per call site and endpoint, each second in which they changed."""

    t_s: float
    pid: int
    pool: str
    site: CallSite
    endpoint: str | None
    checkouts: int
    held_s: float  # of check-outs that came back
    max_hold_s: float


@dataclass(frozen=True, slots=True)
class PoolTimeout:
    """pool.jsonl `timeout`: one `QueuePool limit ... reached` raised to the application."""

    t_s: float
    pid: int
    pool: str
    site: CallSite
    endpoint: str | None
    waited_s: float
    holding: int = 0  # connections of this pool that the request had in its hands meanwhile
    holding_other: int = 0  # and of other pools


@dataclass(frozen=True, slots=True)
class PoolTimes:
    """pool.jsonl `times`: histograms of one pool over about one second.

    Maps from the upper bound of a bucket in microseconds to a count; bounds are powers of two.
    """

    t_s: float
    pid: int
    pool: str
    wait_us: Mapping[int, int] = field(default_factory=dict)  # in the queue
    hold_us: Mapping[int, int] = field(default_factory=dict)  # from check-out to check-in
    create_us: Mapping[int, int] = field(default_factory=dict)  # opening a connection


@dataclass(frozen=True, slots=True)
class PoolDoing:
    """pool.jsonl `doing`: what the threads that hold a pool's connections were at, over about one second.

    Counts of looks, ten a second at each check-out that lasts 0.1 s or more, while its request runs.
    """

    t_s: float
    pid: int
    pool: str
    driver: int  # waiting for the server
    queue: int  # waiting for another connection, in a queue or for it to open
    elsewhere: int
    streaming: int  # sending a response
    lines: tuple[tuple[CallSite, int], ...] = ()  # where they stood outside the driver, most first


@dataclass(frozen=True, slots=True)
class Inherited:
    """pool.jsonl `inherited`: connections that a process shares with the one that forked it."""

    t_s: float
    pid: int
    pool: str
    server_pids: tuple[int, ...]
    uses: int  # check-outs of them in this process


@dataclass(frozen=True, slots=True)
class LoopSample:
    """pool.jsonl `loop`: an event loop that runs every request of a process, over about one second."""

    t_s: float
    pid: int
    samples: int
    blocked: int  # of them, those that found the whole loop waiting for a server
    site: CallSite | None = None  # the application's line that it was in


@dataclass(frozen=True, slots=True)
class Collected:
    """pool.jsonl `collected`: the process collected its garbage, since the harness asked after the drain."""

    t_s: float
    pid: int


@dataclass(frozen=True, slots=True)
class AgentFault:
    """pool.jsonl `fault`: the agent caught an error of its own; its numbers may be incomplete from here."""

    t_s: float
    pid: int
    where: str
    error: str


PoolFact = (
    AgentProcess
    | PoolSample
    | CheckOut
    | SiteTotal
    | PoolTimeout
    | PoolTimes
    | PoolDoing
    | Inherited
    | LoopSample
    | Collected
    | AgentFault
)


@dataclass(frozen=True, slots=True)
class Backend:
    """One client backend of a server: pg_stat_activity, joined to check-outs by its pid."""

    pid: int
    state: str  # "idle in transaction"
    wait: str | None  # "Client:ClientRead"
    state_s: float  # how long it has been in this state


@dataclass(frozen=True, slots=True)
class ServerSample:
    """postgres.jsonl: one server, once a second. With `error` set, the other figures are None or empty."""

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


OWN = "own-"  # before the name of a container that the user's own service depends on


@dataclass(frozen=True, slots=True)
class HostSample:
    """host.jsonl: CPU and memory of one component over about one second."""

    t_s: float
    component: str  # "primary", "replica", "service", "generator", "harness", "machine"
    cpu_cores: float
    rss_mb: float
    processes: int
    limit_cores: float | None = None
    throttled_cores: float | None = None  # CPU seconds per second it was made to wait by its limit


@dataclass(frozen=True, slots=True)
class ToldAlert:
    """One alert of a notification."""

    status: str  # "firing" | "resolved"
    labels: Mapping[str, str]
    starts_at: str
    ends_at: str


@dataclass(frozen=True, slots=True)
class Told:
    """notifications.jsonl: what a real Alertmanager told, as its webhook got it.

    `monotonic_s` is the machine's clock; the event `anchor` holds the same clock at the run's time 0.
    """

    at: str  # ISO 8601, UTC
    monotonic_s: float
    policy: str  # whose receiver it came to
    status: str  # "firing": at least one of its alerts is
    group: Mapping[str, str]
    alerts: tuple[ToldAlert, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """events.jsonl: a moment. Names in use are the constants below; `detail` holds numbers and text."""

    t_s: float
    name: str
    detail: Mapping[str, Any] = field(default_factory=dict)


# Names of events. A run that was cut short lacks RUN_ENDED.
ANCHOR = "anchor"  # detail: wall_s, monotonic_s
STACK_UP = "stack_up"  # detail: seconds
LOAD_STARTED = "load_started"
WARMUP_ENDED = "warmup_ended"
LOAD_ENDED = "load_ended"  # customers were told to stop; detail: exit_code of Locust
DRAINED = "drained"  # end of the watch over what is still held after the load
RUN_ENDED = "run_ended"
POOL_FULL = "pool_full"  # detail: pool, pid, checked_out, capacity, leaked
FIRST_TIMEOUT = "first_timeout"  # detail: pool, pid, endpoint
LEAK_DETECTED = "leak_detected"  # detail: pool, pid, site, endpoint, leaked (live detection by the harness)
SATURATION_DETECTED = "saturation_detected"  # detail: pool, pid, waiting, checked_out, capacity, queued_s
WORKER_LOST = "worker_lost"  # of Locust; detail: worker, users
FAULT = "fault"  # done to a server, as the scenario asks; detail: server, do
LOG_ERRORS = "log_errors"  # detail: source, queuepool_timeouts, errors and kinds (within the last second)
COLLECTED = "collected"  # the harness asked the service to collect its garbage; detail: asked, answered
STOPPED = "stopped"  # somebody ended the load before its time, as its user may; detail: planned_s, lasted_s
HOTFIX_BEGAN = "hotfix_began"  # of a drill: the command was given
HOTFIX_ENDED = "hotfix_ended"  # detail: state ("completed", "rolled back", "stuck")
ALERTING_UP = "alerting_up"  # a real Prometheus scrapes; detail: policies and pools (each a mapping), images
ALERTING_ENDED = "alerting_ended"  # what it knew then; detail: targets, rules, metrics, lost
INTERRUPTED = "interrupted"  # detail: signal
STACK_BROKE = "stack_broke"  # detail: what, log_tail
OBSERVER_FAULT = "observer_fault"  # detail: observer, error


@dataclass(frozen=True, slots=True)
class Environment:
    """environment.json: where the run took place."""

    started_at: str  # ISO 8601, UTC
    rushhour: str
    commit: str | None
    python: str
    platform: str
    cpu_count: int
    memory_mb: int
    stack: str
    postgres: str | None = None
    locust: str | None = None
    sqlalchemy: str | None = None
    limits: Mapping[str, str] = field(default_factory=dict)  # component -> its capacity's limit, in words
    images: Mapping[str, str] = field(default_factory=dict)  # part of a Compose stack -> its image, in words


@dataclass(frozen=True, slots=True)
class History:
    """All that a run directory holds, in order of time."""

    environment: Environment | None
    events: tuple[Event, ...] = ()
    requests: tuple[RequestCount, ...] = ()
    generator: tuple[GeneratorSample, ...] = ()
    processes: tuple[AgentProcess, ...] = ()
    pools: tuple[PoolSample, ...] = ()
    checkouts: tuple[CheckOut, ...] = ()  # one per (pid, id): its last line
    sites: tuple[SiteTotal, ...] = ()
    pool_timeouts: tuple[PoolTimeout, ...] = ()
    times: tuple[PoolTimes, ...] = ()
    doing: tuple[PoolDoing, ...] = ()
    inherited: tuple[Inherited, ...] = ()
    loops: tuple[LoopSample, ...] = ()
    collections: tuple[Collected, ...] = ()
    agent_faults: tuple[AgentFault, ...] = ()
    servers: tuple[ServerSample, ...] = ()
    host: tuple[HostSample, ...] = ()
    told: tuple[Told, ...] = ()

    def event(self, name: str) -> Event | None:
        """The first event of that name."""
        return next((event for event in self.events if event.name == name), None)

    def time_of(self, name: str) -> float | None:
        """When the first event of that name happened, in seconds since the anchor."""
        found = self.event(name)
        return None if found is None else found.t_s

    @property
    def complete(self) -> bool:
        """Whether the run went to its end."""
        return self.event(RUN_ENDED) is not None
