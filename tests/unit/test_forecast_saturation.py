"""Forecasts of demand beyond a pool, and of threads: queues, waits and time-outs without a leak."""

import dataclasses
from typing import Any

import pytest

from rushhour.scenario.model import Production, ProductionPool
from rushhour.verdict.forecast import Forecast
from tests.unit.forecast_runs import measured
from tests.unit.forecast_testers import few_testers, made, scenario

# 200 testers keep 18 of 40 connections out for a second each, so that 30 answer at most 30 requests a second.
MANY = 5000  # threads: as good as without a limit

SLOW = measured(per_s=18, hold_s=1.0, users=200, replica_cores=0.001, service_cores=0.001)


def slow_answers(
    customers: int,
    threads: int | None,
    command: str = "gunicorn --threads {threads}",
    kind: str = "QueuePool",
    **changes: Any,
) -> Forecast:
    """A release whose only fault is that each answer takes a second, under so many customers all day."""
    target = {"name": "referrals", "command": command, "health": "/health", "releases": ("1.1.1",)}
    given = scenario(
        target=target,
        release="1.1.1",
        thresholds=("http_5xx_rate < 1%",),
        load={"users": 200, "duration": 40.0, "warm_up": 5.0, "think_time": 10.0},
    )
    pools = tuple(dataclasses.replace(sample, kind=kind) for sample in SLOW.pools)
    history = dataclasses.replace(SLOW, pools=pools)
    return made(history, Production(customers=customers, threads=threads, **changes), given, repeats=5)


def test_a_queue_that_grows_for_minutes_exhausts_the_pool() -> None:
    """30 connections answer 30 a second; 600 customers ask for 54, and are seen to wait for up to 10 s."""
    assert slow_answers(300, MANY).exhausts == "no"
    long = slow_answers(600, MANY)
    assert long.exhausts == "unsure"
    assert "pool replica would be full for long, and a check-out would wait for about" in long.reasons[0]
    longer = slow_answers(1400, MANY)
    assert (longer.exhausts, longer.cause, longer.pool) == ("yes", "saturation", "replica")
    assert longer.exhausted_after_s is not None
    burst = "0s 1%, 10m 1%, 11m 100%, 671s 100%, 12m 1%, 24h 1%"  # too short a time
    assert slow_answers(1400, MANY, day=burst).exhausts != "yes"


@pytest.mark.parametrize("at_s", [64_850, 65_050])
def test_a_peak_of_minutes_counts_wherever_it_lies_in_a_day(at_s: int) -> None:
    """1400 customers exhaust the pool in 51 s; a step of the day is 432 s long."""

    def peak_of(seconds: int) -> Forecast:
        end_s = at_s + 10 + seconds
        day = f"0s 1%, {at_s}s 1%, {at_s + 10}s 100%, {end_s}s 100%, {end_s + 10}s 1%, 24h 1%"
        return slow_answers(1400, MANY, day=day)

    assert peak_of(340).exhausts == "yes"
    assert peak_of(30).exhausts != "yes"


def test_a_push_that_filled_the_pool_for_a_moment_is_not_when_it_is_exhausted() -> None:
    day = "00:00 10%, 08:00 push 40%, 17:00 10%, 18:00 100%, 21:00 100%, 22:00 10%, 24:00 10%"
    found = slow_answers(1450, MANY, day=day)
    assert found.exhausts == "yes"
    assert "17:30" < found.exhausted_at[0] <= "18:01"


def test_a_pool_that_was_full_for_a_moment_is_exhausted_from_when_check_outs_time_out() -> None:
    """A day that is short enough to be replayed as a whole; the push is over after a second."""
    day = "0s 5%, 10s push 100%, 200s 5%, 210s 100%, 300s 100%"
    small = ProductionPool(size=2, max_overflow=0, timeout=3.0)
    customers = Production(customers=40, think_time=2.0, pool=small, day=day)
    found = made(few_testers("none", hold_ms=400), customers, scenario(release="1.1.1"), repeats=6)
    assert (found.exhausts, found.cause) == ("yes", "saturation")
    assert found.exhausted_after_s is not None
    assert found.exhausted_after_s.low > 180


def test_no_wait_is_longer_than_its_time_out_and_one_that_may_be_as_long_is_unsure() -> None:
    day = "0s 1%, 10m 1%, 610s 100%, 640s 100%, 650s 1%, 24h 1%"  # too short for a time-out, by 25 %
    found = slow_answers(1450, MANY, day=day)
    [replica] = found.pools
    assert replica.wait_p99_ms is not None
    assert replica.wait_p99_ms.expected < replica.wait_p99_ms.high == 30_000
    assert found.exhausts == "unsure"
    assert "may wait for as long as its time-out (30 s)" in found.reasons[0]


