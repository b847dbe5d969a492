"""Joins runs of one service at different loads: how much longer busy servers make holds (pure)."""

from collections.abc import Sequence
from dataclasses import replace
from math import fsum
from typing import Final

from rushhour.errors import UsageError
from rushhour.forecast.demand import Demand
from rushhour.forecast.queueing import busiest

LEAST_COMMON: Final = 0.8  # of the busiest run's connection-seconds, in requests that both runs have
LEAST_SPREAD: Final = 0.1  # of utilisation between the runs; below that, a slope is chance


def joined(demands: Sequence[Demand]) -> Demand:
    """Return the demand of the busiest run, with the growth of its holds where the runs show it.

    A processor that is shared makes a hold 1 / (1 - part x utilisation) as long: the reciprocal of the mean
    hold falls in a straight line, which is fitted through the runs by least squares. The mean is of the same
    mix of requests in each run, the busiest one's: what customers ask for is no growth. Raises UsageError for
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
    growth = {
        pool.name: part for pool in base.pools if (part := _fitted(demands, base, pool.name)) is not None
    }
    return replace(base, growth=growth) if growth else base


def _fitted(demands: Sequence[Demand], base: Demand, pool: str) -> float | None:
    held = [(demand, _hold_s(demand, base, pool)) for demand in demands]
    points = [(busiest(demand.cpu, pool), 1 / hold_s) for demand, hold_s in held if hold_s]
    used = [utilisation for utilisation, _ in points]
    if len(points) < 2 or max(used) - min(used) < LEAST_SPREAD:
        return None
    mean_x, mean_y = fsum(used) / len(used), fsum(y for _, y in points) / len(points)
    below = fsum((x - mean_x) ** 2 for x in used)
    slope = fsum((x - mean_x) * (y - mean_y) for x, y in points) / below
    unloaded = mean_y - slope * mean_x
    return min(1.0, max(0.0, -slope / unloaded)) if unloaded > 0 else 1.0


def _hold_s(demand: Demand, base: Demand, pool: str) -> float | None:
    """Return the mean hold if the requests were mixed as in `base`; None if most of those are not there."""
    own, wanted = _holds(demand, pool), _holds(base, pool)
    both = wanted.keys() & own.keys()
    everything = fsum(checkouts * hold_s for checkouts, hold_s in wanted.values())
    shared = fsum(wanted[name][0] * wanted[name][1] for name in both)
    if not shared or shared < LEAST_COMMON * everything:
        return None
    return fsum(wanted[name][0] * own[name][1] for name in both) / fsum(wanted[name][0] for name in both)


def _holds(demand: Demand, pool: str) -> dict[str, tuple[float, float]]:
    """Return for each endpoint its check-outs of a pool, for each request of all, and their mean hold."""
    found = {}
    for endpoint in demand.endpoints:
        uses = [use for use in endpoint.uses if use.pool == pool]
        if checkouts := fsum(use.per_request for use in uses):
            held_s = fsum(use.per_request * use.hold.mean_s for use in uses)
            found[endpoint.name] = endpoint.share * checkouts, held_s / checkouts
    return found
