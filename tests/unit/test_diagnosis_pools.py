"""Pools that wait for each other, owners that take a whole pool, leaks that look like other causes."""

import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from rushhour.diagnosis import Diagnosis, diagnose
from rushhour.diagnosis.sites import at
from rushhour.metrics.measure import measure
from rushhour.rundir import History
from rushhour.rundir import facts as f
from tests.unit import histories as h
from tests.unit import zoo_histories as zoo

LOAD_S = 30
FULL_FROM_S = 5
SECOND = f.CallSite("app/audit.py", 7, "audit")
LOOP = f.CallSite("app/consumer.py", 21, "consume")


def diagnosed(history: History) -> Diagnosis:
    scenario = h.scenario(load={"users": 80, "duration": float(LOAD_S)})
    return diagnose(history, measure(scenario, history))


def full(story: h.Story, pool: str, waiting: int, *, timeouts: int = 20, **looks: int) -> None:
    """A pool that is full with a queue, whose holders are seen at something."""
    story.pool(
        pool,
        lambda t: (
            h.Level(h.CAPACITY, waiting=waiting, timeouts=timeouts, checkouts=int(t * 9))
            if FULL_FROM_S <= t < LOAD_S
            else h.Level(0, timeouts=timeouts if t >= LOAD_S else 0, checkouts=int(t * 9))
        ),
    )
    counts: dict[str, Any] = {"driver": 0, "queue": 0, "elsewhere": 0, "streaming": 0, "sending": 0} | looks
    what = max(looks, key=lambda name: looks[name])
    place = f.Place(what, h.SITE, SECOND, looks[what])
    for second in range(FULL_FROM_S, LOAD_S):
        story.add(
            "doing", f.PoolDoing(h.STARTED_S + second, h.PID, pool, **counts, places=(place,), lines=())
        )


def two_pools(*, replica: dict[str, int], holding_other: int = 0) -> History:
    """Requests take a connection to the primary and, with it, ask for one to the replica."""
    story = h.Story(duration_s=LOAD_S, users=80)
    story.requests(h.LIST, 10, 3000)
    story.requests(h.LIST, 2, 30_010, f.Outcome.QUEUEPOOL_TIMEOUT, range(10, LOAD_S))
    full(story, "primary", 40, other_pool=9, driver=1)
    full(story, "replica", 20, **replica)
    for number in range(20):
        at = h.STARTED_S + 8 + number
        story.add(
            "pool_timeouts",
            f.PoolTimeout(at, h.PID, "replica", SECOND, h.ROUTE, 2.0, holding_other=holding_other),
        )
    story.server("primary", {"idle in transaction": 30}, range(LOAD_S))
    return story.history()


def test_a_pool_whose_holders_wait_for_another_pool_is_not_the_trouble() -> None:
    history = two_pools(replica={"driver": 20})
    servers = h.Story(duration_s=LOAD_S)
    servers.server("replica", {"active": 29, "idle in transaction": 1}, range(LOAD_S))
    found = diagnosed(dataclasses.replace(history, servers=(*history.servers, *servers.facts["servers"])))
    assert found.cause == "saturation"
    assert "Pool replica was full" in found.summary
    assert any(
        "holders of pool primary waited for a connection of pool replica" in text for text in found.amplifiers
    )


def test_two_pools_whose_holders_wait_for_each_other_are_a_nested_check_out() -> None:
    found = diagnosed(two_pools(replica={"other_pool": 20}, holding_other=1))
    assert found.cause == "nested-checkout"
    assert "of pool primary, whose holders wait for this one in turn" in found.summary
    assert "app/audit.py:7 audit" in found.summary


@pytest.mark.parametrize(
    ("working", "others", "seen", "confidence"),
    [
        (29, "idle in transaction", True, "certain"),
        (29, "idle in transaction", False, "possible"),  # whose they are is not known
        (12, "active", True, "possible"),
    ],
)
def test_backends_of_another_engine_to_the_server_say_nothing_of_a_pool(
    working: int, others: str, seen: bool, confidence: str
) -> None:
    """A report's small engine is saturated, while its requests keep connections of a larger one."""
    history = h.saturated()
    own = Counter({"active": working, "idle in transaction": h.CAPACITY - working})
    theirs = tuple(f.Backend(7000 + number, others, None, 0.3) for number in range(40))
    servers = tuple(
        dataclasses.replace(sample, states=own + Counter({others: 40}), backends=theirs)
        if sample.server == "replica"
        else sample
        for sample in history.servers
    )
    story = h.Story()
    for number in range(40 if seen else 0):
        story.checkout(
            number,
            0.0,
            f"t{number}",
            pool="replica#2",
            server_pid=7000 + number,
            request_ended_s=None,
            returned_s=h.STARTED_S + 74,
        )
    checkouts = tuple(story.facts.get("checkouts", ()))
    history = dataclasses.replace(history, servers=servers, checkouts=checkouts)
    found = diagnose(history, measure(h.scenario(), history))
    assert (found.cause, found.confidence) == ("saturation", confidence)


