"""Counts failed requests in the service's log: pool time-outs, and other unhandled errors."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rushhour.observe.tail import Tail

# Flask logs "Exception on /path [GET]", then the traceback. A chain of exceptions holds one traceback each,
# joined by one of two sentences; an exception group starts with "+" and indents its members.
_TRACEBACK: Final = re.compile(r"(  \+ Exception Group )?Traceback \(most recent call last\):$")
_CHAINED: Final = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_POOL_TIMEOUT: Final = re.compile(r"QueuePool limit of size \d+ overflow \d+ reached")


@dataclass(frozen=True, slots=True)
class LogCount:
    """What one log gained: one failed request counts once, however often its traceback repeats the text."""

    source: str  # the log's name without its suffix: "service"
    queuepool_timeouts: int
    errors: int  # tracebacks without a pool time-out


class TracebackCounter:
    """Counts tracebacks in a log given line by line (pure).

    A traceback and those chained to it are one error. It is a pool time-out as soon as a line says so, and
    another error once the next traceback starts or two calls have passed: only then is it whole.
    """

    def __init__(self) -> None:
        self._open_for: int | None = None  # calls an undecided traceback has waited; None: nothing is open
        self._last = ""  # the last line that is not blank

    def take(self, lines: Iterable[str]) -> tuple[int, int]:
        """Pool time-outs and other errors that these lines complete."""
        timeouts = errors = 0
        for line in lines:
            if _TRACEBACK.match(line):
                if self._last not in _CHAINED:
                    errors += self.close()
                    self._open_for = 0
            elif self._open_for is not None and _POOL_TIMEOUT.search(line):
                timeouts += 1
                self._open_for = None  # what repeats it, or is chained to it, is the same failed request
            if line.strip():
                self._last = line
        if self._open_for is not None:
            self._open_for += 1
            if self._open_for > 1:
                errors += self.close()
        return timeouts, errors

    def close(self) -> int:
        """End the traceback that is open: 1 if it has not been counted yet."""
        was_open, self._open_for = self._open_for is not None, None
        return int(was_open)


class LogWatcher:
    """Tails `service*.log` in a folder, whose files may appear later."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._logs: dict[Path, tuple[Tail, TracebackCounter]] = {}

    def poll(self) -> list[LogCount]:
        """Counts of what came since the last call; logs that gained no error are left out."""
        for path in sorted(self._folder.glob("service*.log")):
            self._logs.setdefault(path, (Tail(path), TracebackCounter()))
        counts = []
        for path, (tail, counter) in self._logs.items():
            timeouts, errors = counter.take(tail.lines())
            if timeouts or errors:
                counts.append(LogCount(path.stem, timeouts, errors))
        return counts

    def finish(self) -> list[LogCount]:
        """All that is left; the service has stopped logging, or soon will."""
        counts = []
        for path, (tail, counter) in self._logs.items():
            timeouts = errors = 0
            while lines := tail.lines():
                more = counter.take(lines)
                timeouts, errors = timeouts + more[0], errors + more[1]
            errors += counter.close()
            if timeouts or errors:
                counts.append(LogCount(path.stem, timeouts, errors))
        return counts
