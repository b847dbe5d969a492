"""Facts about the service's pools, as seen by the agent: the lines of pool.jsonl."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

PROCESS_ENDED: Final = "process-ended"  # how a check-out came back that never did


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
    fastapi: str | None = None
    routes: tuple[str, ...] = ()  # "GET /customers/<int:customer_id>/referrals", where the framework tells
    flask_sqlalchemy: str | None = None
    # Nothing was out at its end, however that came, or when it was looked at last; False: unknown, or it was.
    none_out: bool = False
    exited_s: float | None = None  # when it ended in order; None: it runs, or was killed, or the run is older


@dataclass(frozen=True, slots=True)
class PoolSample:
    """pool.jsonl `sample`: a pool of a process, ten times a second. Counters only grow."""

    t_s: float
    pid: int
    pool: str  # the server's name where its address is known ("replica"), else host:port/dbname
    kind: str  # class of the pool, as "QueuePool"
    size: int
    max_overflow: int  # -1: no limit
    timeout_s: float
    checked_out: int  # as counted by the pool, including connections that are being opened
    live: int  # check-outs whose connection proxies are alive, as counted by the agent
    waiting: int  # threads in the queue for a connection
    leaked: int  # live check-outs whose request, or other unit of work, has ended
    timeouts: int
    connects: int
    checkouts: int
    checkins: int

    @property
    def capacity(self) -> int | None:
        """The number of connections that the pool can hand out; None without a limit."""
        return None if self.max_overflow < 0 else self.size + self.max_overflow


def server_of(pool: str) -> str:
    """Return the server of a pool; further pools of a process are named `primary#2` and so on."""
    return pool.partition("#")[0]


@dataclass(frozen=True, slots=True)
class CallSite:
    """The application's line that checked a connection out; `file` is relative to the service's root."""

    file: str
    line: int
    function: str


@dataclass(frozen=True, slots=True)
class CheckOut:
    """pool.jsonl `checkout`: a check-out that outlived its request or lasted a second or more.

    Written when it became notable, again when its request ended and when it came back: the last line with
    the same (pid, id) is valid. `returned_by` is "close", "gc" (returned by garbage collection), "detach" or
    "invalidate"; None while it is out. "process-ended" means that it never came back: its process ended, or
    wrote nothing for five seconds (if it writes again, a line without `returned_s` follows).
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
    request_ended_s: float | None = None  # when its request, or other unit of work, ended
    returned_s: float | None = None
    returned_by: str | None = None
    # Its thread was inspected ten times a second during its request; how often it was seen:
    in_driver: int = 0  # waiting for the server
    in_queue: int = 0  # waiting for another connection, in a queue or for it to open
    elsewhere: int = 0
    stands_at: CallSite | None = None  # the application's line when last seen outside of the driver
    streams: bool = False  # its response was being sent
    owner: int | None = None  # of the thread, greenlet or task that took it; never used again in a process
    lost: str | None = None  # "owner-ended" or "owner-idle": no request ended, but what it was taken for
    by_task: bool = False  # an asyncio task took it; older agents do not say
    scoped: bool = False  # a `scoped_session` keeps its session for its thread; the same
    own: bool = False  # a worker took it as it started, and keeps it for all its items; the same


@dataclass(frozen=True, slots=True)
class SiteTotal:
    """pool.jsonl `site`: running totals by call site and endpoint, each second in which they changed."""

    t_s: float
    pid: int
    pool: str
    site: CallSite
    endpoint: str | None
    checkouts: int
    held_s: float  # of check-outs that came back
    max_hold_s: float
    hold_us: Mapping[int, int] = field(
        default_factory=dict
    )  # a histogram since the last line, as in PoolTimes; older runs have none