def takes_again(*, owners: int, each: int, lines: int = 1) -> History:
    """Consumers that run for as long as the service, and take connection after connection."""
    story = h.Story(duration_s=LOAD_S, users=80)
    story.requests(h.LIST, 10, 30)
    story.requests(h.LIST, 2, 30_010, f.Outcome.QUEUEPOOL_TIMEOUT, range(10, LOAD_S))
    full(story, "replica", 20, queue=20)
    for number in range(owners * each):
        site = dataclasses.replace(LOOP, line=LOOP.line + number % lines)
        story.checkout(
            number,
            3.0,
            f"consumer-{number % owners}",
            site=site,
            stack=(f"{site.file}:{site.line} {site.function}",),
            endpoint=None,
            owner=number % owners,
            request_ended_s=None,
        )
    for number in range(20):
        at = h.STARTED_S + 8 + number
        story.add("pool_timeouts", f.PoolTimeout(at, h.PID, "replica", LOOP, None, 2.0, holding=each))
    story.server("replica", {"idle in transaction": 30}, range(LOAD_S))
    return story.history()


@pytest.mark.parametrize(("owners", "each"), [(1, 30), (3, 10)])
def test_owners_that_take_connection_after_connection_at_one_line_close_none(owners: int, each: int) -> None:
    found = diagnosed(takes_again(owners=owners, each=each))
    assert (found.cause, found.confidence) == ("unclosed-path", "likely")
    assert "30 of 30 connections of pool replica" in found.summary
    assert "at app/consumer.py:21 consume and gave none back" in found.summary


def test_owners_that_take_two_connections_wait_for_each_other() -> None:
    assert diagnosed(takes_again(owners=15, each=2)).cause == "nested-checkout"
    assert diagnosed(takes_again(owners=10, each=3, lines=30)).cause == "nested-checkout"


def leak_without_a_limit(leaked: int) -> History:
    """Each request opens a connection of its own (NullPool), until the server refuses another one."""
    story = h.Story(duration_s=LOAD_S, users=80)
    story.requests(h.LIST, 10, 30)
    story.requests(h.LIST, 5, 30, f.Outcome.HTTP_5XX, range(20, LOAD_S))
    for number in range(leaked):
        story.checkout(number, number / 10, f"t{number}", site=LOOP, owner=number)
    story.site(checkouts=leaked, held_s=10.0, site=LOOP)
    story.pool("replica", lambda t: h.Level(min(leaked, int(t * 10)), leaked=min(leaked, int(t * 10))))
    story.facts["pools"] = [
        dataclasses.replace(sample, kind="NullPool", size=0, max_overflow=-1)
        for sample in story.facts["pools"]
    ]
    story.server(
        "replica", {"idle in transaction": 97}, range(LOAD_S + 2), connections=97, max_connections=100
    )
    story.event(20.0, f.LOG_ERRORS, source="service", kinds={"server_limit": 40}, errors=40)
    return story.history()


def test_a_server_that_is_full_of_leaked_connections_is_not_too_small() -> None:
    found = diagnosed(leak_without_a_limit(90))
    assert found.cause in ("unclosed-path", "scope-never-removed")
    assert any(text.startswith("server-limit: ") for text in found.amplifiers)
    assert diagnosed(leak_without_a_limit(3)).cause == "server-limit"


@pytest.mark.parametrize(("left", "cause"), [(94, "unclosed-path"), (3, "server-limit")])
def test_nor_is_it_where_only_the_server_shows_that_they_leaked(left: int, cause: str) -> None:
    history = h.without_agent(leak_without_a_limit(90))
    kept = tuple(f.Backend(9000 + number, "idle in transaction", None, 25.0) for number in range(left))
    servers = tuple(dataclasses.replace(one, backends=kept) for one in history.servers)
    found = diagnosed(dataclasses.replace(history, servers=servers))
    assert (found.cause, found.confidence != "certain") == (cause, True)


