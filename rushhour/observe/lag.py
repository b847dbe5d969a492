"""Estimates replication lag in seconds, so that an idle primary does not look like a growing lag."""

from collections import deque
from typing import Final

_KEPT: Final = 600  # marks; if the replica stands still for longer, the oldest marks matter


class LagEstimator:
    """Estimates the replication lag from WAL positions seen at the replica.

    The age of the last replayed commit is the usual figure, but it is wrong if commits are rare: after five
    quiet minutes, the next byte of WAL makes it five minutes for an instant. It is therefore used only if it
    does not contradict the positions seen earlier: if a position that was known a second ago is replayed now,
    the lag is at most a second. Otherwise the lag is the time since the first position not yet replayed was
    seen, which is exact to one sampling interval. It starts at 0 with the first sample.
    """

    def __init__(self) -> None:
        self._replayed_at_s: float | None = None  # when the newest replayed position was first seen
        self._ahead: deque[tuple[float, int]] = deque()  # (when seen, position), not yet replayed

    def update(self, at_s: float, end: int, replayed: int, commit_age_s: float | None) -> float:
        """Return the lag in seconds; `end` and `replayed` are WAL positions in bytes."""
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
