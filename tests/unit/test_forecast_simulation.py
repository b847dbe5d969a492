"""The simulation agrees with the closed formulas where those hold."""

import math
from dataclasses import replace
from random import Random

import pytest

from rushhour.forecast.overload import Load, pool_wait_s
from rushhour.forecast.replay import Replay
from rushhour.forecast.replayed import Arrival, PoolRules, Site, Stage
from rushhour.forecast.simulated import Asked, Bounds, Kind, Tally, World
from rushhour.forecast.simulation import simulate

EXPONENTIAL = [-math.log(1 - (at + 0.5) / 4000) for at in range(4000)]  # mean 1


def holds(mean_s: float) -> list[float]:
    return [mean_s * point for point in EXPONENTIAL]


def process(
    *,
    capacity: float = math.inf,
    hold_s: float = 0.1,
    threads: float = math.inf,
    customers: int = 4000,
    per_s: float = 80.0,
    timeout_s: float = 1e9,
    outside_s: float = 0.0,
    size: float | None = None,
    create_s: float = 0.0,
) -> World:
    """A process with one pool whose customers send about `per_s` requests a second."""
    return World(
        kinds=(Kind(1.0, (Asked(0, 1.0, holds(hold_s)),), outside_s, overlaps=False),),
        pools=(Bounds(capacity if size is None else size, capacity, timeout_s, create_s),),
        threads=threads,
        customers=customers,
        think_s=customers / per_s,
    )


def run(world: World, seconds: float = 300, seed: int = 1) -> Tally:
    return simulate(world, seconds, 20.0, Random(seed))  # noqa: S311 - the same each time


def held(world: World, drawn: list[float]) -> World:
    """The same process, whose connections are held for these times."""
    return replace(world, kinds=(Kind(1.0, (Asked(0, 1.0, drawn),), 0.0, overlaps=False),))


def mean_wait_s(tally: Tally) -> float:
    """The mean over all check-outs, most of which may not have waited."""
    return sum(tally.pools[0].waits_s) / tally.pools[0].asked


def erlang_c(servers: int, offered: float) -> float:
    """The probability that a customer of M/M/c waits (Erlang 1917)."""
    blocked = 1.0
    for used in range(1, servers + 1):
        blocked = offered * blocked / (used + offered * blocked)
    return blocked / (1 - offered / servers * (1 - blocked))


def closed_throughput(customers: int, think_s: float, hold_s: float) -> float:
    """Mean value analysis of one connection and customers who think (Reiser and Lavenberg 1980)."""
    queue = rate = 0.0
    for present in range(1, customers + 1):
        rate = present / (think_s + hold_s * (1 + queue))
        queue = rate * hold_s * (1 + queue)
    return rate


@pytest.mark.parametrize(
    ("servers", "per_s"),
    [(4, 30), *(pytest.param(*case, marks=pytest.mark.long) for case in ((10, 80), (10, 60), (20, 180)))],
)
def test_many_customers_wait_as_often_as_erlang_says(servers: int, per_s: float) -> None:
    runs = [run(process(capacity=servers, per_s=per_s, customers=20_000), 200, seed) for seed in range(4)]
    pools = [tally.pools[0] for tally in runs]
    waited = sum(len(pool.waits_s) for pool in pools) / sum(pool.asked for pool in pools)
    mean_s = sum(sum(pool.waits_s) for pool in pools) / sum(pool.asked for pool in pools)
    expected = erlang_c(servers, per_s * 0.1)
    assert waited == pytest.approx(expected, rel=0.15)
    assert mean_s == pytest.approx(expected * 0.1 / (servers - per_s * 0.1), rel=0.3)


HOLDS = {
    "all alike": [0.1],
    "exponential": holds(0.1),
    "few long ones": [0.02] * 95 + [1.62] * 5,
}


@pytest.mark.parametrize("drawn", HOLDS.values(), ids=HOLDS)
def test_one_connection_makes_wait_as_pollaczek_and_khinchine_say(drawn: list[float]) -> None:
    """M/G/1: the mean wait is rate x E[hold^2] / 2 / (1 - utilisation), whoever is served first."""
    tally = run(held(process(capacity=1, per_s=5.0), drawn), 6000)
    square = sum(hold_s * hold_s for hold_s in drawn) / len(drawn)
    assert mean_wait_s(tally) == pytest.approx(5.0 * square / 2 / (1 - 0.5), rel=0.15)