@pytest.mark.parametrize(("leaked", "cause"), [(30, "unclosed-path"), (2, "blocked-worker")])
def test_a_loop_that_waits_for_a_pool_which_leaked_whole_is_not_the_cause(leaked: int, cause: str) -> None:
    story = h.Story(duration_s=LOAD_S, users=80)
    story.requests(h.LIST, 2, 30, seconds=range(10))
    story.requests(h.LIST, 1, 30_010, f.Outcome.QUEUEPOOL_TIMEOUT, range(10, LOAD_S))
    for number in range(leaked):
        story.checkout(number, number / 10, "MainThread", site=LOOP, owner=number, by_task=True)
    story.site(checkouts=max(leaked, 5), held_s=10.0, site=LOOP)
    story.pool("replica", lambda t: h.Level(leaked, leaked=leaked, timeouts=int(t), checkouts=leaked))
    for second in range(LOAD_S):
        loop = f.LoopSample(
            h.STARTED_S + second, h.PID, samples=10, blocked=9, site=LOOP, at_site=9, driver=9
        )
        story.add("loops", loop)
    story.server("replica", {"active": 1, "idle in transaction": 29}, range(LOAD_S + 2))
    assert diagnosed(story.history()).cause == cause


def renamed(history: History) -> History:
    """The same history, in which the pool is the process's second one to its server."""
    names = ("pools", "checkouts", "sites", "pool_timeouts", "times", "doing", "inherited")
    changed: dict[str, Any] = {
        name: tuple(
            dataclasses.replace(fact, pool="replica#2") if fact.pool == "replica" else fact
            for fact in getattr(history, name)
        )
        for name in names
    }
    return dataclasses.replace(history, **changed)


@pytest.mark.parametrize(
    "told",
    [
        *(zoo.nested, zoo.external, zoo.stream, zoo.saturated, zoo.black_hole, zoo.hot_row),
        *(zoo.own_second_session, h.incident, h.unclosed, h.saturated, h.dead_backend, h.healthy),
    ],
)
def test_a_second_engine_to_a_server_is_judged_by_what_that_server_says(told: Callable[[], History]) -> None:
    first, second = zoo.diagnosed(told()), zoo.diagnosed(renamed(told()))
    assert (second.cause, second.confidence) == (first.cause, first.confidence)
    assert len(second.evidence) == len(first.evidence)


@pytest.mark.parametrize(
    ("told", "cause"), [(zoo.external, "held-across-external-wait"), (zoo.stream, "abandoned-stream")]
)
def test_a_few_long_holds_do_not_speak_for_many_short_ones(told: Callable[[], History], cause: str) -> None:
    """Only holds of a tenth of a second are looked at: one of them may stand where the others never are."""
    history = told()
    full_s = [sample.t_s for sample in history.pools if sample.checked_out >= h.CAPACITY]

    def with_short(share: float) -> History:
        holds = round(share * h.CAPACITY / 0.05)  # of 50 ms, in each second
        times = tuple(
            f.PoolTimes(at, h.PID, "replica", hold_us={65_536: holds})
            for at in range(int(full_s[0]) + 1, int(full_s[-1]) + 1)
        )
        return dataclasses.replace(history, times=times)

    assert zoo.diagnosed(with_short(0.1)).cause == cause
    doubted = zoo.diagnosed(with_short(0.7))
    assert doubted.confidence == "possible"
    assert any("in holds of a tenth of a second or less" in str(item.value) for item in doubted.evidence)
    assert zoo.diagnosed(with_short(1.0)).cause == "saturation"


