"""Cuts the requests of visitors into sessions, in bounded memory."""

import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, TypeVar

from rushhour.jobs.traffic.arrivals import ArrivalFold
from rushhour.jobs.traffic.clockwork import Beat, ByClock
from rushhour.jobs.traffic.endpoints import Leaf, Node
from rushhour.jobs.traffic.pauses import Pauses
from rushhour.jobs.traffic.record import Logged

GAP_S: Final = 1800.0  # a visitor who was silent for longer begins a new session
AT_ONCE_S: Final = 1.0  # a request that comes this soon after an answer is the page's own
MOST_OPEN: Final = 200_000  # sessions at a time; beyond, a share of the visitors stands for all
MOST_MOVES: Final = 100_000  # different pairs of endpoints; further ones are not counted
_VALUES: Final = 4  # last values that a session remembers
AT_ONCE, THINK = 0, 1
_Key = TypeVar("_Key")


@dataclass(slots=True, eq=False)
class _Open:
    start: float
    end: float  # of the last answer
    leaf: int
    counts: bool
    begun: int | None  # the endpoint that it began with, where its beginning counts
    first: int | None = None  # the endpoint of the first request that counts
    beat: Beat | None = None
    values: dict[int, str] = field(default_factory=dict)

    def requests(self) -> Counter[int]:
        """Those that count, by endpoint; for a session whose beat is whole."""
        found = Counter[int]() if self.first is None else Counter({self.first: 1})
        for ((_, _, to), _), times in self.beat.moves.items() if self.beat else ():
            found[to] += times
        return found


@dataclass(slots=True)
class Moves:
    """What was seen, by provisional endpoint."""

    begin: dict[int, int] = field(default_factory=dict)
    to: dict[tuple[int, int, int], int] = field(default_factory=dict)  # (from, AT_ONCE or THINK, to)
    pauses: dict[tuple[int, int], Pauses] = field(default_factory=dict)  # (from, AT_ONCE or THINK)
    unfollowed: dict[int, Pauses] = field(default_factory=dict)
    uncounted: int = 0  # moves between further pairs than are kept
    overlaps: dict[int, int] = field(default_factory=dict)  # began before the answer to the one before


