"""Every cause by its signature: with the agent, and as a black box."""

import dataclasses
from collections.abc import Callable

import pytest

from rushhour.diagnosis import diagnose
from rushhour.diagnosis.choose import BLACK_BOX_RULES, RULES
from rushhour.metrics.measure import measure
from rushhour.rundir import History
from rushhour.rundir import facts as f
from tests.unit import histories
from tests.unit.histories import CAPACITY, LIST, PID, STARTED_S, Level
from tests.unit.zoo_histories import (
    LOAD,
    LOAD_S,
    NAME,
    NOTE_SITE,
    black_hole,
    blocked,
    deadlocked,
    diagnosed,
    external,
    forked,
    full_pool,
    hot_row,
    locked_by,
    nested,
    own_second_session,
    refused,
    saturated,
    story,
    stream,
)


@pytest.mark.parametrize(
    ("told", "cause", "says"),
    [
        (nested, "nested-checkout", "100% of the looks at those who held a connection of pool replica"),
        (external, "held-across-external-wait", "at app/rewards.py:12 reward_points"),
        (stream, "abandoned-stream", "found them sending a streamed response"),
        (black_hole, "slow-or-dead-backend", "6 requests waited for it while it waited for them"),
        (
            hot_row,
            "own-lock-chain",
            "opened, which idles at app/rewards.py:12 reward_points for up to 0.4 s.",
        ),
        (
            own_second_session,
            "own-lock-chain",
            "at app/visits.py:7 note_visit, and waits at the second, taken at",
        ),
        (refused, "server-limit", "The server refused 20 connections"),
        (forked, "fork-shared", "2 processes use the same 2 connections"),
        (blocked, "blocked-worker", "80% of the looks at the event loop"),
        (saturated, "saturation", "Pool replica was full"),
    ],
)
def test_each_cause_is_named_with_its_numbers_and_its_page(
    told: Callable[[], History], cause: str, says: str
) -> None:
    found = diagnosed(told())
    assert found.cause == cause
    assert says in found.summary
    assert found.page == f"docs/causes/{cause}.md"
    assert found.fix
    assert all(one.source for one in found.evidence)


def test_what_agent_and_server_agree_on_is_certain() -> None:
    assert diagnosed(external()).confidence == "certain"
    alone = dataclasses.replace(external(), servers=())
    assert diagnosed(alone).confidence == "likely"


def test_holders_seen_at_many_lines_lack_cpu() -> None:
    history = external()
    many = tuple((f.CallSite("app/a.py", line, "f"), 12) for line in range(5))
    scattered = tuple(dataclasses.replace(one, lines=many) for one in history.doing)
    assert diagnosed(dataclasses.replace(history, doing=scattered)).confidence == "possible"


def test_streams_that_give_their_connection_back_between_pages_abandon_nothing() -> None:
    history = stream()
    assert diagnosed(history).cause == "abandoned-stream"
    pages = tuple(
        dataclasses.replace(one, id=second, taken_s=STARTED_S + second, returned_s=STARTED_S + second + 0.2)
        for one in history.checkouts
        for second in range(3, LOAD_S)
    )
    assert diagnosed(dataclasses.replace(history, checkouts=pages)).cause != "abandoned-stream"


def test_a_full_pool_is_reported_once() -> None:
    for told in (nested(), external(), stream()):
        assert not any(one.startswith("saturation") for one in diagnosed(told).amplifiers)


def test_inherited_connections_that_one_process_alone_uses_are_no_trouble() -> None:
    quiet = dataclasses.replace(forked(processes=1), events=story().history().events)
    assert diagnosed(quiet).cause == "none"


def test_a_connection_that_a_child_and_its_parent_use_is_shared_by_two() -> None:
    """As where a request forks a process that uses the engine."""
    one = forked(processes=1)
    [pattern, *_] = histories.incident().checkouts
    taken = dataclasses.replace(
        pattern,
        server_pid=9001,
        pid=PID - 1,
        pool="replica",
        taken_s=STARTED_S + 4,
        returned_s=STARTED_S + 4.5,
    )
    told = diagnosed(dataclasses.replace(one, checkouts=(*one.checkouts, taken)))
    assert (told.cause, told.confidence) == ("fork-shared", "certain")
    assert f"{taken.site.file}:{taken.site.line}" in told.summary
    before = dataclasses.replace(taken, taken_s=STARTED_S + 1, returned_s=STARTED_S + 1.5)
    quiet = dataclasses.replace(one, events=story().history().events, checkouts=(before,))
    assert diagnosed(quiet).cause == "none"


