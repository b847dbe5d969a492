"""`rushhour size`: what it recommends, and when it recommends nothing."""

import dataclasses
import functools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rushhour.cli.main import _exit_of, cli
from rushhour.errors import InsufficientDataError, RunDataError, UsageError
from rushhour.forecast.demand import Demand, EndpointDemand, Use
from rushhour.forecast.durations import Durations
from rushhour.forecast.growth import joined
from rushhour.forecast.limits import limits_of
from rushhour.forecast.queueing import measured_setting
from rushhour.forecast.recorded import read_demand
from rushhour.jobs.size.advice import _at_one_server, size_pools, usable_connections
from rushhour.jobs.size.reading import read_for_sizing
from rushhour.jobs.size.sizes import PoolSize
from rushhour.rundir import History
from rushhour.rundir import facts as f
from tests.unit import histories
from tests.unit.forecast_runs import measured, scenario
from tests.unit.histories import LIST, PID, SITE, STARTED_S
from tests.unit.saved_runs import save

QUIET: dict[str, Any] = {"replica_cores": 0.001, "service_cores": 0.001}


@functools.cache
def sized(*, max_connections: int | None = None, hold_s: float = 0.1, **changes: Any) -> PoolSize:
    demand = read_demand("runs/x", scenario(), measured(hold_s=hold_s, **QUIET))
    setting = dataclasses.replace(measured_setting(demand), **changes)
    (found,) = size_pools(demand, setting, max_connections=max_connections).pools
    return found


def written(folder: Path, history: History, **changes: Any) -> Path:
    return save(folder, history, scenario(**changes)).path


def refused(path: Path, *more: Path) -> str:
    with pytest.raises(InsufficientDataError) as raised:
        read_for_sizing([path, *more], None)
    return str(raised.value)


