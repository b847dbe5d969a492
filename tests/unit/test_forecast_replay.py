"""The replay of a course: threads, pools and CPU that requests share."""

from random import Random
from typing import Any

import pytest

from rushhour.forecast.replay import Replay
from rushhour.forecast.replayed import PoolRules, Seen, Site, Stage


def test_jobs_take_no_thread_from_requests_and_come_without_them() -> None:
    job = (Stage(("replica",), idle_s=5.0, aside=0),)
    seen = replayed(site(threads=1), [(0.0, job), (0.0, job), (0.1, HOLD), (1.0, HOLD), (2.0, HOLD)])
    assert (seen.threads_max, seen.busy_max, seen.requests) == (1, 1, 3)
    assert seen.pools["replica"].in_use_max == 3
    assert seen.pools["replica"].timeouts == 0
    crowded = replayed(site(threads=1), [(0.0, job), (0.0, job), (0.0, job), (0.1, HOLD)])
    assert crowded.pools["replica"].timeouts == 1


def replayed(site: Site, arrivals: list[tuple[float, tuple[Stage, ...]]]) -> Seen:
    return Replay(site, Random(1)).run(arrivals)  # noqa: S311 - no secret


def site(**changes: Any) -> Site:
    plain: dict[str, Any] = {
        "processes": 1,
        "threads": 64,
        "pools": {"replica": PoolRules(3, 1.0)},
        "servers": {},
        "cores": 100.0,
    }
    return Site(**plain | changes)


HOLD = (Stage(("replica",), idle_s=0.5),)


def test_threads_start_only_when_none_is_idle() -> None:
    seen = replayed(site(), [(0.0, HOLD), (1.0, HOLD), (1.1, HOLD), (3.0, HOLD)])
    assert seen.threads_max == 2


def test_a_request_waits_for_a_connection_and_times_out() -> None:
    long = (Stage(("replica",), idle_s=1.5),)
    seen = replayed(site(), [(0.01 * at, long) for at in range(4)])
    assert seen.pools["replica"].timeouts == 1
    assert seen.pools["replica"].first_timeout_s == pytest.approx(1.03)
    short = replayed(site(), [(0.01 * at, HOLD) for at in range(4)])
    assert short.pools["replica"].timeouts == 0
    assert max(short.pools["replica"].waits_s) == pytest.approx(0.47)


def test_a_kept_connection_is_used_again_by_its_thread() -> None:
    keep = (Stage(("replica",), idle_s=0.1, keeps=True),)
    one_by_one = replayed(site(), [(float(at), keep) for at in range(20)])
    assert one_by_one.pools["replica"].lost_max == 1
    together = replayed(site(), [(0.01 * at, keep) for at in range(3)])
    assert together.pools["replica"].exhausted_s == pytest.approx(0.02)


def test_a_forgotten_connection_never_comes_back() -> None:
    forget = (Stage(("replica",), idle_s=0.1, forgets=1.0),)
    seen = replayed(site(), [(float(at), forget) for at in range(5)])
    assert seen.pools["replica"].exhausted_s == pytest.approx(2.0)
    assert seen.pools["replica"].timeouts == 2


def test_nested_check_outs_of_one_pool_block_each_other() -> None:
    nested = (Stage(("replica", "replica"), idle_s=0.1),)
    alone = replayed(site(pools={"replica": PoolRules(2, 1.0)}), [(0.0, nested), (5.0, nested)])
    assert alone.pools["replica"].timeouts == 0
    short = (Stage(("replica",), idle_s=0.01), Stage(("replica", "replica"), idle_s=0.1))
    blocked = replayed(site(pools={"replica": PoolRules(1, 1.0)}), [(0.0, short)])
    assert blocked.pools["replica"].timeouts == 1


def test_threads_bound_the_requests_at_work() -> None:
    seen = replayed(site(threads=2), [(0.0, HOLD), (0.0, HOLD), (0.0, HOLD), (0.0, HOLD)])
    assert (seen.threads_max, seen.busy_max) == (2, 2)
    assert seen.requests == 4


def test_requests_share_a_cpu_evenly() -> None:
    compute = (Stage(("replica",), cpu_s=0.4), Stage())
    alone = replayed(site(cores=1.0), [(0.0, compute), (0.0, HOLD)])
    assert alone.pools["replica"].timeouts == 0
    crowd = replayed(site(cores=1.0), [(0.001 * at, compute) for at in range(4)])
    assert crowd.pools["replica"].timeouts == 1  # three share the CPU for 1.2 s