def test_garbled_answers_and_a_child_that_ended_before_it_wrote_are_a_shared_connection() -> None:
    unsaid = forked(processes=2)
    unsaid = dataclasses.replace(
        unsaid, inherited=tuple(dataclasses.replace(one, uses=0) for one in unsaid.inherited)
    )
    assert (diagnosed(unsaid).cause, diagnosed(unsaid).confidence) == ("fork-shared", "likely")
    quiet = dataclasses.replace(unsaid, events=story().history().events)
    assert diagnosed(quiet).cause == "none"
    lived = tuple(dataclasses.replace(one, pid=PID + 1) for one in unsaid.pools)
    assert diagnosed(dataclasses.replace(unsaid, pools=(*unsaid.pools, *lived))).cause != "fork-shared"


def test_a_loop_that_is_seldom_blocked_is_well() -> None:
    assert diagnosed(blocked(share=0.3)).cause == "none"


@pytest.mark.parametrize(
    ("told", "cause"),
    [
        (nested, "nested-checkout"),
        (external, "held-across-external-wait"),
        (stream, "abandoned-stream"),
        (saturated, "saturation"),
        (black_hole, "slow-or-dead-backend"),
        (refused, "server-limit"),
        (forked, "fork-shared"),
        (blocked, "none"),
        (histories.incident, "scope-never-removed"),
        (histories.unclosed, "unclosed-path"),
    ],
)
def test_a_cause_is_less_certain_or_unnamed_without_the_agent(
    told: Callable[[], History], cause: str
) -> None:
    history = histories.without_agent(told())
    scenario = histories.scenario() if told.__module__ == histories.__name__ else None
    found = diagnose(history, measure(scenario, history)) if scenario else diagnosed(history)
    assert found.cause == cause
    assert found.confidence != "certain"
    assert found.call_sites == ()


@pytest.mark.parametrize(
    ("waiter", "cause"), [("shop of user app", "own-lock-chain"), (f.REPLAY, "unclosed-path")]
)
def test_a_session_that_another_one_of_the_service_waits_for_is_no_leak_from_outside(
    waiter: str, cause: str
) -> None:
    """One request may have both, and wait for itself; replay waits for what leaked on a replica."""
    history = histories.without_agent(histories.unclosed())

    def waited_for(sample: f.ServerSample) -> f.ServerSample:
        pids = range(9000, 9000 + sample.states.get("idle in transaction", 0))
        name = "shop of user app"
        return dataclasses.replace(
            sample,
            backends=tuple(f.Backend(pid, "idle in transaction", None, 30.0) for pid in pids),
            lock_waits=tuple(
                f.LockWait(pid + 100, pid, 20.0, "idle in transaction", 20.0, 20.0, waiter, name)
                for pid in pids
            ),
        )

    history = dataclasses.replace(history, servers=tuple(map(waited_for, history.servers)))
    assert diagnose(history, measure(histories.scenario(), history)).cause == cause


@pytest.mark.parametrize("cause", [nested, external, stream])
@pytest.mark.parametrize(
    ("component", "cores", "limit"), [("machine", 1.8, 2.0), ("service", 0.95, None), ("service", 1.7, 2.0)]
)
def test_a_black_box_without_cpu_waits_for_nobody_that_is_known(
    cause: Callable[[], History], component: str, cores: float, limit: float | None
) -> None:
    history = histories.without_agent(cause())
    used = tuple(
        f.HostSample(STARTED_S + second + 0.5, component, cores, 80.0, 3, limit) for second in range(LOAD_S)
    )
    assert diagnosed(dataclasses.replace(history, host=used)).cause == "none"


@pytest.mark.parametrize(("calm_s", "cause"), [(0, "abandoned-stream"), (3, "none")])
def test_sessions_that_go_on_before_the_customers_go_wait_for_no_customer(calm_s: int, cause: str) -> None:
    """As those of a network that carries packets again."""
    history = histories.without_agent(stream())
    over_s = STARTED_S + LOAD_S - calm_s
    resting = (f.Backend(9000, "idle", None, 0.2),)
    changed = dataclasses.replace(
        history,
        servers=tuple(
            one if one.t_s < over_s else dataclasses.replace(one, states={"idle": 1}, backends=resting)
            for one in history.servers
        ),
        requests=tuple(
            one
            for one in history.requests
            if one.t_s < over_s - 1 or one.outcome is not f.Outcome.QUEUEPOOL_TIMEOUT
        ),
    )
    assert diagnosed(changed).cause == cause


def test_a_request_that_waits_after_the_load_is_no_leak_of_a_black_box() -> None:
    history = histories.without_agent(nested())
    waiting = tuple(
        dataclasses.replace(
            one, states={"idle in transaction": 1}, backends=(f.Backend(1, "idle in transaction", None, 0.3),)
        )
        for one in history.servers
        if one.t_s > STARTED_S + LOAD_S
    )
    assert (
        diagnosed(dataclasses.replace(history, servers=(*history.servers, *waiting))).cause
        == "nested-checkout"
    )


