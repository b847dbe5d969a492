"""Finds the smallest pool that is enough, and says why (pure)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from rushhour.forecast.demand import Demand, PoolDemand
from rushhour.forecast.queueing import (
    MOST_PER_S,
    PoolPrediction,
    PoolSetting,
    Prediction,
    Setting,
    expected_requests_per_s,
    predict,
)
from rushhour.metrics.wording import counted
from rushhour.rundir.facts import server_of

WAIT_S: Final = 0.01  # of the slowest hundredth of the check-outs: below that, nobody notices the pool
RESERVED: Final = 3  # superuser_reserved_connections, PostgreSQL's default
RESERVE_SHARE: Final = 0.5  # of the connections that are enough, as overflow for what the run did not show
MUCH_TOO_LARGE: Final = 2.0  # times what is enough
MOST: Final = 2000  # connections of a pool: no table is made for more


@dataclass(frozen=True, slots=True)
class Row:
    """What a pool of so many connections would show."""

    capacity: int
    figures: PoolPrediction
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
    the upper end of the interval.
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
    most = min(MOST, max(1, math.ceil(free.pools[pool.name].in_use_max.high)))
    known: dict[int, Prediction] = {}

    def enough(capacity: int) -> bool:
        known.setdefault(capacity, _predict(demand, setting, pool.name, capacity))
        return is_enough(known[capacity].pools[pool.name], wait_s)

    low, high = 1, most  # the smallest that is enough lies within; `most` never waits in the simulations
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    least = high
    current = pool.capacity
    shown = {max(1, least // 2), max(1, least - 1), least, least + 1, least + _reserve(least)}
    if current is not None and current <= MOST:
        shown.add(current)
    for capacity in sorted(shown):
        known.setdefault(capacity, _predict(demand, setting, pool.name, capacity))
    processes = setting.processes * setting.instances
    rows = tuple(
        Row(
            capacity,
            known[capacity].pools[pool.name],
            capacity * processes,
            is_enough(known[capacity].pools[pool.name], wait_s),
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
    return replace(size, reasons=tuple(_reasons(size, setting, limit)))


def is_enough(figures: PoolPrediction, wait_s: float) -> bool:
    """Return whether nothing times out and the slowest hundredth waits for at most `wait_s`."""
    return figures.timeout_share.high == 0 and figures.wait_p99_s.high <= wait_s


def processes_in_words(setting: Setting) -> str:
    """Format the processes: `1 process`, `4 processes`, `12 instances of 4 processes`."""
    each = counted(setting.processes, "process").replace("processs", "processes")
    return each if setting.instances == 1 else f"{counted(setting.instances, 'instance')} of {each}"


def _reserve(least: int) -> int:
    return max(1, math.ceil(RESERVE_SHARE * least))


def _predict(demand: Demand, setting: Setting, pool: str, capacity: int | None) -> Prediction:
    """Predict with one pool changed; None: without a limit."""
    own = setting.pools[pool]
    changed = PoolSetting(
        own.size if capacity is None else capacity, -1 if capacity is None else 0, own.timeout_s
    )
    pools: Mapping[str, PoolSetting] = {**setting.pools, pool: changed}
    return predict(demand, replace(setting, pools=pools))


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


def _reasons(size: PoolSize, setting: Setting, limit: int | None) -> Sequence[str]:
    pool, least = size.demand, size.enough
    if least is None or size.max_overflow is None:
        return size.beyond
    found = [_why(size, least)]
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
    figures = next(row.figures for row in size.rows if row.capacity == least)
    enough = f"{counted(least, 'connection')} {'is' if least == 1 else 'are'} enough"
    text = (
        f"{enough}: {figures.in_use_mean.value:.1f} are in use on average, and the "
        f"slowest hundredth of {figures.checkouts_per_s.value:.0f} check-outs a second waits for at most "
        f"{figures.wait_p99_s.high * 1e3:.0f} ms"
    )
    fewer = [row for row in size.rows if row.capacity < least]
    if fewer:
        less, shown = fewer[-1].capacity, fewer[-1].figures
        low_ms, high_ms = shown.wait_p99_s.low * 1e3, shown.wait_p99_s.high * 1e3
        text += (
            f"; with {less}, {shown.waits_share.value:.0%} would wait, the slowest hundredth for "
            f"{low_ms:.0f} to {high_ms:.0f} ms"
        )
    return f"{text}; the overflow is a reserve for what the run did not show"


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
