"""Finds bursts: how the activity of customers changes from second to second (pure)."""

import math
from math import fsum
from typing import Final

from rushhour.forecast.demand import Demand

BURSTS: Final = 1.5  # times the variance of chance; below that, customers act independently
LEAST: Final = 0.05  # of the mean activity


def activity_of(demand: Demand) -> tuple[float, ...]:
    """Return how active customers are in each second, 1.0 on average; (1.0,) if they act independently.

    Requests of independent customers vary as a Poisson process does: their variance is their mean. What
    varies more has a common cause, such as a push notification, and comes again with more customers. Chance
    is taken out: each second is drawn towards the mean by the share of the variance that is chance.
    """
    seconds = [second for second in demand.seconds if second.customers]
    asked = fsum(second.requests for second in seconds)
    present = fsum(second.customers for second in seconds)
    if not asked or len(seconds) < 2:
        return (1.0,)
    expected = [second.customers * asked / present for second in seconds]
    variance = fsum((second.requests - mean) ** 2 for second, mean in zip(seconds, expected, strict=True))
    dispersion = variance / fsum(expected)
    if dispersion < BURSTS:
        return (1.0,)
    kept = math.sqrt((dispersion - 1.0) / dispersion)
    factors = [
        max(LEAST, 1.0 + kept * (second.requests / mean - 1.0))
        for second, mean in zip(seconds, expected, strict=True)
    ]
    mean = fsum(factors) / len(factors)
    return tuple(factor / mean for factor in factors)