@dataclass(frozen=True, slots=True)
class PoolTimeout:
    """pool.jsonl `timeout`: one `QueuePool limit ... reached` raised to the application."""

    t_s: float
    pid: int
    pool: str
    site: CallSite
    endpoint: str | None
    waited_s: float
    holding: int = 0  # connections of this pool that the request held meanwhile
    holding_other: int = 0  # connections of other pools that it held meanwhile
    kept: int = 0  # of this pool, that its thread, greenlet or task keeps from earlier units of work
    beside: bool = False  # its request held one of this pool all the while, in another task
    requested: bool = True  # a request asked for it; older runs do not say
    request: int | None = None  # the same for all that one request asks for at a time; None: not known


@dataclass(frozen=True, slots=True)
class PoolTimes:
    """pool.jsonl `times`: histograms of a pool over about a second.

    Maps from the upper bound of a bucket in microseconds to a count; bounds are powers of two.
    """

    t_s: float
    pid: int
    pool: str
    wait_us: Mapping[int, int] = field(default_factory=dict)  # in the queue
    hold_us: Mapping[int, int] = field(default_factory=dict)  # from check-out to check-in
    create_us: Mapping[int, int] = field(default_factory=dict)  # opening a connection


@dataclass(frozen=True, slots=True)
class Place:
    """A line at which holders of connections were seen, and the line that took the connections."""

    what: str  # a field of PoolDoing: "driver", "queue", "elsewhere", ...; or one of those below
    taken: CallSite
    seen: CallSite | None  # the application's line; None: unknown
    looks: int


@dataclass(frozen=True, slots=True)
class PoolDoing:
    """pool.jsonl `doing`: what the holders of a pool's connections were doing over about a second.

    Numbers of inspections, up to ten a second for each check-out of 0.1 s or longer, while its request runs.
    """

    t_s: float
    pid: int
    pool: str
    driver: int  # waiting for the server
    queue: int  # waiting for another connection, in a queue or for it to open
    # Places tell apart "other_query", a query over another connection of its owner, "computes", "socket", a
    # wait for what one receives, and "inside", a wait for another thread or task of the process.
    elsewhere: int
    streaming: int  # making a response while it is sent; without `sending`: or sending it
    lines: tuple[tuple[CallSite, int], ...] = ()  # their lines outside of the driver, most frequent first
    sending: int | None = None  # waiting for the client to receive; None: not distinguished
    lock: int = 0  # waiting for a lock of the service's own
    behind: int = 0  # waiting for a lock whose owner waits in a pool's queue
    other_pool: int = 0  # waiting for a connection of another pool
    unseen: int = 0  # inspections that could not find the holder
    places: tuple[Place, ...] = ()  # most frequent first


@dataclass(frozen=True, slots=True)
class Inherited:
    """pool.jsonl `inherited`: connections that a process shares with the process that forked it."""

    t_s: float
    pid: int
    pool: str
    server_pids: tuple[int, ...]
    uses: int  # check-outs of them in this process


@dataclass(frozen=True, slots=True)
class LoopSample:
    """pool.jsonl `loop`: an event loop that runs every request of a process, over about a second."""

    t_s: float
    pid: int
    samples: int
    blocked: int  # how many of them found the loop blocked by a callback
    site: CallSite | None = None  # the application's most frequent line
    driver: int | None = None  # of those blocked, in a driver, or its pool, that does not yield; None: all
    waits: int = 0  # blocked by another wait, as a sleep or a request to a partner
    computes: int = 0  # computing at the same line in two consecutive inspections
    at_site: int | None = None  # blocked at `site`; None: not counted
    longest_s: float = 0.0  # the longest time that consecutive inspections found it at the same line


@dataclass(frozen=True, slots=True)
class EnginesMade:
    """pool.jsonl `engines`: running totals of a line that creates engines, when they changed."""

    t_s: float
    pid: int
    site: CallSite
    made: int
    alive: int  # engines whose pool still exists


@dataclass(frozen=True, slots=True)
class Collected:
    """pool.jsonl `collected`: the process collected garbage after the drain, as the harness requested."""

    t_s: float
    pid: int


@dataclass(frozen=True, slots=True)
class AgentFault:
    """pool.jsonl `fault`: the agent caught an internal error; later numbers may be incomplete."""

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
    | EnginesMade
    | Collected
    | AgentFault
)
