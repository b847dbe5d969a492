"""Forecasts of a production from runs of a few testers."""

import dataclasses
import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
from rich.console import Console

from rushhour.errors import InsufficientDataError, UsageError
from rushhour.forecast.answer import forecast
from rushhour.forecast.behaviour import read_behaviour
from rushhour.forecast.processes import processes_of
from rushhour.forecast.replay import Replay
from rushhour.forecast.replayed import PoolRules, Seen, Site, Stage
from rushhour.forecast.words import fit_words
from rushhour.judging.judge import with_forecast
from rushhour.judging.saved import read_verdict
from rushhour.report import terminal
from rushhour.report.forecast import rows
from rushhour.report.html import render_html
from rushhour.report.markdown import render_markdown
from rushhour.rundir import History, RunDir
from rushhour.rundir import facts as f
from rushhour.scenario.model import Production, ProductionPool, Scenario
from rushhour.verdict.forecast import Forecast, PoolForecast, Range
from rushhour.verdict.judge import Verdict, judge, verdict_json
from tests.unit import histories
from tests.unit.forecast_runs import measured
from tests.unit.histories import LIST, OTHER_SITE, SITE, SUMMARY, Level, Story

RUSH_HOUR = "rush-hour over 75s"
DEMAND = re.compile(r"at the peak a process needs ([0-9.]+) connections")
PUSHED = Production(customers=800, think_time=10.0, day=RUSH_HOUR)
HOLDS = 4  # testers' threads that keep a connection


TARGET: dict[str, Any] = {
    "name": "referrals",
    "command": "gunicorn --threads {threads}",
    "health": "/health",
    "releases": ("1.1", "1.1.1"),
}


def scenario(**changes: Any) -> Scenario:
    load = {"users": 10, "duration": 30.0, "warm_up": 5.0, "think_time": 2.0}
    return histories.testers(**{"target": TARGET, "load": load, "release": "1.1"} | changes)


