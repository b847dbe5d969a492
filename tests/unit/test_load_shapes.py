"""Shapes: how many customers there are, and when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushhour.scenario.model import SHAPES as SCENARIO_SHAPES
from rushhour.scenario.shapes import SHAPES, pushes, step_towards, users_at

shapes = st.sampled_from(SHAPES)
peaks = st.integers(1, 100_000)
durations_s = st.floats(1, 86_400)


def test_the_scenario_file_and_the_load_know_the_same_shapes() -> None:
    assert set(SHAPES) == set(SCENARIO_SHAPES)


@given(shapes, peaks, durations_s, st.floats(-10, 100_000))
def test_there_is_always_a_customer_and_never_more_than_the_peak(
    shape: str, peak: int, duration_s: float, t_s: float
) -> None:
    assert 1 <= users_at(shape, t_s, peak, duration_s) <= peak


@given(shapes, peaks, durations_s)
def test_every_shape_reaches_its_peak(shape: str, peak: int, duration_s: float) -> None:
    assert peak in {users_at(shape, duration_s * step / 1000, peak, duration_s) for step in range(1001)}


@given(shapes, peaks, st.floats(0, 1))
def test_a_shape_is_stretched_and_not_changed_by_its_duration(shape: str, peak: int, share: float) -> None:
    short, long = users_at(shape, share * 64, peak, 64), users_at(shape, share * 128, peak, 128)
    assert short == long


def test_rush_hour_is_a_quiet_morning_a_lunch_and_an_evening_that_stays() -> None:
    day = [users_at("rush-hour", t_s, 800, 100) for t_s in range(101)]
    assert day[0] == 80
    assert max(day[:25]) == 320  # lunch
    assert min(day[20:40]) == 200  # afternoon
    assert day[50:] == [800] * 51


def test_spike_jumps_up_and_back() -> None:
    assert [users_at("spike", t_s, 100, 100) for t_s in (39.9, 40, 69.9, 70, 100)] == [20, 100, 100, 20, 20]


def test_steady_and_ramp_and_soak() -> None:
    assert {users_at("steady", t_s, 10, 60) for t_s in range(61)} == {10}
    assert [users_at("ramp", t_s, 100, 100) for t_s in (0, 40, 80, 100)] == [1, 50, 100, 100]
    assert [users_at("soak", t_s, 100, 100) for t_s in (0, 5, 95, 97, 100)] == [10, 100, 100, 10, 10]


def test_an_unknown_shape_is_an_error() -> None:
    with pytest.raises(KeyError, match="sawtooth"):
        users_at("sawtooth", 0, 1, 1)


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.floats(0, 500))
def test_a_step_never_passes_its_goal_and_never_exceeds_the_rate(
    users: int, wanted: int, most: float
) -> None:
    reached = step_towards(users, wanted, most)
    assert min(users, wanted) <= reached <= max(users, wanted)
    assert abs(reached - users) <= max(1, most)


@given(st.integers(0, 1000), st.integers(0, 1000), st.floats(0.1, 50))
def test_steps_reach_their_goal(users: int, wanted: int, most: float) -> None:
    for _ in range(1001):
        users = step_towards(users, wanted, most)
    assert users == wanted


def test_the_push_notification_comes_at_the_evening_peak() -> None:
    (push_s,) = pushes("rush-hour", 100)
    assert users_at("rush-hour", push_s, 800, 100) == 800
    assert pushes("steady", 100) == ()
