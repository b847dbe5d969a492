"""Finds the smallest pool that is enough, and says why (pure)."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from rushhour.forecast.activity import activity_of
from rushhour.forecast.demand import Demand, PoolDemand
from rushhour.forecast.limits import ServerLimit
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
from rushhour.forecast.recorded import most_each
from rushhour.jobs.size.sizes import PoolSize, Row, Sizing, opened_at_most
from rushhour.jobs.size.words import reasons_of, shared_server, too_many_words, unlike_words
from rushhour.rundir.facts import server_of

WAIT_S: Final = 0.01  # of the slowest hundredth of the check-outs: below that, nobody notices the pool
RESERVE_SHARE: Final = 0.5  # of the connections that are enough, as overflow for what the run did not show
MOST: Final = 2000  # connections of a pool: no table is made for more
UNLIKE: Final = 2.0  # times as long as the model's waits, or as those measured: then the two contradict
LATER: Final = 1.1  # times as long as without a limit, from asking to giving back, in a burst


def size_pools(
    demand: Demand, setting: Setting, *, wait_s: float = WAIT_S, max_connections: int | None
) -> Sizing:
    """Size each pool of the demand, the others as they are.

    A pool is enough if no check-out times out and the slowest hundredth waits for at most `wait_s`, both at
    the upper end of the interval. In bursts, in which customers act together, waits are no measure: there
    the cores of the server are what is waited for, in the pool or behind it. So in them the slowest
    hundredth has to be served about as early as by a pool without a limit.
    """
    waited = any(pool.waited_p99_s is not None for pool in demand.pools)
    as_run = predict(demand, measured_setting(demand)).pools if waited else {}
    pools = tuple(
        _size_pool(
            demand,
            setting,
            pool,
            wait_s,
            as_run=as_run,
            limit=_limit(demand, pool.name, max_connections),
        )
        for pool in demand.pools
    )
    return Sizing(
        demand, setting, wait_s, max_connections, _at_one_server(demand, setting, pools, max_connections)
    )


def _at_one_server(
    demand: Demand, setting: Setting, sizes: Sequence[PoolSize], max_connections: int | None
) -> tuple[PoolSize, ...]:
    """Add to the reasons of pools that have one server in common what they open there together."""
    beside: dict[str, list[PoolSize]] = defaultdict(list)
    for size in sizes:
        beside[_host(size.pool)].append(size)
    found = []
    for size in sizes:
        limit = _limit(demand, size.pool, max_connections)
        host = _host(size.pool)
        words = shared_server(beside[host], setting, host, limit) if limit else None
        found.append(replace(size, reasons=(*size.reasons, words)) if words else size)
    return tuple(found)


def _host(pool: str) -> str:
    """Return the server of a pool; pools of metrics are named `host:port/database`."""
    return server_of(pool).partition("/")[0]


def _limit(demand: Demand, pool: str, max_connections: int | None) -> ServerLimit | None:
    return ServerLimit(max_connections) if max_connections else demand.limits.get(server_of(pool))


def _size_pool(
    demand: Demand,
    setting: Setting,
    pool: PoolDemand,
    wait_s: float,
    *,
    as_run: Mapping[str, PoolPrediction],
    limit: ServerLimit | None,
) -> PoolSize:
    free = _predict(demand, setting, pool.name, None)
    if free.beyond:  # a table would hold numbers out of nothing
        return PoolSize(pool.name, pool, (), None, None, None, None, free.beyond, free.beyond)
    if unlike := tuple(_unlike_the_run(demand, pool, wait_s, as_run)):
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

    usable = usable_connections(demand, setting, pool)
    # The smallest that is enough lies within; `most` never waits in the simulations.
    needed = max(1, math.ceil(free.pools[pool.name].in_use_max.high))
    most = min(MOST, needed)
    if most < needed and not (suffices(most) and survives(most)):
        many = too_many_words(needed, most)
        return PoolSize(pool.name, pool, (), None, None, None, None, (many,), (many,))
    least = _smallest(suffices, 1, most)
    if not survives(least):
        least = _smallest(survives, least + 1, most)
    current = pool.capacity
    overflow = _reserve(least, usable)
    shown = {max(1, least // 2), max(1, least - 1), least, least + 1, least + overflow}
    if current is not None and current <= MOST:
        shown.add(current)
    processes = setting.processes * setting.instances
    rows = tuple(
        Row(
            capacity=capacity,
            enough=all((suffices(capacity), survives(capacity))),
            figures=whole[capacity],
            calm=calm[capacity],
            server_connections=opened_at_most(capacity, usable) * processes,
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
        max_overflow=overflow,
        together=together,
        reasons=(),
        beyond=(),
        usable=usable,
    )
    return replace(
        size,
        reasons=tuple(
            reasons_of(size, demand, setting, limit, waits_in_bursts=not is_enough(whole[least], wait_s))
        ),
    )


def _unlike_the_run(
    demand: Demand, pool: PoolDemand, wait_s: float, as_run: Mapping[str, PoolPrediction]
) -> Iterator[str]:
    """Yield a reason not to believe the model: it does not show the waits that were measured.

    How close together the requests of a burst come is a guess, so that it may show longer waits there.
    """
    if pool.waited_p99_s is None:
        return
    least_s, most_s = pool.waited_p99_s
    expected = as_run[pool.name].wait_p99_s
    longer = not acts_together(demand) and expected.low > wait_s + UNLIKE * most_s
    if longer or least_s > wait_s + UNLIKE * expected.high:
        yield unlike_words(demand, pool.waited_p99_s, expected)


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


def usable_connections(demand: Demand, setting: Setting, pool: PoolDemand) -> int | None:
    """Return how many connections of a pool the threads of a process can have out; None: not bounded.

    A thread serves one request at a time, and a request has as many at once as it takes in all, at most. Who
    takes connections outside of requests, as jobs do, is no thread of the server's.
    """
    each = most_each(demand.endpoints, pool)
    return None if setting.threads is None or each is None else setting.threads * each + pool.standing


def _reserve(least: int, usable: int | None) -> int:
    """Return the overflow beyond what is enough: no more than threads can use."""
    reserve = max(1, math.ceil(RESERVE_SHARE * least))
    return reserve if usable is None else max(0, min(reserve, usable - least))


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
    whole = replace(setting, pools=pools, threads=threads, processes=1, instances=1)
    if demand.open_arrivals:
        whole = replace(whole, activity=setting.activity / parts)
    else:
        whole = replace(whole, customers=max(1, setting.customers // parts))
    others = demand.pool(pool).standing * (setting.processes * setting.instances - parts)
    return max(1, math.ceil(predict(demand, whole).pools[pool].in_use_max.high * parts) + others)
