"""The records of an agent's file: what the agent writes and the harness reads, each a line of JSON.

`k` is a record's kind. Times (`t`, `taken`) are monotonic seconds, durations seconds. Pools, lines, stacks
and check-outs are numbers that the file explains before it uses them.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

# Raised when a reader of the version before would misread a file. 1: files that say no version. 2: `owner`,
# `lost` and `kept`. 3: `resumed`.
VERSION = 3


class Start(TypedDict):
    """The first record, which describes the process."""

    k: Literal["start"]
    v: NotRequired[int]  # VERSION
    t: float
    pid: int
    ppid: int
    python: str
    argv: list[str]
    forked: bool


class Exit(TypedDict):
    """The last record of a process that ended regularly."""

    k: Literal["exit"]
    t: float


class Module(TypedDict):
    """A library was imported."""

    k: Literal["module"]
    t: float
    name: str
    version: str


class Routes(TypedDict):
    """All routes of the web framework known so far."""

    k: Literal["routes"]
    t: float
    routes: tuple[str, ...]


class Engines(TypedDict):
    """How many engines one line has made so far, and how many of their pools are alive."""

    k: Literal["engines"]
    t: float
    at: int  # the number of the line's site
    made: int
    alive: int


class Pool(TypedDict):
    """Defines a pool's number; repeated once its address is known."""

    k: Literal["pool"]
    id: int
    kind: str
    host: str | None
    port: int | None
    db: str | None


class Gone(TypedDict):
    """The service dropped this pool."""

    k: Literal["gone"]
    pool: int


class Line(TypedDict):
    """Defines the number of a line of code."""

    k: Literal["line"]
    id: int
    file: str
    line: int
    function: str


class Stack(TypedDict):
    """Defines the number of a stack: its lines, innermost first."""

    k: Literal["stack"]
    id: int
    sites: list[int]


class Sample(TypedDict):
    """All pools at one moment.

    A row is pool, size, overflow, time-out, checked out, live, waiting, leaked, time-outs, connects,
    check-outs, check-ins.
    """

    k: Literal["sample"]
    t: float
    pools: list[list[Any]]


class Out(TypedDict):
    """A check-out that lasts a while."""

    k: Literal["out"]
    id: int
    pool: int
    stack: int
    endpoint: str | None
    thread: str
    owner: NotRequired[int]  # the thread, greenlet or task that took it; of version 2
    task: NotRequired[bool]  # an asyncio task took it
    scoped: NotRequired[bool]  # a `scoped_session` keeps its session for its thread
    own: NotRequired[bool]  # a worker took it as it started, and keeps it for all its items
    server_pid: int | None
    taken: float


class Ended(TypedDict):
    """The unit of work of a check-out has ended, and the check-out is still out."""

    k: Literal["ended"]
    id: int
    t: float
    lost: NotRequired[str]  # no request ended, but: "owner-ended", "owner-idle"


class Resumed(TypedDict):
    """A check-out that seemed lost is in use by another owner: it was handed on, and has not ended."""

    k: Literal["resumed"]
    id: int
    t: float


class Back(TypedDict):
    """A check-out that was recorded came back."""

    k: Literal["back"]
    id: int
    t: float
    how: str


class Timeout(TypedDict):
    """The pool raised a time-out."""

    k: Literal["timeout"]
    t: float
    pool: int
    site: int
    endpoint: str | None
    waited: float
    holding: tuple[int, int]  # connections in its hands: of this pool, of others
    kept: NotRequired[int]  # of this pool, left from earlier units of work; of version 2
    beside: NotRequired[bool]  # another task of its request held one of this pool; not in older files
    requested: NotRequired[bool]  # a request asked for it; not in older files
    request: NotRequired[int | None]  # the same number for all that one request asks for at a time


class Site(TypedDict):
    """Running totals of a line and an endpoint."""

    k: Literal["site"]
    t: float
    pool: int
    site: int
    endpoint: str | None
    checkouts: int
    held: float
    longest: float
    hold: NotRequired[dict[Any, int]]  # since its last record, as in Times; older agents have none


class Times(TypedDict):
    """Histograms since the last one: upper bound in microseconds (in the file a string) -> count."""

    k: Literal["times"]
    t: float
    pool: int
    wait: dict[Any, int]
    hold: dict[Any, int]
    create: dict[Any, int]


class Inherited(TypedDict):
    """Connections of a pool that came over a fork, by their server's pid, and how often they were used."""

    k: Literal["inherited"]
    t: float
    pool: int
    pids: tuple[Any, ...]
    uses: int


class Collected(TypedDict):
    """The process collected garbage, as requested."""

    k: Literal["collected"]
    t: float


class Fault(TypedDict):
    """An internal error of the agent."""

    k: Literal["fault"]
    t: float
    where: str
    error: str


def version_of(start: dict[str, Any] | Start) -> int:
    """Return the version in a file's first record. Raises ValueError if it cannot be read here."""
    version = start.get("v", 1)
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise ValueError(
            f"the agent's file has records of version {version!r}; versions 1 to {VERSION} were expected: "
            "use the agent of the same rushhour that reads it"
        )
    return version
