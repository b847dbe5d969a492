"""Forecasts of leaks, from runs of a few testers: whether they exhaust a pool, which and when."""

import dataclasses

import pytest

from rushhour.scenario.model import Production, ProductionPool
from tests.unit import histories
from tests.unit.forecast_testers import PUSHED, TARGET, few_testers, made, scenario
from tests.unit.histories import SITE


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


def test_fewer_threads_than_connections_cannot_lose_them_all() -> None:
    found = made(few_testers(), dataclasses.replace(PUSHED, threads=16))
    assert found.exhausts == "no"
    assert any("16 threads and 30 connections" in reason for reason in found.reasons)


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


def test_a_path_that_leaks_needs_no_threads() -> None:
    given = scenario(target={**TARGET, "command": "gunicorn"})
    assert made(few_testers("path"), Production(customers=20), given).exhausts == "yes"


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


@pytest.mark.parametrize("customers", [1, 100_000, 10_000_000])
def test_any_number_of_customers_is_forecast(customers: int) -> None:
    found = made(few_testers(), dataclasses.replace(PUSHED, customers=customers), repeats=1)
    assert found.exhausts == ("no" if customers == 1 else "yes")
    day = Production(customers=customers, day="07:00 10%, 12:00 40%, 18:00 100%, 18:30 push 20%, 22:00 5%")
    assert made(few_testers(), day, repeats=1).exhausts == ("no" if customers == 1 else "yes")
