"""What a run says about the demand of its customers, and when it says nothing."""

import dataclasses

import pytest

from rushhour.errors import InsufficientDataError
from rushhour.forecast.activity import activity_of
from rushhour.forecast.demand import ANY, Demand
from rushhour.forecast.durations import from_buckets
from rushhour.forecast.recorded import read_demand
from rushhour.rundir import History
from rushhour.rundir import facts as f
from tests.unit import histories
from tests.unit.forecast_runs import measured, scenario
from tests.unit.histories import LIST, PID, SITE, STARTED_S, SUMMARY


def demand_of(history: History, **changes: object) -> Demand:
    return read_demand("runs/x", scenario(**changes), history)


def refused(history: History, **changes: object) -> str:
    with pytest.raises(InsufficientDataError) as raised:
        demand_of(history, **changes)
    return str(raised.value)


def test_each_endpoint_has_its_requests_check_outs_and_holds() -> None:
    found = demand_of(measured(per_s=40, hold_s=0.1))
    by_name = {endpoint.name: endpoint for endpoint in found.endpoints}
    assert by_name[LIST].share == pytest.approx(0.5)
    (use,) = by_name[LIST].uses
    assert (use.pool, use.per_request) == ("replica", 1.0)
    assert use.hold.mean_s == pytest.approx(0.1, rel=0.01)
    assert by_name[LIST].outside_s == pytest.approx(0.02, abs=0.002)
    assert by_name[SUMMARY].uses == ()
    assert by_name[SUMMARY].outside_s == pytest.approx(0.02, rel=0.01)


def test_think_time_follows_from_customers_and_requests() -> None:
    found = demand_of(measured(per_s=40, users=100))
    assert found.requests_per_s == pytest.approx(80)
    assert found.think_s == pytest.approx(100 / 80 - (0.12 + 0.02) / 2, rel=0.02)
    assert (found.customers, found.threads, found.processes) == (100, 64, 1)


def test_pools_have_their_settings_and_the_line_that_holds_most() -> None:
    (pool,) = demand_of(measured()).pools
    assert (pool.name, pool.size, pool.max_overflow, pool.timeout_s) == ("replica", 20, 10, 30.0)
    assert pool.sites[0].site == SITE
    assert pool.sites[0].share == pytest.approx(1.0)
    assert pool.sites[0].checkouts_per_s == pytest.approx(40, rel=0.05)


def test_processes_are_counted_by_their_pools() -> None:
    found = demand_of(measured(pids=(PID, PID + 1)))
    assert found.processes == 2
    assert found.pool("replica").checkouts == pytest.approx(35 * 40, rel=0.05)


def test_runs_of_older_agents_have_the_histogram_of_the_pool() -> None:
    found = demand_of(measured(site_histograms=False, hold_s=0.1))
    assert found.pool("replica").hold.mean_s == pytest.approx(0.1, rel=0.01)


@pytest.mark.parametrize("spelled", ["<int:customer_id>", "{customer_id}", ":customer"])
def test_endpoints_are_joined_however_the_framework_spells_them(spelled: str) -> None:
    history = measured()
    sites = tuple(
        dataclasses.replace(row, endpoint=f"GET /customers/{spelled}/referrals") for row in history.sites
    )
    found = read_demand("runs/x", scenario(), dataclasses.replace(history, sites=sites))
    assert {endpoint.name: bool(endpoint.uses) for endpoint in found.endpoints} == {
        LIST: True,
        SUMMARY: False,
    }
    assert {site.endpoint for site in found.pools[0].sites} == {LIST}


def test_check_outs_whose_endpoints_no_customer_knows_belong_to_any_request() -> None:
    history = measured()
    renamed = tuple(dataclasses.replace(row, endpoint="GET /x") for row in history.sites)
    (endpoint,) = demand_of(dataclasses.replace(history, sites=renamed)).endpoints
    assert endpoint.name == ANY
    assert endpoint.uses[0].per_request == pytest.approx(0.5, rel=0.05)


def test_seconds_with_a_timeout_a_failure_or_after_a_fault_do_not_count() -> None:
    history = measured()
    whole = {second.t_s for second in demand_of(history).seconds}
    assert whole == set(range(10, 45))
    timeout = f.PoolTimeout(20.5, PID, "replica", SITE, LIST, 30.0)
    failed = histories.request_row(22, LIST, 1, 10, f.Outcome.HTTP_5XX)
    fault = f.Event(STARTED_S + 30, f.FAULT, {"server": "replica", "do": "pause"})
    ill = dataclasses.replace(
        history,
        pool_timeouts=(timeout,),
        requests=(*history.requests, failed),
        events=(*history.events, fault),
    )
    assert {second.t_s for second in demand_of(ill).seconds} == set(range(10, 35)) - {20, 22}


def test_a_run_without_an_agent_says_so() -> None:
    assert "no agent" in refused(histories.without_agent(measured()))


def test_a_run_without_healthy_seconds_says_how_many_it_had() -> None:
    full = tuple(dataclasses.replace(sample, checked_out=30) for sample in measured().pools)
    assert "0 seconds of 35 measured were healthy" in refused(dataclasses.replace(measured(), pools=full))


def test_a_run_with_few_check_outs_says_how_many_are_needed() -> None:
    words = refused(measured(per_s=2))
    assert "at least 200 are needed" in words


def test_a_run_without_load_or_requests_is_refused() -> None:
    assert "no load" in refused(histories.cut_short(measured(), 3))
    assert "no request" in refused(dataclasses.replace(measured(), requests=()))


def test_rows_of_no_requests_are_no_endpoint() -> None:
    history = measured()
    empty = tuple(dataclasses.replace(row, count=0) for row in history.requests if row.endpoint == SUMMARY)
    rest = tuple(row for row in history.requests if row.endpoint == LIST)
    found = demand_of(dataclasses.replace(history, requests=(*rest, *empty)))
    assert [endpoint.name for endpoint in found.endpoints] == [LIST]


def test_a_leaking_pool_is_left_out_and_the_others_are_read() -> None:
    history = measured()
    leaking = f.SiteTotal(20.0, PID, "primary", SITE, LIST, checkouts=12, held_s=0.0, max_hold_s=0.0)
    found = demand_of(dataclasses.replace(history, sites=(*history.sites, leaking)))
    assert [pool.name for pool in found.pools] == ["replica"]
    assert found.few == {"primary": 12}


@pytest.mark.parametrize("mean_s", [0.0021, 0.0028, 0.0039])
def test_a_distribution_has_the_mean_that_is_known_and_stays_in_its_buckets(mean_s: float) -> None:
    found = from_buckets({4096: 100}, mean_s)
    assert found.mean_s == pytest.approx(mean_s, rel=0.001)
    assert 0.0020 <= found.points_s[0] <= found.points_s[-1] <= 0.0042


def test_the_slowest_hundredth_of_a_distribution_keeps_its_place() -> None:
    found = from_buckets({1024: 980, 1 << 20: 20})
    assert found.at(0.5) < 0.00103
    assert found.at(0.99) > 0.5


def test_bursts_are_more_than_chance() -> None:
    steady = demand_of(measured())
    assert activity_of(steady) == (1.0,)
    seconds = tuple(
        dataclasses.replace(second, requests=400 if second.t_s % 10 == 0 else 40) for second in steady.seconds
    )
    activity = activity_of(dataclasses.replace(steady, seconds=seconds))
    assert max(activity) > 4
    assert sum(activity) / len(activity) == pytest.approx(1.0)
