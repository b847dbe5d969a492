"""How fast a process's memory grows, and how sure that is (pure)."""

import math
import statistics
from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Final

from benchmarks.interval import Interval

BLOCKS: Final = 12  # whose medians count: samples one second apart are too alike to be counted each
Z_95: Final = 1.96


def slope(samples: Sequence[tuple[float, float]]) -> Interval:
    """Return the change per second of samples `(seconds, value)`, which lie in order of time.

    It is the median of the slopes between all pairs of blocks, and the interval goes by the ranks of these
    (Sen 1968, "Estimates of the regression coefficient based on Kendall's tau"): a spike hardly moves them.
    Raises ValueError with fewer samples than blocks.
    """
    if len(samples) < BLOCKS:
        raise ValueError(f"{len(samples)} samples; a slope needs at least {BLOCKS}")
    edges = [round(number * len(samples) / BLOCKS) for number in range(BLOCKS + 1)]
    blocks = [samples[first:last] for first, last in pairwise(edges)]
    points = [tuple(statistics.median(column) for column in zip(*block, strict=True)) for block in blocks]
    slopes = sorted((b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2))
    spread = Z_95 * math.sqrt(BLOCKS * (BLOCKS - 1) * (2 * BLOCKS + 5) / 18)
    last = math.ceil((len(slopes) + spread) / 2)
    return Interval(statistics.median(slopes), slopes[-1 - last], slopes[last])
