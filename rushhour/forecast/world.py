"""Builds the processes that are simulated, from a demand and a setting (pure)."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import fsum
from random import Random
from typing import Final

from rushhour.forecast.activity import QUARTERS, gathered
from rushhour.forecast.demand import Demand, PoolDemand, Second
from rushhour.forecast.interval import resampled_seconds
from rushhour.forecast.setting import Setting
from rushhour.forecast.simulated import Asked, Bounds, Kind, World, slowed
from rushhour.rundir.facts import server_of

NEAR_ITS_CPU: Final = 0.75  # beyond this share, holds grow in a way that a run far below it does not show
MANY: Final = 50  # times those busy at once: customers whose arrivals are as good as independent
FEWEST_INDEPENDENT: Final = 2000
MOST_PROCESSES: Final = 3  # simulated beside each other: what one of them has more than its part, others lack
MACHINE: Final = "machine"
_Figure = Callable[[Second], float]


def expected_requests_per_s(demand: Demand, setting: Setting) -> float:
    """Return the requests a second if no answer were slower than in the run (Little's law)."""
    if demand.open_arrivals:
        return demand.requests_per_s * setting.activity * setting.customers / demand.customers
    cycle_s = demand.think_s / setting.activity + demand.latency_s
    return setting.customers / max(cycle_s, 1e-6)


def predicted_cpu(demand: Demand, setting: Setting, per_s: float | None = None) -> dict[str, float]:
    """Return the share of its CPU that each component would use (utilisation law: so much a request).

    The service's CPU is that of each process, the machine's that of each instance.
    """
    rate = expected_requests_per_s(demand, setting) if per_s is None else per_s
    more = rate / demand.requests_per_s
    instance = more * demand.instances / setting.instances
    process = instance * demand.processes / setting.processes
    factor = {"service": process, MACHINE: instance}
    return {name: share * factor.get(name, more) for name, share in demand.cpu.items()}


def resampled_worlds(
    demand: Demand,
    setting: Setting,
    cpu: Mapping[str, float],
    activity: tuple[float, ...],
    mixes: tuple[tuple[float, ...], ...],
    *,
    dice: Random,
) -> list[World]:
    """Build processes of a service whose demand is that of a resample of the run's seconds.

    `activity` and `mixes` are those of its seconds where customers act together; else (1.0,) and none.
    They are all of its processes, or a few of many; their customers are drawn together.
    """
    count = len(demand.seconds)  # none in the metrics of production
    picked = [demand.seconds[at] for at in resampled_seconds(count, dice)] if count else []
    longer = _ratio(picked, demand.seconds, lambda second: second.held_s, lambda second: second.checkouts)
    oftener = _ratio(picked, demand.seconds, lambda second: second.requests, lambda second: second.customers)
    growth = {pool.name: longer * _growth(demand, cpu, pool, dice.random()) for pool in demand.pools}
    stretched = {
        (endpoint.name, use.pool): [hold * growth[use.pool] for hold in use.hold.points_s]
        for endpoint in demand.endpoints
        for use in endpoint.uses
    }
    numbers = {pool.name: at for at, pool in enumerate(demand.pools)}
    kinds = tuple(
        Kind(
            endpoint.share,
            tuple(
                Asked(numbers[use.pool], use.per_request, stretched[endpoint.name, use.pool])
                for use in endpoint.uses
            ),
            endpoint.outside_s,
            endpoint.overlaps,
        )
        for endpoint in demand.endpoints
    )
    bounds = []
    for pool in demand.pools:
        own = setting.pools[pool.name]
        capacity = math.inf if own.capacity is None else own.capacity
        bounded = Bounds(own.size, capacity, own.timeout_s, pool.create_s or 0.0, pool.standing)
        bounds.append(_shared(bounded, demand, setting, pool))
    each, think_s = spread_customers(setting, dice), demand.think_s / (oftener * setting.activity)
    if demand.open_arrivals:
        independent, think_s = _independent(demand, setting, oftener)
        each = [independent] * len(each)
    start = dice.randrange(len(activity))  # the pattern of bursts begins at any of its seconds
    world = World(
        kinds=kinds,
        pools=tuple(bounds),
        threads=math.inf if setting.threads is None else setting.threads,
        customers=0,
        think_s=think_s,
        activity=gathered((*activity[start:], *activity[:start]), dice) if mixes else (1.0,),
        mixes=tuple(mix for mix in (*mixes[start:], *mixes[:start]) for _ in range(QUARTERS)),
        step_s=1 / QUARTERS,
        retries=setting.retries,
        busy=min(1.0, cpu.get("service", 0.0)),
    )
    return [replace(world, customers=customers) for customers in each]


def _shares(demand: Demand, pool: PoolDemand) -> bool:
    """Return whether it is known how much of its server's cores a check-out takes."""
    return bool(pool.cpu_s and demand.cores.get(server_of(pool.name)))


def _shared(bounds: Bounds, demand: Demand, setting: Setting, pool: PoolDemand) -> Bounds:
    """Let the connections of a pool share their server's cores.

    The part of a hold that computes is known from two or more runs, or else follows from the server's CPU for
    a check-out (utilisation law). The cores are divided by the processes, taken to be busy together.
    """
    if not pool.cpu_s or not _shares(demand, pool):
        return bounds
    part = None if demand.growth is None else demand.growth.get(pool.name)
    cores = demand.cores[server_of(pool.name)]
    if part is None and pool.hold.mean_s:
        part = pool.cpu_s * slowed(pool.beside, cores) / pool.hold.mean_s
    return replace(
        bounds,
        server=server_of(pool.name),
        cores=cores / (setting.processes * setting.instances),
        beside=pool.beside / (setting.processes * setting.instances),
        on_cpu=min(1.0, part or 0.0),
    )


def _ratio(picked: Sequence[Second], everything: Sequence[Second], above: _Figure, below: _Figure) -> float:
    """Return how a ratio of sums differs between a resample and the whole; 1.0 where it has no meaning."""

    def of(seconds: Sequence[Second]) -> float:
        lower = fsum(below(second) for second in seconds)
        return fsum(above(second) for second in seconds) / lower if lower else 0.0

    whole = of(everything)
    return of(picked) / whole if whole and of(picked) else 1.0


def _growth(demand: Demand, cpu: Mapping[str, float], pool: PoolDemand, unknown: float) -> float:
    """Return how much longer holds are than in the run, because servers are busier or less busy.

    A processor that is shared by those who wait for it makes them 1 / (1 - utilisation) slower. What part of
    a hold that applies to, is known from two or more runs; from one run it may be anything from none to all
    of it, and `unknown` (0 to 1) picks that part. Where the cores are known the simulation shares them.
    """
    if _shares(demand, pool):
        return 1.0
    part = unknown if demand.growth is None else demand.growth.get(pool.name, unknown)
    before, now = busiest(demand.cpu, pool.name), busiest(cpu, pool.name)
    if now > before:
        now = max(before, min(now, NEAR_ITS_CPU))
    return (1.0 - part * before) / (1.0 - part * now)


def busiest(cpu: Mapping[str, float], pool: str) -> float:
    """Return the utilisation that the holds of a pool depend on: its server's or the machine's."""
    return min(0.99, max(cpu.get(server_of(pool), 0.0), cpu.get(MACHINE, 0.0), cpu.get("service", 0.0)))


def spread_customers(setting: Setting, dice: Random) -> list[int]:
    """Draw the customers of a few processes: each keeps its connection to any of all, with equal chance."""
    left = setting.customers
    found: list[int] = []
    for others in reversed(range(setting.processes * setting.instances)):
        if len(found) == MOST_PROCESSES:
            break
        mean = left / (others + 1)
        drawn = left if not others else round(dice.gauss(mean, math.sqrt(mean * others / (others + 1))))
        found.append(max(0, min(left, drawn)))
        left -= found[-1]
    return found


def _independent(demand: Demand, setting: Setting, oftener: float) -> tuple[int, float]:
    """Return so many customers, and so long a think time, that arrivals do not depend on the answers.

    They are many times those that are busy at once: of a process, for its part of the requests.
    """
    per_s = oftener * expected_requests_per_s(demand, setting) / (setting.processes * setting.instances)
    customers = max(FEWEST_INDEPENDENT, round(MANY * per_s * demand.latency_s))
    return customers, customers / per_s