class SessionFold:
    """Takes requests in the order of time; `finish` closes what is open."""

    def __init__(
        self,
        arrivals: ArrivalFold,
        *,
        gap_s: float = GAP_S,
        at_once_s: float = AT_ONCE_S,
        most_open: int = MOST_OPEN,
    ) -> None:
        self.moves = Moves()
        self.sessions = 0
        self.visitors: set[str] = set()  # some of them: enough to tell few from many
        self.by_clock = ByClock()
        self.share = 1  # one of this many visitors is looked at
        self._arrivals = arrivals
        self._gap_s = gap_s
        self._at_once_s = at_once_s
        self._most_open = most_open
        self._open: dict[str, _Open] = {}
        self._swept_at = 0.0
        self._first_t: float | None = None
        self._requests = 0  # that count, of those who are followed

    def add(self, logged: Logged, leaf: Leaf, values: tuple[tuple[Node, str], ...], *, counts: bool) -> None:
        """Count a request; with `counts` False it only makes the session known."""
        visitor = logged.visitor
        if self.share > 1 and zlib.crc32(visitor.encode()) % self.share:
            return
        t = logged.t
        if t - self._swept_at > self._gap_s / 4 or self._swept_at - t > self._gap_s:  # or the clock went back
            self._sweep(t)
        if counts:
            self._requests += 1
            self._first_t = t if self._first_t is None else min(self._first_t, t)
        end = t + (logged.seconds or 0.0)
        session = self._open.get(visitor)
        if session is not None and t - session.end > self._gap_s:
            self._close(session, self._gap_s)
            session = None
        if session is None:
            self._begin(visitor, t, end, leaf, counts=counts)
            session = self._open[visitor]
        else:
            if session.counts:
                self._follow(session, t, leaf)
            session.leaf, session.counts = leaf.number, counts
            session.end = max(session.end, end)
        if counts and session.first is None:
            session.first = leaf.number
        self._remember(session, values)

    def finish(self, last_t: float) -> None:
        """Close what is open when the log ends at `last_t`: nobody knows how these sessions go on."""
        clocks = set(self._clocks(last_t))
        few = sum(clock.requests().total() for clock in clocks) * 2 < self._requests
        for session in self._open.values():
            if few and session in clocks:
                self._take_out(session)
            else:
                self._close(session, min(max(last_t - session.end, 0.0), self._gap_s))
        self._open.clear()

    def _clocks(self, last_t: float) -> list[_Open]:
        log_s = last_t - (last_t if self._first_t is None else self._first_t)
        return [
            session
            for session in self._open.values()
            if session.counts
            and session.beat is not None
            and session.beat.ticks(session.end - session.start, last_t - session.end, log_s)
        ]

    def _take_out(self, session: _Open) -> None:
        """Take back what was counted of a session that is a clock's."""
        moves, clocks = self.moves, self.by_clock
        clocks.visitors += self.share
        for leaf, requests in session.requests().items():
            clocks.requests[leaf] += requests * self.share
        if session.begun is not None:
            self.sessions -= self.share
            _less(moves.begin, session.begun, 1)
            self._arrivals.session(session.start, -self.share)
        for (move, bucket), times in session.beat.moves.items() if session.beat else ():
            start, kind, _ = move
            _less(moves.to, move, times)
            moves.pauses[start, kind].take(bucket, times)

    def _begin(self, visitor: str, t: float, end: float, leaf: Leaf, *, counts: bool) -> None:
        if len(self.visitors) < 1_000:
            self.visitors.add(visitor)
        if len(self._open) >= self._most_open:
            self.share *= 2
            self._open = {
                name: one for name, one in self._open.items() if not zlib.crc32(name.encode()) % self.share
            }
        self._open[visitor] = _Open(t, end, leaf.number, counts, leaf.number if counts else None)
        if counts:
            self.sessions += self.share
            self.moves.begin[leaf.number] = self.moves.begin.get(leaf.number, 0) + 1
            self._arrivals.session(t, self.share)

    def _follow(self, session: _Open, t: float, leaf: Leaf) -> None:
        pause_s, moves, before = t - session.end, self.moves, session.leaf
        kind = AT_ONCE if pause_s <= self._at_once_s else THINK
        if pause_s < 0:
            moves.overlaps[before] = moves.overlaps.get(before, 0) + 1
        pauses = moves.pauses.get((before, kind))
        if pauses is None:
            pauses = moves.pauses[before, kind] = Pauses()
        pauses.add(pause_s)
        move = (before, kind, leaf.number)
        session.beat = (session.beat or Beat()).follow(move, pause_s, thinks=kind == THINK)
        times = moves.to.get(move)
        if times is None and len(moves.to) >= MOST_MOVES:
            moves.uncounted += 1
        else:
            moves.to[move] = (times or 0) + 1

    @staticmethod
    def _remember(session: _Open, values: tuple[tuple[Node, str], ...]) -> None:
        for node, value in values:
            last = session.values.get(id(node))
            if last is not None:
                if last == value:
                    node.repeated += 1
                else:
                    node.changed += 1
            elif len(session.values) >= _VALUES:
                continue
            session.values[id(node)] = value

    def _sweep(self, t: float) -> None:
        self._swept_at = t
        over = [visitor for visitor, one in self._open.items() if t - one.end > self._gap_s]
        for visitor in over:
            self._close(self._open.pop(visitor), self._gap_s)

    def _close(self, session: _Open, silent_s: float) -> None:
        self._arrivals.present(session.start, session.end, self.share)
        if not session.counts:
            return
        unfollowed = self.moves.unfollowed
        if (pauses := unfollowed.get(session.leaf)) is None:
            pauses = unfollowed[session.leaf] = Pauses()
        pauses.add(silent_s)


def _less(counts: dict[_Key, int], key: _Key, times: int) -> None:
    left = counts.get(key, 0) - times
    if left > 0:
        counts[key] = left
    else:
        counts.pop(key, None)
