"""How long check-outs waited in a pool's queue."""

import dataclasses

import pytest

from rushhour.metrics.waits import wait_p99_ms
from rushhour.metrics.window import find_window
from rushhour.rundir import facts as f
from tests.unit import histories as h

WARM_UP_S = 10.0
MEASURED_S = h.STARTED_S + 40


def waited(*times: f.PoolTimes, timeouts: tuple[f.PoolTimeout, ...] = ()) -> float | None:
    history = h.healthy()
    told = dataclasses.replace(history, times=times, pool_timeouts=timeouts)
    return wait_p99_ms(told, find_window(history, WARM_UP_S))


def seen(waits: dict[int, int], held: int = 200, pool: str = "replica", pid: int = h.PID) -> f.PoolTimes:
    return f.PoolTimes(MEASURED_S, pid, pool, waits, {1024: held})


@pytest.mark.parametrize(("late", "expected"), [(0, 0.0), (1, 0.0), (5, 8.192)])
def test_those_that_did_not_wait_count(late: int, expected: float) -> None:
    assert waited(seen({8192: late})) == expected


def test_the_pool_with_the_longest_wait_counts_whatever_others_do() -> None:
    assert waited(seen({8192: 5}), seen({}, held=100_000, pool="primary")) == 8.192


def test_processes_with_the_same_pool_are_added_up() -> None:
    assert waited(seen({8192: 3}), seen({}, held=1000, pid=h.PID + 1)) == 0.0


def test_what_timed_out_waited_until_then() -> None:
    timeout = f.PoolTimeout(MEASURED_S, h.PID, "replica", h.SITE, h.LIST, waited_s=2.0)
    found = waited(seen({}, held=20), timeouts=(timeout,))
    assert found is not None
    assert 2000 <= found <= 4200


def test_nothing_is_said_without_check_outs_of_the_measured_time() -> None:
    before = dataclasses.replace(seen({8192: 5}), t_s=h.STARTED_S + 1)
    assert waited() is None
    assert waited(before) is None
    assert wait_p99_ms(h.healthy(), None) is None
