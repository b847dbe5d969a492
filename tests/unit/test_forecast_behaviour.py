"""What a forecast takes from a run: pauses, CPU, processes, and check-outs of no request."""

import dataclasses
import re

import pytest

from rushhour.forecast.behaviour import read_behaviour
from rushhour.forecast.processes import processes_of
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.scenario.model import Production, ProductionPool
from tests.unit import histories
from tests.unit.forecast_testers import few_testers, made, scenario
from tests.unit.histories import LIST, OTHER_SITE, Level, Story

DEMAND = re.compile(r"at the peak a process needs ([0-9.]+) connections")


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
