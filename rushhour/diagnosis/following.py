"""Finds time-outs that holders wait for, by when they give back what they hold (pure).

Whoever waits for work that itself waits in a pool's queue goes on when that times out. If nearly all
connections come back just after time-outs at one line, and such moments are rare, then their holders waited
for what is done there, though nothing in the process shows how.
"""

from bisect import bisect_left
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import Final

from rushhour.diagnosis.pressure import PressureSignals
from rushhour.rundir import History
from rushhour.rundir import facts as f

WITHIN_SHARE: Final = 0.1  # of the wait that timed out: so soon after it
WITHIN_MOST_S: Final = 1.0
ENOUGH_TIMEOUTS: Final = 5
ENOUGH_ENDS: Final = 10
ENOUGH_MOMENTS: Final = 4  # at which they come back: those that do so together are one coincidence
NEARLY_ALL: Final = 0.8  # of the connections, and of these moments, are so soon after one
RARE: Final = 0.25  # of the time, at most, is so soon after a time-out


@dataclass(frozen=True, slots=True)
class Following:
    """Connections that came back just after time-outs at a line."""

    site: f.CallSite
    ends: int  # connections that came back, between the first of these time-outs and the last
    near: int  # of them, those that came back just after one
    moments: int  # at which they came back
    moments_near: int  # of these, those just after one
    share_of_time: float  # that is just after one

    @property
    def holds(self) -> bool:
        """Whether chance is no explanation."""
        enough = self.ends >= ENOUGH_ENDS and self.moments_near >= ENOUGH_MOMENTS
        mostly = self.near >= NEARLY_ALL * self.ends and self.moments_near >= NEARLY_ALL * self.moments
        return enough and mostly and self.share_of_time <= RARE

    @property
    def is_refuted(self) -> bool:
        """Whether holders are seen not to wait for what is done there: most go on at other moments."""
        return self.moments >= ENOUGH_MOMENTS and 2 * self.moments_near < self.moments


def followings(
    history: History, pressure: PressureSignals, takers: Collection[f.CallSite]
) -> dict[f.CallSite, Following]:
    """Return for each line with enough time-outs how what comes back follows them.

    `takers`: where the holders took theirs; time-outs there are of those who would be next.
    """
    late: dict[f.CallSite, list[f.PoolTimeout]] = {}
    for timeout in history.pool_timeouts:
        if (timeout.pid, timeout.pool) == (pressure.pid, pressure.pool) and timeout.site not in takers:
            late.setdefault(timeout.site, []).append(timeout)
    ends = sorted(
        out.returned_s
        for out in history.checkouts
        if (out.pid, out.pool) == (pressure.pid, pressure.pool)
        and out.returned_s is not None
        and out.site in takers
    )
    return {
        site: _follow(site, some, ends)
        for site, some in late.items()
        if len(some) >= ENOUGH_TIMEOUTS and ends
    }


def _follow(site: f.CallSite, late: list[f.PoolTimeout], ends: list[float]) -> Following:
    moments = sorted(timeout.t_s for timeout in late)
    mean_s = sum(timeout.waited_s for timeout in late) / len(late)
    within_s = min(WITHIN_SHARE * mean_s, WITHIN_MOST_S)
    last_s = moments[-1] + within_s
    covered_s = sum(
        min(following - moment, within_s)
        for moment, following in zip(moments, [*moments[1:], last_s], strict=True)
    )
    between = [end for end in ends if moments[0] <= end <= last_s]
    first = [end for before, end in pairwise([-inf, *between]) if end - before > within_s]

    def near(some: list[float]) -> int:
        return sum(end - moments[bisect_left(moments, end + 1e-9) - 1] <= within_s for end in some)

    share_of_time = covered_s / max(last_s - moments[0], within_s)
    return Following(site, len(between), near(between), len(first), near(first), share_of_time)