@pytest.mark.parametrize(("then", "cause"), [(False, "nested-checkout"), (True, "saturation")])
def test_short_holds_speak_only_for_the_time_in_which_those_waited_who_were_turned_away(
    then: bool, cause: str
) -> None:
    """A pool that is often full for a moment, and once stands still for as long as its time-out."""
    story = zoo.story()
    zoo.full_pool(story, timeouts=0)
    zoo.doing(story, queue=6)
    late = [f.PoolTimeout(h.STARTED_S + 5, h.PID, "replica", SECOND, h.ROUTE, 2.0, holding=1)] * 20
    story.add("pool_timeouts", *late)
    history = story.history()
    at_once = round(h.CAPACITY / 0.05)
    moments = range(round(h.STARTED_S) + 2, round(h.STARTED_S) + zoo.LOAD_S)
    times = tuple(
        f.PoolTimes(at, h.PID, "replica", hold_us={65_536: at_once})
        for at in moments
        if then or not h.STARTED_S + 3 < at <= h.STARTED_S + 5
    )
    pools = tuple(
        dataclasses.replace(one, timeouts=20) if one.t_s >= h.STARTED_S + 5 else one for one in history.pools
    )
    assert zoo.diagnosed(dataclasses.replace(history, times=times, pools=pools)).cause == cause


def test_connections_that_nobody_was_seen_to_work_with_while_their_backends_idle_are_not_at_work() -> None:
    """Nobody knows what they are held for: nothing is named rather than that too few are there."""
    story = zoo.story()
    zoo.full_pool(story)
    zoo.doing(story, unseen=60)
    zoo.backends(story, "idle in transaction", lambda _: 0.9)
    found = zoo.diagnosed(story.history())
    assert found.cause == "none"
    assert any("could not find who works with the connection" in str(item.value) for item in found.evidence)


def test_a_few_looks_that_found_nobody_say_nothing_of_holds_that_are_too_short_for_looks() -> None:
    story = zoo.story()
    zoo.full_pool(story)
    story.add("doing", f.PoolDoing(h.STARTED_S + 5, h.PID, "replica", 0, 0, 0, 0, unseen=2))
    zoo.backends(story, "idle in transaction", lambda _: 0.02)
    times = tuple(
        f.PoolTimes(h.STARTED_S + second, h.PID, "replica", hold_us={65_536: round(h.CAPACITY / 0.05)})
        for second in range(2, zoo.LOAD_S + 1)
    )
    found = zoo.diagnosed(dataclasses.replace(story.history(), times=times))
    assert (found.cause, found.confidence) == ("saturation", "possible")


def test_where_threads_are_turned_away_for_whose_work_the_holders_wait_is_where_the_second_is_asked_for() -> (
    None
):
    """Holders that wait for a thread stand at no line; a few others, at a partner's, do not matter."""
    story = zoo.story()
    zoo.full_pool(story)
    zoo.doing(story, behind=18, elsewhere=2)
    found = zoo.diagnosed(story.history())
    assert found.cause == "nested-checkout"
    assert f"at {at(h.SITE)}" in found.summary
    assert at(zoo.WAIT_SITE) not in found.summary


def test_a_lock_of_a_connection_that_came_back_with_its_transaction_is_said_as_such() -> None:
    history = zoo.hot_row()
    given_back = tuple(
        dataclasses.replace(
            sample,
            lock_waits=tuple(
                dataclasses.replace(wait, blocker_state="idle in transaction", blocker_state_s=3.0)
                for wait in sample.lock_waits
            ),
        )
        for sample in history.servers
    )
    blockers = {wait.blocked_by for sample in history.servers for wait in sample.lock_waits}
    back = tuple(
        dataclasses.replace(out, taken_s=1.0, returned_s=2.0) if out.server_pid in blockers else out
        for out in history.checkouts
    )
    found = zoo.diagnosed(dataclasses.replace(history, servers=given_back, checkouts=back))
    assert found.cause == "own-lock-chain"
    assert "pool_reset_on_return=None" in found.summary


def test_saturation_of_a_server_that_was_not_observed_is_only_possible() -> None:
    """Its queries may wait there for a lock, as for one on a table's metadata."""

    def judged(history: History) -> Diagnosis:
        return diagnose(history, measure(h.scenario(), history))

    assert judged(h.saturated()).confidence == "certain"
    found = judged(dataclasses.replace(h.saturated(), servers=(), doing=()))
    assert (found.cause, found.confidence) == ("saturation", "possible")
    assert "the server was not observed" in found.summary
    looks = tuple(
        f.PoolDoing(h.STARTED_S + second, h.PID, "replica", driver=9, queue=0, elsewhere=0, streaming=0)
        for second in range(20, 75)
    )
    looked_at = dataclasses.replace(h.saturated(), servers=(), doing=looks)
    assert judged(looked_at).confidence == "possible"


