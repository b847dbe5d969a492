"""Predicts waits, time-outs and connections in use for settings that were not run (pure)."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum
from random import Random
from typing import Final

from rushhour.errors import UsageError
from rushhour.forecast.activity import activity_of
from rushhour.forecast.demand import Demand, Second
from rushhour.forecast.interval import Estimate, estimate, quantile, resampled_seconds
from rushhour.forecast.simulation import Asked, Bounds, Kind, PoolTally, World, simulate
from rushhour.rundir.facts import server_of

NEAR_ITS_CPU: Final = 0.75  # beyond this share, holds grow in a way that a run far below it does not show
MODEL_ERROR: Final = 0.25  # of waits and time-outs, as a share: measured by `make bench ARGS=forecast`
REQUESTS: Final = 20_000  # simulated for a prediction, over all of its repeats
SHORTEST_S: Final = 0.5  # of a simulation
HOLDS: Final = 20  # mean holds that a simulation lasts at least
BURSTS_COST: Final = 10  # times as many requests are simulated where customers act together
MOST_PER_S: Final = 5000  # requests a second of a process: no Python process answers so many
MANY: Final = 50  # times those busy at once: customers whose arrivals are as good as independent
FEWEST_INDEPENDENT: Final = 2000
_MACHINE: Final = "machine"
_Figure = Callable[[Second], float]


@dataclass(frozen=True, slots=True)
class PoolSetting:
    """The settings of a pool in each process; `max_overflow` -1: no limit."""

    size: int
    max_overflow: int
    timeout_s: float

    @property
    def capacity(self) -> int | None:
        return None if self.max_overflow < 0 else self.size + self.max_overflow


@dataclass(frozen=True, slots=True)
class Setting:
    """What is predicted for."""

    pools: Mapping[str, PoolSetting]
    threads: int | None  # of each process; None: not bounded
    processes: int  # of each instance
    instances: int
    customers: int  # of all instances together
    activity: float = 1.0  # how much more often a customer asks than in the run
    horizon_s: float = 60.0  # the figures are of this long a time


@dataclass(frozen=True, slots=True)
class PoolPrediction:
    """A pool of one process over the horizon. Waits and shares are of check-outs that asked."""

    pool: str
    checkouts_per_s: Estimate
    waits_share: Estimate  # had to wait in the queue
    wait_p99_s: Estimate  # time-outs count with their time-out
    timeout_share: Estimate
    timeouts_per_hour: Estimate  # over all processes
    in_use_mean: Estimate
    in_use_max: Estimate


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a setting would show."""

    setting: Setting
    pools: Mapping[str, PoolPrediction]
    requests_per_s: Estimate
    threads_busy_max: Estimate  # of one process
    queued_max: Estimate  # requests of one process that waited for a thread
    cpu: Mapping[str, float] = field(default_factory=dict)  # component -> share of its CPU (0 to 1)
    beyond: tuple[str, ...] = ()  # why the figures may not hold


def measured_setting(demand: Demand) -> Setting:
    """Return the setting of the run itself."""
    pools = {pool.name: PoolSetting(pool.size, pool.max_overflow, pool.timeout_s) for pool in demand.pools}
    return Setting(pools, demand.threads, demand.processes, demand.instances, demand.customers)


def predict(
    demand: Demand, setting: Setting, *, repeats: int = 20, requests: int = REQUESTS, seed: int = 1
) -> Prediction:
    """Predict what a setting would show; the same arguments always give the same figures.

    Each of the `repeats` simulates a process of its own, with demand that is resampled from the seconds of
    the run. Together they simulate about so many `requests`: with many customers the simulated time is
    shorter than the horizon. Raises UsageError for more requests a second than a process can answer.
    """
    dice = Random(f"forecast {seed}")  # noqa: S311 - not a secret
    cpu = predicted_cpu(demand, setting)
    expected_per_s = expected_requests_per_s(demand, setting) / (setting.processes * setting.instances)
    if expected_per_s > MOST_PER_S:
        problem = (
            f"{setting.customers:,} customers would send {expected_per_s:,.0f} requests a second to each of "
            f"{setting.processes * setting.instances} processes, and no Python process answers more than "
            f"{MOST_PER_S:,}: more processes or instances, or fewer customers, would make sense"
        )
        raise UsageError([problem])
    activity = activity_of(demand)
    seconds = _simulated_s(
        demand, setting.horizon_s, requests / repeats / max(expected_per_s, 1e-9), len(activity)
    )
    warm_s = min(max(2.0, 0.2 * seconds), seconds)
    tallies, shares = [], []
    for _ in range(repeats):
        world = _resampled_world(demand, setting, cpu, activity, dice)
        tallies.append(simulate(world, seconds, warm_s, dice))
        shares.append(_share(demand, setting, world))
    pools = {
        pool.name: _pool_prediction(pool.name, [tally.pools[at] for tally in tallies], shares, seconds)
        for at, pool in enumerate(demand.pools)
    }
    per_s = estimate([tally.requests / seconds / share for tally, share in zip(tallies, shares, strict=True)])
    busiest = predicted_cpu(demand, setting, per_s.value)
    return Prediction(
        setting=setting,
        pools=pools,
        requests_per_s=per_s,
        threads_busy_max=estimate([float(tally.threads_max) for tally in tallies]),
        queued_max=estimate([float(tally.queued_max) for tally in tallies]),
        cpu=busiest,
        beyond=_beyond(demand, setting, busiest),
    )