def test_a_server_that_was_silent_is_not_called_busy() -> None:
    history = histories.without_agent(saturated())
    servers = tuple(
        one
        if one.server == "primary" or one.t_s < STARTED_S + 6
        else dataclasses.replace(one, error="waited 2.0 s", states={}, backends=())
        for one in history.servers
    )
    found = diagnosed(dataclasses.replace(history, servers=servers))
    assert (found.cause, found.confidence) == ("slow-or-dead-backend", "likely")


def collected(after_request_s: float = 2.0, returned_by: str = "gc", asked: bool = False) -> History:
    """Each request drops its session."""
    made = story()
    made.requests(LIST, 1, 20)
    made.pool("replica", lambda _: Level(2, checkouts=LOAD_S))
    made.site(checkouts=LOAD_S, held_s=40.0)
    for number in range(LOAD_S):
        back = STARTED_S + number + after_request_s
        made.checkout(number, float(number), "one", returned_s=back, returned_by=returned_by)
    if asked:
        made.add("collections", f.Collected(STARTED_S + LOAD_S + 3.0, PID))
    return made.history()


def test_what_only_garbage_collection_brought_back_is_a_leak_though_nothing_timed_out() -> None:
    history = collected()
    metrics = measure(histories.scenario(load=LOAD), history)
    assert (metrics.pool.leaked, metrics.pool.collected) == (LOAD_S, LOAD_S)
    found = diagnosed(history)
    assert found.cause == "unclosed-path"
    assert found.call_sites[0].collected == LOAD_S
    assert "came back only when garbage collection found them" in found.summary


def test_connections_that_came_back_have_cause_none() -> None:
    history = collected(after_request_s=0.03, returned_by="close")
    assert diagnosed(history).cause == "none"


@pytest.mark.parametrize(("returned_by", "unreachable", "kept"), [("gc", 20, 0), ("process-ended", 0, 20)])
def test_after_the_drain_leaks_are_unreachable_or_retained(
    returned_by: str, unreachable: int, kept: int
) -> None:
    history = collected(asked=True)
    back_s = STARTED_S + LOAD_S + 2.5  # after the watch
    late = tuple(
        dataclasses.replace(one, returned_s=back_s, returned_by=returned_by) for one in history.checkouts
    )
    found = diagnosed(dataclasses.replace(history, checkouts=late))
    [told] = [one for one in found.evidence if one.signal.startswith("unreachable after the load")]
    assert told.value == unreachable
    assert told.meaning.endswith(f": {kept}")


def test_nobody_is_asked_where_nothing_collected() -> None:
    found = diagnosed(histories.incident())
    assert not any(one.signal.startswith("unreachable") for one in found.evidence)


def test_a_silent_server_that_drains_the_other_pool_is_reported() -> None:
    """A session routed over both servers holds a connection of the primary while the replica is silent."""
    made = story()
    full_pool(made)
    made.pool("primary", lambda t: Level(CAPACITY if 2 <= t < LOAD_S else 0, checkouts=30))
    for second in range(LOAD_S + 2):
        error = None if second < 4 else "waited 2.0 s"
        made.add("servers", f.ServerSample(STARTED_S + second + 0.5, "replica", error=error))
    for number in range(5):
        made.checkout(number, 5.0, f"t{number}", pool="primary", request_ended_s=None)
        made.checkout(10 + number, 5.1, f"t{number}", request_ended_s=None)
    found = diagnosed(made.history())
    assert found.cause == "slow-or-dead-backend"
    assert found.amplifiers[0].startswith(
        "requests that waited for the replica held 5 connections of pool primary"
    )


def test_every_rule_is_silent_on_a_healthy_run() -> None:
    for history in (histories.healthy(), histories.without_agent(histories.healthy())):
        found = diagnose(history, measure(histories.scenario(), history))
        assert found.cause == "none"
    assert len(RULES) == len(set(RULES))
    assert len(BLACK_BOX_RULES) == len(set(BLACK_BOX_RULES))


@pytest.mark.parametrize(
    ("made_per_request", "each"), [(1.0, "each request"), (0.5, "each request, or each tenant")]
)
def test_an_engine_for_each_request_is_named_at_the_line_that_creates_it(
    made_per_request: float, each: str
) -> None:
    history = refused()
    engines = int(sum(row.count for row in history.requests) * made_per_request)
    site = f.CallSite("shop.py", 70, "more")
    made = (f.EnginesMade(9.0, PID, site, 5, 5), f.EnginesMade(12.0, PID, site, engines, engines))
    found = diagnosed(dataclasses.replace(history, engines=made))
    assert found.cause == "server-limit"
    assert f"an engine is created for {each}, at shop.py:70 more: {engines} engines" in found.summary
    assert found.fix.startswith("Create the engine once per process")
    few = diagnosed(dataclasses.replace(history, engines=made[:1]))
    assert "engine is created" not in few.summary


