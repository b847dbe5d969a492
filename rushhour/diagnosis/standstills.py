"""Computes when processes of the service stood still, as without CPU (pure).

The agent's thread wants next to no CPU and samples at a steady pace. Where its samples come late, the
threads that work came later still: what they waited for may have been there for long.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise
from math import inf
from typing import Final

from rushhour.diagnosis.spans import Spans, merged
from rushhour.rundir import History

PACE_S: Final = 0.1  # of the agent's samples; one more follows a fork at once
LATE_STEPS: Final = 2  # of the usual step between samples; a shorter delay is the scheduler's
MOST: Final = 0.5  # of the looks of a second at an event loop
SOME: Final = 0.25  # of a time


class Standstills(Spans):
    """When a process stood still."""

    def stood_s(self, from_s: float, to_s: float) -> float:
        """Return for how much of a time it stood still."""
        return self.within_s(from_s, to_s)

    @property
    def seen_until_s(self) -> float:
        """When it was seen last, if it had no orderly end: it may have been killed then."""
        return next((start for start, end in self.spans if end == inf), inf)

    def stood(self, from_s: float, to_s: float) -> bool:
        """Return whether it stood still for so much of a time that what was seen then says little."""
        return self.stood_s(from_s, to_s) >= SOME * (to_s - from_s) > 0

    def ran_s(self, from_s: float, to_s: float) -> float:
        """Return for how much of a time it ran at least; half of that where it stood still for some of it.

        The agent's thread sleeps, and is run before those that work.
        """
        ran_s = to_s - from_s - self.stood_s(from_s, to_s)
        return ran_s / 2 if self.stood(from_s, to_s) else ran_s


NONE: Final = Standstills(())  # of a process of which nothing is known


def standstills(history: History) -> Mapping[int, Standstills]:
    """Return, by process, when the agent's thread did not run, or an event loop was blocked.

    A loop that waits in a driver is no sign: it waits for the server.
    """
    moments: defaultdict[int, list[float]] = defaultdict(list)
    for sample in history.pools:
        moments[sample.pid].append(sample.t_s)
    spans = {pid: late_spans(seen) for pid, seen in moments.items()}
    exited = {process.pid for process in history.processes if process.exited_s is not None}
    for pid, seen in moments.items():
        if pid not in exited:
            spans[pid].append((max(seen), inf))  # it was killed, or stood still to the end
    for loop in history.loops:
        if loop.driver is not None and loop.blocked - loop.driver >= MOST * loop.samples > 0:
            spans.setdefault(loop.pid, []).append((loop.t_s - 1, loop.t_s))
    return {pid: Standstills(merged(found)) for pid, found in spans.items()}


def late_spans(moments: Iterable[float]) -> list[tuple[float, float]]:
    """Return the times for which samples were late, by the pace that most of them keep."""
    steps = list(pairwise(sorted(set(moments))))
    if not steps:
        return []
    usual_s = max(PACE_S, sorted(later - earlier for earlier, later in steps)[len(steps) // 4])
    return [(earlier + usual_s, later) for earlier, later in steps if later - earlier > LATE_STEPS * usual_s]
