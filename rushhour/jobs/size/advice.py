"""Finds the smallest pool that is enough, and says why (pure)."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from rushhour.forecast.activity import activity_of
from rushhour.forecast.demand import Demand, PoolDemand
from rushhour.forecast.queueing import (
    MOST_PER_S,
    PoolPrediction,
    PoolSetting,
    Prediction,
    Setting,
    expected_requests_per_s,
    measured_setting,
    predict,
)
from rushhour.metrics.wording import counted
from rushhour.rundir.facts import server_of

WAIT_S: Final = 0.01  # of the slowest hundredth of the check-outs: below that, nobody notices the pool
RESERVED: Final = 3  # superuser_reserved_connections, PostgreSQL's default
RESERVE_SHARE: Final = 0.5  # of the connections that are enough, as overflow for what the run did not show
MUCH_TOO_LARGE: Final = 2.0  # times what is enough
MOST: Final = 2000  # connections of a pool: no table is made for more
SHOWN_S: Final = 0.001  # waits of the run that are told
UNLIKE: Final = 2.0  # times the model's longest waits, from which the run's have another reason
LATER: Final = 1.1  # times as long as without a limit, from asking to giving back, in a burst


@dataclass(frozen=True, slots=True)
class Row:
    """What a pool of so many connections would show."""

    capacity: int
    figures: PoolPrediction
    calm: PoolPrediction  # the same where the customers do not act together
    server_connections: int  # at most, over all processes and instances
    enough: bool


@dataclass(frozen=True, slots=True)
class PoolSize:
    """The recommendation for a pool, and the table behind it."""

    pool: str
    demand: PoolDemand
    rows: tuple[Row, ...]  # by rising capacity; none where the figures would not hold
    enough: int | None  # the smallest capacity that is enough; None: unknown
    pool_size: int | None
    max_overflow: int | None
    together: int | None  # connections that all processes use at once at most, as a pooler would see it
    reasons: tuple[str, ...]
    beyond: tuple[str, ...]  # why the figures may not hold

    @property
    def in_words(self) -> str:
        """The recommendation in the service's own words."""
        if self.pool_size is None:
            return "no size can be recommended"
        return f"pool_size={self.pool_size}, max_overflow={self.max_overflow}"


@dataclass(frozen=True, slots=True)
class Sizing:
    """The sizes of all pools of a service."""

    demand: Demand
    setting: Setting
    wait_s: float
    max_connections: int | None  # as the user said it; None: as the run's servers have it
    pools: tuple[PoolSize, ...]


def size_pools(
    demand: Demand, setting: Setting, *, wait_s: float = WAIT_S, max_connections: int | None
) -> Sizing:
    """Size each pool of the demand, the others as they are.

    A pool is enough if no check-out times out and the slowest hundredth waits for at most `wait_s`, both at
    the upper end of the interval. In bursts, in which customers act together, waits are no measure: there
    the cores of the server are what is waited for, in the pool or behind it. So in them the slowest
    hundredth has to be served about as early as by a pool without a limit.
    """
    pools = tuple(
        _size_pool(demand, setting, pool, wait_s, _limit(demand, pool.name, max_connections))
        for pool in demand.pools
    )
    return Sizing(demand, setting, wait_s, max_connections, pools)


def _limit(demand: Demand, pool: str, max_connections: int | None) -> int | None:
    return max_connections or demand.max_connections.get(server_of(pool))


