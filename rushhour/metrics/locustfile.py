"""Counts the exceptions that the locustfile raised (pure)."""

from dataclasses import dataclass

from rushhour.rundir import History
from rushhour.rundir import facts as f


@dataclass(frozen=True, slots=True)
class LocustfileError:
    """Exceptions of the same type and line, counted over all workers and the whole load."""

    error: str
    message: str  # of the first exception
    where: str
    count: int

    def __str__(self) -> str:
        message = f": {self.message}" if self.message else ""
        times = "once" if self.count == 1 else f"{self.count:,} times"
        return f"{self.error}{message} at {self.where} ({times})"


def locustfile_errors(history: History) -> tuple[LocustfileError, ...]:
    """Group the exceptions by type and line, the most frequent first."""
    counts: dict[tuple[str, str], int] = {}
    messages: dict[tuple[str, str], str] = {}
    for event in history.events:
        if event.name == f.LOCUSTFILE_ERROR:
            key = (str(event.detail.get("error", "?")), str(event.detail.get("where", "an unknown line")))
            counts[key] = counts.get(key, 0) + int(event.detail.get("count", 1))
            messages.setdefault(key, str(event.detail.get("message", "")))
    found = (LocustfileError(error, messages[error, where], where, n) for (error, where), n in counts.items())
    return tuple(sorted(found, key=lambda error: (-error.count, error.where)))


def count_of_errors(history: History) -> int | None:
    """Count the exceptions of the whole load, or return None when no load generator reported.

    The warm-up counts too, because customers log in then.
    """
    errors = locustfile_errors(history)
    return sum(error.count for error in errors) if errors or history.generator else None