def test_a_pool_is_full_for_no_longer_than_its_process_lives() -> None:
    """A worker that a supervisor starts anew, again and again: its queue is that of all who waited for it."""
    history = zoo.saturated()
    assert zoo.diagnosed(history).confidence == "likely"
    lives = (h.STARTED_S + 5, h.STARTED_S + 9)
    one_after_another = tuple(
        dataclasses.replace(sample, pid=h.PID if lives[0] <= sample.t_s < lives[1] else other)
        for sample in history.pools
        for other in [h.PID + 1 if sample.t_s < lives[0] else h.PID + 2]
        if sample.pid == h.PID
    )
    calm = tuple(
        sample if sample.pid == h.PID else dataclasses.replace(sample, checked_out=1, live=1, waiting=0)
        for sample in one_after_another
    )
    found = zoo.diagnosed(dataclasses.replace(history, pools=calm))
    assert (found.cause, found.confidence) == ("saturation", "possible")
    assert "full for 3.8 s" in found.summary
    assert any("before or after it" in str(item.value) for item in found.evidence)


@pytest.mark.parametrize(("in_order", "confidence"), [(True, "likely"), (False, "possible")])
def test_workers_that_are_replaced_in_turn_keep_nobody_waiting_for_the_next(
    in_order: bool, confidence: str
) -> None:
    """As after so many requests each (gunicorn's max_requests): the others go on."""

    def worker(slot: int, t_s: float) -> int:
        return 1000 * (slot + 1) + int(t_s + slot * 1.3) // 6

    history = zoo.saturated()
    pools = tuple(
        dataclasses.replace(one, pid=worker(slot, one.t_s)) if one.pool == "replica" else one
        for one in history.pools
        for slot in range(4)
    )
    last_s = {one.pid: one.t_s for one in pools}
    process = history.processes[0]
    processes = tuple(
        dataclasses.replace(process, pid=pid, t_s=t_s, exited_s=t_s if in_order else None)
        for pid, t_s in last_s.items()
    )
    changed: dict[str, Any] = {
        name: tuple(dataclasses.replace(one, pid=worker(0, one.t_s)) for one in getattr(history, name))
        for name in ("doing", "pool_timeouts")
    }
    found = zoo.diagnosed(dataclasses.replace(history, pools=pools, processes=processes, **changed))
    assert (found.cause, found.confidence) == ("saturation", confidence)


def test_connections_that_are_being_opened_are_not_at_work() -> None:
    """The server, or something on the way, ends them again and again."""
    history = zoo.saturated()
    opening = tuple(
        sample if int(sample.t_s) % 3 == 0 else dataclasses.replace(sample, live=sample.checked_out // 10)
        for sample in history.pools
    )
    found = zoo.diagnosed(dataclasses.replace(history, pools=opening))
    assert "of them being opened, tested or reset" in found.summary
    assert found.fix.startswith("Find out what opening or testing a connection waits for")
    assert found.confidence == "possible"


def test_a_few_long_holds_whose_backends_idle_make_no_second_candidate_beside_a_busy_server() -> None:
    """Only holds of a second or longer are known one by one."""
    history = zoo.saturated()
    made = h.Story(duration_s=zoo.LOAD_S)
    for second in range(3, 18):
        for number in range(3):
            made.checkout(
                3 * second + number,
                second - 0.6,
                f"t{number}",
                server_pid=9000 + number,
                request_ended_s=None,
                returned_s=h.STARTED_S + second + 0.52,
            )
    servers = tuple(
        dataclasses.replace(
            one,
            backends=tuple(
                dataclasses.replace(backend, state="idle in transaction", state_s=0.05)
                if backend.pid < 9003
                else backend
                for backend in one.backends
            ),
        )
        for one in history.servers
    )
    checkouts = tuple(made.facts["checkouts"])
    found = zoo.diagnosed(dataclasses.replace(history, servers=servers, checkouts=checkouts))
    assert (found.cause, found.confidence) == ("saturation", "likely")
    assert "again and again" not in found.summary
    idle = tuple(dataclasses.replace(one, states={"idle in transaction": 30}) for one in servers)
    found = zoo.diagnosed(dataclasses.replace(history, servers=idle, checkouts=checkouts))
    assert (found.cause, found.confidence) == ("saturation", "possible")
    assert "again and again" in found.summary