def _simulated_s(demand: Demand, horizon_s: float, affordable_s: float, pattern_s: int) -> float:
    """Return how many seconds to simulate: the horizon, or fewer if that is more than can be afforded.

    Fewer than many holds, or than the pattern of bursts has, would say nothing.
    """
    longest_s = max(pool.hold.mean_s for pool in demand.pools)
    least_s = max(
        SHORTEST_S, HOLDS * longest_s, min(pattern_s, BURSTS_COST * affordable_s) if pattern_s > 1 else 0
    )
    return min(horizon_s, max(affordable_s, least_s))


def expected_requests_per_s(demand: Demand, setting: Setting) -> float:
    """Return the requests a second if no answer were slower than in the run (Little's law)."""
    if demand.open_arrivals:
        return demand.requests_per_s * setting.activity * setting.customers / demand.customers
    cycle_s = demand.think_s / setting.activity + demand.latency_s
    return setting.customers / max(cycle_s, 1e-6)


def predicted_cpu(demand: Demand, setting: Setting, per_s: float | None = None) -> dict[str, float]:
    """Return the share of its CPU that each component would use (utilisation law: so much a request).

    The service's CPU, and that of the machine of which it is a part, is that of each instance.
    """
    rate = expected_requests_per_s(demand, setting) if per_s is None else per_s
    more = rate / demand.requests_per_s
    each = more * demand.instances / setting.instances
    return {name: share * (each if name == "service" else more) for name, share in demand.cpu.items()}


def _beyond(demand: Demand, setting: Setting, cpu: Mapping[str, float]) -> tuple[str, ...]:
    found = [
        f"the {name} would use {share:.0%} of its CPU ({demand.cpu[name]:.0%} in the run): how much longer "
        "connections are held then is not known from it"
        for name, share in sorted(cpu.items())
        if share > max(NEAR_ITS_CPU, 1.05 * demand.cpu[name]) and not _shared(name, setting)
    ]
    return tuple(found)


def _shared(name: str, setting: Setting) -> bool:
    """Several instances do not run on the machine of the run."""
    return name == _MACHINE and setting.instances > 1


def _resampled_world(
    demand: Demand,
    setting: Setting,
    cpu: Mapping[str, float],
    activity: tuple[float, ...],
    dice: Random,
) -> World:
    """Build a process whose demand is that of a resample of the run's seconds."""
    count = len(demand.seconds)  # none in the metrics of production
    picked = [demand.seconds[at] for at in resampled_seconds(count, dice)] if count else []
    longer = _ratio(picked, demand.seconds, lambda second: second.held_s, lambda second: second.checkouts)
    oftener = _ratio(picked, demand.seconds, lambda second: second.requests, lambda second: second.customers)
    growth = {pool.name: longer * _growth(demand, cpu, pool.name, dice.random()) for pool in demand.pools}
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
        bounds.append(Bounds(own.size, capacity, own.timeout_s, pool.create_s or 0.0))
    customers, think_s = _customers(setting, dice), demand.think_s / (oftener * setting.activity)
    if demand.open_arrivals:
        customers, think_s = _independent(demand, setting, oftener)
    return World(
        kinds=kinds,
        pools=tuple(bounds),
        threads=math.inf if setting.threads is None else setting.threads,
        customers=customers,
        think_s=think_s,
        activity=_from_anywhere(activity, dice),
    )


def _from_anywhere(activity: tuple[float, ...], dice: Random) -> tuple[float, ...]:
    """Begin the pattern of bursts at any of its seconds."""
    start = dice.randrange(len(activity))
    return activity[start:] + activity[:start]