def _size_pool(
    demand: Demand, setting: Setting, pool: PoolDemand, wait_s: float, limit: int | None
) -> PoolSize:
    free = _predict(demand, setting, pool.name, None)
    if free.beyond:  # a table would hold numbers out of nothing
        return PoolSize(pool.name, pool, (), None, None, None, None, free.beyond, free.beyond)
    if unlike := tuple(_unlike_the_run(demand, pool, wait_s)):
        return PoolSize(pool.name, pool, (), None, None, None, None, unlike, unlike)
    bursts = acts_together(demand)
    calm: dict[int, PoolPrediction] = {}
    whole: dict[int, PoolPrediction] = {} if bursts else calm

    def suffices(capacity: int) -> bool:
        if capacity not in calm:
            predicted = _predict(demand, setting, pool.name, capacity, bursts=False)
            calm[capacity] = predicted.pools[pool.name]
        return is_enough(calm[capacity], wait_s)

    def survives(capacity: int) -> bool:
        if capacity not in whole:
            whole[capacity] = _predict(demand, setting, pool.name, capacity).pools[pool.name]
        return not bursts or in_time(whole[capacity], free.pools[pool.name], wait_s)

    # The smallest that is enough lies within; `most` never waits in the simulations.
    most = min(MOST, max(1, math.ceil(free.pools[pool.name].in_use_max.high)))
    least = _smallest(suffices, 1, most)
    if not survives(least):
        least = _smallest(survives, least + 1, most)
    current = pool.capacity
    shown = {max(1, least // 2), max(1, least - 1), least, least + 1, least + _reserve(least)}
    if current is not None and current <= MOST:
        shown.add(current)
    processes = setting.processes * setting.instances
    rows = tuple(
        Row(
            capacity=capacity,
            enough=all((suffices(capacity), survives(capacity))),
            figures=whole[capacity],
            calm=calm[capacity],
            server_connections=capacity * processes,
        )
        for capacity in sorted(shown)
    )
    together = _together(demand, setting, pool.name)
    size = PoolSize(
        pool=pool.name,
        demand=pool,
        rows=rows,
        enough=least,
        pool_size=least,
        max_overflow=_reserve(least),
        together=together,
        reasons=(),
        beyond=(),
    )
    return replace(size, reasons=tuple(_reasons(size, demand, setting, wait_s, limit)))


def _unlike_the_run(demand: Demand, pool: PoolDemand, wait_s: float) -> Iterator[str]:
    """Yield a reason not to believe the model: it does not show the waits that the run itself had."""
    if pool.waited_p99_s is None:
        return
    least_s = pool.waited_p99_s / 2  # the bucket's lower bound
    figures = predict(demand, measured_setting(demand)).pools[pool.name]
    if least_s > wait_s + UNLIKE * figures.wait_p99_s.high:
        yield (
            f"the slowest hundredth of the run's check-outs waited for {least_s * 1e3:.0f} to "
            f"{pool.waited_p99_s * 1e3:.0f} ms, and by its holds and requests they would have waited for at "
            f"most {figures.wait_p99_s.high * 1e3:.0f} ms: something else made them wait, such as a machine "
            "without CPU to spare; run it again, alone on the machine"
        )


def _smallest(holds: Callable[[int], bool], low: int, high: int) -> int:
    """Return the smallest number for which it holds; `high` is taken to be one."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return high


def acts_together(demand: Demand) -> bool:
    """Return whether the customers of the run acted together now and then, as after a push notification."""
    return len(activity_of(demand)) > 1


def in_time(figures: PoolPrediction, free: PoolPrediction, wait_s: float) -> bool:
    """Return whether nothing times out and the slowest hundredth is served as if the pool had no limit."""
    latest_s = LATER * free.served_p99_s.value + wait_s
    return figures.timeout_share.high == 0 and figures.served_p99_s.value <= latest_s


def is_enough(figures: PoolPrediction, wait_s: float) -> bool:
    """Return whether nothing times out and the slowest hundredth waits for at most `wait_s`."""
    return figures.timeout_share.high == 0 and figures.wait_p99_s.high <= wait_s


def processes_in_words(setting: Setting) -> str:
    """Format the processes: `1 process`, `4 processes`, `12 instances of 4 processes`."""
    each = counted(setting.processes, "process").replace("processs", "processes")
    return each if setting.instances == 1 else f"{counted(setting.instances, 'instance')} of {each}"


def _reserve(least: int) -> int:
    return max(1, math.ceil(RESERVE_SHARE * least))


def _predict(
    demand: Demand, setting: Setting, pool: str, capacity: int | None, *, bursts: bool = True
) -> Prediction:
    """Predict with one pool changed; None: without a limit."""
    own = setting.pools[pool]
    changed = PoolSetting(
        own.size if capacity is None else capacity, -1 if capacity is None else 0, own.timeout_s
    )
    pools: Mapping[str, PoolSetting] = {**setting.pools, pool: changed}
    return predict(demand, replace(setting, pools=pools), bursts=bursts)


def _together(demand: Demand, setting: Setting, pool: str) -> int:
    """Return the most connections that all processes use at once: one pool in front of the server.

    Very many customers are simulated in equal parts, whose peaks add up: that is rather too much.
    """
    parts = math.ceil(expected_requests_per_s(demand, setting) / MOST_PER_S)
    pools = {name: replace(own, max_overflow=-1) for name, own in setting.pools.items()}
    threads = None if setting.threads is None else setting.threads * setting.processes * setting.instances
    customers = max(1, setting.customers // parts)
    whole = replace(setting, pools=pools, threads=threads, customers=customers, processes=1, instances=1)
    return max(1, math.ceil(predict(demand, whole).pools[pool].in_use_max.high * parts))


def _reasons(
    size: PoolSize, demand: Demand, setting: Setting, wait_s: float, limit: int | None
) -> Sequence[str]:
    pool, least = size.demand, size.enough
    if least is None or size.max_overflow is None:
        return size.beyond
    found = [_why(size, least)]
    whole = next(row.figures for row in size.rows if row.capacity == least)
    if acts_together(demand) and not is_enough(whole, wait_s):
        found.append(_together_words(size, demand, least))
    current = pool.capacity
    if current is None:
        found.append(f"it has no limit now: up to {least} connections are needed, and nothing bounds a leak")
    elif current >= MUCH_TOO_LARGE * least:
        found.append(f"the {current} it has are {current / least:.1f} times what it needs")
    elif current < least:
        found.append(f"the {current} it has are too few by {least - current}")
    if setting.threads is not None and least + size.max_overflow > setting.threads:
        found.append(
            f"a process of {setting.threads} threads uses at most {setting.threads} connections, unless a "
            "request takes several: more of them are never opened"
        )
    if limit is not None:
        found += _server_reasons(size, setting, limit, least + size.max_overflow)
    return found


def _why(size: PoolSize, least: int) -> str:
    by_capacity = {row.capacity: row for row in size.rows}
    figures = by_capacity[least].calm
    enough = f"{counted(least, 'connection')} {'is' if least == 1 else 'are'} enough"
    text = (
        f"{enough}: {figures.in_use_mean.value:.1f} are in use on average, and the "
        f"slowest hundredth of {figures.checkouts_per_s.value:.0f} check-outs a second waits for at most "
        f"{figures.wait_p99_s.high * 1e3:.0f} ms"
    )
    fewer = [row for row in size.rows if row.capacity < least]
    if fewer:
        less, shown = fewer[-1].capacity, fewer[-1].calm
        share = f"{shown.waits_share.value:.0%}"
        text += f"; with {less}, {share} would wait, the slowest hundredth for {_span(shown)}"
    return f"{text}; the overflow is a reserve for what the run did not show"


def _together_words(size: PoolSize, demand: Demand, least: int) -> str:
    """Say what happens where customers act together."""
    by_capacity = {row.capacity: row.figures for row in size.rows}
    text = (
        f"that is while customers act each for themselves. In some seconds they acted together, with up to "
        f"{max(activity_of(demand)):.1f} times as many requests: counting those, the slowest hundredth waits "
        f"for {_span(by_capacity[least])} with {least}"
    )
    waited_s = size.demand.waited_p99_s
    if waited_s and waited_s >= SHOWN_S:
        text += (
            f" (in the run, with {size.demand.capacity}, for {waited_s * 500:.0f} to {waited_s * 1e3:.0f} ms)"
        )
    text += "; a pool without a limit would serve them hardly earlier"
    server = server_of(size.pool)
    if size.demand.cpu_s and server in demand.cores:
        text += f", for the {server}'s {demand.cores[server]:.3g} cores are what they wait for"
    return text


def _span(figures: PoolPrediction) -> str:
    low, high = f"{figures.wait_p99_s.low * 1e3:.0f}", f"{figures.wait_p99_s.high * 1e3:.0f}"
    return f"{high} ms" if low == high else f"{low} to {high} ms"


def _server_reasons(size: PoolSize, setting: Setting, limit: int, capacity: int) -> list[str]:
    processes = setting.processes * setting.instances
    usable = limit - RESERVED
    server = server_of(size.pool)
    who = processes_in_words(setting)
    found = []
    current = size.demand.capacity
    if current is not None and current * processes > usable:
        found.append(
            f"{who} with the {current} connections of now would open {current * processes:,}, more than the "
            f"{usable} that max_connections {limit} of {server} leaves (it keeps {RESERVED} for superusers)"
        )
    if capacity * processes > usable:
        found.append(
            f"even {capacity} connections in each of {who} are {capacity * processes:,}, more than {usable}: "
            f"at most {usable // processes} fit in each. All processes together use {size.together} "
            "connections at once at most: put PgBouncer in transaction mode between service and server, with "
            f"a pool of {size.together}, or run fewer processes with more threads"
        )
    else:
        found.append(
            f"{who}: at most {capacity * processes:,} of the {usable} connections of {server} are opened"
        )
    return found
