"""How long the blocks of a block bootstrap must be (pure).

Seconds of a run are not independent: a stall or a full pool lasts for several. Blocks keep neighbouring
seconds together; they must be about as long as seconds depend on each other.
"""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Final

FEWEST_BLOCKS: Final = 6  # below that, resamples repeat each other
REACH_SHARE: Final = 8  # of the run: a shape of traffic changes little over that
LEAST_REACH_S: Final = 4


def block_length(series: Sequence[Sequence[float]]) -> int:
    """Return seconds per block: the longest that any of these per-second series asks for.

    By the rule of Politis and White (Automatic block-length selection, 2004, with Patton's correction of
    2009), on what is left of a series when the course of the traffic is taken off: its mean over some seconds
    to either side. At least n^(1/3), the order that minimises the error of a block bootstrap (Hall, Horowitz
    and Jing 1995), and at most a sixth of the run.
    """
    n = min([len(sample) for sample in series])
    reach = max(LEAST_REACH_S, n // REACH_SHARE)
    asked = max((_politis_white(_detrended(sample, reach)) for sample in series), default=1.0)
    least = math.ceil(math.cbrt(n))
    return min(max(math.ceil(asked), least), max(1, n // FEWEST_BLOCKS))


def _detrended(values: Sequence[float], reach: int) -> list[float]:
    return [value - fmean(values[max(0, at - reach) : at + reach + 1]) for at, value in enumerate(values)]


def _politis_white(values: Sequence[float]) -> float:
    n = len(values)
    covariance = _autocovariances(values, min(n - 1, math.ceil(math.sqrt(n)) + _quiet(n) + 1))
    if covariance[0] <= 0:
        return 1.0
    bound = 2 * math.sqrt(math.log10(n) / n)
    correlated = [lag for lag, value in enumerate(covariance) if lag and abs(value / covariance[0]) >= bound]
    last = 0
    for lag in correlated:  # the first run of `_quiet` insignificant lags ends the memory
        if lag - last > _quiet(n):
            break
        last = lag
    width = min(2 * max(last, 1), len(covariance) - 1)
    weights = [min(1.0, 2 * (1 - lag / width)) if width else 0.0 for lag in range(width + 1)]
    spread = 2 * sum(w * lag * covariance[lag] for lag, w in enumerate(weights))
    density = covariance[0] + 2 * sum(w * covariance[lag] for lag, w in enumerate(weights) if lag)
    if density <= 0:
        return 1.0
    return float((2 * spread**2 / (4 / 3 * density**2)) ** (1 / 3) * n ** (1 / 3))


def _quiet(n: int) -> int:
    return max(5, math.ceil(math.sqrt(math.log10(n))))


def _autocovariances(values: Sequence[float], most: int) -> list[float]:
    n, mean = len(values), fmean(values)
    centred = [value - mean for value in values]
    return [sum(a * b for a, b in zip(centred, centred[lag:], strict=False)) / n for lag in range(most + 1)]