def test_requests_that_wait_for_threads_all_day_are_no_release_that_holds() -> None:
    found = slow_answers(900, 20)
    assert found.exhausts == "unsure"
    assert any("wait for a thread for long" in reason for reason in found.reasons)
    assert slow_answers(150, 20).exhausts == "no"


def test_threads_that_nobody_knows_may_be_too_few_to_exhaust_a_pool_without_a_leak() -> None:
    """18 connections were out at once, so that there are as many threads or more."""
    assert slow_answers(1400, None, "gunicorn --threads 8").exhausts == "unsure"
    assert slow_answers(150, None, "gunicorn --threads 8").exhausts == "no"
    small = ProductionPool(size=12, max_overflow=2, timeout=30.0)
    assert slow_answers(1400, None, "gunicorn --threads 8", pool=small).exhausts == "yes"


def test_no_threads_bound_what_asyncio_tasks_take() -> None:
    pool = "AsyncAdaptedQueuePool"
    assert slow_answers(1400, None, "uvicorn shop:app", pool).exhausts == "yes"
    assert slow_answers(150, None, "uvicorn shop:app", pool).exhausts == "no"


def test_a_pool_that_few_courses_exhaust_is_said() -> None:
    found = with_three_connections(1.0)
    assert 0 < found.chance <= 0.2
    assert (found.exhausts, found.cause) == ("no", None)
    assert f"a pool was exhausted in only {found.chance * 20:.0f} of 20 replayed courses" in found.headline
    assert "leaks" not in found.headline


def test_few_exhausted_courses_are_unsure_where_waits_may_be_as_long_as_the_time_out() -> None:
    found = with_three_connections(0.8)
    assert 0 < found.chance <= 0.2
    assert (found.exhausts, found.cause) == ("unsure", "saturation")
    assert "may wait for as long as its time-out (0.8 s)" in found.headline


def with_three_connections(timeout_s: float) -> Forecast:
    pool = ProductionPool(size=3, max_overflow=0, timeout=timeout_s)
    customers = Production(customers=10, pool=pool)
    return made(few_testers("none", hold_ms=400), customers, scenario(release="1.1.1"), repeats=20)


def test_waits_follow_from_the_measured_holds_and_not_from_their_mean() -> None:
    pool, day = ProductionPool(size=6, max_overflow=0, timeout=30.0), "steady over 60s"
    given = scenario(
        release="1.1.1", load={"users": 100, "duration": 40.0, "warm_up": 5.0, "think_time": 2.0}
    )
    waits = []
    for hold_us in ({1 << 17: 1}, {1 << 15: 19, 1 << 21: 1}):
        history = measured(per_s=40, hold_s=0.1, hold_us=hold_us, replica_cores=0.001, service_cores=0.001)
        found = made(history, Production(customers=100, pool=pool, day=day), given, repeats=10)
        [replica] = found.pools
        assert replica.wait_p99_ms is not None
        waits.append(replica.wait_p99_ms)
    assert waits[1].expected > 2 * waits[0].high


def test_more_connections_than_the_server_takes_are_unsure() -> None:
    story_servers = tuple(
        dataclasses.replace(row, max_connections=20) for row in few_testers("none", hold_ms=400).servers
    )
    history = dataclasses.replace(few_testers("none", hold_ms=400), servers=story_servers)
    many = Production(customers=800, instances=8, day="steady over 20s", think_time=4.0)
    found = made(history, many, scenario(release="1.1.1"), repeats=3)
    assert found.exhausts == "unsure"
    assert any("max_connections of 20 in the run leaves 17 (it keeps 3" in why for why in found.reasons)
    known = tuple(dataclasses.replace(row, reserved=5) for row in story_servers)
    found = made(dataclasses.replace(history, servers=known), many, scenario(release="1.1.1"), repeats=3)
    assert any("max_connections of 20 in the run leaves 15 (it keeps 5" in why for why in found.reasons)


def test_demand_beyond_the_pool_exhausts_it_without_a_leak() -> None:
    slow = few_testers("none", hold_ms=900)
    few = Production(
        customers=800,
        think_time=2.0,
        pool=ProductionPool(size=4, max_overflow=2, timeout=1.0),
        day="steady over 20s",
    )
    found = made(slow, few, scenario(release="1.1.1"), repeats=4)
    assert found.exhausts == "yes"
    assert found.cause == "saturation"
    assert found.timeouts is not None
    assert found.timeouts.low > 0