@pytest.mark.parametrize("drawn", HOLDS.values(), ids=HOLDS)
def test_several_connections_make_wait_about_as_allen_and_cunneen_say(drawn: list[float]) -> None:
    """M/G/c: that of M/M/c times (1 + variance / mean^2) / 2, an approximation (Allen 1990)."""
    tally = run(held(process(capacity=4, per_s=32.0), drawn), 1200)
    square = sum(hold_s * hold_s for hold_s in drawn) / len(drawn)
    of_exponential_s = erlang_c(4, 3.2) * 0.1 / (4 - 3.2)
    assert mean_wait_s(tally) == pytest.approx(of_exponential_s * square / 0.1**2 / 2, rel=0.25)


@pytest.mark.parametrize("customers", [6, 12, 40])
def test_few_customers_and_connections_are_the_machine_repairmen(customers: int) -> None:
    """M/M/c//N: the birth-death process of those who hold or wait, solved exactly."""
    think_s, hold_s, servers = 1.0, 0.25, 3
    weights = [1.0]
    for away in range(1, customers + 1):
        weights.append(weights[-1] * (customers - away + 1) / think_s * hold_s / min(away, servers))
    per_s = sum(weight * min(away, servers) for away, weight in enumerate(weights)) / sum(weights) / hold_s
    waits_s = customers / per_s - think_s - hold_s
    world = process(capacity=servers, hold_s=hold_s, customers=customers, per_s=customers / think_s)
    tally = run(world, 2000)
    assert tally.requests / 2000 == pytest.approx(per_s, rel=0.03)
    assert mean_wait_s(tally) == pytest.approx(waits_s, rel=0.1)
    if customers == 40:  # so many that the bound of the fluid limit is reached
        load = Load(think_s, hold_s, math.inf, 1.0, hold_s, servers, 1e9)
        assert pool_wait_s(load, customers) == pytest.approx(waits_s, rel=0.001)


def test_a_replay_makes_wait_as_erlang_says() -> None:
    dice, at_s, arrivals = Random(1), 0.0, list[Arrival]()  # noqa: S311 - the same each time
    for _ in range(15_000):
        at_s += dice.expovariate(30.0)
        arrivals.append((at_s, (Stage(("replica",), idle_s=dice.expovariate(10.0)),)))
    site = Site(processes=1, threads=None, pools={"replica": PoolRules(4, 1e6)}, servers={})
    waits_s = Replay(site, dice).run(arrivals).pools["replica"].waits_s
    expected = erlang_c(4, 3.0)
    assert sum(wait_s > 0 for wait_s in waits_s) / 15_000 == pytest.approx(expected, rel=0.1)
    assert sum(waits_s) / 15_000 == pytest.approx(expected * 0.1 / (4 - 3.0), rel=0.2)


@pytest.mark.parametrize("customers", [5, 15, 40])
def test_few_customers_ask_less_often_when_answers_are_slow(customers: int) -> None:
    world = process(capacity=1, hold_s=0.1, customers=customers, per_s=customers / 1.0)
    tally = run(world, 2000)
    assert tally.requests / 2000 == pytest.approx(closed_throughput(customers, 1.0, 0.1), rel=0.05)


def test_connections_in_use_are_arrivals_times_hold_time() -> None:
    tally = run(process(per_s=50, hold_s=0.2))
    assert tally.pools[0].in_use_s / 300 == pytest.approx(10.0, rel=0.07)
    assert tally.pools[0].waits_s == []


def test_threads_bound_how_many_ask_the_pool_at_once() -> None:
    crowded = run(process(capacity=5, threads=5, per_s=100))
    assert crowded.pools[0].waits_s == []
    assert crowded.pools[0].in_use_max == 5
    assert crowded.queued_max > 50
    assert crowded.requests


def test_a_wait_ends_with_its_timeout_and_the_customer_comes_again() -> None:
    tally = run(process(capacity=2, hold_s=0.5, per_s=20, customers=200, timeout_s=1.0))
    pool = tally.pools[0]
    assert pool.timeouts > 0.5 * pool.asked
    assert max(pool.waits_s) == 1.0
    assert pool.in_use_s / 300 == pytest.approx(2.0, rel=0.02)
    served = pool.asked - pool.timeouts
    assert served / 300 == pytest.approx(2 / 0.5, rel=0.05)


def test_a_pool_without_a_limit_never_waits() -> None:
    assert run(process(capacity=math.inf, per_s=200), 50).pools[0].waits_s == []


def test_overflow_beyond_the_size_opens_connections_again_and_again() -> None:
    kept = run(process(capacity=30, size=30, create_s=0.5))
    opened = run(process(capacity=30, size=1, create_s=0.5))
    assert opened.pools[0].in_use_s > 1.2 * kept.pools[0].in_use_s


