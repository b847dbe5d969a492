"""Joins runs of one service at different loads: how much longer busy servers make holds (pure)."""

from collections.abc import Sequence
from dataclasses import replace
from math import fsum
from typing import Final

from rushhour.errors import UsageError
from rushhour.forecast.demand import Demand
from rushhour.forecast.queueing import busiest

LEAST_SPREAD: Final = 0.1  # of utilisation between the runs; below that, a slope is chance


def joined(demands: Sequence[Demand]) -> Demand:
    """Return the demand of the busiest run, with the growth of its holds where the runs show it.

    A processor that is shared makes a hold 1 / (1 - part x utilisation) as long: the reciprocal of the mean
    hold falls in a straight line, which is fitted through the runs by least squares. Raises UsageError for
    runs of different services or releases.
    """
    services = sorted({f"{demand.service} {demand.release}" for demand in demands})
    if len(services) > 1:
        problem = (
            f"the runs are of different services or releases ({', '.join(services)}): their check-outs "
            "cannot be joined; size each by itself"
        )
        raise UsageError([problem])
    base = max(demands, key=lambda demand: demand.requests_per_s)
    growth = {pool.name: part for pool in base.pools if (part := _fitted(demands, pool.name)) is not None}
    return replace(base, growth=growth) if growth else base


def _fitted(demands: Sequence[Demand], pool: str) -> float | None:
    points = [
        (busiest(demand.cpu, pool), 1 / own.hold.mean_s)
        for demand in demands
        for own in demand.pools
        if own.name == pool and own.hold.mean_s > 0
    ]
    used = [utilisation for utilisation, _ in points]
    if len(points) < 2 or max(used) - min(used) < LEAST_SPREAD:
        return None
    mean_x, mean_y = fsum(used) / len(used), fsum(y for _, y in points) / len(points)
    below = fsum((x - mean_x) ** 2 for x in used)
    slope = fsum((x - mean_x) * (y - mean_y) for x, y in points) / below
    unloaded = mean_y - slope * mean_x
    return min(1.0, max(0.0, -slope / unloaded)) if unloaded > 0 else 1.0
