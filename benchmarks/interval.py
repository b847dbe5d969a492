"""What repeated measurements of the same work say together: an estimate and an interval (pure).

A single measurement scatters by more than what is asked for, so the interval is that of their middle.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from statistics import fmean, median
from typing import Final

from benchmarks.table import Row

DRAWS: Final = 2_000
COVERS: Final = 0.95
TRIMMED: Final = 0.2  # at each end: what another guest of the machine took is in a few turns only


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its 95 % interval."""

    middle: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        """All three in one format: `f"{share:.1%}"` is "98.2% (95 % interval 97.9% to 98.6%)"."""
        return f"{self.middle:{spec}} (95 % interval {self.low:{spec}} to {self.high:{spec}})"

    def times(self, factor: float) -> "Interval":
        """Return the same in other units; the factor is above 0."""
        return Interval(self.middle * factor, self.low * factor, self.high * factor)

    def within(self, *, least: float | None = None, most: float | None = None) -> bool | None:
        """Return whether the whole interval is within the bounds; None where it spans one of them."""
        if (least is None or self.low >= least) and (most is None or self.high <= most):
            return True
        beyond = (least is not None and self.high < least) or (most is not None and self.low > most)
        return False if beyond else None

    def row(
        self, name: str, measured: str, bound: str, *, least: float | None = None, most: float | None = None
    ) -> Row:
        """A row that is met or missed only where the whole interval is; else it is unsure."""
        ok = self.within(least=least, most=most)
        return Row(name, measured, bound, ok, unsure=ok is None)

    def in_seconds(self, name: str, *, most_s: float) -> Row:
        """A row of an interval of seconds."""
        return self.row(name, f"{self:.2f} s", f"<= {most_s:g} s", most=most_s)


def median_of(values: Sequence[float]) -> Interval:
    """The median of independent values, and its interval: from the k-th smallest to the k-th largest of them.

    k is the highest that covers the median in 95 % of all cases, whatever the distribution (David & Nagaraja,
    Order Statistics, 2003, 7.1). Raises ValueError with fewer than six values, which cannot cover as much.
    """
    count, outside, at = len(values), 0, 0
    while 2 * (outside + comb(count, at)) <= (1 - COVERS) * 2**count:
        outside += comb(count, at)
        at += 1
    if at == 0:
        raise ValueError(f"{count} values; an interval of their median needs at least six")
    ordered = sorted(values)
    return Interval(median(ordered), ordered[at - 1], ordered[-at])


def interval_of(starts: Sequence[Sequence[float]]) -> Interval:
    """The trimmed mean of the turns of all starts, and its interval.

    That is a percentile bootstrap (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13) of
    starts, and of turns within each, as those of one process are alike (Davison & Hinkley, Bootstrap Methods,
    1997, 3.8). At least one start, each with at least one turn. The draws are the same for the same turns.
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