def test_connections_of_several_pools_are_held_together_or_one_after_the_other() -> None:
    asks = (Asked(0, 1.0, [0.1]), Asked(1, 1.0, [0.1]))
    pools = (Bounds(99, 99, 30.0, 0.0), Bounds(99, 99, 30.0, 0.0))

    def mean_threads(*, overlaps: bool) -> float:
        dice = Random(1)  # noqa: S311 - the same each time
        world = World((Kind(1.0, asks, 0.0, overlaps),), pools, 1, 50, 0.0)
        return simulate(world, 100, 5, dice).requests / 100

    assert mean_threads(overlaps=False) == pytest.approx(5.0, rel=0.02)
    assert mean_threads(overlaps=True) == pytest.approx(10.0, rel=0.02)


def test_bursts_fill_a_pool_that_the_mean_rate_does_not_fill() -> None:
    steady = process(capacity=10, per_s=40, customers=4000)
    burst = World(
        steady.kinds, steady.pools, steady.threads, steady.customers, steady.think_s, (0.2,) * 9 + (8.2,)
    )
    assert len(run(steady).pools[0].waits_s) < 0.05 * run(steady).pools[0].asked
    tally = run(burst)
    assert len(tally.pools[0].waits_s) > 0.3 * tally.pools[0].asked
    assert tally.requests / 300 == pytest.approx(40, rel=0.1)


def sharing(capacity: float, *, customers: int = 400, on_cpu: float = 1.0) -> World:
    """All customers ask again at once, for 10 ms of a server's only core."""
    world = process(capacity=capacity, hold_s=0.01, customers=customers)
    bounds = replace(world.pools[0], server="replica", cores=1.0, beside=1.0, on_cpu=on_cpu)
    return replace(world, pools=(bounds,), think_s=0.0)


@pytest.mark.parametrize("capacity", [2, 6, 30])
def test_a_server_s_core_carries_as_much_behind_a_pool_of_any_size(capacity: int) -> None:
    tally = run(sharing(capacity), 60)
    assert tally.requests / 60 == pytest.approx(100, rel=0.1)


def test_holds_that_do_not_compute_are_no_longer_beside_others() -> None:
    assert run(sharing(30, on_cpu=0.0), 10).pools[0].asked / 10 == pytest.approx(3000, rel=0.1)


def test_pools_of_one_server_share_its_cores() -> None:
    alone = sharing(30, customers=60)
    both = replace(
        alone,
        kinds=tuple(Kind(0.5, (Asked(pool, 1.0, holds(0.01)),), 0.0, overlaps=False) for pool in (0, 1)),
        pools=alone.pools * 2,
    )
    other = replace(both, pools=(both.pools[0], replace(both.pools[1], server="primary")))
    assert run(both, 60).requests / 60 == pytest.approx(100, rel=0.15)
    assert run(other, 60).requests / 60 == pytest.approx(200, rel=0.15)


def test_the_same_dice_give_the_same_run() -> None:
    world = process(capacity=8)
    assert run(world, 20, 7) == run(world, 20, 7)


def test_newcomers_overtake_waiters_where_requests_queue_for_threads() -> None:
    """First come, first served, none of four waiters would wait for longer than one hold."""
    kinds = (Kind(1.0, (Asked(0, 1.0, [0.4]),), 0.0, overlaps=False),)
    crowded = World(kinds, (Bounds(6, 6, 2.0, 0.0),), 10, 60, 1.0)
    roomy = World(kinds, (Bounds(6, 6, 2.0, 0.0),), 60, 60, 1.0)
    tally = run(crowded, 100)
    assert tally.queued_max > 0
    assert max(tally.pools[0].waits_s) > 0.8
    assert tally.pools[0].timeouts > 0
    assert max(tally.pools[0].waits_s) == 2.0
    assert run(roomy, 100).pools[0].in_use_max == 6


def test_a_busy_interpreter_wakes_waiters_later() -> None:
    quiet = process(capacity=1, hold_s=0.005, per_s=120, customers=2000)
    busy = replace(quiet, busy=1.0)
    assert sum(run(busy, 60).pools[0].waits_s) > 1.2 * sum(run(quiet, 60).pools[0].waits_s)


def test_a_request_that_timed_out_is_tried_again_before_the_customer_thinks() -> None:
    """The rest of the requests asks for no connection, so that retries raise the share that does."""
    kinds = (
        Kind(0.3, (Asked(0, 1.0, [0.5]),), 0.0, overlaps=False),
        Kind(0.7, (), 0.001, overlaps=False),
    )
    once = World(kinds, (Bounds(4, 4, 1.0, 0.0),), math.inf, 60, 1.0)
    again = replace(once, retries=2)
    share = [tally.pools[0].asked / tally.requests for tally in (run(once, 100), run(again, 100))]
    assert share[0] == pytest.approx(0.3, abs=0.02)
    assert share[1] > 0.33
    assert run(again, 100).pools[0].timeouts > run(once, 100).pools[0].timeouts
