"""Distributions of durations, from histograms whose buckets are powers of two (pure)."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Final

POINTS: Final = 500  # of a distribution, each equally likely


@dataclass(frozen=True, slots=True)
class Durations:
    """A distribution of durations: points of equal probability in rising order, in seconds."""

    points_s: tuple[float, ...]
    count: int  # measured durations behind it

    @property
    def mean_s(self) -> float:
        return math.fsum(self.points_s) / len(self.points_s) if self.points_s else 0.0

    def at(self, share: float) -> float:
        """Return the quantile: the duration below which that share lies."""
        return self.points_s[min(len(self.points_s) - 1, int(share * len(self.points_s)))]

    def draw(self, dice: Random) -> float:
        return self.points_s[int(dice.random() * len(self.points_s))]


def from_buckets(buckets_us: Mapping[int, int], mean_s: float | None = None) -> Durations:
    """Make a distribution from counts by the upper bound of a bucket, a power of two of microseconds.

    Raises ValueError without counts.
    """
    buckets = [(bound / 2e6, bound / 1e6, count) for bound, count in sorted(buckets_us.items())]
    return from_bounds(buckets, mean_s)


def from_bounds(buckets: Sequence[tuple[float, float, int]], mean_s: float | None = None) -> Durations:
    """Make a distribution from buckets in rising order: lower bound, upper bound in seconds, count.

    Within a bucket the durations are taken to be spread evenly on a logarithmic scale. The bounds are coarse,
    so where the mean is known exactly, the points are moved until they have it: each stays in its bucket as
    long as the mean allows that. Raises ValueError without counts.
    """
    filled = [bucket for bucket in buckets if bucket[2] > 0 and 0 < bucket[0] <= bucket[1] < math.inf]
    upto = list(accumulate(count for _, _, count in filled))
    if not upto:
        raise ValueError("a distribution needs at least one duration")
    places: list[tuple[float, float, float]] = []  # lower bound, ratio of the bounds, place between them
    for at in range(POINTS):
        rank = (at + 0.5) / POINTS * upto[-1]
        number = min(bisect_left(upto, rank), len(upto) - 1)
        low_s, high_s, count = filled[number]
        places.append((low_s, high_s / low_s, (rank - (upto[number] - count)) / count))
    known = mean_s is not None and 0 < mean_s < math.inf
    points = _with_mean(places, mean_s) if known and mean_s else _bent(places, 1.0)
    return Durations(tuple(points), upto[-1])


def _bent(places: list[tuple[float, float, float]], bend: float) -> list[float]:
    return [low_s * ratio ** (place**bend) for low_s, ratio, place in places]


def _with_mean(places: list[tuple[float, float, float]], mean_s: float) -> list[float]:
    """Bend the spread within the buckets until the mean fits, then stretch by what is still missing."""
    low, high = 0.05, 20.0  # a bend above 1 moves the points towards their lower bound
    for _ in range(40):
        bend = math.sqrt(low * high)
        if math.fsum(_bent(places, bend)) / len(places) > mean_s:
            low = bend
        else:
            high = bend
    points = _bent(places, math.sqrt(low * high))
    stretch = mean_s * len(points) / math.fsum(points)
    return [point * stretch for point in points]
