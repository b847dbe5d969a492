"""What holds are spent on, and whether an event loop is blocked: counted tick by tick by the sampler."""

from __future__ import annotations

import _thread
import sys
from collections import Counter
from typing import TYPE_CHECKING

from .standing import DRIVER, ELSEWHERE, QUEUE, standing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from .book import Hold, PoolState
    from .call_sites import Classifier, Site
    from .catalog import Catalog
    from .journal import Record


_MAIN_THREAD = _thread.get_ident()  # as the process starts; gevent gives it another number later
STREAMING = "streaming"  # its response is being sent, and the driver is not at work
MAX_LINES = 5  # per pool and second


class _Seen:
    """How often the thread of one hold was seen where, and the line it last stood at outside the driver."""

    __slots__ = ("changed", "counts", "site", "streams")

    def __init__(self) -> None:
        self.counts = {DRIVER: 0, QUEUE: 0, ELSEWHERE: 0}
        self.site: Site | None = None
        self.streams = False  # its response is being sent
        self.changed = False


class _PoolSeen:
    """The same over all check-outs of one pool, and the lines outside the driver at which they were seen."""

    __slots__ = ("counts", "lines")

    def __init__(self) -> None:
        self.counts = {DRIVER: 0, QUEUE: 0, ELSEWHERE: 0, STREAMING: 0}
        self.lines: Counter[int] = Counter()


class Doing:
    """Looks at the threads that hold a connection, while their request runs."""

    def __init__(self, classifier: Classifier, catalog: Catalog) -> None:
        self._classifier = classifier
        self._catalog = catalog
        self._seen: dict[Hold, _Seen] = {}
        self._numbers: dict[Hold, int] = {}  # of the check-outs in the file
        self._pools: dict[PoolState, _PoolSeen] = {}  # since the last call of `take`
        self._loop_samples = self._loop_blocked = 0
        self._loop_site: Site | None = None

    def tick(self, live: list[Hold], written: dict[Hold, int]) -> None:
        """One look at the threads of all check-outs that are in the file."""
        self._numbers = written
        loop = _loop_thread()
        if not written and loop is None:
            return
        running = [
            hold for hold in live if hold in written and (hold.request is None or hold.request.ended is None)
        ]
        if not running and loop is None:
            return
        frames = sys._current_frames()
        newest = {hold.thread: hold for hold in sorted(running, key=lambda hold: hold.taken)}
        for hold in running:
            frame = frames.get(hold.thread)
            if frame is not None:
                self._look(hold, frame, newest[hold.thread] is hold)
        if loop is not None:
            self._look_at_loop(frames.get(loop))
        del frames

    def _look(self, hold: Hold, frame: FrameType, newest: bool) -> None:
        """Of several connections in one thread, only the newest is taken to be the one in use."""
        what, site = standing(frame, self._classifier)
        if what == DRIVER and not newest:
            what = ELSEWHERE
        seen = self._seen.get(hold) or self._seen.setdefault(hold, _Seen())
        request = hold.request
        seen.streams = request is not None and request.returned and request.streams
        seen.counts[what] += 1
        seen.changed = True
        pool = self._pools.get(hold.slot.pool) or self._pools.setdefault(hold.slot.pool, _PoolSeen())
        pool.counts[STREAMING if seen.streams and what == ELSEWHERE else what] += 1
        if what != DRIVER and site is not None:
            pool.lines[self._catalog.line(site)] += 1
        if what != DRIVER:
            seen.site = site

    def _look_at_loop(self, frame: FrameType | None) -> None:
        what, site = standing(frame, self._classifier)
        self._loop_samples += 1
        if what == DRIVER:
            self._loop_blocked += 1
            self._loop_site = site

    def forget(self, hold: Hold, number: int, at: float | None) -> Iterator[Record]:
        """A check-out came back: what is left to say of it."""
        seen = self._seen.pop(hold, None)
        if seen is not None and seen.changed:
            yield self._record(number, seen, at)

    def take(self, at: float | None) -> Iterator[Record]:
        """What was seen since the last call."""
        for hold in [hold for hold in self._seen if hold not in self._numbers]:
            del self._seen[hold]  # its pool is gone
        for state, pool in self._pools.items():
            yield {
                "k": "doing",
                "t": at,
                "pool": self._catalog.pool(state),
                **pool.counts,
                "lines": pool.lines.most_common(MAX_LINES),
            }
        self._pools.clear()
        for hold, seen in self._seen.items():
            if seen.changed:
                seen.changed = False
                yield self._record(self._numbers[hold], seen, at)
        if self._loop_samples:
            yield {
                "k": "loop",
                "t": at,
                "samples": self._loop_samples,
                "blocked": self._loop_blocked,
                "at": None if self._loop_site is None else self._catalog.line(self._loop_site),
            }
            self._loop_samples = self._loop_blocked = 0

    def _record(self, number: int, seen: _Seen, at: float | None) -> Record:
        return {
            "k": "seen",
            "id": number,
            "t": at,
            **seen.counts,
            "streams": seen.streams,
            "at": None if seen.site is None else self._catalog.line(seen.site),
        }


def _loop_thread() -> int | None:
    """The thread in which gevent runs every request, where gevent patched this process; else None."""
    monkey = sys.modules.get("gevent.monkey")
    return _MAIN_THREAD if getattr(monkey, "saved", None) else None
