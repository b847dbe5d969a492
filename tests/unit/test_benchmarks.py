"""The command of the benchmarks: its arguments, its table, and the slope of memory. Nothing is measured."""

import importlib
import random
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import forecast_runs, harness
from benchmarks.__main__ import KNOWN, main
from benchmarks.forecast_cases import Inside, all_inside
from benchmarks.forecast_runs import exhausted_pools, full_after_s, most_in_use
from benchmarks.growth import BLOCKS, slope
from benchmarks.interval import interval_of
from benchmarks.subject import turns
from benchmarks.table import Row
from rushhour.metrics.measure import measure
from tests.unit import histories
from tests.unit.histories import Level, Story

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_every_benchmark_has_its_module() -> None:
    for name in KNOWN:
        assert (BENCHMARKS / f"{name.replace('-', '_')}.py").is_file()


def test_every_wrong_name_and_argument_is_named_with_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    wrong = {
        "nosuch": "no benchmark 'nosuch'",
        "": "no benchmark ''",
        "--help": "no benchmark '--help'",
        "stack:5": "stack takes no argument",
        "stack:": "stack takes no argument",
        "generator:": "'' is no whole number from 1 to 1,000,000,000",
        "generator:many": "'many' is no whole number from 1 to 1,000,000,000",
        "generator:1000,0": "'0' is no whole number from 1 to 1,000,000,000",
        "generator:900000000": "900,000,000 customers",
        "master:1": "'1' is no whole number from 2 to 100,000",
        "master:200,10": "'10' is no number from 60 to 86,400",
        "master:200,nan": "'nan' is no number from 60 to 86,400",
        "master:200,600,1": "3 values, and at most 2 have a meaning",
        "generator:1e3": "'1e3' is no whole number",
        "generator:9999999999": "'9999999999' is no whole number",
        "traffic-memory:1,inf": "'inf' is no number from 0.01 to 1,000",
        f"forecast:{__file__}": "is no folder",
    }
    assert main(["alarms", *wrong]) == 64
    printed = capsys.readouterr()
    assert printed.out == ""
    for word, said in wrong.items():
        assert [line for line in printed.err.splitlines() if said in line and word in line], word
    assert "generator[:CUSTOMERS[,...]]" in printed.err.splitlines()[-1]
    assert "measuring" not in printed.err


