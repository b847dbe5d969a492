"""Which cause a run is given, with which evidence; test_diagnosis_leaks.py tells kinds of leak apart."""

import dataclasses
import re

import pytest

from rushhour.diagnosis import RULES, Diagnosis, diagnose
from rushhour.diagnosis.signals import read_signals
from rushhour.metrics.measure import measure
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.scenario.model import CAUSES
from tests.unit import histories as h


def diagnosed(history: History) -> Diagnosis:
    return diagnose(history, measure(h.scenario(), history))


def signals(diagnosis: Diagnosis) -> dict[str, float | str]:
    return {one.signal: one.value for one in diagnosis.evidence}


@pytest.mark.parametrize(
    ("history", "cause", "confidence"),
    [
        (h.healthy(), "none", "certain"),
        (h.incident(), "scope-never-removed", "certain"),
        (h.incident(timeouts=0), "scope-never-removed", "certain"),
        (h.staging(leaked=5), "scope-never-removed", "certain"),
        (h.staging(leaked=1), "scope-never-removed", "likely"),
        (h.unclosed(), "unclosed-path", "certain"),
        (h.unclosed(every=3), "unclosed-path", "certain"),
        (h.saturated(), "saturation", "certain"),
        (h.dead_backend(), "slow-or-dead-backend", "certain"),
        (h.without_agent(h.incident()), "scope-never-removed", "possible"),
        (h.without_agent(h.unclosed()), "unclosed-path", "possible"),
        (h.without_agent(h.healthy()), "none", "possible"),
        (h.cut_short(h.incident(), 60), "scope-never-removed", "certain"),
        (History(environment=None), "none", "possible"),
    ],
)
def test_each_story_has_its_cause(history: History, cause: str, confidence: str) -> None:
    found = diagnosed(history)
    assert (found.cause, found.confidence) == (cause, confidence)
    assert found.cause in CAUSES
    assert found.summary
    assert all(one.source for one in found.evidence), "evidence that cannot be looked up"
    assert bool(found.fix) == (cause != "none")


def test_the_incident_is_diagnosed_with_its_numbers_and_its_line() -> None:
    found = diagnosed(h.incident())
    assert found.summary == (
        "30 of 30 connections of pool replica are held by requests that have ended, taken at "
        "app/referrals.py:88 list_referrals, one for each of 30 threads; since the load began, "
        "2,250 requests were answered with 30 check-outs: later requests of a thread use what "
        "its first one took, so a thread-local session is never removed."
    )
    top = found.call_sites[0]
    assert (top.file, top.line, top.function) == ("app/referrals.py", 88, "list_referrals")
    assert (top.endpoint, top.pool, top.held, top.leaked) == (h.ROUTE, "replica", 30, 30)
    # The first was taken 12 s into the load, the watch ended at 77 s.
    assert top.max_hold_s == pytest.approx(65)
    assert signals(found)["oldest of them"] == 65
    assert "remove()" in found.fix


def test_queries_that_wait_behind_leaked_transactions_are_the_leaks_doing() -> None:
    """A replica comes to the lock of a vacuum, which leaked transactions refuse; queries queue behind it."""
    leaked, stuck = 11, 19
    story = h.Story(users=800)
    story.requests(h.LIST, 30, 36, seconds=range(12, 41))
    story.pool(
        "replica",
        lambda t: h.Level(
            out=min(leaked, int(t)) if t < 41 else leaked + stuck,
            leaked=min(leaked, int(t)),
            waiting=0 if t < 41 else 34,
            timeouts=0 if t < 71 else 20,
            checkouts=min(leaked, int(t)) if t < 41 else leaked + stuck,
        ),
    )
    for number in range(leaked):
        story.checkout(number, 12.0 + number, thread=f"t{number}")
    for number in range(leaked, leaked + stuck):
        story.checkout(number, 41.0, thread=f"t{number}", request_ended_s=None, in_driver=300)
    story.site(checkouts=leaked + stuck, held_s=0.0)
    for late in range(71, 75):
        story.timeout(late)
        story.requests(h.LIST, 5, 30_010, f.Outcome.QUEUEPOOL_TIMEOUT, range(late, late + 1))
    story.server("replica", {"idle in transaction": leaked}, range(41))
    states = {"idle in transaction": leaked, "active": stuck}
    behind_it = tuple(
        f.Backend(9000 + number, "active", "Lock:relation", 5.0) for number in range(leaked, leaked + stuck)
    )
    story.server("replica", states, range(41, 77), waits={"Lock:relation": stuck}, backends=behind_it)
    found = diagnosed(story.history())
    assert (found.cause, found.confidence) == ("scope-never-removed", "certain")
    assert "requests were answered with 11 check-outs" in found.summary
    (behind,) = (one for one in found.amplifiers if "waited for a lock" in one)
    assert behind.startswith("up to 19 backends of the replica waited for a lock, for 35 s, while 11 leaked")
    assert not any(one.startswith(("saturation", "slow")) for one in found.amplifiers)


