"""Counts what the holders of connections were seen doing, for the agent's file."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from .standing import DRIVER, ELSEWHERE, QUEUE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from .book import Hold, PoolState
    from .call_sites import Site
    from .catalog import Catalog
    from .journal import Record

LOCK = "lock"
BEHIND = "behind"  # waiting for who waits in the pool's queue, as for a lock or a thread
OTHER_POOL = "other_pool"  # in the queue of another pool, or waiting for who is
STREAMING = "streaming"  # its response is being made while it is sent
SENDING = "sending"  # what was made of its response is not taken by the client
UNSEEN = "unseen"
OTHER_QUERY = "other_query"  # of a place: elsewhere, in a query over another connection of its owner
INSIDE = "inside"  # of a place: elsewhere, waiting for another thread or task of the process
SOCKET = "socket"  # of a place: elsewhere, waiting for what a socket receives
COMPUTES = "computes"  # of a place: elsewhere, in Python code that runs
KINDS = (DRIVER, QUEUE, OTHER_POOL, LOCK, BEHIND, STREAMING, SENDING, ELSEWHERE, UNSEEN)

MAX_LINES = 5  # per pool and second
MAX_PLACES = 8  # the same

_PER_HOLD = {OTHER_POOL: QUEUE, DRIVER: DRIVER, QUEUE: QUEUE}  # all others: elsewhere


class _Seen:
    """How often the owner of a hold was seen in each state, and its last line outside of the driver."""

    __slots__ = ("changed", "counts", "site", "streams")

    def __init__(self) -> None:
        self.counts = {DRIVER: 0, QUEUE: 0, ELSEWHERE: 0}
        self.site: Site | None = None
        self.streams = False  # its response is being sent
        self.changed = False


class _PoolSeen:
    """The states over all check-outs of a pool, with the lines at which they were taken and seen."""

    __slots__ = ("counts", "lines", "places")

    def __init__(self) -> None:
        self.counts = dict.fromkeys(KINDS, 0)
        self.lines: Counter[int] = Counter()
        self.places: Counter[tuple[str, int, int | None]] = Counter()  # what, taken at, seen at


class Look:
    """The result of an inspection of a hold."""

    __slots__ = ("guards", "hold", "locks", "place", "polls", "repeats", "site", "stack", "tries", "what")

    def __init__(self, hold: Hold, what: str, site: Site | None) -> None:
        self.hold = hold
        self.what = what
        self.place: str | None = None  # what is said of its place, where that is more than `what`
        self.site = site
        self.guards: dict[int, int] = {}  # code that waits for a lock, by its address -> the instruction
        self.tries = False  # that lock is known by the name of its class
        self.repeats = False  # it sleeps in a loop
        self.polls: dict[int, int] = {}  # the same, of code that sleeps, and may wait for what others do
        self.locks: frozenset[int] = frozenset()  # addresses of the locks that it waits for
        self.stack: list[FrameType] = []


def is_another(pool: object, hold: Hold) -> bool:
    """Return whether a pool is known to be another one than that of a hold."""
    state = getattr(pool, "__dict__", {}).get("_rushhour_state")
    return state is not None and state is not hold.slot.pool


def behind_a_queue(pools: list[object], hold: Hold) -> str:
    """Return what a holder does that waits for others, who wait in the queues of these pools."""
    return OTHER_POOL if pools and all(is_another(pool, hold) for pool in pools) else BEHIND


class LookTally:
    """Counts looks by check-out, and by pool since the last call of `take`."""

    def __init__(self, catalog: Catalog) -> None:
        self.numbers: dict[Hold, int] = {}  # of the check-outs in the file
        self._catalog = catalog
        self._seen: dict[Hold, _Seen] = {}
        self._pools: dict[PoolState, _PoolSeen] = {}

    def count(self, look: Look) -> None:
        """Count a look for its check-out and its pool."""
        hold, what, site = look.hold, look.what, look.site
        pool = self._pools.get(hold.slot.pool) or self._pools.setdefault(hold.slot.pool, _PoolSeen())
        pool.counts[what] += 1
        line = None if site is None else self._catalog.line(site)
        pool.places[look.place or what, self._catalog.site(hold.stack), line] += 1
        if what != UNSEEN:
            seen = self._seen.get(hold) or self._seen.setdefault(hold, _Seen())
            request = hold.request
            in_parts = request is not None and request.returned and request.streams
            seen.streams = in_parts or what == STREAMING
            seen.counts[_PER_HOLD.get(what, ELSEWHERE)] += 1
            seen.changed = True
            if what != DRIVER:
                seen.site = site
        if what not in (DRIVER, UNSEEN) and line is not None:
            pool.lines[line] += 1

    def forget(self, hold: Hold, number: int, at: float | None) -> Iterator[Record]:
        """Yield the last record of a check-out that came back."""
        seen = self._seen.pop(hold, None)
        if seen is not None and seen.changed:
            yield self._record(number, seen, at)

    def take(self, at: float | None) -> Iterator[Record]:
        """Yield the records of what was seen since the last call."""
        for hold in [hold for hold in self._seen if hold not in self.numbers]:
            del self._seen[hold]  # its pool is gone
        for state, pool in self._pools.items():
            yield {
                "k": "doing",
                "t": at,
                "pool": self._catalog.pool(state),
                **pool.counts,
                "lines": pool.lines.most_common(MAX_LINES),
                "places": [[*place, count] for place, count in pool.places.most_common(MAX_PLACES)],
            }
        self._pools.clear()
        for hold, seen in self._seen.items():
            if seen.changed:
                seen.changed = False
                yield self._record(self.numbers[hold], seen, at)

    def _record(self, number: int, seen: _Seen, at: float | None) -> Record:
        return {
            "k": "seen",
            "id": number,
            "t": at,
            **seen.counts,
            "streams": seen.streams,
            "at": None if seen.site is None else self._catalog.line(seen.site),
        }