@pytest.mark.parametrize(
    ("word", "given"),
    [
        ("generator:1000,20", (1000, 20)),
        ("master:200", (200, 75.0)),
        ("master:200,600", (200, 600.0)),
        ("traffic-memory:1,10", (1.0, 10.0)),
        ("traffic_memory:0.5", (0.5,)),
        ("forecast:runs/kept", ("runs/kept",)),
        ("live_checkouts", ()),
    ],
)
def test_arguments_reach_the_benchmark(word: str, given: object, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[object] = []

    def run(*arguments: object) -> list[Row]:
        called.append(arguments)
        return []

    module = importlib.import_module(f"benchmarks.{word.partition(':')[0].replace('-', '_')}")
    monkeypatch.setattr(module, "run", run)
    assert main([word]) == 0
    assert called == [given]


def test_a_benchmark_that_breaks_is_missed_and_the_others_are_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks() -> list[Row]:
        raise RuntimeError("the round recorded no load")

    rows = [Row("seen", "3 s", "<= 5 s", True), Row("beside it", "not measured", "", None)]
    monkeypatch.setitem(sys.modules, "benchmarks.stack", SimpleNamespace(run=breaks))
    monkeypatch.setitem(sys.modules, "benchmarks.check", SimpleNamespace(run=lambda: rows))
    assert main(["stack", "check"]) == 1
    printed = capsys.readouterr()
    assert [line.split("  ")[0] for line in printed.out.splitlines()] == ["MISSED", "met", "-"]
    assert "the round recorded no load" in printed.err
    assert printed.err.splitlines()[-1] == "missed: stack"
    assert main(["check"]) == 0


def memory(mb_per_s: float, noise_mb: float, seconds: int = 540) -> list[tuple[float, float]]:
    dice = random.Random(1)  # noqa: S311  # the same noise each time
    return [(float(t), 100 + mb_per_s * t + dice.gauss(0, noise_mb)) for t in range(seconds)]


@pytest.mark.parametrize("per_minute_mb", [0.0, 0.5, 5.0])
def test_the_slope_of_memory_is_found_in_noise(per_minute_mb: float) -> None:
    found = slope(memory(per_minute_mb / 60, noise_mb=1.0)).times(60)
    assert found.low <= per_minute_mb <= found.high
    assert found.value == pytest.approx(per_minute_mb, abs=0.05)


def test_a_spike_is_no_growth() -> None:
    samples = [(t, mb + 50 if 200 <= t < 210 else mb) for t, mb in memory(0.0, 0.5)]
    assert slope(samples).times(600).at_most(2.0)


def test_a_bound_within_the_noise_is_not_decided() -> None:
    for growing, answer in ((0.0, True), (0.5, None), (1.0, False)):  # MB a second, of which 0.5 are allowed
        assert slope(memory(growing, 4.0, seconds=60)).at_most(0.5) is answer


def test_a_slope_needs_samples() -> None:
    with pytest.raises(ValueError, match="11 samples"):
        slope(memory(0.0, 0.0, seconds=BLOCKS - 1))


@pytest.mark.parametrize(
    ("true", "scatter", "verdict"), [(0.995, 0.01, True), (0.96, 0.01, False), (0.98, 0.05, None)]
)
def test_a_bound_is_met_or_missed_only_by_the_whole_interval(
    true: float, scatter: float, verdict: bool | None
) -> None:
    dice = random.Random(7)  # noqa: S311  # no secret
    starts = [[dice.gauss(true, scatter) for _ in range(24)] for _ in range(3)]
    row = interval_of(starts).row("share", "", ">= 98%", least=0.98, most=None)
    assert (row.ok, row.unsure) == (verdict, verdict is None)


def test_the_interval_holds_what_is_true_nearly_always_though_processes_differ() -> None:
    dice, held = random.Random(7), 0  # noqa: S311  # no secret
    for _ in range(40):
        layouts = [dice.gauss(0, 0.005) for _ in range(3)]
        found = interval_of([[dice.gauss(layout, 0.03) for _ in range(24)] for layout in layouts])
        held += found.low <= 0 <= found.high
    assert held >= 35


def test_a_few_disturbed_turns_move_the_estimate_little() -> None:
    found = interval_of([[1.0] * 20 + [5.0] * 3] * 3)
    assert found.middle == 1.0


def test_each_way_is_measured_as_often_on_the_outside_of_a_turn_as_it_falls() -> None:
    state, told, measured = "out", [], []

    def switch(way: str) -> None:
        nonlocal state
        state = way
        told.append(way)

    def measure() -> float:
        measured.append(state)
        return float(state == "in")

    assert list(turns(20, measure, switch)) == [(0.0, 1.0)] * 40
    assert {tuple(measured[at : at + 4]) for at in range(0, 80, 4)} == {
        ("out", "in", "in", "out"),
        ("in", "out", "out", "in"),
    }
    assert told[-1] == "out"


def test_a_row_that_is_unsure_is_said_and_is_not_missed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = Row("share", "97.9% to 98.1%", ">= 98%", None, unsure=True)
    module = SimpleNamespace(run=lambda: [row])
    monkeypatch.setitem(sys.modules, "benchmarks.agent", module)
    assert main(["agent"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("unsure")
    assert "unsure, the interval spans the bound: share" in printed.err


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
    assert [row.ok for row in totals] == [None, None, None]


def test_eighty_percent_bind_all_figures_together_and_a_part_what_chance_explains() -> None:
    parts = [Inside("pool", 20, 20), Inside("runs", 19, 24), Inside("forecasts", 13, 16)]
    assert [part.row().ok for part in parts] == [True, True, True]
    assert parts[1].chance == pytest.approx(0.54, abs=0.01)  # the binomial distribution of 24 with 0.8
    assert Inside("runs", 15, 24).row().ok is False
    assert all_inside(parts).ok is True
    assert all_inside([Inside("pool", 16, 20), Inside("runs", 15, 20)]).ok is False
    assert all_inside([Inside("pool", 20, 20), Inside("runs", 20, 20, missing=1)]).ok is None