def test_call_sites_are_ranked_by_connection_seconds() -> None:
    sites = diagnosed(h.healthy()).call_sites
    assert [(one.function, one.held_s, one.held) for one in sites] == [
        ("list_referrals", 76.0, 0),
        ("summary", 22.0, 0),
    ]


def test_the_leaking_line_comes_first_though_another_held_for_longer() -> None:
    story = h.Story()
    story.site(checkouts=90_000, held_s=99_000.0, pool="primary", site=h.OTHER_SITE, endpoint=h.SUMMARY)
    story.site(checkouts=1, held_s=0.0)
    story.checkout(1, 20.0, thread="t1")
    story.pool("replica", lambda t: h.Level(out=1, leaked=1, checkouts=1))
    assert [one.function for one in diagnosed(story.history()).call_sites] == ["list_referrals", "summary"]


def test_saturation_is_arrivals_times_hold_against_capacity() -> None:
    found = diagnosed(h.saturated())
    # 7 check-outs a second and 20 time-outs in 55 s, each holding a connection for 5.8 s.
    assert signals(found)["connections wanted"] == pytest.approx(45, abs=1)
    assert signals(found)["still out when the watch ended"] == 0
    assert found.amplifiers == (
        "CPU of the replica at 98% of its limit while the pool was full: every query took longer",
    )


def test_a_full_pool_without_waiters_is_not_saturation() -> None:
    story = h.Story()
    story.pool("replica", lambda t: h.Level(out=30 if t < 75 else 0, checkouts=int(t * 30)))
    assert diagnosed(story.history()).cause == "none"


@pytest.mark.parametrize(("full_s", "cause"), [(2.0, "none"), (6.0, "saturation")])
def test_a_pool_that_absorbs_a_short_burst_is_not_saturated(full_s: float, cause: str) -> None:
    story = h.Story()

    def level(t: float) -> h.Level:
        full = 40 <= t < 40 + full_s
        return h.Level(out=30 if full else 3, waiting=12 if full else 0, checkouts=int(t * 30))

    story.pool("replica", level)
    assert diagnosed(story.history()).cause == cause


def test_a_pool_that_is_full_in_bursts_says_what_is_wanted_on_average() -> None:
    story = h.Story()
    story.pool(
        "replica",
        lambda t: h.Level(
            out=30 if 40 <= t < 50 else 1, waiting=40 if 40 <= t < 50 else 0, checkouts=int(t * 26)
        ),
    )
    for second in range(75):
        story.add(
            "times", f.PoolTimes(h.STARTED_S + second, h.PID, "replica", hold_us={1 << 13: 20, 1 << 16: 6})
        )
    found = diagnosed(story.history())
    assert (found.cause, found.confidence) == ("saturation", "possible")  # no server was observed
    assert re.search(r"want 0\.[1-9] on average, so that bursts filled it;", found.summary), found.summary


def test_connections_held_while_no_query_runs_are_saturation_only_possibly() -> None:
    history = h.saturated()
    idle = tuple(dataclasses.replace(one, states={"idle in transaction": 30}) for one in history.servers)
    assert diagnosed(dataclasses.replace(history, servers=idle)).confidence == "possible"