def test_waits_for_another_programs_session_name_it() -> None:
    """All but one wait behind a connection of the service's own, which waits itself."""
    found = diagnosed(locked_by("psql of user admin"))
    assert found.cause == "slow-or-dead-backend"
    assert (
        "waited for a lock, for 17 s, and that for the transaction of psql of user admin (pid 77)"
        in found.summary
    )


def test_transactions_that_wait_for_each_other_are_a_deadlock_and_no_saturation() -> None:
    found = diagnosed(deadlocked())
    assert (found.cause, found.confidence) == ("own-lock-chain", "certain")
    assert "They wait for each other: a deadlock, which the server ends with an error." in found.summary
    assert f"{NOTE_SITE.file}:{NOTE_SITE.line}" in found.summary
    assert "in one order everywhere" in found.fix


def test_waits_for_locks_in_all_of_a_few_samples_are_possible_and_in_few_of_many_are_not() -> None:
    history = hot_row()
    waits = [one for one in history.servers if one.lock_waits]
    others = tuple(
        one if one is waits[0] or not one.lock_waits else dataclasses.replace(one, lock_waits=())
        for one in history.servers
    )
    found = diagnosed(dataclasses.replace(history, servers=tuple(waits[:2])))
    assert (found.cause, found.confidence) == ("own-lock-chain", "possible")
    assert diagnosed(dataclasses.replace(history, servers=others)).cause != "own-lock-chain"


def test_a_lock_kept_by_a_pooled_connection_is_distinguished_from_a_transaction() -> None:
    """`pg_advisory_lock` without an unlock: the rollback that gives a connection back does not end it."""
    history = hot_row(ends=(9003,))
    servers = tuple(
        dataclasses.replace(
            one,
            lock_waits=tuple(
                dataclasses.replace(w, blocker_state="idle", statement="SELECT") for w in one.lock_waits
            ),
        )
        for one in history.servers
    )
    checkouts = tuple(
        dataclasses.replace(one, returned_s=STARTED_S + 1.9) if one.id == 3 else one
        for one in history.checkouts
    )
    found = diagnosed(dataclasses.replace(history, servers=servers, checkouts=checkouts))
    assert found.cause == "own-lock-chain"
    assert "connections that are back in their pool and keep a lock all the same" in found.summary


def test_waits_for_an_unowned_session_with_the_services_name_are_described() -> None:
    found = diagnosed(locked_by(NAME))
    assert found.cause == "slow-or-dead-backend"
    assert f"{NAME} (pid 77, which calls itself as the service's own sessions do)" in found.summary


def test_waits_for_a_leaked_transaction_are_the_leaks() -> None:
    assert diagnosed(hot_row(request_ended_s=STARTED_S + 1.6, returned_s=None)).cause != "own-lock-chain"


def test_a_transaction_at_the_end_of_a_chain_that_was_too_short_to_be_written_has_no_line() -> None:
    history = hot_row()
    brief = tuple(
        dataclasses.replace(one, returned_s=STARTED_S + 1.9) if one.id in (0, 3, 5) else one
        for one in history.checkouts
    )
    found = diagnosed(dataclasses.replace(history, checkouts=brief))
    assert found.cause == "own-lock-chain"
    assert found.confidence != "certain"
    assert "transactions of the service itself, too short to be seen one by one" in found.summary


@pytest.mark.parametrize(
    ("told", "cause"),
    [
        (hot_row, "own-lock-chain"),
        (
            lambda: hot_row(ends=(9000,)),
            "none",
        ),  # one session: a migration's with the service's own URL, maybe
        (lambda: locked_by("psql of user admin"), "slow-or-dead-backend"),
        (lambda: locked_by(NAME), "none"),
    ],
)
def test_without_the_agent_locks_are_the_services_own_if_many_sessions_alike_hold_them(
    told: Callable[[], History], cause: str
) -> None:
    found = diagnosed(histories.without_agent(told()))
    assert (found.cause, found.confidence in {"possible", "likely"}) == (cause, True)


def test_two_check_outs_by_one_helper_are_named_by_who_called_it() -> None:
    history = own_second_session()
    checkouts = tuple(
        dataclasses.replace(
            one, site=NOTE_SITE, stack=("app/visits.py:7 note_visit", *one.stack, "app/x.py:1 y")
        )
        for one in history.checkouts
    )
    found = diagnosed(dataclasses.replace(history, checkouts=checkouts))
    assert (
        "taken at app/visits.py:7 note_visit, and waits at the second, taken at app/rewards.py"
        in found.summary
    )
