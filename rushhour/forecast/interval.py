"""Intervals of predicted figures, from repeated predictions (pure)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

CONFIDENCE: Final = 0.8  # of every interval of a prediction
FEWEST_BLOCKS: Final = 4  # of seconds; below that, resamples repeat each other


@dataclass(frozen=True, slots=True)
class Estimate:
    """A predicted figure and its 80 % interval."""

    value: float
    low: float
    high: float

    def __contains__(self, measured: float) -> bool:
        return self.low <= measured <= self.high


def estimate(values: Sequence[float], *, error: float = 0.0, most: float = math.inf) -> Estimate:
    """Return the median and the 80 % interval of repeated predictions.

    `error` is the model's own measured error as a share: the interval is that much wider on both sides, up to
    `most`, which the figure cannot exceed.
    Raises ValueError without values.
    """
    if not values:
        raise ValueError("an estimate needs at least one value")
    ordered = sorted(values)
    outside = (1 - CONFIDENCE) / 2
    low, value, high = (quantile(ordered, share) for share in (outside, 0.5, 1 - outside))
    return Estimate(value, low / (1 + error), max(value, min(most, high * (1 + error))))


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the quantile of sorted values, interpolated between neighbours."""
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def resampled_seconds(count: int, dice: Random) -> list[int]:
    """Return the indices of a resample of `count` seconds, in blocks of neighbouring seconds.

    A circular block bootstrap (Politis and Romano 1992) with blocks of count^(1/3) seconds (Hall, Horowitz
    and Jing 1995), because neighbouring seconds of a run are not independent.
    """
    block = max(1, min(math.ceil(count ** (1 / 3)), count // FEWEST_BLOCKS or 1))
    found: list[int] = []
    while len(found) < count:
        start = dice.randrange(count)
        found += [(start + at) % count for at in range(block)]
    return found[:count]
