"""Tests of the series, panels and moments of the timeline."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushhour.report.panels import timeline
from rushhour.report.series import (
    MAX_POINTS,
    Panel,
    Point,
    Series,
    break_gaps,
    carried_sum,
    downsample,
    peaks,
)
from rushhour.rundir import History, load_history
from rushhour.rundir import facts as f
from tests.unit import sample_run

LONG = st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=400)


@given(LONG)
def test_downsample_keeps_extremes_order_and_gaps(values: list[float | None]) -> None:
    points: list[Point] = [(float(at), value) for at, value in enumerate(values)]
    kept = downsample(points, limit=40)
    known = [value for value in values if value is not None]
    left = [value for _, value in kept if value is not None]
    assert [t for t, _ in kept] == sorted({t for t, _ in kept})
    assert set(kept) <= set(points)
    assert (min(left), max(left)) == (min(known), max(known)) if known else not left
    assert (None in values) == (None in [value for _, value in kept])


@pytest.mark.parametrize("count", [MAX_POINTS + 1, 36_000, 100_000])
def test_downsample_reduces_a_long_series_and_keeps_a_single_peak(count: int) -> None:
    points: list[Point] = [(at / 10, 0.0) for at in range(count)]
    points[count // 3] = (count / 30, 31.0)
    kept = downsample(points)
    assert len(kept) <= MAX_POINTS + 2
    assert max(value for _, value in kept if value is not None) == 31.0


def test_a_pause_between_samples_is_a_gap() -> None:
    assert break_gaps([(0.0, 1.0), (1.0, 1.0), (9.0, 2.0)]) == [
        (0.0, 1.0),
        (1.0, 1.0),
        (2.5, None),
        (9.0, 2.0),
    ]


def test_merged_bars_have_the_height_of_the_highest() -> None:
    points: list[Point] = [(at + 0.5, 1.0 if at == 4321 else 0.0) for at in range(7200)]
    kept, width = peaks(points, 1.0)
    assert width == 4.0
    assert len(kept) == 1800
    assert [t for t, value in kept if value] == [4322.0]


def test_a_sum_over_processes_drops_a_process_without_recent_samples() -> None:
    samples = [(0.0, "a", 5.0), (0.1, "b", 2.0), (0.2, "a", 6.0), (3.0, "b", 4.0)]
    summed = carried_sum(samples, lambda s: s[0], lambda s: s[1], lambda s: s[2])
    assert summed == [(0.0, 5.0), (0.1, 7.0), (0.2, 8.0), (3.0, 4.0)]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    return load_history(sample_run.build(tmp_path_factory.mktemp("series")).run)


def panel(history: History, key: str) -> Panel:
    return next(panel for panel in timeline(history).panels if panel.key == key)


def series(history: History, key: str, name: str) -> Series:
    return next(series for series in panel(history, key).series if series.name == name)


def value_at(series: Series, t_s: float) -> float | None:
    return next(value for t, value in zip(series.t_s, series.values, strict=True) if t >= t_s)


def test_an_exhausted_run_has_all_panels_with_their_units(history: History) -> None:
    picture = timeline(history)
    assert [(panel.key, panel.unit) for panel in picture.panels] == [
        ("users", "customers"),
        ("rate", "requests/s"),
        ("errors", "failures/s"),
        ("latency", "ms"),
        ("pool-replica", "connections"),
        ("pool-primary", "connections"),
        ("waiters", "threads"),
        ("cpu", "cores"),
        ("lag", "s"),
    ]
    assert picture.end_s == pytest.approx(sample_run.LOAD_S + 2.4, abs=0.1)
    assert all(t >= 0 for panel in picture.panels for series in panel.series for t in series.t_s)


def test_the_pool_panel_shows_leaks_up_to_the_capacity(history: History) -> None:
    leaked = series(history, "pool-replica", "leaked")
    assert value_at(leaked, 5.0) is not None
    assert value_at(leaked, sample_run.FULL_S + 0.5) == 30.0
    assert set(series(history, "pool-replica", "capacity").values) == {30.0}
    assert max(value or 0 for value in series(history, "pool-primary", "leaked").values) == 0.0


def test_failures_are_counted_by_class_and_second(history: History) -> None:
    timeouts = series(history, "errors", "QueuePool time-out")
    counted = sum(row.count for row in history.requests if row.outcome is f.Outcome.QUEUEPOOL_TIMEOUT)
    assert sum(value or 0 for value in timeouts.values) == counted > 0
    assert all(not value for t, value in zip(timeouts.t_s, timeouts.values, strict=True) if t < 54)
    assert not any(series(history, "errors", "other 5xx").values)


def test_the_error_panel_shows_4xx(history: History) -> None:
    row = replace(history.requests[-1], outcome=f.Outcome.HTTP_4XX, count=7, status=404)
    with_4xx = replace(history, requests=(*history.requests, row))
    assert sum(value or 0 for value in series(with_4xx, "errors", "4xx").values) == 7
    assert panel(with_4xx, "errors").title == "Failures by class, and 4xx"
    assert "4xx" not in [series.name for series in panel(history, "errors").series]


def test_latency_percentiles_come_from_the_histograms(history: History) -> None:
    p99 = series(history, "latency", "p99")
    assert max(value or 0 for value in p99.values) == pytest.approx(30_000, rel=0.01)
    first_rows = [row for row in history.requests if row.t_s == 3]
    assert p99.t_s[0] == 0.5
    assert 4 < (p99.values[0] or 0) < 200
    assert first_rows


def test_moments_are_in_order_with_call_sites(history: History) -> None:
    found = timeline(history).moments
    assert [(moment.label, round(moment.t_s, 1)) for moment in found] == [
        ("warm-up ended", 10.0),
        ("pool replica full", 24.4),
        ("leak detected", 25.0),
        ("first time-out", 54.4),
        ("load ended", 70.0),
    ]
    assert found[1].detail == "30 of 30 in use, 29 leaked"
    assert found[2].detail == "pool replica at app/queries.py:9 list_referrals"


def test_moments_come_from_samples_without_live_events(history: History) -> None:
    blind = replace(
        history, events=tuple(e for e in history.events if e.name not in {f.POOL_FULL, f.FIRST_TIMEOUT})
    )
    site = f.CallSite("app/queries.py", 9, "list_referrals")
    blind = replace(blind, pool_timeouts=(f.PoolTimeout(60.0, 7, "replica", site, "GET /x", 30.01),))
    found = {moment.label: moment for moment in timeline(blind).moments}
    assert found["pool replica full"].t_s == pytest.approx(sample_run.FULL_S, abs=1.0)
    assert found["first time-out"].t_s == pytest.approx(57.0)
    assert "after 30.0 s" in found["first time-out"].detail


def test_the_warm_up_and_the_time_after_the_load_are_shaded(history: History) -> None:
    assert [(start, why) for start, _, why in timeline(history).shaded] == [
        (0.0, "warm-up"),
        (70.0, "after the load"),
    ]


def test_panels_without_data_are_left_out(history: History) -> None:
    assert timeline(History(environment=None)).panels == ()
    keys = {panel.key for panel in timeline(replace(history, pools=())).panels}
    assert keys == {"users", "rate", "errors", "latency", "cpu", "lag"}


def test_panels_sum_over_workers_and_processes(history: History) -> None:
    both = replace(
        history,
        generator=(*history.generator, *(replace(sample, worker="second") for sample in history.generator)),
        pools=(*history.pools, *(replace(sample, pid=8) for sample in history.pools)),
    )
    assert max(value or 0 for value in series(both, "users", "active").values) == 2 * sample_run.USERS
    assert max(value or 0 for value in series(both, "pool-replica", "capacity").values) == 60.0


def test_a_long_run_without_requests_for_a_while_has_a_gap_in_its_latencies() -> None:
    rows = tuple(
        f.RequestCount(second, "GET /x", f.Outcome.OK, 1, sample_run.encoded([10.0]))
        for second in (*range(3000), *range(3100, 7200))
    )
    soak = History(environment=None, events=(f.Event(0.0, f.LOAD_STARTED),), requests=rows)
    assert panel(soak, "latency").series[0].values.count(None) == 1


def test_series_of_a_two_hour_run_are_short(tmp_path: Path) -> None:
    rows = tuple(
        f.RequestCount(
            second, "GET /x", f.Outcome.OK, 1, sample_run.encoded([10.0 if second != 4000 else 900.0])
        )
        for second in range(7200)
    )
    soak = History(environment=None, events=(f.Event(0.0, f.LOAD_STARTED),), requests=rows)
    latency = panel(soak, "latency")
    assert latency.title == "Latency, windows of 12 s"
    assert None not in latency.series[0].values, "windows of a long run are not gaps"
    assert max(value or 0 for value in latency.series[2].values) == pytest.approx(900, rel=0.01)
    assert all(
        len(series.t_s) <= MAX_POINTS + 2 for panel in timeline(soak).panels for series in panel.series
    )
