"""One request of an access log, and what is known about the reading of the log (pure)."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

AgentKind = Literal["bot", "client", "unknown"]
"""A known crawler or probe; any other program or browser; a line that names no agent."""


class Logged(NamedTuple):
    """A request as the log has it. A named tuple, since millions of them are made.

    `t` is when the request began. A log that stamps the end of a request (nginx, gunicorn, Caddy, IIS) and
    has its duration is corrected by it; one without durations keeps the end.
    """

    t: float  # unix seconds
    method: str
    path: str  # without query and host; printable ASCII, the rest is percent-encoded
    has_query: bool
    status: int
    seconds: float | None  # how long the request took
    size: int | None  # bytes of the answer
    visitor: str  # salted hash of the session key (a header, a cookie, the user, or address and agent)
    agent_kind: AgentKind
    line: int  # in its file, from 1


@dataclass(frozen=True, slots=True)
class Skipped:
    """Lines that are not requests, for one reason, and where the first of them stand."""

    reason: str
    lines: int
    first: tuple[str, ...]  # file:line


@dataclass(frozen=True, slots=True)
class FormatRead:
    """A format that lines were read as."""

    name: str
    lines: int
    stamps: Literal["start", "end", "unknown"]  # which moment of the request its time stamp is
    notes: tuple[str, ...] = ()  # what this format lacks, or what was assumed


@dataclass(frozen=True, slots=True)
class ReadingReport:
    """What a reading found; complete once its last request was taken."""

    files: tuple[str, ...]
    formats: tuple[FormatRead, ...]  # most lines first
    lines: int  # requests + every skipped line
    requests: int
    skipped: tuple[Skipped, ...]  # most lines first
    first_t: float | None  # earliest request
    last_t: float | None
    late: int  # requests that are given after a later one: the clock went back, or the order is far off
    late_first: tuple[int, ...]  # lines of the first of them, in their files
    resolution_s: float  # of the time stamps: 1.0 for whole seconds, 0.001 and less otherwise
    visitors_by: str  # what tells visitors apart, in words
    problems: tuple[str, ...]  # a file that ends too early, a file without requests, ...
    took_s: float
    lines_per_second: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a reading is."""

    lines: int
    bytes_done: int  # as on disk
    bytes_total: int | None  # None: a pipe
    elapsed_s: float

    @property
    def lines_per_second(self) -> float:
        return self.lines / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds to the end at the speed so far; None where the size is not known."""
        if not self.bytes_total or not self.bytes_done:
            return None
        return self.elapsed_s * max(self.bytes_total - self.bytes_done, 0) / self.bytes_done
