"""What turns of the same work, with the agent and without, say about its cost: an estimate and an interval.

A turn scatters by more than the agent costs, so the interval is that of their middle, not of the turns. It is
a percentile bootstrap (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13) of starts, and
of turns within each, as those of one process are alike (Davison & Hinkley, Bootstrap Methods, 1997, 3.8).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from benchmarks.table import Row

DRAWS: Final = 2_000
COVERS: Final = 0.95
TRIMMED: Final = 0.2  # at each end: what another guest of the machine took is in a few turns only


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate, and the interval that holds 95 % of what other turns would have estimated."""

    middle: float
    low: float
    high: float

    def row(self, name: str, measured: str, bound: str, *, least: float | None, most: float | None) -> Row:
        """A row that is met or missed only where the whole interval is; else it is unsure."""
        within = (least is None or self.low >= least) and (most is None or self.high <= most)
        beyond = (least is not None and self.high < least) or (most is not None and self.low > most)
        unsure = not within and not beyond
        return Row(name, measured, bound, ok=None if unsure else within, unsure=unsure)


def interval_of(starts: Sequence[Sequence[float]]) -> Interval:
    """The trimmed mean of the turns of all starts, and its interval.

    At least one start, each with at least one turn. The draws are the same for the same turns.
    """
    dice = random.Random(1)  # noqa: S311  # no secret
    drawn = sorted(
        trimmed_mean([turn for turns in dice.choices(starts, k=len(starts)) for turn in again(turns, dice)])
        for _ in range(DRAWS)
    )
    outside = round(DRAWS * (1 - COVERS) / 2)
    middle = trimmed_mean([turn for turns in starts for turn in turns])
    return Interval(middle, drawn[outside], drawn[-1 - outside])


def again(turns: Sequence[float], dice: random.Random) -> list[float]:
    """As many of the turns, drawn with replacement."""
    return dice.choices(turns, k=len(turns))


def trimmed_mean(values: Sequence[float]) -> float:
    """The mean without the smallest and the largest fifth."""
    off = int(len(values) * TRIMMED)
    return fmean(sorted(values)[off : len(values) - off])
