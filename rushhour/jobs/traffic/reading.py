"""Reads access logs as one stream of requests."""

from collections.abc import Callable, Iterator, Sequence

from rushhour.jobs.traffic.options import ReadingOptions
from rushhour.jobs.traffic.record import Logged, Progress, ReadingReport

STDIN = "-"


class Reading:
    """The requests of some logs in the order of time, once; `report` says what was found."""

    def __iter__(self) -> Iterator[Logged]:
        raise NotImplementedError

    @property
    def report(self) -> ReadingReport:
        """What was found so far; complete after the last request."""
        raise NotImplementedError


def read(
    paths: Sequence[str],
    options: ReadingOptions | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Reading:
    """Requests of access logs: plain, .gz, .bz2, .xz, .zst, or "-" for standard input; merged by time.

    Raises UsageError (exit 64) for a file that cannot be opened or an unknown format; the iteration raises it
    at its end when no line at all was a request, with the formats that were tried.
    """
    raise NotImplementedError
