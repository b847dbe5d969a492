"""Histories of ordinary services, each with the right answer: a cause, or at least no wrong one."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from rushhour.diagnosis import Diagnosis, diagnose
from rushhour.metrics.measure import measure
from rushhour.rundir import History
from rushhour.rundir import facts as f
from tests.unit import histories as h
from tests.unit import zoo_histories as zoo


def refused_as_well(history: History, times: int) -> History:
    """The server is at its limit, and refuses this many connections, as while a release is rolled out."""
    errors = tuple(
        f.Event(
            h.STARTED_S + 2 + number / 100,
            f.LOG_ERRORS,
            {"source": "service", "queuepool_timeouts": 0, "errors": 1, "kinds": {"server_limit": 1}},
        )
        for number in range(times)
    )
    events = tuple(sorted((*history.events, *errors), key=lambda event: event.t_s))
    servers = tuple(dataclasses.replace(one, connections=98, max_connections=100) for one in history.servers)
    return dataclasses.replace(history, events=events, servers=servers)


@pytest.mark.parametrize(
    ("history", "cause"),
    [
        (zoo.nested, "nested-checkout"),
        (zoo.external, "held-across-external-wait"),
        (zoo.stream, "abandoned-stream"),
        (zoo.saturated, "saturation"),
    ],
)
def test_a_few_refused_connections_are_not_why_a_full_pool_turns_requests_away(
    history: Callable[[], History], cause: str
) -> None:
    assert zoo.diagnosed(history()).cause == cause
    found = zoo.diagnosed(refused_as_well(history(), 2))
    assert found.cause == cause
    assert any("server-limit" in amplifier for amplifier in found.amplifiers)


def test_as_many_time_outs_as_refusals_leave_two_candidates() -> None:
    found = zoo.diagnosed(refused_as_well(zoo.nested(), 30))
    assert (found.cause, found.confidence) == ("server-limit", "possible")
    assert "Or nested-checkout" in found.summary


def test_refusals_without_time_outs_stay_a_certain_server_limit() -> None:
    found = zoo.diagnosed(zoo.refused())
    assert (found.cause, found.confidence) == ("server-limit", "certain")


def behind_a_pooler(at_work: int, state: str = "active") -> History:
    """All holders wait for an answer; a pooler lets this many of them through to the server."""
    made = zoo.story()
    zoo.full_pool(made)
    made.requests(h.LIST, 3, 1_250)
    zoo.doing(made, driver=60)
    for number in range(h.CAPACITY):  # the pooler makes up the pids that clients see
        made.checkout(
            number, 3.0, f"t{number}", server_pid=500_000 + number, request_ended_s=None, returned_s=25.0
        )
    zoo.backends(made, state, lambda _: 0.3, count=at_work)
    made.add("times", f.PoolTimes(h.STARTED_S + 5, h.PID, "replica", hold_us={8_388_608: 80}))
    return made.history()


def test_a_pooler_in_front_of_the_server_is_no_certain_saturation() -> None:
    found = zoo.diagnosed(behind_a_pooler(5))
    assert found.confidence == "possible"
    assert any("as in a pooler" in str(one.value) for one in found.evidence)


def test_a_server_with_all_its_backends_at_work_is_saturated_for_certain() -> None:
    found = zoo.diagnosed(behind_a_pooler(h.CAPACITY))
    assert (found.cause, found.confidence) == ("saturation", "certain")


def said_against(history: History, cause: str) -> list[str]:
    return [
        str(one.value)
        for one in zoo.diagnosed(history).evidence
        if one.signal.startswith(f"against {cause},")
    ]


def test_what_waits_in_a_pooler_is_not_lost_between_the_service_and_its_server() -> None:
    """The pids that a pooler makes up are those of no backend: nothing says that theirs rest."""
    looked_at = tuple(dataclasses.replace(one, in_driver=90) for one in behind_a_pooler(5).checkouts)
    found = zoo.diagnosed(dataclasses.replace(behind_a_pooler(5), checkouts=looked_at))
    assert (found.cause, found.confidence) == ("saturation", "possible")


def test_locks_of_the_service_behind_a_pooler_are_possibly_its_own() -> None:
    history = zoo.hot_row()
    unjoined = tuple(
        dataclasses.replace(one, server_pid=500_000 + (one.server_pid or 0)) for one in history.checkouts
    )
    found = zoo.diagnosed(dataclasses.replace(history, checkouts=unjoined))
    assert (found.cause, found.confidence) == ("own-lock-chain", "possible")
    assert "as behind a pooler" in found.summary


def test_one_session_with_the_name_of_the_service_may_be_of_the_service() -> None:
    """As a migration with its own URL, or a process without the agent: whose lock it is was not seen."""
    found = zoo.diagnosed(zoo.locked_by(zoo.NAME))
    assert (found.cause, found.confidence) == ("slow-or-dead-backend", "possible")
    assert "or in a process without the agent" in said_against(zoo.locked_by(zoo.NAME), found.cause)[0]
    assert not said_against(zoo.locked_by("psql of user admin"), found.cause)


def asking_again(
    made: h.Story, every_s: float, state: str = "idle in transaction", driver: int = 6
) -> History:
    """Holders pause between two tries of what another request has on the server."""
    zoo.full_pool(made)
    made.requests(h.LIST, 3, 1_250)
    zoo.doing(made, driver=driver, elsewhere=60 - driver)
    zoo.backends(made, state, lambda _: every_s, count=h.CAPACITY)
    for number in range(h.CAPACITY):
        made.checkout(number, 3.0, f"t{number}", request_ended_s=None, returned_s=h.STARTED_S + 18)
    return made.history()


@pytest.mark.parametrize("state", ["idle in transaction", "idle"])
def test_a_lock_that_is_tried_again_and_again_is_no_certain_wait_for_the_world_outside(state: str) -> None:
    found = zoo.diagnosed(asking_again(zoo.story(), 0.03, state))
    assert (found.cause, found.confidence) == ("held-across-external-wait", "possible")
    assert "it is an own-lock-chain: who has it sets the pace" in found.summary


@pytest.mark.parametrize(("receiving", "confidence"), [(60, "certain"), (40, "possible"), (0, "possible")])
def test_who_asks_a_partner_again_and_again_tries_no_lock(receiving: int, confidence: str) -> None:
    """What a socket receives comes from outside, however often the server is asked in between."""
    history = asking_again(zoo.story(), 0.03)
    counts = (("socket", receiving), ("elsewhere", 60 - receiving))
    places = tuple(f.Place(what, h.SITE, zoo.WAIT_SITE, n) for what, n in counts if n)
    doing = tuple(dataclasses.replace(look, places=places) for look in history.doing)
    found = zoo.diagnosed(dataclasses.replace(history, doing=doing))
    assert (found.cause, found.confidence) == ("held-across-external-wait", confidence)
    assert ("own-lock-chain" in found.summary) is (confidence == "possible")
    assert "app/rewards.py:12" in found.summary


@pytest.mark.parametrize(
    ("driver", "cause"), [(40, "held-across-external-wait"), (50, "saturation"), (59, "saturation")]
)
def test_who_is_in_the_driver_while_its_backend_idles_reads_its_answer_late(driver: int, cause: str) -> None:
    """Without CPU most of a try is spent there; who inserts row after row is hardly ever elsewhere."""
    found = zoo.diagnosed(asking_again(zoo.story(), 0.03, driver=driver))
    assert (found.cause, found.confidence) == (cause, "possible")
    assert "it is an own-lock-chain: who has it sets the pace" in found.summary


def idle_without_a_transaction() -> History:
    """In autocommit a backend idles, as one that listens does, and no transaction is open."""
    servers = tuple(
        dataclasses.replace(
            one,
            states={"idle": 6},
            backends=tuple(dataclasses.replace(backend, state="idle") for backend in one.backends),
        )
        for one in zoo.external().servers
    )
    return dataclasses.replace(zoo.external(), servers=servers)


def test_a_connection_that_is_held_without_a_transaction_is_held_all_the_same() -> None:
    found = zoo.diagnosed(idle_without_a_transaction())
    assert (found.cause, found.confidence) == ("held-across-external-wait", "certain")


def slow_to_open(*, silent: bool) -> History:
    """Nearly all connections of a pool are still opening, which takes more than a second each."""
    made = zoo.story()
    zoo.full_pool(made)
    zoo.backends(made, "idle", lambda _: 1.0)
    made.facts["pools"] = [dataclasses.replace(one, live=0) for one in made.facts["pools"]]
    made.add("times", f.PoolTimes(h.STARTED_S + 5, h.PID, "replica", create_us={1 << 22: 20}))
    history = made.history()
    if not silent:
        return history
    servers = tuple(
        dataclasses.replace(one, error="no answer", backends=()) if one.server == "replica" else one
        for one in history.servers
    )
    return dataclasses.replace(history, servers=servers)


def test_only_a_silent_server_is_certainly_why_connections_are_slow_to_open() -> None:
    """The resolution of its name, TLS, a pooler or a hook that fetches a password is as slow."""
    found = zoo.diagnosed(slow_to_open(silent=True))
    assert (found.cause, found.confidence) == ("slow-or-dead-backend", "certain")
    assert "the resolution of its name" not in found.summary
    found = zoo.diagnosed(slow_to_open(silent=False))
    assert (found.cause, found.confidence) == ("slow-or-dead-backend", "possible")
    assert "the resolution of its name" in found.summary
    assert found.fix.startswith("Find out what opening or testing a connection waits for")
    assert "a name that is resolved slowly" in said_against(slow_to_open(silent=False), found.cause)[0]


@pytest.mark.parametrize(
    ("every", "cause"), [(1, "slow-or-dead-backend"), (2, "slow-or-dead-backend"), (5, "none")]
)
def test_a_process_that_seldom_runs_opens_connections_slowly_whatever_the_server_does(
    every: int, cause: str
) -> None:
    history = slow_to_open(silent=False)
    seen = tuple(one for one in history.pools if int(one.t_s) % every == 0)
    found = zoo.diagnosed(dataclasses.replace(history, pools=seen))
    assert (found.cause, found.confidence) == (cause, "possible")
    silent = dataclasses.replace(slow_to_open(silent=True), pools=seen)
    assert zoo.diagnosed(silent).cause == "slow-or-dead-backend"


@pytest.mark.parametrize(
    ("told", "cause", "at_most"),
    [
        (zoo.external, "held-across-external-wait", "likely"),
        (zoo.stream, "abandoned-stream", "likely"),
        (zoo.nested, "nested-checkout", "certain"),  # by what the time-outs say
    ],
)
@pytest.mark.parametrize("held", [20, 10])
def test_what_a_few_holders_do_is_not_certain_where_most_connections_are_still_opening(
    told: Callable[[], History], cause: str, at_most: str, held: int
) -> None:
    """In a process that seldom runs, so that its server is not why they are slow to open."""
    history = told()
    seen = tuple(
        dataclasses.replace(one, live=min(one.live, held)) for one in history.pools if int(one.t_s) % 5 == 0
    )
    found = zoo.diagnosed(dataclasses.replace(history, pools=seen))
    assert (found.cause, found.confidence) == (cause, at_most if held == 20 else "possible")


@pytest.mark.parametrize(("told", "confidence"), [(zoo.black_hole, "likely"), (h.dead_backend, "certain")])
def test_another_process_that_stands_still_does_not_clear_a_server(
    told: Callable[[], History], confidence: str
) -> None:
    def beside(history: History) -> Diagnosis:
        other = tuple(
            dataclasses.replace(one, pid=77, checked_out=1, live=1, waiting=0, timeouts=0)
            for one in history.pools
            if one.pool == "replica" and int(one.t_s) % 5 == 0
        )
        history = dataclasses.replace(history, pools=(*history.pools, *other))
        return diagnose(history, measure(h.scenario(), history))

    found = beside(told())
    assert (found.cause, found.confidence) == ("slow-or-dead-backend", confidence)
    found = beside(slow_to_open(silent=False))
    assert (found.cause, found.confidence) == ("slow-or-dead-backend", "possible")


BLOCKED = ("blocked-worker", "certain")


@pytest.mark.parametrize(
    ("lines", "loops", "driver", "elsewhere"),
    [
        (1, 4, BLOCKED, BLOCKED),  # one of four loops
        (1, 1, BLOCKED, BLOCKED),
        (5, 4, ("saturation", "possible"), ("held-across-external-wait", "possible")),
    ],
)
def test_who_waits_for_a_blocked_loop_says_nothing_of_what_it_waits_for(
    lines: int, loops: int, driver: tuple[str, str], elsewhere: tuple[str, str]
) -> None:
    for what, answer in (("driver", driver), ("elsewhere", elsewhere)):
        made = zoo.story()
        zoo.full_pool(made)
        zoo.doing(made, **{what: 60})
        zoo.backends(made, "idle in transaction", lambda _: 0.9, count=h.CAPACITY)
        for number in range(h.CAPACITY):
            seen: dict[str, Any] = {f"in_{what}" if what == "driver" else what: 60}
            ended_s = h.STARTED_S + 8
            made.checkout(number, 3.0, f"t{number}", request_ended_s=None, returned_s=ended_s, **seen)
        for second in range(zoo.LOAD_S):
            site = dataclasses.replace(zoo.WAIT_SITE, line=second % lines)
            counts: dict[str, Any] = {"driver": 0, "waits": 9, "at_site": 9}
            made.add("loops", f.LoopSample(h.STARTED_S + second, h.PID, 10, 9, site, **counts))
            others = range(1, loops)
            made.add("loops", *(f.LoopSample(h.STARTED_S + second, pid, 10, 0, None) for pid in others))
        found = zoo.diagnosed(made.history())
        assert (found.cause, found.confidence) == answer


@pytest.mark.parametrize("opening", [18, 5])
def test_a_server_that_was_not_observed_may_keep_those_who_wait_for_an_answer_as_well(opening: int) -> None:
    history = h.dead_backend()
    pools = tuple(
        dataclasses.replace(one, live=one.checked_out - opening) if one.checked_out == h.CAPACITY else one
        for one in history.pools
    )
    history = dataclasses.replace(history, servers=(), pools=pools)
    found = diagnose(history, measure(h.scenario(), history))
    assert (found.cause, found.confidence) == ("slow-or-dead-backend", "possible")


@pytest.mark.parametrize("sign", ["two requests lost", "silent for a moment"])
@pytest.mark.parametrize(("in_driver", "cause"), [(0, "held-across"), (20, "held-across"), (60, "slow-or")])
def test_a_server_that_few_wait_for_did_not_fill_the_pool(sign: str, in_driver: int, cause: str) -> None:
    """It shows a sign of trouble of its own, while nearly all who hold a connection wait for a partner."""
    history, made = zoo.external(), h.Story()
    doing = tuple(
        dataclasses.replace(one, driver=in_driver, elsewhere=60 - in_driver, lines=((zoo.WAIT_SITE, 60),))
        for one in history.doing
    )
    lost = sign == "two requests lost"
    for number in (900, 901):
        ended_s = h.STARTED_S + 12
        made.checkout(number, 3.0, "x", in_driver=90, request_ended_s=None, returned_s=ended_s)
    resting = tuple(f.Backend(9000 + number, "idle", None, 3.0) for number in (900, 901))
    servers = tuple(
        one
        if one.server != "replica"
        else dataclasses.replace(one, backends=one.backends + resting)
        if lost
        else dataclasses.replace(one, error="no answer", states={}, backends=())
        if 8 <= one.t_s - h.STARTED_S <= 12
        else one
        for one in history.servers
    )
    checkouts = (*history.checkouts, *(made.facts["checkouts"] if lost else ()))
    found = zoo.diagnosed(dataclasses.replace(history, servers=servers, doing=doing, checkouts=checkouts))
    assert found.cause.startswith(cause)
    assert found.cause.startswith("slow") or any(text.startswith("slow-or") for text in found.amplifiers)


@pytest.mark.parametrize(("what", "confidence"), [("other_query", "likely"), ("elsewhere", "possible")])
def test_who_waits_for_a_query_over_another_connection_waits_for_its_server(
    what: str, confidence: str
) -> None:
    """The full pool is that of the replica, and each of its holders asks the primary, which is silent."""
    history = zoo.external()
    places = (f.Place(what, h.SITE, zoo.WAIT_SITE, 60),)
    doing = tuple(dataclasses.replace(one, places=places) for one in history.doing)
    servers = tuple(
        dataclasses.replace(one, error="no answer", states={}) if one.server == "primary" else one
        for one in history.servers
    )
    found = zoo.diagnosed(dataclasses.replace(history, doing=doing, servers=servers))
    assert (found.cause, found.confidence) == ("slow-or-dead-backend", confidence)


@pytest.mark.parametrize("told", [zoo.hot_row, zoo.deadlocked, zoo.own_second_session])
def test_waits_for_locks_count_of_the_pool_that_they_fill(told: Callable[[], History]) -> None:
    """Three other processes have most of the connections out, and are well."""
    history = told()
    pools = tuple(dataclasses.replace(one, live=one.checked_out) for one in history.pools)
    others = tuple(
        dataclasses.replace(one, pid=100 + number, checked_out=5, live=5, waiting=0, timeouts=0)
        for one in pools
        for number in range(3)
        if one.pool == "replica"
    )
    found = zoo.diagnosed(dataclasses.replace(history, pools=(*pools, *others)))
    assert (found.cause, found.confidence) == ("own-lock-chain", "certain")


def test_answers_that_are_read_late_leave_a_doubt_where_holders_are() -> None:
    made = zoo.story()
    zoo.full_pool(made)
    zoo.doing(made, driver=22, elsewhere=38)
    zoo.backends(made, "idle in transaction", lambda _: 0.9, count=h.CAPACITY)
    for number in range(h.CAPACITY):
        made.checkout(number, 3.0, f"t{number}", request_ended_s=None, returned_s=h.STARTED_S + 4)
    history = made.history()
    found = zoo.diagnosed(history)
    assert (found.cause, found.confidence) == ("held-across-external-wait", "likely")
    assert any("were read, late" in str(item.value) for item in found.evidence)
    busy = tuple(dataclasses.replace(one, states={"active": 3}) for one in history.servers)
    assert zoo.diagnosed(dataclasses.replace(history, servers=busy)).confidence == "certain"
    at_work = tuple(dataclasses.replace(one, driver=33, elsewhere=27) for one in history.doing)
    found = zoo.diagnosed(dataclasses.replace(history, servers=busy, doing=at_work))
    assert found.cause == "saturation"


def test_connections_that_were_slow_to_open_and_are_at_work_since_are_not_slow_to_open() -> None:
    """Five that a starved machine opened as the load began, for instance."""
    slow = f.PoolTimes(h.STARTED_S + 3, h.PID, "replica", create_us={1 << 22: 20})
    history = zoo.saturated()
    found = zoo.diagnosed(dataclasses.replace(history, times=(*history.times, slow)))
    assert found.cause == "saturation"
    assert any("took over 1 s to open" in text for text in found.amplifiers)


def test_commits_that_wait_for_a_standby_are_the_servers_trouble() -> None:
    wait = "IPC:SyncRep"
    servers = tuple(
        dataclasses.replace(
            one,
            waits={wait: h.CAPACITY},
            backends=tuple(dataclasses.replace(backend, wait=wait) for backend in one.backends),
        )
        if one.backends
        else one
        for one in zoo.saturated().servers
    )
    found = zoo.diagnosed(dataclasses.replace(zoo.saturated(), servers=servers))
    assert (found.cause, found.confidence) == ("slow-or-dead-backend", "likely")
    assert f"up to {h.CAPACITY} commits waited for a synchronous standby" in found.summary


def test_a_few_looks_make_nothing_certain() -> None:
    """Nineteen looks are too few for a share of them."""
    few = dataclasses.replace(
        zoo.external(), doing=tuple(dataclasses.replace(one, elsewhere=1) for one in zoo.external().doing)
    )
    assert len(few.doing) < 20
    assert (zoo.diagnosed(few).cause, zoo.diagnosed(few).confidence) == (
        "held-across-external-wait",
        "likely",
    )
    brief = dataclasses.replace(zoo.blocked(), loops=zoo.blocked().loops[:1], servers=())
    assert (zoo.diagnosed(brief).cause, zoo.diagnosed(brief).confidence) == ("blocked-worker", "possible")
    long = dataclasses.replace(zoo.blocked(), servers=())
    assert zoo.diagnosed(long).confidence == "certain"


@pytest.mark.parametrize("state", ["idle in transaction", "active"])
def test_a_migration_that_waits_for_the_service_is_named_between_those_who_wait(state: str) -> None:
    found = zoo.diagnosed(zoo.behind_a_migration(state))
    assert (found.cause, found.confidence) == ("own-lock-chain", "likely")
    [says] = said_against(zoo.behind_a_migration(state), found.cause)
    assert "waits for a lock were behind alembic of user app (pid 77), which waits for the service" in says
    assert not said_against(zoo.hot_row(), "own-lock-chain")


@pytest.mark.parametrize("story", [zoo.hot_row, zoo.deadlocked, zoo.own_second_session, zoo.external])
def test_a_migration_behind_which_nobody_waits_changes_nothing(story: Callable[[], History]) -> None:
    without = story()
    change = dataclasses.replace(zoo.waits_for(77, 9000), name="alembic of user app", waited_s=9.0)
    servers = tuple(
        dataclasses.replace(sample, lock_waits=(*sample.lock_waits, change))
        if sample.server == "replica"
        else sample
        for sample in without.servers
    )
    with_one = dataclasses.replace(without, servers=servers)
    assert zoo.diagnosed(with_one) == zoo.diagnosed(without)


def test_a_busy_event_loop_that_keeps_nobody_waiting_is_no_certain_blocked_worker() -> None:
    made = zoo.story()
    made.pool("replica", lambda _: h.Level(1, checkouts=50))
    made.requests(h.LIST, 5, 20)
    busy = dataclasses.replace(made.history(), loops=zoo.blocked().loops, servers=())
    found = zoo.diagnosed(busy)
    assert (found.cause, found.confidence) == ("blocked-worker", "possible")
    assert "all requests were answered, 95% of them within" in said_against(busy, found.cause)[0]


@pytest.mark.parametrize(("cores", "confidence"), [(1.2, "likely"), (1.9, "possible")])
def test_a_machine_without_cpu_reads_answers_late(cores: float, confidence: str) -> None:
    host = tuple(
        f.HostSample(h.STARTED_S + second, f.MACHINE, cores, 900.0, 80, limit_cores=2.0)
        for second in range(zoo.LOAD_S)
    )
    found = zoo.diagnosed(dataclasses.replace(zoo.black_hole(), host=host))
    assert (found.cause, found.confidence) == ("slow-or-dead-backend", confidence)
