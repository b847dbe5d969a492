"""The moments at which customers arrive: a Poisson process along a curve of rates (pure)."""

import random
from collections.abc import Iterator

from rushhour.scenario.arrivals import Rates, peak, rate_at


def arrival_times(
    points: Rates, duration_s: float, rng: random.Random, share: float = 1.0
) -> Iterator[float]:
    """Yield the arrivals in seconds from the load's start, in order, until `duration_s`.

    `share` is the part of the rate that this process carries: Poisson processes of shares that add up to 1
    make together the process of the whole rate. The method is thinning (Lewis and Shedler 1979): candidates
    come at the highest rate, and each is kept with the probability of its moment's rate.
    """
    highest = peak(points)
    t_s = rng.expovariate(highest * share)
    while t_s < duration_s:
        if rng.random() * highest < rate_at(points, t_s):
            yield t_s
        t_s += rng.expovariate(highest * share)
