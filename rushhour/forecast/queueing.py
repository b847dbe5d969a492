"""Predicts waits, time-outs and connections in use for settings that were not run (pure)."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from rushhour.errors import UsageError
from rushhour.forecast.activity import activity_of, mixes_of
from rushhour.forecast.demand import Demand
from rushhour.forecast.interval import Estimate, estimate, quantile
from rushhour.forecast.setting import PoolSetting, Setting, measured_setting
from rushhour.forecast.simulated import PoolTally, Tally, World
from rushhour.forecast.simulation import simulate
from rushhour.forecast.world import (
    NEAR_ITS_CPU,
    busiest,
    expected_requests_per_s,
    predicted_cpu,
    resampled_worlds,
)

__all__ = [
    "PoolPrediction",
    "PoolSetting",
    "Prediction",
    "Setting",
    "busiest",
    "expected_requests_per_s",
    "measured_setting",
    "predict",
    "predicted_cpu",
]

MODEL_ERROR: Final = 0.25  # of waits and time-outs, as a share: measured by `make bench ARGS=forecast`
BURST_ERROR: Final = 1.0  # the same where customers act together, in three runs of one service
REQUESTS: Final = 20_000  # simulated for a prediction, over all of its repeats
SHORTEST_S: Final = 0.5  # of a simulation
HOLDS: Final = 20  # mean holds that a simulation lasts at least
BURSTS_COST: Final = 3  # times as many requests are simulated where customers act together
MOST_PER_S: Final = 5000  # requests a second of a process: no Python process answers so many


@dataclass(frozen=True, slots=True)
class PoolPrediction:
    """A pool over the horizon. Waits and shares are of check-outs that asked, use is of a process."""

    pool: str
    checkouts_per_s: Estimate
    waits_share: Estimate  # had to wait in the queue
    wait_p99_s: Estimate  # time-outs count with their time-out
    served_p99_s: Estimate  # from asking to giving back
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


def predict(
    demand: Demand,
    setting: Setting,
    *,
    repeats: int = 20,
    requests: int = REQUESTS,
    seed: int = 1,
    bursts: bool = True,
) -> Prediction:
    """Predict what a setting would show; the same arguments always give the same figures.

    Without `bursts` customers act independently, also where they did not in the run.

    Each of the `repeats` simulates the processes of a service, or a few of many, with demand that is
    resampled from the seconds of the run. Together they simulate about so many `requests`: with many
    customers the simulated time is shorter than the horizon. Raises UsageError for more requests a second
    than a process can answer.
    """
    cpu = predicted_cpu(demand, setting)
    expected_per_s = expected_requests_per_s(demand, setting) / (setting.processes * setting.instances)
    if expected_per_s > MOST_PER_S:
        who = f"{setting.customers:,} customers" if demand.seconds else "what was counted"
        processes = setting.processes * setting.instances
        where = "a single process" if processes == 1 else f"each of {processes:,} processes"
        problem = (
            f"{who} would send {expected_per_s:,.0f} requests a second to {where}, and no "
            f"Python process answers more than {MOST_PER_S:,}: more processes or instances, or fewer "
            "customers, would make sense"
        )
        raise UsageError([problem])
    activity = activity_of(demand) if bursts else (1.0,)
    mixes = mixes_of(demand) if len(activity) > 1 else ()
    if mixes:
        repeats = max(2, repeats // 2)  # longer ones, so that they hold the whole pattern
    seconds = _simulated_s(
        demand, setting.horizon_s, requests / repeats / max(expected_per_s, 1e-9), len(activity)
    )
    warm_s = min(max(2.0, 0.2 * seconds), seconds)
    tallies, shares = [], []
    for repeat in range(repeats):
        # One for each: settings that are compared meet the same resample and the same bursts.
        drawn, dice = (Random(f"{what} {seed} {repeat}") for what in ("resample", "simulation"))  # noqa: S311
        worlds = resampled_worlds(demand, setting, cpu, activity, mixes, dice=drawn)
        tallies.append(together([simulate(world, seconds, warm_s, dice) for world in worlds]))
        shares.append(_share(demand, setting, worlds))
    pools = {
        pool.name: _pool_prediction(
            pool.name,
            [tally.pools[at] for tally in tallies],
            shares,
            seconds,
            timeout_s=setting.pools[pool.name].timeout_s,
            error=BURST_ERROR if mixes else MODEL_ERROR,
        )
        for at, pool in enumerate(demand.pools)
    }
    per_s = estimate([tally.requests / seconds / share for tally, share in zip(tallies, shares, strict=True)])
    busy = predicted_cpu(demand, setting, per_s.value)
    return Prediction(
        setting=setting,
        pools=pools,
        requests_per_s=per_s,
        threads_busy_max=estimate([float(tally.threads_max) for tally in tallies]),
        queued_max=estimate([float(tally.queued_max) for tally in tallies]),
        cpu=busy,
        beyond=_beyond(demand, busy),
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


def _beyond(demand: Demand, cpu: Mapping[str, float]) -> tuple[str, ...]:
    found = []
    for name, share in sorted(cpu.items()):
        if share > max(1.0, 1.05 * demand.cpu[name]):
            found.append(
                f"the {name} would need {share:.0%} of its CPU ({demand.cpu[name]:.0%} in the run): it "
                "cannot carry this load, whatever the pool"
            )
        elif share > max(NEAR_ITS_CPU, 1.05 * demand.cpu[name]):
            found.append(
                f"the {name} would use {share:.0%} of its CPU ({demand.cpu[name]:.0%} in the run): how much "
                "longer connections are held then is not known; run the scenario with so many customers, and "
                "size that run"
            )
    return tuple(found)


def _share(demand: Demand, setting: Setting, worlds: Sequence[World]) -> float:
    """Return the share of all customers that the simulated processes have."""
    if demand.open_arrivals:
        return len(worlds) / (setting.processes * setting.instances)
    return max(1, sum(world.customers for world in worlds)) / setting.customers


def together(tallies: Sequence[Tally]) -> Tally:
    """Sum up processes that were simulated beside each other; what is in use is of a process."""
    return Tally(
        [
            PoolTally(
                asked=sum(pool.asked for pool in pools),
                waits_s=[wait_s for pool in pools for wait_s in pool.waits_s],
                served_s=[served_s for pool in pools for served_s in pool.served_s],
                timeouts=sum(pool.timeouts for pool in pools),
                in_use_max=max(pool.in_use_max for pool in pools),
                in_use_s=math.fsum(pool.in_use_s for pool in pools) / len(pools),
            )
            for pools in zip(*(tally.pools for tally in tallies), strict=True)
        ],
        tallies[0].seconds,
        requests=sum(tally.requests for tally in tallies),
        threads_max=max(tally.threads_max for tally in tallies),
        queued_max=max(tally.queued_max for tally in tallies),
    )


def _pool_prediction(
    name: str,
    tallies: Sequence[PoolTally],
    shares: Sequence[float],
    seconds: float,
    *,
    timeout_s: float,
    error: float,
) -> PoolPrediction:
    """Sum up the simulations of a pool; `shares` are those of all customers that each had.

    `error` is the model's, of waits and time-outs.
    """

    def of(read: Callable[[PoolTally], float], wider: float = 0.0, most: float = math.inf) -> Estimate:
        return estimate([read(tally) for tally in tallies], error=wider, most=most)

    def of_all(read: Callable[[PoolTally], float], wider: float = 0.0) -> Estimate:
        found = [read(tally) / share for tally, share in zip(tallies, shares, strict=True)]
        return estimate(found, error=wider)

    def share_of_asked(read: Callable[[PoolTally], int]) -> Estimate:
        # One that asked just before the end may be counted without its wait, so that shares reach 1 at most.
        return of(lambda tally: min(1.0, read(tally) / max(1, tally.asked)), error, 1.0)

    return PoolPrediction(
        pool=name,
        checkouts_per_s=of_all(lambda tally: tally.asked / seconds),
        waits_share=share_of_asked(lambda tally: len(tally.waits_s)),
        wait_p99_s=of(lambda tally: wait_at(tally, 0.99), error, timeout_s),
        served_p99_s=of(lambda tally: quantile(sorted(tally.served_s), 0.99) if tally.served_s else 0.0),
        timeout_share=share_of_asked(lambda tally: tally.timeouts),
        timeouts_per_hour=of_all(lambda tally: tally.timeouts / seconds * 3600, error),
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
