"""Predictions for settings that were not run."""

import dataclasses
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from rushhour.forecast.interval import estimate, resampled_seconds
from rushhour.forecast.queueing import (
    PoolPrediction,
    PoolSetting,
    Setting,
    measured_setting,
    predict,
    together,
)
from rushhour.forecast.recorded import read_demand
from rushhour.forecast.simulated import PoolTally, Tally
from rushhour.forecast.world import MOST_PROCESSES, spread_customers
from tests.unit.forecast_runs import measured, scenario

DEMAND = read_demand(
    "runs/x", scenario(), measured(per_s=40, hold_s=0.1, replica_cores=0.001, service_cores=0.001)
)
RUN = measured_setting(DEMAND)


def with_pool(size: int, overflow: int = 0, timeout_s: float = 30.0, **changes: Any) -> Setting:
    changed: Setting = dataclasses.replace(
        RUN, pools={"replica": PoolSetting(size, overflow, timeout_s)}, **changes
    )
    return changed


def replica(setting: Setting) -> PoolPrediction:
    return predict(DEMAND, setting).pools["replica"]


def test_the_setting_of_the_run_shows_what_the_run_showed() -> None:
    found = predict(DEMAND, RUN)
    assert 80 in found.requests_per_s
    assert found.pools["replica"].in_use_mean.value == pytest.approx(4.0, rel=0.1)
    assert found.pools["replica"].waits_share.high == 0
    assert found.beyond == ()


def test_a_smaller_pool_waits_more_until_it_times_out() -> None:
    found = [replica(with_pool(size, timeout_s=1.0)) for size in (12, 6, 4, 2)]
    shares = [prediction.waits_share.value for prediction in found]
    assert shares == sorted(shares)
    assert shares[0] < 0.05
    assert shares[-1] > 0.9
    assert [prediction.wait_p99_s.value for prediction in found] == sorted(
        prediction.wait_p99_s.value for prediction in found
    )
    assert found[0].timeout_share.high == 0
    assert found[-1].timeout_share.low > 0
    assert found[-1].wait_p99_s.value == pytest.approx(1.0)


def test_overflow_counts_as_capacity() -> None:
    whole, split = replica(with_pool(6, 0)), replica(with_pool(3, 3))
    assert split.waits_share.value == pytest.approx(whole.waits_share.value, abs=0.1)


def test_more_customers_need_more_connections() -> None:
    ten = replica(replace(RUN, customers=1000, pools={"replica": PoolSetting(100, 100, 30.0)}, threads=None))
    assert ten.in_use_mean.value == pytest.approx(40, rel=0.1)
    assert ten.in_use_max.low > 45


def test_processes_and_instances_share_the_customers() -> None:
    found = predict(DEMAND, replace(RUN, customers=400, processes=2, instances=2))
    assert found.requests_per_s.value == pytest.approx(320, rel=0.05)
    assert found.pools["replica"].in_use_mean.value == pytest.approx(4.0, rel=0.25)
    assert found.pools["replica"].checkouts_per_s.value == pytest.approx(160, rel=0.1)


def test_arrivals_of_a_rate_do_not_fall_when_answers_are_slow() -> None:
    open_demand = replace(DEMAND, open_arrivals=True)
    short = {"replica": PoolSetting(3, 0, 1.0)}
    closed = predict(DEMAND, replace(RUN, pools=short)).requests_per_s
    still = predict(open_demand, replace(RUN, pools=short)).requests_per_s
    assert closed.high < 0.95 * still.value
    assert still.value == pytest.approx(80, rel=0.1)
    twice = predict(open_demand, replace(RUN, customers=200)).requests_per_s
    assert twice.value == pytest.approx(160, rel=0.1)


def test_threads_bound_the_connections_in_use() -> None:
    found = predict(DEMAND, replace(with_pool(30), threads=3, customers=400))
    assert found.pools["replica"].in_use_max.high <= 3
    assert found.threads_busy_max.value == 3
    assert found.queued_max.value > 0


def test_beyond_the_cpu_of_a_server_the_figures_are_not_known() -> None:
    busy = read_demand("runs/x", scenario(), measured(replica_cores=0.3))
    assert predict(busy, measured_setting(busy)).beyond == ()
    (reason,) = predict(busy, replace(measured_setting(busy), customers=150)).beyond
    assert "replica" in reason
    assert "60%" in reason


def test_the_same_demand_gives_the_same_figures() -> None:
    assert predict(DEMAND, with_pool(5)) == predict(DEMAND, with_pool(5))


def test_an_interval_holds_four_fifths_and_the_model_s_error_widens_it() -> None:
    values = [float(value) for value in range(101)]
    assert estimate(values) == estimate(values[::-1])
    found = estimate(values)
    assert (found.low, found.value, found.high) == pytest.approx((10, 50, 90))
    wider = estimate(values, error=0.25)
    assert (wider.low, wider.high) == pytest.approx((8, 112.5))
    with pytest.raises(ValueError, match="at least one"):
        estimate([])


@pytest.mark.parametrize("count", [1, 2, 5, 30, 64])
def test_a_resample_has_as_many_seconds_in_blocks(count: int) -> None:
    picked = resampled_seconds(count, Random(3))  # noqa: S311 - the same each time
    assert len(picked) == count
    assert set(picked) <= set(range(count))


def test_customers_of_all_processes_are_those_of_the_service() -> None:
    dice = Random(7)  # noqa: S311 - the same each time
    three = [spread_customers(replace(RUN, customers=60, processes=3), dice) for _ in range(200)]
    assert all(sum(each) == 60 for each in three)
    assert {len(spread_customers(replace(RUN, customers=60, processes=n), dice)) for n in (1, 2, 3)} == {
        1,
        2,
        3,
    }
    assert spread_customers(replace(RUN, customers=60), dice) == [60]
    firsts = [each[0] for each in three]
    assert min(firsts) < 17
    assert max(firsts) > 23
    of_many = spread_customers(replace(RUN, customers=6000, processes=10, instances=10), dice)
    assert len(of_many) == MOST_PROCESSES
    assert all(30 < customers < 90 for customers in of_many)


def test_time_outs_of_the_fuller_process_count_for_the_service() -> None:
    fuller, other = (
        Tally(
            [PoolTally(asked, waits_s, timeouts=timeouts, in_use_max=in_use_max, in_use_s=in_use_s)],
            10.0,
            requests=asked,
            threads_max=in_use_max,
        )
        for asked, waits_s, timeouts, in_use_max, in_use_s in (
            (300, [1.0, 1.0], 2, 4, 30.0),
            (100, [], 0, 2, 10.0),
        )
    )
    both = together([fuller, other])
    [pool] = both.pools
    assert (pool.asked, pool.waits_s, pool.timeouts) == (400, [1.0, 1.0], 2)
    assert (pool.in_use_max, pool.in_use_s) == (4, 20.0)
    assert (both.requests, both.threads_max, both.seconds) == (400, 4, 10.0)
