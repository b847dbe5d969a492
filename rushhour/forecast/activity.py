"""Finds bursts: how the activity of customers changes from second to second (pure)."""

import math
from math import fsum
from random import Random
from typing import Final

from rushhour.forecast.demand import Demand, Second

BURSTS: Final = 1.5  # times the variance of chance; below that, customers act independently
LEAST: Final = 0.05  # of the mean activity
CHANCE: Final = 30  # requests
CONCENTRATED: Final = 1.5  # times the mean activity, from which a second's requests come closer together
QUARTERS: Final = 4
ACROSS: Final = 2  # seconds that a burst may lie across


def activity_of(demand: Demand) -> tuple[float, ...]:
    """Return how active customers are in each second, 1.0 on average; (1.0,) if they act independently.

    Requests of independent customers vary as a Poisson process does: their variance is their mean. What
    varies more has a common cause, such as a push notification, and comes again with more customers. Chance
    is taken out: each second is drawn towards the mean by the share of the variance that is chance. Seconds
    in which a pool was full count here as well, or the run's own bursts would be left out.
    """
    healthy = [second for second in demand.seconds if second.customers]
    asked = fsum(second.requests for second in healthy)
    present = fsum(second.customers for second in healthy)
    if not asked or len(healthy) < 2:
        return (1.0,)
    seconds = _in_turn(demand)
    expected = [second.customers * asked / present for second in seconds]
    variance = fsum((second.requests - mean) ** 2 for second, mean in zip(seconds, expected, strict=True))
    dispersion = variance / fsum(expected)
    if dispersion < BURSTS:
        return (1.0,)
    kept = math.sqrt((dispersion - 1.0) / dispersion)
    factors = {
        second.t_s: max(LEAST, 1.0 + kept * (second.requests / mean - 1.0))
        for second, mean in zip(seconds, expected, strict=True)
    }
    mean = fsum(factors[second.t_s] for second in healthy) / len(healthy)
    return tuple(factor / mean for factor in factors.values())


def gathered(activity: tuple[float, ...], dice: Random) -> tuple[float, ...]:
    """Return the activity of each quarter of the seconds: what comes too much comes in a few of them.

    Requests are counted by the second, and those of a push notification come within less, which may lie
    across two seconds. In how much less is not known, so that chance says it. More than two seconds in turn
    are no burst but a busy time.
    """
    found = [factor for factor in activity for _ in range(QUARTERS)]
    at = 0
    while at < len(activity):
        end = at
        while end < len(activity) and activity[end] >= CONCENTRATED:
            end += 1
        if 0 < end - at <= ACROSS:
            width = dice.choice((1, 2, QUARTERS))
            start = dice.randrange(at * QUARTERS, end * QUARTERS - width + 1)
            more = (sum(activity[at:end]) - (end - at)) * QUARTERS / width
            for quarter in range(at * QUARTERS, end * QUARTERS):
                found[quarter] = 1.0 + more * (start <= quarter < start + width)
        at = end + 1
    return tuple(found)


def mixes_of(demand: Demand) -> tuple[tuple[float, ...], ...]:
    """Return the shares of the demand's endpoints, in their order, for each second of the activity.

    In a burst customers ask for other things than at other times. The mean of the run counts as much as
    `CHANCE` requests of the second.
    """
    found = []
    for second in _in_turn(demand):
        counts = [
            second.answered.get(endpoint.name, 0) + CHANCE * endpoint.share for endpoint in demand.endpoints
        ]
        total = fsum(counts)
        found.append(tuple(count / total for count in counts))
    return tuple(found)


def _in_turn(demand: Demand) -> list[Second]:
    both = [second for second in (*demand.seconds, *demand.full) if second.customers]
    return sorted(both, key=lambda second: second.t_s)
