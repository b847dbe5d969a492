"""Counts failed requests in the service's log: pool time-outs, and other unhandled errors."""

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rushhour.observe.tail import Tail
from rushhour.rundir import facts as f

# Flask logs "Exception on /path [GET]", then the traceback. A chain of exceptions holds one traceback each,
# joined by one of two sentences; an exception group starts with "+" and indents its members.
READ_OUT_S: Final = 4.0  # for the last reading; a run ends its observers within 6 s
_TRACEBACK: Final = re.compile(r"(  \+ Exception Group )?Traceback \(most recent call last\):$")
_CHAINED: Final = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_POOL_TIMEOUT: Final = re.compile(r"QueuePool limit of size \d+ overflow \d+ reached")


# Kinds of database errors, by the wording of PostgreSQL's and MySQL's clients. Only the line in which
# SQLAlchemy names the error is searched: each traceback has exactly one.
KINDS: Final = {
    "server_limit": re.compile(r"too many clients|too many connections|connection slots are reserved", re.I),
    "shared_connection": re.compile(
        r"no message from the libpq|lost synchronization with server|not return rows\. It has been closed"
        r"|sequence number wrong|out of sync|decryption failed|unexpected message",
        re.I,
    ),
    # SQLAlchemy's own words, and those of asyncpg, libpq and psycopg for one connection that two use at once.
    "shared_session": re.compile(
        r"concurrent operations are not permitted|is already in progress|another operation is in progress",
        re.I,
    ),
    # A replica that is well ends reads in the way of the primary's WAL: a statement, or an idle session.
    "recovery_conflict": re.compile(f.CONFLICT_SAYS, re.I),
    # A session that the server ends because its client let it idle for too long says nothing of the server.
    "backend_lost": re.compile(
        r"closed the connection unexpectedly|terminating connection(?! due to (?:idle|transaction))"
        r"|connection refused|connection reset"
        r"|timeout expired|could not receive data|not currently accepting connections|starting up|gone away",
        re.I,
    ),
}
_SAYS: Final = re.compile(r"sqlalchemy\.exc\.\w+: (?P<what>.*)")


def kind_of(line: str) -> str | None:
    """Return the kind (of KINDS) of an error line of a traceback, or None."""
    said = _SAYS.match(line)
    if said is None:
        return None
    return next((kind for kind, words in KINDS.items() if words.search(said["what"])), None)


@dataclass(frozen=True, slots=True)
class LogCount:
    """New errors in a log; a failed request counts once, even if its traceback repeats the text."""

    source: str  # the log's name without its suffix: "service"
    queuepool_timeouts: int
    errors: int  # tracebacks without a pool time-out
    kinds: Mapping[str, int] = field(default_factory=dict)  # kind (of KINDS) -> errors


class TracebackCounter:
    """Counts tracebacks in a log given line by line (pure).

    A traceback and those chained to it are one error. It counts as a pool time-out as soon as a line says
    so, and as another error when the next traceback starts or two calls have passed: then it is complete.
    """

    def __init__(self) -> None:
        self._open_for: int | None = None  # calls since an undecided traceback began; None: no open traceback
        self._last = ""  # the last line that is not blank
        self._kinds: Counter[str] = Counter()

    def take(self, lines: Iterable[str]) -> tuple[int, int]:
        """Return the numbers of pool time-outs and of other errors that these lines complete."""
        timeouts = errors = 0
        for line in lines:
            if _TRACEBACK.match(line):
                if self._last not in _CHAINED:
                    errors += self.close()
                    self._open_for = 0
            elif self._open_for is not None and _POOL_TIMEOUT.search(line):
                timeouts += 1
                self._open_for = None  # repeated and chained tracebacks belong to the same failed request
            if (kind := kind_of(line)) is not None:
                self._kinds[kind] += 1
            if line.strip():
                self._last = line
        if self._open_for is not None:
            self._open_for += 1
            if self._open_for > 1:
                errors += self.close()
        return timeouts, errors

    def take_kinds(self) -> dict[str, int]:
        """Return errors by kind since the last call."""
        kinds, self._kinds = dict(self._kinds), Counter()
        return kinds

    def close(self) -> int:
        """End the open traceback; return 1 if it has not been counted yet."""
        was_open, self._open_for = self._open_for is not None, None
        return int(was_open)


class LogWatcher:
    """Tails `service*.log` in a folder, whose files may appear later."""

    def __init__(self, folder: Path) -> None:
        self.unread = 0  # bytes that `finish` had no time for
        self._folder = folder
        self._logs: dict[Path, tuple[Tail, TracebackCounter]] = {}

    def poll(self) -> list[LogCount]:
        """Return the counts since the last call, without logs that have no new error."""
        for path in sorted(self._folder.glob("service*.log")):
            self._logs.setdefault(path, (Tail(path), TracebackCounter()))
        counts = []
        for path, (tail, counter) in self._logs.items():
            timeouts, errors = counter.take(tail.lines())
            kinds = counter.take_kinds()
            if timeouts or errors or kinds:
                counts.append(LogCount(path.stem, timeouts, errors, kinds))
        return counts

    def finish(self) -> list[LogCount]:
        """Return the counts of all that is left, after the service has stopped or is about to stop.

        It stops after READ_OUT_S seconds; `unread` is then the number of bytes left in all logs.
        """
        counts = []
        deadline_s = time.monotonic() + READ_OUT_S
        for path, (tail, counter) in self._logs.items():
            timeouts = errors = 0
            for lines in tail.rest(lambda: time.monotonic() > deadline_s):
                more = counter.take(lines)
                timeouts, errors = timeouts + more[0], errors + more[1]
            if time.monotonic() > deadline_s and (left := tail.unread()):
                self.unread += left
            errors += counter.close()
            kinds = counter.take_kinds()
            if timeouts or errors or kinds:
                counts.append(LogCount(path.stem, timeouts, errors, kinds))
        return counts
