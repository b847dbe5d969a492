"""Replication lag in seconds, such that an idle primary does not look like a replica that falls behind."""

from collections import deque
from typing import Final

_KEPT: Final = 600  # marks; when the replica stands still for longer, its first ones are those that count


class LagEstimator:
    """Turns WAL positions seen at the replica into seconds behind.

    The age of the last replayed commit is the usual figure, and it is wrong where commits are rare: after
    five quiet minutes the next byte of WAL makes it five minutes for an instant. So it is believed only if
    it does not contradict the positions seen earlier: what was known a second ago and is replayed now
    bounds the lag by a second. Otherwise the lag is the time since the first position not yet replayed was
    seen, which is exact to one sampling interval. It starts at 0 with the first sample.
    """

    def __init__(self) -> None:
        self._replayed_at_s: float | None = None  # when the newest position that is replayed now was known
        self._ahead: deque[tuple[float, int]] = deque()  # (when, position) known and not replayed

    def update(self, at_s: float, end: int, replayed: int, commit_age_s: float | None) -> float:
        """Seconds behind now; `end` and `replayed` are WAL positions in bytes."""
        while self._ahead and self._ahead[0][1] <= replayed:
            self._replayed_at_s = self._ahead.popleft()[0]
        at_least_s = at_s - self._ahead[0][0] if self._ahead else 0.0
        if end <= replayed:
            self._replayed_at_s = at_s
            return 0.0
        at_most_s = None if self._replayed_at_s is None else at_s - self._replayed_at_s
        last = self._ahead[-1][1] if self._ahead else replayed
        if end > last and len(self._ahead) < _KEPT:
            self._ahead.append((at_s, end))
        if commit_age_s is not None and at_most_s is not None and commit_age_s <= at_most_s:
            return max(at_least_s, commit_age_s)
        return at_least_s