def _ratio(picked: Sequence[Second], everything: Sequence[Second], above: _Figure, below: _Figure) -> float:
    """Return how a ratio of sums differs between a resample and the whole; 1.0 where it has no meaning."""

    def of(seconds: Sequence[Second]) -> float:
        lower = fsum(below(second) for second in seconds)
        return fsum(above(second) for second in seconds) / lower if lower else 0.0

    whole = of(everything)
    return of(picked) / whole if whole and of(picked) else 1.0


def _growth(demand: Demand, cpu: Mapping[str, float], pool: str, unknown: float) -> float:
    """Return how much longer holds are than in the run, because servers are busier or less busy.

    A processor that is shared by those who wait for it makes them 1 / (1 - utilisation) slower. What part of
    a hold that applies to, is known from two or more runs; from one run it may be anything from none to all
    of it, and `unknown` (0 to 1) picks that part.
    """
    part = unknown if demand.growth is None else demand.growth.get(pool, unknown)
    before, now = busiest(demand.cpu, pool), busiest(cpu, pool)
    if now > before:
        now = max(before, min(now, NEAR_ITS_CPU))
    return (1.0 - part * before) / (1.0 - part * now)


def busiest(cpu: Mapping[str, float], pool: str) -> float:
    """Return the utilisation that the holds of a pool depend on: its server's or the machine's."""
    return min(0.99, max(cpu.get(server_of(pool), 0.0), cpu.get(_MACHINE, 0.0), cpu.get("service", 0.0)))


def _customers(setting: Setting, dice: Random) -> int:
    """Draw the customers of one process: each keeps its connection to any of them, with equal chance."""
    whole = setting.processes * setting.instances
    mean = setting.customers / whole
    if whole == 1:
        return setting.customers
    drawn = dice.gauss(mean, math.sqrt(mean * (1 - 1 / whole)))
    return max(0, min(setting.customers, round(drawn)))


def _share(demand: Demand, setting: Setting, world: World) -> float:
    """Return the share of all customers that a simulated process has."""
    if demand.open_arrivals:
        return 1 / (setting.processes * setting.instances)
    return max(1, world.customers) / setting.customers


def _independent(demand: Demand, setting: Setting, oftener: float) -> tuple[int, float]:
    """Return so many customers, and so long a think time, that arrivals do not depend on the answers.

    They are many times those that are busy at once: of a process, for its part of the requests.
    """
    per_s = oftener * expected_requests_per_s(demand, setting) / (setting.processes * setting.instances)
    customers = max(FEWEST_INDEPENDENT, round(MANY * per_s * demand.latency_s))
    return customers, customers / per_s


def _pool_prediction(
    name: str, tallies: Sequence[PoolTally], shares: Sequence[float], seconds: float
) -> PoolPrediction:
    """Sum up the simulations of a pool; `shares` are those of all customers that each had."""

    def of(read: Callable[[PoolTally], float], error: float = 0.0) -> Estimate:
        return estimate([read(tally) for tally in tallies], error=error)

    def of_all(read: Callable[[PoolTally], float], error: float = 0.0) -> Estimate:
        found = [read(tally) / share for tally, share in zip(tallies, shares, strict=True)]
        return estimate(found, error=error)

    return PoolPrediction(
        pool=name,
        checkouts_per_s=of_all(lambda tally: tally.asked / seconds),
        waits_share=of(lambda tally: len(tally.waits_s) / tally.asked if tally.asked else 0.0, MODEL_ERROR),
        wait_p99_s=of(lambda tally: wait_at(tally, 0.99), MODEL_ERROR),
        timeout_share=of(lambda tally: tally.timeouts / tally.asked if tally.asked else 0.0, MODEL_ERROR),
        timeouts_per_hour=of_all(lambda tally: tally.timeouts / seconds * 3600, MODEL_ERROR),
        in_use_mean=of(lambda tally: tally.in_use_s / seconds),
        in_use_max=of(lambda tally: float(tally.in_use_max)),
    )


def wait_at(tally: PoolTally, share: float) -> float:
    """Return a quantile of the waits of all check-outs, most of which may not have waited."""
    without = tally.asked - len(tally.waits_s)
    rank = share * (tally.asked - 1) - without
    if rank < 0 or not tally.waits_s:
        return 0.0
    return quantile(sorted(tally.waits_s), min(1.0, rank / max(1, len(tally.waits_s) - 1)))
