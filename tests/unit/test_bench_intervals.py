"""What the benchmarks make of repeated measurements: intervals, slopes, turns."""

import random

import pytest

from benchmarks.growth import BLOCKS, slope
from benchmarks.interval import interval_of, median_of
from benchmarks.subject import turns


def memory(mb_per_s: float, noise_mb: float, seconds: int = 540) -> list[tuple[float, float]]:
    dice = random.Random(1)  # noqa: S311  # the same noise each time
    return [(float(t), 100 + mb_per_s * t + dice.gauss(0, noise_mb)) for t in range(seconds)]


@pytest.mark.parametrize("per_minute_mb", [0.0, 0.5, 5.0])
def test_the_slope_of_memory_is_found_in_noise(per_minute_mb: float) -> None:
    found = slope(memory(per_minute_mb / 60, noise_mb=1.0)).times(60)
    assert found.low <= per_minute_mb <= found.high
    assert found.middle == pytest.approx(per_minute_mb, abs=0.05)


def test_a_spike_is_no_growth() -> None:
    samples = [(t, mb + 50 if 200 <= t < 210 else mb) for t, mb in memory(0.0, 0.5)]
    assert slope(samples).times(600).within(most=2.0)


def test_a_bound_within_the_noise_is_not_decided() -> None:
    for growing, answer in ((0.0, True), (0.5, None), (1.0, False)):  # MB a second, of which 0.5 are allowed
        assert slope(memory(growing, 4.0, seconds=60)).within(most=0.5) is answer


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
    row = interval_of(starts).row("share", "", ">= 98%", least=0.98)
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


@pytest.mark.parametrize(
    ("count", "ranks"), [(6, (1, 6)), (8, (1, 8)), (9, (2, 8)), (12, (3, 10)), (15, (4, 12)), (24, (7, 18))]
)
def test_the_interval_of_a_median_goes_by_ranks(count: int, ranks: tuple[int, int]) -> None:
    """As in tables of the sign test, two-sided at 5 %."""
    values = [float(rank) for rank in range(1, count + 1)]
    found = median_of(random.Random(1).sample(values, count))  # noqa: S311  # no secret
    assert (found.low, found.middle, found.high) == (ranks[0], (count + 1) / 2, ranks[1])


def test_five_values_are_too_few_for_an_interval() -> None:
    with pytest.raises(ValueError, match="5 values"):
        median_of([1.0] * 5)


def test_the_interval_of_a_median_holds_it_whatever_the_distribution() -> None:
    dice = random.Random(7)  # noqa: S311  # no secret
    found = [median_of([dice.expovariate(0.6931) for _ in range(9)]) for _ in range(400)]  # the median is 1
    assert sum(each.low <= 1 <= each.high for each in found) >= 0.94 * 400


def test_an_interval_is_written_in_one_format() -> None:
    found = median_of([0.97, 0.98, 0.98, 0.99, 1.0, 1.01])
    assert f"{found:.0%}" == "98% (95 % interval 97% to 101%)"
    rows = [found.in_seconds("it", most_s=most_s) for most_s in (1.02, 1.0, 0.9)]
    assert [(row.ok, row.unsure) for row in rows] == [(True, False), (None, True), (False, False)]
