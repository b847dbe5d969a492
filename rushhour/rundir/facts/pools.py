"""What the agent saw in the service's pools: the lines of pool.jsonl."""

from collections.abc import Mapping
from dataclasses import dataclass, field


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
    leaked: int  # live check-outs whose request, or other unit of work, has ended
    timeouts: int
    connects: int
    checkouts: int
    checkins: int

    @property
    def capacity(self) -> int | None:
        """Connections the pool may hand out at most; None without a limit."""
        return None if self.max_overflow < 0 else self.size + self.max_overflow


def server_of(pool: str) -> str:
    """The server that a pool of this name connects to: several pools of one process are `primary#2`, ..."""
    return pool.partition("#")[0]


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
    request_ended_s: float | None = None  # when its request, or other unit of work, ended
    returned_s: float | None = None
    returned_by: str | None = None
    # While its request ran, its thread was looked at ten times a second, and was seen this often
    in_driver: int = 0  # waiting for the server
    in_queue: int = 0  # waiting for another connection, in a queue or for it to open
    elsewhere: int = 0
    stands_at: CallSite | None = None  # the application's line, when it was last seen outside the driver
    streams: bool = False  # its response was being sent
    owner: int | None = None  # of the thread, greenlet or task that took it; never used again in a process
    lost: str | None = None  # "owner-ended" or "owner-idle": no request ended, but what it was taken for
    by_task: bool = False  # an asyncio task took it; older agents do not say


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
    kept: int = 0  # of this pool, that its thread, greenlet or task keeps from earlier units of work


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
class Place:
    """Where those who held a connection were seen, and where they had taken it."""

    what: str  # a field of PoolDoing: "driver", "queue", "elsewhere", ...
    taken: CallSite
    seen: CallSite | None  # the application's line; None: not seen
    looks: int


@dataclass(frozen=True, slots=True)
class PoolDoing:
    """pool.jsonl `doing`: what those who hold a pool's connections were at, over about one second.

    Counts of looks, up to ten a second at each check-out that lasts 0.1 s or more, while its request runs.
    """

    t_s: float
    pid: int
    pool: str
    driver: int  # waiting for the server
    queue: int  # waiting for another connection, in a queue or for it to open
    elsewhere: int
    streaming: int  # making a response while it is sent; without `sending`: or sending it
    lines: tuple[tuple[CallSite, int], ...] = ()  # where they stood outside the driver, most first
    sending: int | None = None  # waiting for the client to take what was sent; None: not told apart
    lock: int = 0  # waiting for a lock of the service's own
    behind: int = 0  # waiting for a lock whose owner waits in a pool's queue
    other_pool: int = 0  # waiting for a connection of another pool
    unseen: int = 0  # looks that could not find who works with the connection
    places: tuple[Place, ...] = ()  # most frequent first


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
    blocked: int  # of them, those that found the whole loop held up by one callback
    site: CallSite | None = None  # the application's line that it was in most often
    driver: int | None = None  # of those blocked, in a driver, or its pool, that does not yield; None: all
    waits: int = 0  # in another wait, as a sleep or a request to a partner
    computes: int = 0  # computing at one line for longer than from one look to the next
    at_site: int | None = None  # at that line; None: not counted
    longest_s: float = (
        0.0  # for as long as this look after look found it at one line, in one callback or several
    )


@dataclass(frozen=True, slots=True)
class EnginesMade:
    """pool.jsonl `engines`: running totals of one line that creates engines, when they changed."""

    t_s: float
    pid: int
    site: CallSite
    made: int
    alive: int  # whose pool still exists


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
    | EnginesMade
    | Collected
    | AgentFault
)