def test_the_smallest_pool_that_is_enough_is_recommended_with_a_reserve() -> None:
    found = sized()
    assert found.enough is not None
    assert 7 <= found.enough <= 14  # 4 are in use on average, and 4 + 2 standard deviations are 8
    assert (found.pool_size, found.max_overflow) == (found.enough, -(-found.enough // 2))
    assert found.in_words == f"pool_size={found.enough}, max_overflow={-(-found.enough // 2)}"
    by_capacity = {row.capacity: row for row in found.rows}
    assert by_capacity[found.enough].enough
    assert not by_capacity[found.enough - 1].enough
    assert not by_capacity[found.enough // 2].enough
    assert by_capacity[30].enough


def test_a_pool_that_is_much_too_large_is_said_to_be_so() -> None:
    found = sized(hold_s=0.02)
    assert found.enough is not None
    assert any(
        f"the 30 it has are {30 / found.enough:.1f} times what it needs" in why for why in found.reasons
    )


@pytest.mark.long
def test_a_pool_that_is_too_small_is_said_to_be_so() -> None:
    found = sized(customers=1000)
    assert found.enough is not None
    assert found.enough > 30
    assert any("are too few by" in why for why in found.reasons)


@pytest.mark.long
def test_instances_that_exceed_the_server_get_a_pooler_in_front_of_it() -> None:
    found = sized(instances=12, customers=1200, max_connections=100)
    assert found.pool_size is not None
    words = " ".join(found.reasons)
    assert "would open 360, more than the 97 that max_connections 100" in words
    assert "PgBouncer in transaction mode" in words
    assert "at most 8 fit in each" in words
    assert found.together is not None
    assert 48 < found.together < 97
    assert all(row.server_connections == 12 * row.capacity for row in found.rows)


@pytest.mark.long
def test_a_pooler_gets_no_more_connections_than_the_server_has() -> None:
    found = sized(customers=960, instances=12, max_connections=20)
    assert found.together is not None
    assert found.together > 17
    words = " ".join(found.reasons)
    assert f"use {found.together} connections at once at most, more than the server allows, too" in words
    assert "with a pool of at most 17, in which check-outs wait for each other" in words
    assert f"a pool of {found.together}" not in words
    many = " ".join(sized(customers=240, instances=24, max_connections=20).reasons)
    assert "not even 1 fits in each" in many


@pytest.mark.long
def test_pools_of_one_server_are_held_against_its_limit_together() -> None:
    demand = read_demand("runs/x", scenario(), measured(hold_s=0.1, **QUIET))
    (pool,) = demand.pools
    again = dataclasses.replace(pool, name=f"{pool.name}#2")
    endpoints = tuple(
        dataclasses.replace(
            own, uses=(*own.uses, *(dataclasses.replace(use, pool=again.name) for use in own.uses))
        )
        for own in demand.endpoints
    )
    two = dataclasses.replace(demand, pools=(pool, again), endpoints=endpoints)
    setting = measured_setting(two)

    def said(sizes: Sequence[PoolSize]) -> set[bool]:
        return {any("together they may open" in reason for reason in size.reasons) for size in sizes}

    sizes = size_pools(two, setting, max_connections=20).pools  # one pool fits, two do not
    assert said(sizes) == {True}
    most = sum((size.pool_size or 0) + (size.max_overflow or 0) for size in sizes)
    alone = [dataclasses.replace(size, reasons=()) for size in sizes]
    assert said(_at_one_server(two, setting, alone, most + 3)) == {False}
    assert said(_at_one_server(two, setting, alone, most + 2)) == {True}


def test_the_server_s_limit_is_that_of_the_run() -> None:
    assert any("of the 97 connections of replica" in why for why in sized().reasons)
    servers = [dataclasses.replace(row, reserved=5) for row in measured().servers]
    assert limits_of(dataclasses.replace(measured(), servers=tuple(servers)))["replica"].usable == 95


@pytest.mark.parametrize("instances", [1, pytest.param(12, marks=pytest.mark.long)])
def test_more_connections_than_threads_are_never_opened(instances: int) -> None:
    found = sized(threads=6, instances=instances, customers=100 * instances, max_connections=100)
    assert (found.usable, found.pool_size, found.max_overflow) == (6, found.enough, 6 - (found.enough or 0))
    assert any("a process of 6 threads uses at most 6" in why for why in found.reasons)
    assert max(row.server_connections for row in found.rows) == 6 * instances


@pytest.mark.parametrize(("threads", "known"), [(3, None), (4, 4)])
def test_threads_that_had_more_connections_than_they_can_have_bound_nothing(
    threads: int, known: int | None
) -> None:
    """The run had four connections out at once."""
    given = scenario(service={"threads": threads})
    demand = read_demand("runs/x", given, measured(hold_s=0.1, **QUIET))
    assert (demand.pools[0].in_use_max, demand.threads) == (4, known)
    (found,) = size_pools(demand, measured_setting(demand), max_connections=None).pools
    assert found.usable == known
    assert found.enough is not None
    assert found.enough >= 4


def test_connections_that_no_request_takes_are_not_bounded_by_threads() -> None:
    demand = read_demand("runs/x", scenario(), measured(hold_s=0.1, **QUIET))
    (pool,) = demand.pools
    setting = dataclasses.replace(measured_setting(demand), threads=6)
    assert usable_connections(demand, setting, pool) == 6
    (site,) = pool.sites
    of_jobs = dataclasses.replace(pool, sites=(site, dataclasses.replace(site, endpoint=None)))
    assert usable_connections(demand, setting, of_jobs) is None
    assert usable_connections(demand, setting, dataclasses.replace(pool, sites=())) is None  # as of metrics
    twice = [
        dataclasses.replace(own, uses=tuple(dataclasses.replace(use, per_request=2.0) for use in own.uses))
        for own in demand.endpoints
    ]
    assert usable_connections(dataclasses.replace(demand, endpoints=tuple(twice)), setting, pool) == 12


def test_no_reserve_is_said_where_there_is_none() -> None:
    found = sized(threads=1, customers=4)
    assert found.in_words == "pool_size=1, max_overflow=0"
    assert "reserve" not in " ".join(found.reasons)


def test_connections_that_are_out_all_the_time_are_needed_beside_those_of_requests() -> None:
    history = histories.listening(measured(hold_s=0.1, **QUIET), "replica", 3)
    demand = read_demand("runs/x", scenario(), history)
    (found,) = size_pools(demand, measured_setting(demand), max_connections=None).pools
    plain = sized()
    assert plain.enough is not None
    assert plain.together is not None
    assert (found.enough, found.together) == (plain.enough + 3, plain.together + 3)
    assert any("; 3 of them are out all the time, for no request" in why for why in found.reasons)
    setting = dataclasses.replace(measured_setting(demand), threads=6)
    assert usable_connections(demand, setting, demand.pools[0]) == 9


@pytest.mark.parametrize(
    ("instances", "words"), [(4, "0.25 times the requests of the run they are taken to be 0.5"), (1, None)]
)
def test_jobs_that_may_not_depend_on_the_customers_are_said(instances: int, words: str | None) -> None:
    """A job holds two connections of a process for 0.2 s each, ten times a second."""
    history = measured(hold_s=0.1, **QUIET)
    jobs = [
        dataclasses.replace(
            row, endpoint=None, checkouts=row.checkouts // 4, held_s=row.held_s / 2, hold_us={1 << 18: 10}
        )
        for row in history.sites
    ]
    demand = read_demand("runs/x", scenario(), dataclasses.replace(history, sites=(*history.sites, *jobs)))
    setting = dataclasses.replace(measured_setting(demand), instances=instances)
    (found,) = size_pools(demand, setting, max_connections=None).pools
    said = [why for why in found.reasons if "for no request on average" in why]
    if words is None:
        assert not said
    else:
        assert words in said[0]
        assert "If they do not depend on the customers, 2 more connections are needed" in said[0]


def test_more_customers_than_a_process_can_answer_are_refused() -> None:
    with pytest.raises(UsageError, match="no Python process answers more than 5,000"):
        sized(customers=100_000)
    with pytest.raises(UsageError, match="more processes or instances"):
        sized(customers=10_000_000, instances=100)


def test_near_its_cpu_no_size_is_recommended() -> None:
    demand = read_demand("runs/x", scenario(), measured(replica_cores=0.3))
    setting = dataclasses.replace(measured_setting(demand), customers=134)
    (found,) = size_pools(demand, setting, max_connections=None).pools
    assert found.pool_size is None
    assert found.in_words == "no size can be recommended"
    assert re.search(
        r"the replica would use (7[5-9]|8[0-4])% of its CPU \(60% in the run\)", found.reasons[0]
    )
    assert found.rows == ()


def test_a_load_that_a_server_cannot_carry_is_said_to_be_so() -> None:
    demand = read_demand("runs/x", scenario(), measured(replica_cores=0.3))
    setting = dataclasses.replace(measured_setting(demand), customers=400)
    (found,) = size_pools(demand, setting, max_connections=None).pools
    assert "it cannot carry this load, whatever the pool" in found.reasons[0]


def pushed(*, full: bool) -> History:
    """A steady run in which customers ask at once in second 20; its pool may be full in that second."""
    history = measured(per_s=40, hold_s=0.01, replica_cores=0.2)
    burst = STARTED_S + 20
    generator = [
        dataclasses.replace(sample, started=sample.started * (6 if sample.t_s == int(burst) else 1))
        for sample in history.generator
    ]
    pools = [
        dataclasses.replace(sample, checked_out=30) if full and int(sample.t_s) == int(burst) else sample
        for sample in history.pools
    ]
    return dataclasses.replace(history, generator=tuple(generator), pools=tuple(pools))


@pytest.mark.parametrize("full", [True, pytest.param(False, marks=pytest.mark.long)])
def test_a_burst_that_its_server_s_cores_bound_asks_for_no_larger_pool(*, full: bool) -> None:
    demand = read_demand("runs/x", scenario(), pushed(full=full))
    assert len(demand.full) == (2 if full else 0)  # that second and the one after it
    (found,) = size_pools(demand, measured_setting(demand), max_connections=None).pools
    assert found.enough is not None
    assert found.enough < 10
    by_capacity = {row.capacity: row for row in found.rows}
    assert by_capacity[found.enough].calm.wait_p99_s.high <= 0.01
    assert by_capacity[found.enough].figures.wait_p99_s.high > 0.1  # and it says so
    words = " ".join(found.reasons)
    assert "In some seconds they acted together, with up to " in words
    assert "the replica's 0.5 cores are what they wait for" in words


def test_waits_that_the_model_does_not_show_leave_the_size_open() -> None:
    demand = read_demand("runs/x", scenario(), measured(waiting={1: 38, 1 << 19: 2}, **QUIET))
    (found,) = size_pools(demand, measured_setting(demand), max_connections=None).pools
    assert found.pool_size is None
    assert "check-outs waited for 262 to 524 ms, and by their holds and requests" in found.reasons[0]
    assert found.rows == ()


def test_waits_that_the_model_shows_and_the_run_had_not_leave_the_size_open() -> None:
    demand = read_demand("runs/x", scenario(), measured(hold_s=0.1, **QUIET))
    (pool,) = demand.pools
    small = dataclasses.replace(demand, pools=(dataclasses.replace(pool, size=4, max_overflow=0),))
    (found,) = size_pools(small, measured_setting(small), max_connections=None).pools
    assert found.pool_size is None
    assert "waited for less than 1 ms, and by their holds and requests they would have" in found.reasons[0]
    assert "the model does not fit" in found.reasons[0]


def test_a_leak_is_not_sized_away(tmp_path: Path) -> None:
    words = refused(save(tmp_path / "x", histories.incident(), histories.rush_hour()).path)
    assert "connections leak (30 of them, taken at app/referrals.py:88 in list_referrals)" in words
    few = refused(save(tmp_path / "y", histories.staging(), histories.testers()).path)
    assert "connections leak (5 of them" in few


def test_a_nested_check_out_gets_the_bound_without_a_deadlock(tmp_path: Path) -> None:
    history = measured()
    timeouts = tuple(
        f.PoolTimeout(STARTED_S + 20 + at, PID, "replica", SITE, LIST, 30.0, holding=1) for at in range(3)
    )
    nested = dataclasses.replace(history, pool_timeouts=timeouts)
    assert "64 x (2 - 1) + 1 = 65 connections or more" in refused(written(tmp_path / "x", nested))
    unsaid = {"name": "referrals", "command": "uvicorn app:app --port {port}", "releases": ("1.1.1",)}
    words = refused(written(tmp_path / "y", nested, target=unsaid))
    assert "T x (2 - 1) + 1 connections or more; how many that may be" in words
    assert "64" not in words


def test_requests_that_hold_two_connections_at_once_are_nested_in_a_healthy_run_too(tmp_path: Path) -> None:
    history = measured()
    twice = tuple(
        dataclasses.replace(row, checkouts=2 * row.checkouts, held_s=2 * row.held_s) for row in history.sites
    )
    words = refused(written(tmp_path / "x", dataclasses.replace(history, sites=twice)))
    assert "takes 2.0 connections of pool replica" in words


def test_a_run_without_an_agent_or_with_an_unknown_verdict_is_refused(tmp_path: Path) -> None:
    assert "no agent" in refused(written(tmp_path / "x", histories.without_agent(measured())))
    lost = dataclasses.replace(measured(), generator=())
    assert "its verdict is unknown" in refused(written(tmp_path / "y", lost))


def test_runs_of_two_services_or_releases_are_not_joined(tmp_path: Path) -> None:
    this, other = written(tmp_path / "x", measured()), written(tmp_path / "y", measured(), release="1.0")
    with pytest.raises(UsageError, match="different services or releases"):
        read_for_sizing([this, other], None)


def test_two_runs_show_how_much_longer_busy_servers_keep_connections(tmp_path: Path) -> None:
    calm = written(tmp_path / "x", measured(hold_s=0.1, replica_cores=0.05, service_cores=0.01))
    busy = written(tmp_path / "y", measured(hold_s=0.16, replica_cores=0.25, service_cores=0.01, per_s=60))
    found = read_for_sizing([calm, busy], None)
    assert found.growth is not None
    assert found.growth["replica"] == pytest.approx(0.84, abs=0.1)  # 1 / 0.1 at 10 %, 1 / 0.16 at 50 %
    assert found.requests_per_s == pytest.approx(120)


@pytest.mark.parametrize(("share", "grows"), [(0.8, True), (0.1, False)])
def test_another_mix_of_requests_is_no_growth_of_holds(share: float, *, grows: bool) -> None:
    """Slow requests are more of the busy run's; each kind is held as long as in the calm one, or longer."""

    def demand(per_s: float, slow: float, cpu: float, longer: float) -> Demand:
        kinds = [("slow", slow, 0.4), ("fast", 1 - slow, 0.04)]
        endpoints = tuple(
            EndpointDemand(name, part, (Use("replica", 1.0, Durations((longer * hold_s,), 500)),), 0.0)
            for name, part, hold_s in kinds
        )
        plain = read_demand("runs/x", scenario(), measured(**QUIET))
        return dataclasses.replace(plain, requests_per_s=per_s, endpoints=endpoints, cpu={"replica": cpu})

    busy = demand(80, 0.8, 0.6, 1.5 if grows else 1.0)
    found = joined([demand(20, share, 0.1, 1.0), busy])
    assert found.growth is not None
    assert (found.growth["replica"] > 0.5) is grows
    assert found.growth["replica"] == pytest.approx(0.625 if grows else 0.0, abs=0.01)


def test_runs_without_the_same_requests_show_no_growth() -> None:
    plain = read_demand("runs/x", scenario(), measured(**QUIET))
    others = tuple(dataclasses.replace(one, name=f"other {one.name}") for one in plain.endpoints)
    calm = dataclasses.replace(plain, requests_per_s=1.0, endpoints=others, cpu={"replica": 0.9})
    assert joined([calm, plain]).growth is None


def test_more_connections_than_any_pool_has_are_said_and_not_recommended() -> None:
    plain = read_demand("runs/x", scenario(), measured(**QUIET))
    endpoints = (EndpointDemand("slow", 1.0, (Use("replica", 1.0, Durations((60.0,), 500)),), 0.0),)
    slow = dataclasses.replace(
        plain,
        endpoints=endpoints,
        think_s=0.0,
        latency_s=60.0,
        pools=(dataclasses.replace(plain.pools[0], waited_p99_s=None, hold=Durations((60.0,), 500)),),
    )
    setting = dataclasses.replace(measured_setting(slow), customers=2500, threads=None)
    (found,) = size_pools(slow, setting, max_connections=None).pools
    assert (found.pool_size, found.enough, found.rows) == (None, None, ())
    assert "up to 2,500 connections out at once without a limit, and waits with 2,000" in found.reasons[0]


def test_what_is_no_run_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(RunDataError):
        read_for_sizing([tmp_path], None)
    with pytest.raises(UsageError, match="leave it out"):
        read_for_sizing([written(tmp_path / "x", measured(**QUIET))], 60.0)


def test_all_paths_that_are_no_runs_are_named_at_once_and_before_a_run_that_holds_too_little(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.prom").touch()
    leaking = save(tmp_path / "leaking", histories.incident(), histories.rush_hour()).path
    whole = written(tmp_path / "whole", measured(**QUIET))
    paths = [leaking, tmp_path / "typo", whole, tmp_path / "empty", tmp_path / "a.prom"]
    assert _exit_of(["size", *map(str, paths)]) == 64
    printed = capsys.readouterr()
    assert not printed.out
    assert f"{tmp_path / 'typo'}: no such run or file" in printed.err
    assert f"{tmp_path / 'empty'}: no scenario.json" in printed.err
    assert "leak (" not in printed.err


def test_all_runs_that_hold_too_little_are_named_at_once(tmp_path: Path) -> None:
    leaking = save(tmp_path / "leaking", histories.incident(), histories.rush_hour()).path
    whole = written(tmp_path / "whole", measured(**QUIET))
    short = written(tmp_path / "short", measured(seconds=8, **QUIET))
    first, second = refused(leaking, whole, short).splitlines()
    assert first.startswith("leaking: connections leak")
    assert second.startswith("short: ")


def test_a_run_is_not_a_second_one_of_itself(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole", measured(**QUIET))
    (tmp_path / "latest").symlink_to(whole)
    with pytest.raises(RunDataError, match="latest: named twice"):
        read_for_sizing([whole, tmp_path / "latest"], None)


def test_both_scraped_texts_that_are_none_are_named(tmp_path: Path) -> None:
    for name in ("a.prom", "b.prom"):
        (tmp_path / name).write_text("up 1\n", encoding="utf-8")
    with pytest.raises(RunDataError, match=r"a\.prom: no histogram .*\nb\.prom: no histogram"):
        read_for_sizing([tmp_path / "a.prom", tmp_path / "b.prom"], 3600.0)


def test_the_command_prints_a_table_or_objects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "x", measured(**QUIET))
    assert cli.main([("size"), str(path)], standalone_mode=False) == 0
    shown = capsys.readouterr().out
    assert "pool_size=" in shown
    assert "the smallest" in shown
    assert "(as run)" in shown
    assert cli.main(["size", str(path), "--json", "--instances", "2"], standalone_mode=False) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["pool"] == "replica"
    assert found["instances"] == 2
    assert {row["capacity"] for row in found["rows"]} >= {found["enough"]}
    assert set(found["rows"][0]["wait_p99_s"]) == {"value", "low", "high"}


def test_programs_get_a_refusal_as_an_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leaking = save(tmp_path / "x", histories.incident(), histories.rush_hour()).path
    assert cli.main(["size", str(leaking), "--json"], standalone_mode=False) == 2
    (found,) = json.loads(capsys.readouterr().out)
    assert "connections leak" in found["error"]
    assert cli.main(["size", str(tmp_path), "--json"], standalone_mode=False) == 64
    (found,) = json.loads(capsys.readouterr().out)
    assert "not a run directory" in found["error"]