def test_a_dead_server_is_named_with_what_it_did() -> None:
    found = diagnosed(h.dead_backend())
    assert found.summary.startswith(
        "The replica was slow or did not answer: it gave the observer no answer for"
    )
    assert "up to 18 connections were stuck in connect, ping or reset" in found.summary
    assert signals(found)["pools of other servers"] == "never full"


def test_a_server_that_hiccups_is_no_dead_one() -> None:
    history = h.saturated()
    blip = tuple(
        dataclasses.replace(one, error="time-out") if one.server == "replica" and 40 <= one.t_s < 42 else one
        for one in history.servers
    )
    assert diagnosed(dataclasses.replace(history, servers=blip)).cause == "saturation"


def test_lock_waits_point_at_the_server() -> None:
    history = h.saturated()
    locked = tuple(
        dataclasses.replace(one, states={"active": 28}, waits={"Lock:transactionid": 27})
        if one.server == "replica"
        else one
        for one in history.servers
    )
    found = diagnosed(dataclasses.replace(history, servers=locked))
    assert found.cause == "slow-or-dead-backend"
    assert "up to 27 backends waited for a lock" in found.summary
    assert found.amplifiers[0].startswith("saturation: Pool replica was full")


def test_slow_connects_point_at_the_server() -> None:
    history = h.saturated()
    slow = f.PoolTimes(h.STARTED_S + 30, h.PID, "replica", create_us={4_194_304: 8, 16_384: 2})
    opening = tuple(dataclasses.replace(sample, live=sample.checked_out // 3) for sample in history.pools)
    found = diagnosed(dataclasses.replace(history, times=(*history.times, slow), pools=opening))
    assert found.cause == "slow-or-dead-backend"
    assert "8 of 10 connections took over 1 s to open" in found.summary


def test_a_small_leak_does_not_explain_a_saturated_pool() -> None:
    history = h.saturated()
    story = h.Story()
    story.checkout(1, 20.0, thread="t1")
    story.checkout(2, 21.0, thread="t2")
    leaking = tuple(
        dataclasses.replace(one, leaked=2) if one.pool == "replica" and one.t_s > 30 else one
        for one in history.pools
    )
    found = diagnosed(dataclasses.replace(history, pools=leaking, checkouts=tuple(story.facts["checkouts"])))
    assert found.cause == "saturation"
    assert found.amplifiers[0].startswith("unclosed-path: 2 of 30 connections")


def test_timeouts_that_no_rule_explains_are_said_to_be_unexplained() -> None:
    story = h.Story()
    story.timeout(50.0)
    story.pool("replica", lambda t: h.Level(out=3, timeouts=int(t >= 50)))
    found = diagnosed(story.history())
    assert (found.cause, found.confidence) == ("none", "possible")
    assert found.summary == "1 pool time-out, and no known cause fits what was observed."


def test_retries_are_an_amplifier() -> None:
    history = h.incident()
    retrying = tuple(dataclasses.replace(one, retries=20) for one in history.generator)
    amplifiers = diagnosed(dataclasses.replace(history, generator=retrying)).amplifiers
    assert any(one.startswith("retries: 1,300 of 5,215 requests") for one in amplifiers)


def test_a_rule_finds_nothing_in_an_empty_history() -> None:
    empty = History(environment=None)
    nothing = read_signals(empty, measure(h.scenario(), empty))
    assert [rule(nothing) for rule in RULES] == [None] * len(RULES)


def test_a_small_leak_of_another_pool_does_not_explain_a_saturated_one() -> None:
    history = h.saturated()
    story = h.Story()
    story.checkout(1, 20.0, thread="t1", pool="primary", site=h.OTHER_SITE, endpoint=h.SUMMARY)
    found = diagnosed(dataclasses.replace(history, checkouts=tuple(story.facts["checkouts"])))
    assert found.cause == "saturation"
    assert found.amplifiers[0].startswith("unclosed-path: 1 of 30 connections of pool primary is held")
