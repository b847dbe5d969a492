"""Replication lag: what counts as behind, and what only looks like it."""

from rushhour.observe.lag import LagEstimator

MB = 1 << 20


def test_an_idle_primary_is_no_lag_however_old_its_last_commit() -> None:
    lag = LagEstimator()
    assert [lag.update(t, 5 * MB, 5 * MB, commit_age_s=300.0 + t) for t in (0.0, 1.0, 2.0)] == [0.0, 0.0, 0.0]


def test_the_first_byte_after_a_quiet_time_is_not_five_minutes_of_lag() -> None:
    lag = LagEstimator()
    lag.update(0.0, 5 * MB, 5 * MB, commit_age_s=300.0)
    assert lag.update(1.0, 5 * MB + 100, 5 * MB, commit_age_s=301.0) == 0.0


def test_the_first_sample_of_a_replica_that_restored_old_commits_is_not_lag() -> None:
    assert LagEstimator().update(0.0, 5 * MB + 100, 5 * MB, commit_age_s=86_400.0) == 0.0


def test_the_age_of_a_fresh_commit_is_used_as_lag() -> None:
    lag = LagEstimator()
    lag.update(0.0, 5 * MB, 5 * MB, commit_age_s=0.1)
    assert lag.update(1.0, 7 * MB, 6 * MB, commit_age_s=0.25) == 0.25


def test_a_replica_that_stands_still_falls_behind_by_a_second_a_second() -> None:
    lag = LagEstimator()
    lag.update(10.0, 1 * MB, 1 * MB, commit_age_s=100.0)
    seen = [lag.update(10.0 + i, (1 + i) * MB, 1 * MB, commit_age_s=100.0 + i) for i in range(1, 6)]
    assert seen == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_a_replica_that_catches_up_partly_is_behind_by_what_is_left() -> None:
    lag = LagEstimator()
    lag.update(0.0, 1 * MB, 1 * MB, commit_age_s=None)
    for t in range(1, 6):
        lag.update(float(t), (1 + t) * MB, 1 * MB, commit_age_s=None)
    # Position 4 MB was first known at 3 s and is replayed now; 5 MB, known at 4 s, is not.
    assert lag.update(6.0, 7 * MB, 4 * MB, commit_age_s=None) == 2.0
    assert lag.update(7.0, 7 * MB, 7 * MB, commit_age_s=50.0) == 0.0


def test_a_replica_that_stands_still_for_hours_is_still_measured_from_the_start() -> None:
    lag = LagEstimator()
    lag.update(0.0, 1, 1, commit_age_s=None)
    for t in range(1, 7200):
        lag.update(float(t), 1 + t, 1, commit_age_s=None)
    assert lag.update(7200.0, 7201, 1, commit_age_s=None) == 7199.0
