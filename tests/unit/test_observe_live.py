"""What the live view is told, folded from hand-written facts."""

import pickle
from dataclasses import replace

from rushhour.observe.live import LiveFold
from rushhour.observe.live_state import LiveState, PoolGauge
from rushhour.rundir import facts as f

POOL = f.PoolSample(
    t_s=5.0,
    pid=7,
    pool="replica",
    kind="QueuePool",
    size=20,
    max_overflow=10,
    timeout_s=30.0,
    checked_out=30,
    live=30,
    waiting=4,
    leaked=28,
    timeouts=2,
    connects=30,
    checkouts=90,
    checkins=60,
)


def requests(t_s: int, count: int, outcome: f.Outcome = f.Outcome.OK) -> f.RequestCount:
    return f.RequestCount(t_s, "GET /x", outcome, count, latency="")


def generator(t_s: int, users: int, worker: str = "local") -> f.GeneratorSample:
    return f.GeneratorSample(t_s, worker, users, 10, 0, 1.0, 2.0, 0.3)


def test_nothing_seen_is_none_not_zero() -> None:
    assert LiveFold().state(12.0) == LiveState()


def test_rates_are_of_the_last_second_that_is_whole() -> None:
    fold = LiveFold()
    fold.feed([f.Event(2.0, f.LOAD_STARTED), generator(4, 100), generator(5, 120)])
    fold.feed([requests(4, 50), requests(5, 60), requests(5, 3, f.Outcome.HTTP_5XX)])
    fold.feed([requests(5, 2, f.Outcome.QUEUEPOOL_TIMEOUT), requests(5, 9, f.Outcome.CLIENT_TIMEOUT)])
    early = fold.state(6.2)  # rows of second 5 may still come
    assert (early.rps, early.server_errors_per_s) == (50.0, 0.0)
    late = fold.state(6.6)
    assert (late.rps, late.server_errors_per_s) == (74.0, 5.0)
    assert (late.requests, late.server_errors, late.users) == (124, 5, 120)
    assert late.elapsed_s == 6.6 - 2.0


def test_a_second_without_requests_is_zero() -> None:
    fold = LiveFold()
    fold.feed([generator(5, 1)])
    assert fold.state(9.0).rps == 0.0


def test_workers_add_up_and_the_slowest_decides_which_second_is_whole() -> None:
    fold = LiveFold()
    fold.feed([generator(9, 100, "a"), generator(6, 40, "b"), requests(6, 7), requests(9, 3)])
    assert (fold.state(20.0).users, fold.state(20.0).rps) == (140, 7.0)
    fold.feed([generator(17, 90, "a"), requests(17, 5)])  # b is gone
    assert (fold.state(20.0).users, fold.state(20.0).rps) == (90, 5.0)


def test_a_pool_adds_up_over_processes_and_those_that_ended_leave_their_time_outs() -> None:
    fold = LiveFold()
    fold.feed([POOL, replace(POOL, pid=8, checked_out=1, waiting=0, leaked=0, timeouts=1)])
    assert fold.state(5.0).pools == (PoolGauge("replica", 31, 60, 4, 28, 3),)
    fold.feed([replace(POOL, pid=8, t_s=9.0, checked_out=2, waiting=0, leaked=1, timeouts=1)])
    assert fold.state(9.0).pools == (PoolGauge("replica", 2, 30, 0, 1, 3),)
    fold.feed([replace(POOL, pid=9, t_s=90.0, checked_out=0, waiting=0, leaked=0, timeouts=0)])
    assert fold.state(90.0).pools == (PoolGauge("replica", 0, 30, 0, 0, 3),)


def test_a_service_that_is_stopped_as_a_whole_keeps_its_last_gauge() -> None:
    fold = LiveFold()
    fold.feed([POOL])
    assert fold.state(60.0).pools[0].checked_out == 30


def test_a_pool_without_limit_has_no_capacity() -> None:
    fold = LiveFold()
    fold.feed([replace(POOL, max_overflow=-1)])
    assert fold.state(5.0).pools[0].capacity is None


def test_cpu_and_limits_of_components_that_still_report() -> None:
    fold = LiveFold()
    fold.feed([f.HostSample(5.0, "replica", 0.4, 90.0, 8, 0.5), f.HostSample(5.0, "service", 0.9, 120.0, 2)])
    fold.feed([f.HostSample(12.0, "service", 0.7, 120.0, 2)])
    state = fold.state(12.0)
    assert (state.cpu_cores, state.cpu_limits) == ({"service": 0.7}, {})


def test_lag_is_the_replicas_and_unknown_while_it_does_not_answer() -> None:
    fold = LiveFold()
    fold.feed([f.ServerSample(5.0, "replica", in_recovery=True, lag_s=0.3), f.ServerSample(5.0, "primary")])
    assert fold.state(5.0).lag_s == 0.3
    fold.feed([f.ServerSample(6.0, "replica", error="timed out")])
    assert fold.state(6.0).lag_s is None


def test_moments_in_words_and_the_first_log_errors_only() -> None:
    fold = LiveFold()
    full = {"pool": "replica", "pid": 7, "checked_out": 30, "capacity": 30, "leaked": 28}
    errors = {"source": "service", "queuepool_timeouts": 2, "errors": 0}
    fold.feed([f.Event(12.34, f.POOL_FULL, full), f.Event(13.0, f.DRAINED)])
    fold.feed([f.Event(42.0, f.LOG_ERRORS, errors), f.Event(43.0, f.LOG_ERRORS, errors)])
    fold.feed([f.Event(44.0, f.STACK_BROKE, {})])
    assert fold.state(50.0).moments == (
        "12.3 s  pool replica full: 30 of 30, 28 leaked",
        "42.0 s  first errors in service.log: 2 QueuePool time-outs, 0 others",
        "44.0 s  stack_broke (without 'what')",
    )


def test_moments_are_timed_from_the_start_of_the_load_as_in_the_report() -> None:
    fold = LiveFold()
    full = {"pool": "replica", "pid": 7, "checked_out": 30, "capacity": 30, "leaked": 28}
    fold.feed(
        [f.Event(10.0, f.LOAD_STARTED), f.Event(12.5, f.POOL_FULL, full), f.Event(9.0, f.POOL_FULL, full)]
    )
    said = "pool replica full: 30 of 30, 28 leaked"
    assert fold.state(50.0).moments == (f"2.5 s  {said}", f"before the load  {said}")


def test_the_elapsed_time_stops_at_the_end_of_the_load() -> None:
    fold = LiveFold()
    fold.feed([f.Event(2.0, f.LOAD_STARTED), f.Event(72.0, f.LOAD_ENDED)])
    assert fold.state(75.0).elapsed_s == 70.0


def test_what_is_kept_does_not_grow_with_the_run() -> None:
    fold = LiveFold()

    def live_through(seconds: range) -> int:
        for t_s in seconds:
            fold.feed([requests(t_s, 5), generator(t_s, 9), f.HostSample(float(t_s), "service", 0.5, 1.0, 1)])
            fold.feed([replace(POOL, t_s=float(t_s), pid=t_s // 100)])
            fold.feed([f.Event(float(t_s), f.OBSERVER_FAULT, {"observer": "host", "error": "x" * 9})])
        return len(pickle.dumps(fold))

    after_a_while = live_through(range(1000, 3000))
    assert live_through(range(3000, 9000)) <= after_a_while + 50