@cache
def few_testers(
    leak: str = "thread", *, seconds: int = 30, users: int = 10, hold_ms: float = 6.0, threads: int = HOLDS
) -> History:
    """Ten testers, five requests a second; `leak`: "thread", "path" (one in ten) or "none"."""
    story = Story(duration_s=seconds, users=users)
    story.requests(LIST, 2, hold_ms + 4)
    story.requests(SUMMARY, 3, 5)
    taken = 2 * seconds
    lost = {"thread": threads, "path": taken // 10, "none": 0}[leak]
    times = [2.0 + at * (seconds - 4) / max(1, lost) for at in range(lost)]
    story.pool("primary", lambda t: Level(out=0, checkouts=int(3 * t)))
    story.pool(
        "replica",
        lambda t: Level(
            out=sum(at <= t for at in times),
            leaked=sum(at <= t for at in times),
            checkouts=threads if leak == "thread" else int(2 * t),
        ),
    )
    for number, at in enumerate(times, 1):
        thread = number if leak == "thread" else number % 2
        story.checkout(number, at, thread=f"ThreadPoolExecutor-0_{thread}")
    checkouts = lost if leak == "thread" else taken
    story.site(checkouts=checkouts, held_s=0.0 if leak == "thread" else (taken - lost) * hold_ms / 1000)
    story.site(
        checkouts=3 * seconds, held_s=0.002 * 3 * seconds, pool="primary", site=OTHER_SITE, endpoint=SUMMARY
    )
    for server in ("primary", "replica"):
        story.server(server, {"idle": 2}, range(seconds + 2))
    for component, cores in (("primary", 0.01), ("replica", 0.02), ("service", 0.02)):
        story.cpu(component, cores)
        story.add("host", f.HostSample(histories.STARTED_S + 6.5, component, 0.002, 80.0, 3, None))
    return story.history()


def made(
    history: History, production: Production = PUSHED, given: Scenario | None = None, repeats: int = 4
) -> Forecast:
    chosen = given or scenario()
    return forecast(
        "runs/x", chosen, history, judge(chosen, history, "embedded"), production, repeats=repeats
    )


def test_ten_testers_of_a_leak_per_thread_foretell_its_exhaustion_with_cause_and_line() -> None:
    found = made(few_testers())
    assert found.exhausts == "yes"
    assert (found.pool, found.cause) == ("replica", "scope-never-removed")
    assert found.site == SITE
    assert found.exhausted_after_s is not None
    assert 41 in found.exhausted_after_s  # the push goes out after 39.75 s
    assert found.headline.startswith(
        "With 800 customers, 1 instance with 1 process of 64 threads, production will"
    )
    assert "scope-never-removed at app/referrals.py:88 list_referrals" in found.headline


def test_a_healthy_release_holds() -> None:
    found = made(few_testers("none"), given=scenario(release="1.1.1"))
    assert found.exhausts == "no"
    assert found.cause is None
    assert "will not exhaust" in found.headline
    assert all(pool.capacity and pool.in_use_max.high <= pool.capacity for pool in found.pools)


def test_the_same_run_gives_the_same_forecast() -> None:
    assert made(few_testers(), repeats=3) == made(few_testers(), repeats=3)


def test_fewer_threads_than_connections_cannot_lose_them_all() -> None:
    found = made(few_testers(), dataclasses.replace(PUSHED, threads=16))
    assert found.exhausts == "no"
    assert any("16 threads and 30 connections" in reason for reason in found.reasons)


@pytest.mark.parametrize(("run_s", "least"), [(2.0, 50), (0.01, 400)])
def test_pauses_that_are_no_think_time_may_stay_when_it_changes(run_s: float, least: float) -> None:
    """Two seconds between two requests: of a think time of 10 ms hardly any is thought."""
    load = {"users": 10, "duration": 30.0, "warm_up": 5.0, "think_time": run_s}
    production = Production(customers=1000, think_time=10 * run_s, day="steady over 10s")
    found = made(few_testers("none"), production, scenario(release="1.1.1", load=load), repeats=12)
    assert found.requests_per_s is not None
    assert 50 < found.requests_per_s.low < 125
    assert least < found.requests_per_s.high < 501
    assert any("paused for longer" in words for words in found.assumptions) == (run_s < 1)


def test_a_pool_of_fewer_connections_is_exhausted_earlier() -> None:
    small = made(
        few_testers(), dataclasses.replace(PUSHED, pool=ProductionPool(size=3, max_overflow=1, timeout=30.0))
    )
    assert small.exhausts == "yes"
    assert small.exhausted_after_s is not None
    assert small.exhausted_after_s.expected < 39


def test_without_a_burst_a_leak_per_thread_is_unsure_and_names_the_burst_that_would_do() -> None:
    found = made(few_testers(), Production(customers=200, think_time=10.0))
    assert found.exhausts == "unsure"
    assert any("a burst would" in reason for reason in found.reasons)


def test_a_server_that_starts_its_threads_beforehand_needs_no_burst() -> None:
    found = made(few_testers(threads=16), Production(customers=10))
    assert found.exhausts == "yes"
    assert any("starts its threads beforehand" in reason for reason in found.reasons)
    assert found.exhausted_after_s is not None
    assert found.exhausted_after_s.high < 120


def test_threads_of_several_processes_are_not_those_of_one_that_starts_them_beforehand() -> None:
    """Eight threads keep a connection, two in each of four processes."""
    one = few_testers(threads=8)
    pids = [histories.PID + number for number in range(4)]
    pools = [
        dataclasses.replace(
            sample,
            pid=pid,
            leaked=(sample.leaked + 3 - at) // 4,
            checked_out=(sample.leaked + 3 - at) // 4,
            checkouts=1,
        )
        for sample in one.pools
        for at, pid in enumerate(pids)
    ]
    kept = [dataclasses.replace(own, pid=pids[at % 4]) for at, own in enumerate(one.checkouts)]
    history = dataclasses.replace(one, pools=tuple(pools), checkouts=tuple(kept))
    found = made(history, Production(customers=10))
    assert "4 processes" in found.place
    assert found.exhausts == "unsure"
    assert not any("starts its threads beforehand" in reason for reason in found.reasons)


@pytest.mark.parametrize("customers", [20, 800, 4000])
def test_a_leak_that_garbage_collection_undid_is_unsure_for_any_customers(customers: int) -> None:
    kept = few_testers("path")
    undone = dataclasses.replace(
        kept,
        checkouts=tuple(
            dataclasses.replace(hold, returned_s=(hold.taken_s or hold.t_s) + 20, returned_by="gc")
            for hold in kept.checkouts
        ),
        pools=tuple(
            dataclasses.replace(sample, leaked=0, checked_out=min(2, sample.checked_out))
            for sample in kept.pools
        ),
    )
    found = made(undone, Production(customers=customers))
    assert found.cause == "unclosed-path"
    assert found.exhausts == "unsure"
    assert any("garbage collection brought the connections back" in reason for reason in found.reasons)


def test_a_leak_per_path_says_the_time_of_day() -> None:
    day = "07:00 0%, 12:00 50%, 18:00 100%, 22:00 5%"
    found = made(few_testers("path"), Production(customers=20, day=day))
    assert found.exhausts == "yes"
    assert found.cause == "unclosed-path"
    assert len(found.exhausted_at) == 3
    expected, low, high = found.exhausted_at
    assert "07:00" < low <= expected <= high < "12:00"
    assert f" at {expected} ({low} to {high})" in found.headline


def test_the_pool_of_the_leak_is_named_though_a_burst_exhausts_another_first() -> None:
    small = ProductionPool(size=2, max_overflow=1, timeout=0.2)
    burst = Production(customers=600, think_time=2.0, pool=small, day="0s 0%, 100ms 100%, 20s 100%")
    found = made(few_testers("path"), burst)
    assert (found.exhausts, found.pool, found.cause, found.site) == ("yes", "replica", "unclosed-path", SITE)


def test_twice_the_instances_lose_the_connections_of_a_path_later() -> None:
    one, four = (
        made(few_testers("path"), Production(customers=20, instances=instances)).exhausted_after_s
        for instances in (1, 4)
    )
    assert one is not None
    assert four is not None
    assert four.expected > 2 * one.expected


@pytest.mark.parametrize("workers", [16, 48])
def test_the_first_of_many_processes_loses_its_connections_earlier(workers: int) -> None:
    one, many = (
        made(few_testers("path"), Production(customers=20 * count, workers=count), repeats=20)
        for count in (1, workers)
    )
    assert one.exhausted_after_s is not None
    assert many.exhausted_after_s is not None
    assert many.exhausted_after_s.expected < 0.85 * one.exhausted_after_s.expected


# 200 testers keep 18 of 40 connections out for a second each, so that 30 answer at most 30 requests a second.
MANY = 5000  # threads: as good as without a limit
SLOW = measured(per_s=18, hold_s=1.0, users=200, replica_cores=0.001, service_cores=0.001)


def slow_answers(
    customers: int,
    threads: int | None,
    command: str = "gunicorn --threads {threads}",
    kind: str = "QueuePool",
    **changes: Any,
) -> Forecast:
    """A release whose only fault is that each answer takes a second, under so many customers all day."""
    target = {"name": "referrals", "command": command, "health": "/health", "releases": ("1.1.1",)}
    given = scenario(
        target=target,
        release="1.1.1",
        thresholds=("http_5xx_rate < 1%",),
        load={"users": 200, "duration": 40.0, "warm_up": 5.0, "think_time": 10.0},
    )
    pools = tuple(dataclasses.replace(sample, kind=kind) for sample in SLOW.pools)
    history = dataclasses.replace(SLOW, pools=pools)
    return made(history, Production(customers=customers, threads=threads, **changes), given, repeats=5)


def test_a_queue_that_grows_for_minutes_exhausts_the_pool() -> None:
    """30 connections answer 30 a second; 600 customers ask for 54, and are seen to wait for up to 10 s."""
    assert slow_answers(300, MANY).exhausts == "no"
    long = slow_answers(600, MANY)
    assert long.exhausts == "unsure"
    assert "pool replica would be full for long, and a check-out would wait for about" in long.reasons[0]
    longer = slow_answers(1400, MANY)
    assert (longer.exhausts, longer.cause, longer.pool) == ("yes", "saturation", "replica")
    assert longer.exhausted_after_s is not None
    burst = "0s 1%, 10m 1%, 11m 100%, 671s 100%, 12m 1%, 24h 1%"  # too short a time
    assert slow_answers(1400, MANY, day=burst).exhausts != "yes"


@pytest.mark.parametrize("at_s", [64_850, 65_050])
def test_a_peak_of_minutes_counts_wherever_it_lies_in_a_day(at_s: int) -> None:
    """1400 customers exhaust the pool in 51 s; a step of the day is 432 s long."""

    def peak_of(seconds: int) -> Forecast:
        end_s = at_s + 10 + seconds
        day = f"0s 1%, {at_s}s 1%, {at_s + 10}s 100%, {end_s}s 100%, {end_s + 10}s 1%, 24h 1%"
        return slow_answers(1400, MANY, day=day)

    assert peak_of(340).exhausts == "yes"
    assert peak_of(30).exhausts != "yes"


def test_a_push_that_filled_the_pool_for_a_moment_is_not_when_it_is_exhausted() -> None:
    day = "00:00 10%, 08:00 push 40%, 17:00 10%, 18:00 100%, 21:00 100%, 22:00 10%, 24:00 10%"
    found = slow_answers(1450, MANY, day=day)
    assert found.exhausts == "yes"
    assert "17:30" < found.exhausted_at[0] <= "18:01"


def test_a_pool_that_was_full_for_a_moment_is_exhausted_from_when_check_outs_time_out() -> None:
    """A day that is short enough to be replayed as a whole; the push is over after a second."""
    day = "0s 5%, 10s push 100%, 200s 5%, 210s 100%, 300s 100%"
    small = ProductionPool(size=2, max_overflow=0, timeout=3.0)
    customers = Production(customers=40, think_time=2.0, pool=small, day=day)
    found = made(few_testers("none", hold_ms=400), customers, scenario(release="1.1.1"), repeats=6)
    assert (found.exhausts, found.cause) == ("yes", "saturation")
    assert found.exhausted_after_s is not None
    assert found.exhausted_after_s.low > 180


def test_no_wait_is_longer_than_its_time_out_and_one_that_may_be_as_long_is_unsure() -> None:
    day = "0s 1%, 10m 1%, 610s 100%, 640s 100%, 650s 1%, 24h 1%"  # too short for a time-out, by 25 %
    found = slow_answers(1450, MANY, day=day)
    [replica] = found.pools
    assert replica.wait_p99_ms is not None
    assert replica.wait_p99_ms.expected < replica.wait_p99_ms.high == 30_000
    assert found.exhausts == "unsure"
    assert "may wait for as long as its time-out (30 s)" in found.reasons[0]


def test_requests_that_wait_for_threads_all_day_are_no_release_that_holds() -> None:
    found = slow_answers(900, 20)
    assert found.exhausts == "unsure"
    assert any("wait for a thread for long" in reason for reason in found.reasons)
    assert slow_answers(150, 20).exhausts == "no"


@pytest.mark.long
def test_fewer_threads_than_the_run_had_at_work_are_not_believed() -> None:
    """Twelve threads keep a connection, and the scenario says 8; or it says nothing."""
    history = few_testers(threads=12)
    eight = scenario(service={"threads": 8})
    silent = scenario(target={**TARGET, "command": "gunicorn"})
    for given, words in ((eight, "its scenario says 8"), (silent, "its scenario does not say it")):
        found = made(history, PUSHED, given)
        assert found.exhausts == "unsure"
        assert any(f"is not known ({words}" in reason for reason in found.reasons)
        assert any("; the run had 12 at work at once)" in reason for reason in found.reasons)
        assert made(history, dataclasses.replace(PUSHED, threads=64), given).exhausts == "yes"


def test_threads_that_nobody_knows_may_be_too_few_to_exhaust_a_pool_without_a_leak() -> None:
    """18 connections were out at once, so that there are as many threads or more."""
    assert slow_answers(1400, None, "gunicorn --threads 8").exhausts == "unsure"
    assert slow_answers(150, None, "gunicorn --threads 8").exhausts == "no"
    small = ProductionPool(size=12, max_overflow=2, timeout=30.0)
    assert slow_answers(1400, None, "gunicorn --threads 8", pool=small).exhausts == "yes"


def test_no_threads_bound_what_asyncio_tasks_take() -> None:
    pool = "AsyncAdaptedQueuePool"
    assert slow_answers(1400, None, "uvicorn shop:app", pool).exhausts == "yes"
    assert slow_answers(150, None, "uvicorn shop:app", pool).exhausts == "no"


def test_a_path_that_leaks_needs_no_threads() -> None:
    given = scenario(target={**TARGET, "command": "gunicorn"})
    assert made(few_testers("path"), Production(customers=20), given).exhausts == "yes"


def test_cpu_that_is_used_at_the_same_rate_all_the_time_counts() -> None:
    busy = few_testers("none")
    steady = [
        dataclasses.replace(row, cpu_cores=0.3 if row.component == "service" else 0.01)
        for row in busy.host
        if row.cpu_cores > 0.005
    ]
    idle = dataclasses.replace(steady[0], t_s=1.0, component="service", cpu_cores=0.002)
    history = dataclasses.replace(busy, host=(idle, *steady))
    found = made(history, Production(customers=40), scenario(release="1.1.1"))
    assert found.exhausts == "unsure"
    assert any("of the CPU that its threads can use" in reason for reason in found.reasons)
    assert made(history, Production(customers=10), scenario(release="1.1.1")).exhausts == "no"


def test_a_second_of_a_long_computation_is_not_idle() -> None:
    """Few requests end in it, and the CPU is busier than in any other."""
    busy = few_testers("none")
    stalled = int(histories.STARTED_S) + 20
    history = dataclasses.replace(
        busy,
        requests=tuple(
            row if row.t_s != stalled else dataclasses.replace(row, count=0) for row in busy.requests
        ),
        host=tuple(
            dataclasses.replace(row, cpu_cores=1.0 if int(row.t_s) == stalled else 0.3)
            if row.component == "service" and row.cpu_cores > 0.005
            else row
            for row in busy.host
        ),
    )
    behaviour = read_behaviour("runs/x", scenario(release="1.1.1"), history)
    assert behaviour.cpu_s is not None
    assert 0.3 / 5 < behaviour.cpu_s < 0.4 / 5  # five requests a second


def test_workers_that_follow_each_other_and_a_parent_are_no_further_processes() -> None:
    history = few_testers("none")
    half = histories.STARTED_S + 15
    pools = tuple(
        dataclasses.replace(row, pid=histories.PID + (row.t_s >= half), checkouts=1) for row in history.pools
    )
    parent = [dataclasses.replace(row, pid=1, checked_out=0, checkouts=0) for row in pools]
    again = dataclasses.replace(history, pools=(*pools, *parent))
    assert processes_of(again, again.pools) == {"primary": 1, "replica": 1}
    at_once = [dataclasses.replace(row, pid=7) for row in pools]
    assert processes_of(again, (*pools, *at_once)) == {"primary": 2, "replica": 2}
    found = made(again, Production(customers=20), scenario(release="1.1.1"), repeats=1)
    assert "1 instance with 1 process" in found.place


def test_check_outs_of_no_request_may_not_grow_with_the_customers() -> None:
    """A job holds two of six connections all the time; whether production has more such jobs is not known."""
    story = few_testers("none")
    job = dataclasses.replace(story.sites[0], endpoint=None, site=OTHER_SITE, checkouts=60, held_s=60.0)
    history = dataclasses.replace(story, sites=(*story.sites, job))
    small = ProductionPool(size=4, max_overflow=2, timeout=1.0)
    found = made(history, Production(customers=100, pool=small), scenario(release="1.1.1"), repeats=20)
    assert found.exhausts == "unsure"
    assert 0.2 < found.chance < 0.8
    few = made(history, Production(customers=10, pool=small), scenario(release="1.1.1"), repeats=5)
    assert few.exhausts == "no"


@pytest.mark.parametrize(("before", "exhausts"), [(9, "no"), (0, "yes")], ids=["a schedule", "a queue"])
def test_jobs_grow_with_the_customers_unless_they_came_without_them(before: int, exhausts: str) -> None:
    story = with_job(few_testers("none"), before)
    small = ProductionPool(size=4, max_overflow=2, timeout=1.0)
    found = made(story, Production(customers=100, pool=small), scenario(release="1.1.1"), repeats=20)
    assert found.exhausts == exhausts
    assert any("come by themselves" in assumption for assumption in found.assumptions)


@pytest.mark.parametrize(("customers", "peak"), [(100, 100), (200, 50)])
def test_the_demand_that_is_said_is_of_the_peak_with_the_jobs_that_grow(customers: int, peak: int) -> None:
    """Two connections for ten customers, so twenty for a hundred, and a fraction of one for requests."""
    day = f"0s {peak / 10:g}%, 30s {peak}%, 60s {peak}%"
    place = Production(customers=customers, pool=ProductionPool(size=4, max_overflow=2, timeout=1.0), day=day)
    found = made(with_job(few_testers("none"), 0), place, scenario(release="1.1.1"), repeats=5)
    [needed] = [said[1] for said in map(DEMAND.match, found.reasons) if said]
    assert 15 < float(needed) < 25


@pytest.mark.parametrize("before", [9, 0])
def test_check_outs_of_no_known_request_are_of_jobs_only_if_they_came_before_the_load(before: int) -> None:
    """No check-out has an endpoint, as where the agent knows no request of the framework."""
    jobs_only = with_job(dataclasses.replace(few_testers("none"), sites=()), before)
    behaviour = read_behaviour("x", scenario(release="1.1.1"), jobs_only)
    assert len(behaviour.jobs) == (1 if before else 0)
    assert [len(endpoint.visits) for endpoint in behaviour.endpoints.values()] == [0 if before else 1] * 2


def with_job(history: History, before: int) -> History:
    """Two check-outs a second, of a second each; the pool was there for 4.5 s before the load."""
    counted = {4.9: before, 9.9: before + 10, 35.0: before + 60}
    job = [
        f.SiteTotal(at_s, histories.PID, "replica", OTHER_SITE, None, count, float(count), 1.0)
        for at_s, count in counted.items()
    ]
    pool = next(sample for sample in history.pools if sample.pool == "replica")
    early = dataclasses.replace(pool, t_s=0.5, checked_out=0)
    return dataclasses.replace(history, sites=(*history.sites, *job), pools=(early, *history.pools))


@pytest.mark.parametrize(("size", "exhausts"), [(2, "yes"), (3, "no")])
def test_connections_that_are_out_all_the_time_are_not_there_for_requests(size: int, exhausts: str) -> None:
    """Two consumers listen, each over a connection of its own; requests need a fifth of one."""
    plain = few_testers("none")
    pool = ProductionPool(size=size, max_overflow=0, timeout=5.0)
    busy = Production(customers=100, think_time=2.0, pool=pool, day="steady over 20s")
    found = made(histories.listening(plain, "replica", 2), busy, scenario(release="1.1.1"), repeats=4)
    assert found.exhausts == exhausts
    assert "2 connections of pool replica are out all the time in each process" in found.assumptions
    assert made(plain, busy, scenario(release="1.1.1"), repeats=4).exhausts == "no"


def test_jobs_take_no_thread_from_requests_and_come_without_them() -> None:
    job = (Stage(("replica",), idle_s=5.0, aside=0),)
    seen = replayed(site(threads=1), [(0.0, job), (0.0, job), (0.1, HOLD), (1.0, HOLD), (2.0, HOLD)])
    assert (seen.threads_max, seen.busy_max, seen.requests) == (1, 1, 3)
    assert seen.pools["replica"].in_use_max == 3
    assert seen.pools["replica"].timeouts == 0
    crowded = replayed(site(threads=1), [(0.0, job), (0.0, job), (0.0, job), (0.1, HOLD)])
    assert crowded.pools["replica"].timeouts == 1


@pytest.mark.parametrize(("size", "exhausts"), [(2, "unsure"), (4, "no")])
def test_check_outs_of_no_request_may_be_as_many_in_each_process(size: int, exhausts: str) -> None:
    """A job holds two connections of a process, and four processes share the ten customers of the run."""
    story = few_testers("none")
    job = dataclasses.replace(story.sites[0], endpoint=None, site=OTHER_SITE, checkouts=60, held_s=60.0)
    history = dataclasses.replace(story, sites=(*story.sites, job))
    pool = ProductionPool(size=size, max_overflow=0, timeout=1.0)
    many = Production(customers=10, workers=4, pool=pool)
    found = made(history, many, scenario(release="1.1.1"), repeats=20)
    assert found.exhausts == exhausts


def test_a_pool_that_few_courses_exhaust_is_said() -> None:
    found = with_three_connections(1.0)
    assert 0 < found.chance <= 0.2
    assert (found.exhausts, found.cause) == ("no", None)
    assert f"a pool was exhausted in only {found.chance * 20:.0f} of 20 replayed courses" in found.headline
    assert "leaks" not in found.headline


def test_few_exhausted_courses_are_unsure_where_waits_may_be_as_long_as_the_time_out() -> None:
    found = with_three_connections(0.8)
    assert 0 < found.chance <= 0.2
    assert (found.exhausts, found.cause) == ("unsure", "saturation")
    assert "may wait for as long as its time-out (0.8 s)" in found.headline


def with_three_connections(timeout_s: float) -> Forecast:
    pool = ProductionPool(size=3, max_overflow=0, timeout=timeout_s)
    customers = Production(customers=10, pool=pool)
    return made(few_testers("none", hold_ms=400), customers, scenario(release="1.1.1"), repeats=20)


def test_waits_follow_from_the_measured_holds_and_not_from_their_mean() -> None:
    pool, day = ProductionPool(size=6, max_overflow=0, timeout=30.0), "steady over 60s"
    given = scenario(
        release="1.1.1", load={"users": 100, "duration": 40.0, "warm_up": 5.0, "think_time": 2.0}
    )
    waits = []
    for hold_us in ({1 << 17: 1}, {1 << 15: 19, 1 << 21: 1}):
        history = measured(per_s=40, hold_s=0.1, hold_us=hold_us, replica_cores=0.001, service_cores=0.001)
        found = made(history, Production(customers=100, pool=pool, day=day), given, repeats=10)
        [replica] = found.pools
        assert replica.wait_p99_ms is not None
        waits.append(replica.wait_p99_ms)
    assert waits[1].expected > 2 * waits[0].high


def test_a_leak_of_jobs_does_not_depend_on_the_customers() -> None:
    history = few_testers("path")
    jobs = dataclasses.replace(
        history,
        checkouts=tuple(dataclasses.replace(out, endpoint=None) for out in history.checkouts),
        sites=tuple(
            dataclasses.replace(row, endpoint=None) if row.pool == "replica" else row for row in history.sites
        ),
    )
    few, many = (made(jobs, Production(customers=count), repeats=4) for count in (1, 200))
    assert few.exhausts == many.exhausts == "yes"
    assert few.exhausted_after_s is not None
    assert many.exhausted_after_s is not None
    assert 0.5 < few.exhausted_after_s.expected / many.exhausted_after_s.expected < 2


def test_more_connections_than_the_server_takes_are_unsure() -> None:
    story_servers = tuple(
        dataclasses.replace(row, max_connections=20) for row in few_testers("none", hold_ms=400).servers
    )
    history = dataclasses.replace(few_testers("none", hold_ms=400), servers=story_servers)
    many = Production(customers=800, instances=8, day="steady over 20s", think_time=4.0)
    found = made(history, many, scenario(release="1.1.1"), repeats=3)
    assert found.exhausts == "unsure"
    assert any("max_connections of 20 in the run leaves 17 (it keeps 3" in why for why in found.reasons)
    known = tuple(dataclasses.replace(row, reserved=5) for row in story_servers)
    found = made(dataclasses.replace(history, servers=known), many, scenario(release="1.1.1"), repeats=3)
    assert any("max_connections of 20 in the run leaves 15 (it keeps 5" in why for why in found.reasons)


@pytest.mark.parametrize("customers", [1, 100_000, 10_000_000])
def test_any_number_of_customers_is_forecast(customers: int) -> None:
    found = made(few_testers(), dataclasses.replace(PUSHED, customers=customers), repeats=1)
    assert found.exhausts == ("no" if customers == 1 else "yes")
    day = Production(customers=customers, day="07:00 10%, 12:00 40%, 18:00 100%, 18:30 push 20%, 22:00 5%")
    assert made(few_testers(), day, repeats=1).exhausts == ("no" if customers == 1 else "yes")


def test_demand_beyond_the_pool_exhausts_it_without_a_leak() -> None:
    slow = few_testers("none", hold_ms=900)
    few = Production(
        customers=800,
        think_time=2.0,
        pool=ProductionPool(size=4, max_overflow=2, timeout=1.0),
        day="steady over 20s",
    )
    found = made(slow, few, scenario(release="1.1.1"), repeats=4)
    assert found.exhausts == "yes"
    assert found.cause == "saturation"
    assert found.timeouts is not None
    assert found.timeouts.low > 0


def _full_in_the_warm_up() -> History:
    """All connections are out when the load begins to be measured, and nothing says why."""
    history = histories.incident(leaked=30)
    return dataclasses.replace(history, checkouts=(), pool_timeouts=())


def test_a_run_that_exhausted_its_pool_at_once_says_yes_without_a_time() -> None:
    given = scenario(load={"users": 800, "duration": 75.0, "warm_up": 45.0})
    history = histories.incident(leaked=30)
    verdict = dataclasses.replace(judge(given, history, "embedded"), verdict="fail")
    found = forecast("runs/x", given, history, verdict, PUSHED, repeats=1)
    assert (found.exhausts, found.cause, found.site) == ("yes", "scope-never-removed", SITE)
    assert found.exhausted_after_s is None
    assert "the run itself exhausted pool replica with 800 customers" in found.reasons[0]
    easier = dataclasses.replace(PUSHED, customers=100)
    with pytest.raises(InsufficientDataError):
        forecast("runs/x", given, history, verdict, easier, repeats=1)


@pytest.mark.parametrize(
    ("history", "words"),
    [
        (histories.without_agent(few_testers()), "no pool was seen"),
        (few_testers("thread", seconds=8), "3 measured were healthy"),
        (histories.cut_short(few_testers(), 0.5), "no load was measured"),
        (dataclasses.replace(few_testers(), generator=()), "no request of a customer was recorded"),
        (few_testers(seconds=12, users=2), "42 requests|35 requests"),
        (_full_in_the_warm_up(), "were healthy"),
    ],
    ids=["no agent", "too few seconds", "cut short", "no generator", "too few requests", "never healthy"],
)
def test_a_run_that_holds_too_little_is_refused_in_words(history: History, words: str) -> None:
    given = scenario(load={"users": 10, "duration": 75.0, "warm_up": 5.0})
    if words == "were healthy":
        given = scenario(load={"users": 800, "duration": 75.0, "warm_up": 45.0})
    verdict = dataclasses.replace(judge(given, history, "embedded"), verdict="pass")
    with pytest.raises(InsufficientDataError, match=words):
        forecast("runs/x", given, history, verdict, PUSHED, repeats=1)


def test_rows_without_requests_change_nothing() -> None:
    history = few_testers()
    empty = [
        dataclasses.replace(row, endpoint="GET /never", count=0, latency=row.latency)
        for row in history.requests[:40]
    ]
    verdict = judge(scenario(), history, "embedded")
    more = dataclasses.replace(history, requests=(*empty, *history.requests))
    assert forecast("runs/x", scenario(), more, verdict, PUSHED, repeats=2) == made(history, repeats=2)


def test_an_unknown_verdict_is_refused() -> None:
    history = dataclasses.replace(few_testers(), requests=())
    with pytest.raises(InsufficientDataError, match="verdict is unknown"):
        made(history)


def test_a_wrong_curve_is_refused_in_words() -> None:
    with pytest.raises(UsageError, match="day: '30 %' is not a time and a share"):
        made(few_testers(), _with_day("30 %"))


def _with_day(text: str) -> Production:
    changed = dataclasses.replace(PUSHED)
    object.__setattr__(changed, "day", text)  # as a scenario.json of another version might say
    return changed


def _judged(given: Scenario, history: History) -> Verdict:
    verdict = judge(given, history, "embedded")
    assert given.production is not None
    return dataclasses.replace(
        verdict, forecast=forecast("x", given, history, verdict, given.production, repeats=4)
    )


def test_every_report_shows_the_forecast_second(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    given = scenario(production={"customers": 800, "think_time": "10s", "day": RUSH_HOUR})
    verdict = _judged(given, few_testers())
    Console(width=250).print(terminal.summary(verdict, given, tmp_path))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("PASS")
    assert lines[1].startswith("EXHAUSTS  With 800 customers")
    assert "app/referrals.py:88" in lines[1]
    marked = render_markdown(given, verdict).splitlines()
    assert marked[2].startswith("**EXHAUSTS** With 800 customers")
    page = render_html(given, few_testers(), verdict, None)
    assert '<span class="bad">EXHAUSTS</span> With 800 customers' in page
    assert '<svg class="forecast"' in page
    assert "exhausted after" in page


def test_a_run_that_allows_no_forecast_says_why_second(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given = scenario(production={"customers": 800}, agent=False)
    history = histories.without_agent(few_testers())
    verdict = with_forecast("x", given, history, judge(given, history, "embedded"))
    assert verdict.forecast is None
    Console(width=250).print(terminal.summary(verdict, given, tmp_path))
    assert (
        capsys.readouterr().out.splitlines()[1].startswith("No forecast for production: x: no pool was seen")
    )
    assert "No forecast for production: x: no pool was seen" in render_html(given, history, verdict, None)
    assert render_markdown(given, verdict).splitlines()[2].startswith("No forecast for production: x")


# The replay itself


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


def test_json_of_a_verdict_with_a_forecast_is_read_again(tmp_path: Path) -> None:
    given = scenario(production={"customers": 800, "think_time": "10s", "day": RUSH_HOUR})
    verdict = _judged(given, few_testers())
    RunDir(tmp_path).write_json("verdict.json", verdict_json(verdict))
    assert json.loads((tmp_path / "verdict.json").read_text())["forecast"]["exhausts"] == "yes"
    again = read_verdict(RunDir(tmp_path))
    assert again is not None
    assert again.forecast is not None
    assert verdict.forecast is not None
    assert again.forecast.headline == verdict.forecast.headline


STORIES: dict[str, Callable[[], History]] = {
    "healthy": histories.healthy,
    "incident": histories.incident,
    "staging": histories.staging,
    "unclosed": histories.unclosed,
    "saturated": histories.saturated,
    "dead backend": histories.dead_backend,
}


@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize(
    "kept", [75.0, pytest.param(30.0, marks=pytest.mark.long), pytest.param(15.0, marks=pytest.mark.long)]
)
def test_every_story_is_forecast_or_refused_in_words(story: str, kept: float) -> None:
    given = histories.scenario(production={"customers": 900, "day": "ramp over 10m"})
    history = histories.cut_short(STORIES[story](), kept) if kept < 75 else STORIES[story]()
    verdict = dataclasses.replace(judge(given, history, "embedded"), verdict="fail")
    told = with_forecast("x", given, history, verdict)
    if told.forecast is None:
        assert told.no_forecast.startswith("x: ")
    else:
        assert told.forecast.headline
        assert told.forecast.exhausts in {"yes", "no", "unsure"}
        if story == "healthy":
            assert told.forecast.exhausts == "no"
        if story in {"unclosed", "incident", "saturated"} and kept == 75:
            assert told.forecast.exhausts == "yes"
        if story in {"unclosed", "incident", "staging"}:
            assert told.forecast.exhausts != "no"


def test_customers_who_come_just_before_the_counted_time_make_no_request_seem_to_nest() -> None:
    """A hundred log in, a connection each, in the last half second of the warm-up; later few do."""
    story = Story(duration_s=30, users=100)
    story.requests("POST /login", 1, 10)
    story.requests(LIST, 40, 20)
    story.requests("POST /login", 100, 10, seconds=range(4, 5))
    story.pool("primary", lambda _: Level(out=0))
    came = 0
    for second in range(1, 31):
        at_s = histories.STARTED_S + second + 0.5
        came += 1 + 100 * (second == 5)  # written half a second into the next second
        story.add(
            "sites",
            f.SiteTotal(at_s, histories.PID, "primary", OTHER_SITE, "POST /login", came, came * 0.008, 0.1),
        )
    given = scenario(load={"users": 100, "duration": 30.0, "warm_up": 5.0})
    login = read_behaviour("x", given, story.history()).endpoints["POST /login"]
    [visit] = login.visits
    assert 0.8 < visit.per_request < 1.2
    assert not login.overlaps


def test_words_are_no_surer_than_the_figures() -> None:
    pools = tuple(
        PoolForecast(name, 30, Range(most, most - 7, most + 7.5), None)
        for name, most in (("a", 8), ("b", 15))
    )
    assert fit_words(pools) == (
        "pool b, the fullest, is expected to have 15 of 30 connections out at the most (8 to 22)"
    )
    plain = Forecast("unsure", "", ("3 of 20 courses",), "", 1, 0.15, exhausted_after_s=Range(9, 8, 11))
    assert rows(plain)[0][0] == "if at all, exhausted after"
    assert rows(dataclasses.replace(plain, exhausts="yes"))[0][0] == "exhausted after"
