"""What the benchmark of forecasts counts, and what it says of runs that are unknown. Nothing is measured."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import forecast_runs, harness
from benchmarks.forecast_cases import Inside, all_inside
from benchmarks.forecast_runs import exhausted_pools, full_after_s, most_in_use
from rushhour.metrics.measure import measure
from tests.unit import histories
from tests.unit.histories import Level, Story


def test_a_pool_is_exhausted_since_the_full_time_in_which_a_checkout_timed_out() -> None:
    story = Story(duration_s=20)
    # Full for a moment at 3 s; from 8 s on each connection that comes back goes to a check-out that waits.
    story.pool("replica", lambda t: Level(out=30 if 3 <= t < 4 else 29 if t >= 8 else 2, waiting=t >= 8))
    story.pool("primary", lambda t: Level(out=30 if t < 2 else 1))
    story.timeout(15.0)
    history = story.history()
    pool = measure(histories.scenario(), history).pool
    assert exhausted_pools(pool, history) == ("replica",)
    assert full_after_s(history, "replica") == pytest.approx(8.0, abs=0.2)
    assert full_after_s(history, "primary") is None
    assert (most_in_use(history, "replica"), most_in_use(history, "primary")) == (30, 30)


def test_a_run_that_stays_unknown_is_no_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Path] = []

    def unknown(*arguments: str) -> SimpleNamespace:
        runs = Path(arguments[-1])
        tried.append(runs / f"run-{len(tried)}")
        tried[-1].mkdir(parents=True)
        (runs / "latest").symlink_to(tried[-1])
        return SimpleNamespace(returncode=harness.UNKNOWN, stdout="", stderr="")

    monkeypatch.setattr(harness, "rushhour", unknown)
    monkeypatch.setattr(forecast_runs, "CASES", forecast_runs.CASES[:1])
    (case, *totals), _ = forecast_runs.run(tmp_path)
    assert len(tried) == harness.ATTEMPTS
    assert case.measured.startswith("not measured: rushhour run staging")
    assert case.ok is None
    assert totals[0].measured == "0 right, 0 unsure, 0 wrong, 1 not measured"
    assert [row.missing for row in totals] == [True, True, True]


def test_eighty_percent_bind_all_figures_together_and_a_part_what_chance_explains() -> None:
    parts = [Inside("pool", 20, 20), Inside("runs", 19, 24), Inside("forecasts", 13, 16)]
    assert [part.row().ok for part in parts] == [True, True, True]
    assert parts[1].chance == pytest.approx(0.54, abs=0.01)  # the binomial distribution of 24 with 0.8
    assert Inside("runs", 15, 24).row().ok is False
    assert all_inside(parts).ok is True
    assert all_inside([Inside("pool", 16, 20), Inside("runs", 15, 20)]).ok is False
    assert all_inside([Inside("pool", 20, 20), Inside("runs", 20, 20, missing=1)]).ok is None


def test_no_figure_is_no_figure_inside() -> None:
    assert Inside("forecasts", 0, 0).row().missing
    assert all_inside([Inside("pool", 0, 0), Inside("runs", 0, 0)]).missing
