"""Words what ended while a connection stayed out: a request, a websocket, a job, a thread (pure)."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

from rushhour.rundir import facts as f

REQUEST, WEBSOCKET, JOB, OWNER, OTHER = "request", "websocket", "owner-idle", "owner-ended", "unit of work"
_ROUTE: Final = re.compile(r"[A-Z]+ \S")  # "GET /customers/<int:customer_id>"
_SOCKET: Final = re.compile(r"(WEBSOCKET|WS) ")

# kind -> what ended (of one, of several), who holds it (of one, of several)
_WORDS: Final = {
    REQUEST: (
        ("its request", "their request"),
        ("held by a request that has ended", "held by requests that had ended"),
    ),
    WEBSOCKET: (
        ("its websocket", "their websocket"),
        ("held by a websocket that has closed", "held by websockets that had closed"),
    ),
    JOB: (
        ("its job", "their job"),
        (
            "kept by a thread that waits for its next job",
            "kept by threads that wait for their next job",
        ),
    ),
    OWNER: (
        ("the thread, greenlet or task that took it", "the thread, greenlet or task that took them"),
        (
            "out after the thread, greenlet or task that took it has ended",
            "out after the threads, greenlets or tasks that took them had ended",
        ),
    ),
    OTHER: (
        ("what it was taken for", "what they were taken for"),
        ("out after what it was taken for has ended", "out after what they were taken for had ended"),
    ),
}
_NOUN: Final = {JOB: "job", OWNER: "thread, greenlet or task"}


def unit_of(out: f.CheckOut) -> str:
    """Return the kind of the ended unit of work that a check-out was taken for."""
    return out.lost if out.lost in (JOB, OWNER) else unit_of_endpoint(out.endpoint)


def unit_of_endpoint(endpoint: str | None) -> str:
    """Return the kind of unit of work by its label; a request whose route was never known has no label."""
    if endpoint is None or (_ROUTE.match(endpoint) and not _SOCKET.match(endpoint)):
        return REQUEST
    return WEBSOCKET if _SOCKET.match(endpoint) else OTHER


def most_of(units: Iterable[str]) -> str:
    """Return the kind of more than half of these units; `unit of work` if no kind has a majority."""
    counts = Counter(units)
    kind, count = next(iter(counts.most_common(1)), (REQUEST, 1))
    return kind if count * 2 > counts.total() else OTHER


def after_what(unit: str, count: int) -> str:
    """Say what ended: `after their request had ended`."""
    alone, several = _words(unit)[0]
    return f"after {alone if count == 1 else several} had {'closed' if unit == WEBSOCKET else 'ended'}"


def held_by(unit: str, count: int) -> str:
    """Say who holds it: `held by requests that had ended`."""
    return _words(unit)[1][count != 1]


def noun(unit: str) -> str:
    """Return the noun of a kind: `request`, `job`, `thread, greenlet or task`."""
    return _NOUN.get(unit, unit)


def _words(unit: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return _WORDS.get(unit, _WORDS[OTHER])
