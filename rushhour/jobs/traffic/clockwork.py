"""Visitors who ask by the clock until the log ends, as monitors and timers do: no customers (pure)."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from rushhour.jobs.traffic.pauses import bucket_of

Move = tuple[int, int, int]  # from, AT_ONCE or THINK, to
FEWEST_PAUSES: Final = 8  # equal ones, before a visitor counts as a clock
FEWEST_LONG: Final = 5  # of those that are so long that chance does not make them equal
_LONG_S: Final = 30.0
LEAST_OF_LOG: Final = 0.5  # and for this part of the log
_SAME: Final = 0.05
_SAME_S: Final = 1.05  # stamps of whole seconds
_MOST_MOVES: Final = 4  # what a clock does differs little


@dataclass(slots=True)
class Beat:
    """The moves of a session, as long as equal moves take equally long."""

    first_s: dict[Move, float] = field(default_factory=dict)
    moves: Counter[tuple[Move, int]] = field(default_factory=Counter)  # by bucket of the pause
    pauses: int = 0  # that are no requests at once
    broken: bool = False

    def follow(self, move: Move, pause_s: float, *, thinks: bool) -> "Beat":
        """The beat after one more move: this, or BROKEN."""
        if self.broken:
            return self
        first_s = self.first_s.setdefault(move, pause_s)
        if len(self.first_s) > _MOST_MOVES or abs(pause_s - first_s) > max(_SAME_S, _SAME * first_s):
            return BROKEN
        self.moves[move, bucket_of(pause_s)] += 1
        self.pauses += thinks
        return self

    def ticks(self, lasted_s: float, silent_s: float, log_s: float) -> bool:
        """Whether the session is a clock's that goes on when the log ends."""
        longest_s = max(self.first_s.values(), default=0.0)
        return (
            not self.broken
            and self.pauses >= (FEWEST_LONG if longest_s >= _LONG_S else FEWEST_PAUSES)
            and lasted_s >= LEAST_OF_LOG * log_s
            and silent_s <= 2 * longest_s + _SAME_S
        )


BROKEN: Final = Beat(broken=True)  # of all sessions whose pauses differ, which saves memory


@dataclass(slots=True)
class ByClock:
    """What clocks did in a log: it is taken out of what customers did."""

    visitors: int = 0
    requests: Counter[int] = field(default_factory=Counter)  # by provisional endpoint

    @property
    def total(self) -> int:
        return self.requests.total()
