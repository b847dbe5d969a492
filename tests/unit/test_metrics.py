"""Tests of the metrics of a run, on hand-written histories."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushhour.errors import RunDataError
from rushhour.metrics.latencies import HIGHEST_US, LOWEST_US, merge, new_histogram, percentile_ms
from rushhour.metrics.measure import Metrics, measure
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.scenario.thresholds import METRICS, Threshold, parse_threshold
from tests.unit import histories as h


def measured(history: History) -> Metrics:
    return measure(h.scenario(), history)


def value(metrics: Metrics, line: str) -> float | None:
    return metrics.value_of(parse_threshold(line))


def test_metrics_of_a_healthy_run() -> None:
    metrics = measured(h.healthy())
    flat = metrics.flat()
    # 80 requests a second, for 65 seconds after 10 s of warm-up.
    assert flat["requests"] == 5200
    assert flat["achieved_rps"] == flat["offered_rps"] == 80
    assert flat["http_5xx"] == flat["queuepool_timeouts"] == flat["leaked_connections"] == 0
    assert (flat["pool_in_use_max"], flat["pool_capacity"], flat["pool_waiters_max"]) == (12, 30, 0)
    assert flat["p50_ms"] == pytest.approx(12, rel=0.001)
    assert flat["p95_ms"] == pytest.approx(34, rel=0.001)
    assert flat["replica_cpu_cores_mean"] == pytest.approx(0.3)
    assert flat["replica_lag_s_max"] == pytest.approx(0.02)
    assert flat["generator_lateness_p99_ms"] == 2.5
    assert flat["time_to_exhaustion_s"] is None
    assert flat["time_to_detection_s"] is None


def test_metrics_of_an_exhausted_run() -> None:
    metrics = measured(h.incident())
    flat = metrics.flat()
    assert (
        flat["queuepool_timeouts"]
        == flat["queuepool_timeouts_http"]
        == flat["queuepool_timeouts_logged"]
        == 15
    )
    assert flat["http_5xx_rate"] == pytest.approx(15 / 5215)
    assert flat["leaked_connections"] == flat["pool_in_use_max"] == 30
    assert metrics.pool.name == "replica"
    assert flat["pool_waiters_max"] == 15
    assert flat["time_to_exhaustion_s"] == pytest.approx(41, abs=0.3)
    assert flat["time_to_detection_s"] == pytest.approx(13.2)
    assert flat["time_to_first_timeout_s"] == pytest.approx(71.2)


def test_requests_of_the_warm_up_do_not_count_and_requests_of_the_drain_do() -> None:
    story = h.Story()
    story.requests(h.LIST, 7, 20, f.Outcome.HTTP_5XX, range(10))
    story.requests(h.LIST, 1, 20, f.Outcome.OK, range(10, 12))
    story.requests(h.LIST, 1, 20, f.Outcome.OK, range(75, 77))  # these ended after the load
    flat = measured(story.history()).flat()
    assert flat["requests"] == 4
    assert flat["http_5xx"] == 0
    assert flat["achieved_rps"] == pytest.approx(2 / 65)


def test_metrics_without_data_are_none_and_not_zero() -> None:
    metrics = measured(History(environment=None))
    assert metrics.window is None
    for name in METRICS:
        assert metrics.value_of(Threshold(name, name, None, "<", 1)) is None, name


def test_percentiles_of_the_run_and_of_each_endpoint() -> None:
    metrics = measured(h.incident())
    assert value(metrics, f"p99{{{h.LIST}}} < 1s") == pytest.approx(36, rel=0.001)
    assert value(metrics, f"p50{{{h.SUMMARY}}} < 1s") == pytest.approx(12, rel=0.001)
    assert value(metrics, f"requests{{{h.LIST}}} > 1") == 1965
    assert value(metrics, "p50{GET /nowhere} < 1s") is None


def test_connect_errors_do_not_lower_the_percentiles() -> None:
    story = h.Story()
    story.requests(h.LIST, 1, 100)
    story.requests(h.LIST, 99, 0.1, f.Outcome.CONNECT_ERROR)
    metrics = measured(story.history())
    assert metrics.all.p50_ms == pytest.approx(100, rel=0.001)
    assert value(metrics, "unanswered_rate < 1%") == pytest.approx(0.99)
    assert metrics.all.connect_errors == 99 * 65


def test_merged_percentiles_are_exact_to_three_digits() -> None:
    rows = [h.request_row(1, h.LIST, 1, ms, f.Outcome.OK).latency for ms in range(1, 1001)]
    assert percentile_ms(merge(rows), 95) == pytest.approx(950, rel=0.001)
    assert percentile_ms(merge([]), 95) is None


@given(st.lists(st.integers(LOWEST_US, HIGHEST_US), min_size=1, max_size=50), st.floats(0, 100))
def test_a_percentile_is_the_library_s(values_us: list[int], percentile: float) -> None:
    histogram = new_histogram()
    for value_us in values_us:
        histogram.record_value(value_us)
    for each in (percentile, 0, 50, 99.9, 100):
        assert percentile_ms(histogram, each) == histogram.get_value_at_percentile(each) / 1000
    with pytest.raises(RunDataError, match="not an HDR histogram: 'rubbish'"):
        merge(["rubbish"])


def test_the_highest_count_of_timeouts_is_used() -> None:
    incident = h.incident()
    assert measured(dataclasses.replace(incident, pool_timeouts=())).pool.timeouts_agent == 15
    unseen = tuple(dataclasses.replace(sample, timeouts=0) for sample in incident.pools)
    pool = measured(dataclasses.replace(incident, pool_timeouts=(), pools=unseen)).pool
    assert (pool.timeouts_agent, pool.timeouts_http, pool.timeouts) == (0, 15, 15)


def test_without_the_agent_pools_are_unknown_and_timeouts_come_from_http_and_log() -> None:
    pool = measured(h.without_agent(h.incident())).pool
    assert pool.leaked is None
    assert pool.in_use_share is None
    assert pool.timeouts_agent is None
    assert pool.timeouts == 15


def test_a_connection_that_returns_only_when_the_service_stops_is_leaked() -> None:
    incident = h.incident()
    stopped = tuple(
        dataclasses.replace(out, returned_s=h.STARTED_S + 79, returned_by="close")
        for out in incident.checkouts
    )
    assert measured(dataclasses.replace(incident, checkouts=stopped)).pool.leaked == 30
    in_time = tuple(
        dataclasses.replace(out, returned_s=h.STARTED_S + 74, returned_by="close")
        for out in incident.checkouts
    )
    none_out = tuple(dataclasses.replace(sample, leaked=0) for sample in incident.pools)
    assert measured(dataclasses.replace(incident, checkouts=in_time, pools=none_out)).pool.leaked == 0


def test_a_connection_of_a_running_request_is_not_leaked() -> None:
    assert measured(h.dead_backend()).pool.leaked == 0


def test_leaks_of_a_process_that_ended_count() -> None:
    story = h.Story()
    story.requests(h.LIST, 30, 36)
    for number in range(4):
        story.checkout(number, 20.0, thread=f"t{number}")
    story.pool(
        "replica", lambda t: h.Level(out=0, checkouts=9), pid=h.PID + 1
    )  # the process that replaced the first
    assert measured(story.history()).pool.leaked == 4


def test_a_pool_without_a_limit_has_no_in_use_share() -> None:
    incident = h.incident()
    open_ended = tuple(dataclasses.replace(sample, max_overflow=-1) for sample in incident.pools)
    metrics = measured(dataclasses.replace(incident, pools=open_ended))
    assert metrics.pool.capacity is None
    assert metrics.pool.in_use_max == 30
    assert value(metrics, "pool_in_use_max < 80%") is None


def test_the_fullest_pool_has_the_highest_in_use_share() -> None:
    story = h.Story()
    story.pool("big", lambda t: h.Level(out=29))
    story.pool("small", lambda t: h.Level(out=6, waiting=3))
    small = [
        dataclasses.replace(s, size=5, max_overflow=1) for s in story.facts["pools"] if s.pool == "small"
    ]
    story.facts["pools"] = [s for s in story.facts["pools"] if s.pool == "big"] + small
    pool = measured(story.history()).pool
    assert (pool.name, pool.in_use_max, pool.capacity, pool.waiters_max) == ("small", 6, 6, 3)


def test_one_late_second_does_not_raise_the_generator_lateness() -> None:
    healthy = h.healthy()
    late = tuple(
        dataclasses.replace(sample, lateness_p99_ms=900.0) if sample.t_s == 50 else sample
        for sample in healthy.generator
    )
    assert measured(dataclasses.replace(healthy, generator=late)).generator_lateness_p99_ms == 2.5
    late = tuple(
        dataclasses.replace(sample, lateness_p99_ms=900.0 if sample.t_s > 70 else 1)
        for sample in healthy.generator
    )
    assert measured(dataclasses.replace(healthy, generator=late)).generator_lateness_p99_ms == 900


def test_users_max_sums_over_workers() -> None:
    story = h.Story(users=400)
    story.requests(h.LIST, 1, 20)
    story.add("generator", *(f.GeneratorSample(20 + n, "worker-1", 390, 1, 0, 1, 1, 0.1) for n in range(5)))
    assert measured(story.history()).users_max == 790
