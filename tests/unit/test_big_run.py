"""Tests of what reads and renders a long run, or of one with many pools."""

import json
import re
from pathlib import Path

import pytest
from hdrh.histogram import HdrHistogram

from benchmarks.big_run import write_big_run
from rushhour.judging.judge import judge_run
from rushhour.metrics.latencies import merge, new_histogram
from rushhour.report.series import MAX_POINTS_TOGETHER, Panel, Series, thin

MOST_BYTES = 5_000_000


def timeline_data(page: Path) -> dict[str, list[dict[str, object]]]:
    found = re.search(r'id="timeline-data"[^>]*>(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    data: dict[str, list[dict[str, object]]] = json.loads(found.group(1))
    return data


@pytest.mark.long
@pytest.mark.parametrize(("pools", "seconds"), [(40, 210), (200, 30)])
def test_the_report_of_a_run_with_many_pools_is_small(tmp_path: Path, pools: int, seconds: int) -> None:
    run = write_big_run(tmp_path / "run", endpoints=10, seconds=seconds, pools=pools, processes=1)
    judge_run(run)
    page = run.file("report.html")
    assert page.stat().st_size <= MOST_BYTES
    panels = timeline_data(page)["panels"]
    assert len([panel for panel in panels if str(panel["key"]).startswith("pool-")]) == pools


def test_thinned_panels_keep_the_extremes_of_lines_and_bars() -> None:
    times = tuple(float(second) for second in range(5000))
    values: list[float | None] = [5.0] * 5000
    values[1234], values[3210] = 99.0, -1.0
    line = Series("line", "line", "blue", times, tuple(values))
    bar = Series("bar", "bar", "red", times, tuple(values), width_s=1.0)
    panels = thin([Panel("a", "A", "ms", (line, bar)) for _ in range(20)], together=20_000)
    assert len(panels) == 20
    assert sum(len(each.t_s) for panel in panels for each in panel.series) <= 20_000 + 40 * 2
    for panel in panels:
        thinned_line, thinned_bar = panel.series
        assert {-1.0, 99.0} <= set(thinned_line.values)
        assert 99.0 in thinned_bar.values
        assert thinned_bar.width_s == 10.0


def test_a_page_with_few_points_is_not_thinned() -> None:
    panel = Panel("a", "A", "ms", (Series("x", "line", "blue", (0.0, 1.0), (1.0, None)),))
    assert thin([panel], MAX_POINTS_TOGETHER) == (panel,)


def test_merged_histograms_equal_those_that_the_library_merges() -> None:
    empty = new_histogram().encode().decode("ascii")
    encoded = []
    for number, values in enumerate([[1, 7, 7, 90], [300_000_000], [12_345] * 50, [2, 250_000]]):
        histogram = new_histogram()
        for value in values:
            histogram.record_value(value, number + 1)
        encoded.append(histogram.encode().decode("ascii"))
    expected = new_histogram()
    for text in encoded:
        expected.decode_and_add(text)
    merged = merge([empty, *encoded, empty])
    assert list(merged.counts) == list(expected.counts)
    assert merged.get_total_count() == expected.get_total_count()
    assert merged.get_max_value() == expected.get_max_value()
    assert merged.get_min_value() == expected.get_min_value()
    assert merged.get_mean_value() == expected.get_mean_value()
    assert merge([]).get_total_count() == 0


def test_histograms_with_other_settings_merge_too() -> None:
    coarse = HdrHistogram(1, 3_600_000_000, 2)
    coarse.record_value(50_000, 3)
    own = new_histogram()
    own.record_value(10_000, 2)
    merged = merge([own.encode().decode("ascii"), coarse.encode().decode("ascii")])
    assert merged.get_total_count() == 5
    assert merged.get_max_value() == pytest.approx(50_000, rel=0.01)
    assert merged.get_min_value() == pytest.approx(10_000, rel=0.01)
