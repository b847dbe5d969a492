"""History -> the exceptions that the locustfile raised (pure)."""

from dataclasses import dataclass

from rushhour.rundir import History
from rushhour.rundir import facts as f


@dataclass(frozen=True, slots=True)
class LocustfileError:
    """Exceptions of one type at one line, over all workers and the whole load."""

    error: str
    message: str  # of the first of them
    where: str
    count: int

    def __str__(self) -> str:
        said = f": {self.message}" if self.message else ""
        times = "once" if self.count == 1 else f"{self.count:,} times"
        return f"{self.error}{said} at {self.where} ({times})"


def locustfile_errors(history: History) -> tuple[LocustfileError, ...]:
    """By type and line, the most frequent first."""
    counts: dict[tuple[str, str], int] = {}
    messages: dict[tuple[str, str], str] = {}
    for event in history.events:
        if event.name == f.LOCUSTFILE_ERROR:
            key = (str(event.detail.get("error", "?")), str(event.detail.get("where", "an unknown line")))
            counts[key] = counts.get(key, 0) + int(event.detail.get("count", 1))
            messages.setdefault(key, str(event.detail.get("message", "")))
    found = (LocustfileError(error, messages[error, where], where, n) for (error, where), n in counts.items())
    return tuple(sorted(found, key=lambda one: (-one.count, one.where)))


def count_of_errors(history: History) -> int | None:
    """How many in all, the warm-up included: customers log in then. None where no generator reported."""
    errors = locustfile_errors(history)
    return sum(one.count for one in errors) if errors or history.generator else None
