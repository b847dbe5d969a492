"""Every cause by its signature: with the agent, and as a black box. The figures are those of real runs."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from rushhour.diagnosis import Diagnosis, diagnose
from rushhour.diagnosis.choose import BLACK_BOX_RULES, RULES
from rushhour.metrics.measure import measure
from rushhour.rundir import History
from rushhour.rundir import facts as f
from tests.unit import histories
from tests.unit.histories import CAPACITY, LIST, PID, ROUTE, SITE, STARTED_S, Level, Story

WAIT_SITE = f.CallSite("app/rewards.py", 12, "reward_points")
LOAD_S = 20
LOAD = {"users": 80, "duration": float(LOAD_S), "warm_up": 0.0}


def diagnosed(history: History) -> Diagnosis:
    return diagnose(history, measure(histories.scenario(load=LOAD), history))


def full_pool(story: Story, timeouts: int = 40, **timeout: int) -> None:
    """The replica's pool is full from 2 s on, with a queue, and drains with the load."""
    late_s = [4 + (LOAD_S - 5) * number / timeouts for number in range(timeouts)]
    for late in late_s:
        story.add(
            "pool_timeouts", f.PoolTimeout(STARTED_S + late, PID, "replica", SITE, ROUTE, 1.0, **timeout)
        )
        story.requests(LIST, 1, 1_010, f.Outcome.QUEUEPOOL_TIMEOUT, range(int(late), int(late) + 1))

    def level(t: float) -> Level:
        late = sum(late <= t for late in late_s)
        if not 2 <= t < LOAD_S:
            return Level(0, timeouts=late, checkouts=int(t * 5))
        return Level(CAPACITY, waiting=18, timeouts=late, checkouts=int(t * 5))

    story.pool("replica", level)


def doing(story: Story, **looks: Any) -> None:
    """What the holders were seen at in every second of the load; `line` in those outside of the driver."""
    counts: dict[str, Any] = {"driver": 0, "queue": 0, "elsewhere": 0, "streaming": 0} | looks
    outside = counts["queue"] + counts["elsewhere"] + counts["streaming"]
    lines = ((WAIT_SITE, outside),) if outside else ()
    for second in range(2, LOAD_S):
        story.add("doing", f.PoolDoing(STARTED_S + second, PID, "replica", **counts, lines=lines))


def backends(
    story: Story, state: str, age: Callable[[int], float], count: int = 6, spread: float = 0.0
) -> None:
    """`count` backends in this state in every second of the trouble, and none of them after the load."""
    for second in range(LOAD_S + 2):
        inside = 2 <= second < LOAD_S
        listed = tuple(
            f.Backend(9000 + number, state, None, max(0.0, age(second) - number * spread))
            for number in range(count if inside else 0)
        )
        states = {state: count} if inside else {"idle": count}
        story.add(
            "servers",
            f.ServerSample(STARTED_S + second + 0.5, "replica", states=states, backends=listed, lag_s=0.0),
        )


def story() -> Story:
    made = Story(duration_s=LOAD_S, users=80)
    made.server("primary", {"idle": 3}, range(LOAD_S + 2))
    return made


def nested() -> History:
    made = story()
    full_pool(made, holding=1)
    doing(made, queue=20)
    backends(made, "idle in transaction", lambda _: 0.8)
    return made.history()


def external() -> History:
    made = story()
    full_pool(made)
    made.requests(LIST, 3, 1_250)
    doing(made, elsewhere=60)
    backends(made, "idle in transaction", lambda _: 1.1, spread=0.2)
    for number in range(6):
        made.checkout(number, 3.0, f"t{number}", request_ended_s=None, returned_s=STARTED_S + 18)
    return made.history()


NOTE_SITE = f.CallSite("app/visits.py", 7, "note_visit")
NAME = "shop of user app"


def at_locks(made: Story, wait_of: Callable[[int], tuple[f.LockWait, ...]]) -> None:
    """Six backends at work in every second of the trouble, some of them in a wait for a lock."""
    for second in range(LOAD_S + 2):
        waits = wait_of(second) if 2 <= second < LOAD_S else ()
        waiting = {one.pid for one in waits}
        listed = tuple(
            f.Backend(pid, "active", "Lock:transactionid", 1.0)
            if pid in waiting
            else f.Backend(pid, "idle in transaction", "Client:ClientRead", 0.4)
            for pid in (range(9000, 9006) if waits else ())
        )
        states = {"active": len(waiting), "idle in transaction": 6 - len(waiting)} if waits else {"idle": 6}
        made.add(
            "servers",
            f.ServerSample(
                STARTED_S + second + 0.5,
                "replica",
                states=states,
                waits={"Lock:transactionid": len(waiting)} if waits else {},
                backends=listed,
                lock_waits=waits,
                lag_s=0.0,
            ),
        )


def waits_for(pid: int, blocked_by: int, blocker: str = NAME) -> f.LockWait:
    return f.LockWait(pid, blocked_by, 1.0, "idle in transaction", 0.4, 1.4, NAME, blocker, "UPDATE visits")


def full_of_waits(made: Story, out: int = 6) -> None:
    full_pool(made)
    made.facts["pools"] = [
        dataclasses.replace(one, size=out, max_overflow=0, checked_out=min(out, one.checked_out), live=0)
        for one in made.facts["pools"]
    ]


def hot_row(ends: tuple[int, ...] = (9000, 9003, 9005), **changes: Any) -> History:
    """All update one row first; each in turn holds its lock while it asks a partner."""
    made = story()
    full_of_waits(made)
    doing(made, driver=50, elsewhere=10)

    def queue(second: int) -> tuple[f.LockWait, ...]:
        end = ends[second % len(ends)]
        first, *rest = [pid for pid in range(9000, 9006) if pid != end]
        return (waits_for(first, end), *(waits_for(pid, first) for pid in rest))

    at_locks(made, queue)
    for number in range(6):
        plain: dict[str, Any] = {
            "request_ended_s": None,
            "returned_s": STARTED_S + LOAD_S - 1,
            "site": NOTE_SITE,
        }
        made.checkout(number, 1.5, f"t{number}", stands_at=WAIT_SITE, owner=number, **plain | changes)
    return made.history()


def own_second_session() -> History:
    """Each of three requests updates a row, and once more with a second session: it waits for itself."""
    made = story()
    full_of_waits(made)
    doing(made, driver=30, elsewhere=30)
    at_locks(made, lambda _: tuple(waits_for(9001 + 2 * number, 9000 + 2 * number) for number in range(3)))
    for number in range(6):
        site = WAIT_SITE if number % 2 else NOTE_SITE
        stack = (f"{site.file}:{site.line} {site.function}",)
        back_s = STARTED_S + LOAD_S - 1
        made.checkout(
            number,
            1.5,
            "t",
            site=site,
            stack=stack,
            owner=number // 2,
            request_ended_s=None,
            returned_s=back_s,
        )
    return made.history()


def locked_by(name: str) -> History:
    """Six updates wait for one transaction of somebody else's session, the last five behind the first."""
    made = story()
    full_of_waits(made)
    doing(made, driver=60)
    first = waits_for(9000, 77, name)
    at_locks(made, lambda _: (first, *(waits_for(pid, 9000) for pid in range(9001, 9006))))
    for number in range(6):
        back_s = STARTED_S + LOAD_S - 1
        made.checkout(number, 1.5, f"t{number}", owner=number, request_ended_s=None, returned_s=back_s)
    return made.history()


def stream() -> History:
    made = story()
    full_pool(made)
    doing(made, streaming=60)
    backends(made, "idle in transaction", lambda second: second - 1.5)
    made.checkout(1, 2.0, "t1", streams=True, request_ended_s=None, returned_s=STARTED_S + LOAD_S)
    return made.history()


def saturated() -> History:
    made = story()
    full_pool(made)
    made.requests(LIST, 3, 1_250)
    doing(made, driver=60)
    backends(made, "active", lambda _: 0.3)
    return made.history()


def black_hole() -> History:
    made = story()
    full_pool(made)
    doing(made, driver=60)
    for second in range(LOAD_S + 2):
        resting = tuple(f.Backend(9000 + number, "idle", None, 3.0) for number in range(6))
        made.add(
            "servers",
            f.ServerSample(
                STARTED_S + second + 0.5, "replica", states={"idle": 6}, backends=resting, lag_s=0.0
            ),
        )
    for number in range(6):
        made.checkout(
            number, 3.0, f"t{number}", in_driver=90, request_ended_s=None, returned_s=STARTED_S + 12
        )
    return made.history()


def logged(kind: str, times: int = 20) -> History:
    made = story()
    made.pool("replica", lambda _: Level(2, checkouts=50))
    made.requests(LIST, 5, 20)
    made.requests(LIST, 1, 20, f.Outcome.HTTP_5XX)
    backends(made, "idle", lambda _: 1.0)
    for number in range(times):
        made.event(
            2 + number / 2, f.LOG_ERRORS, source="service", queuepool_timeouts=0, errors=1, kinds={kind: 1}
        )
    return made.history()


def refused() -> History:
    history = logged("server_limit")
    return dataclasses.replace(
        history,
        servers=tuple(
            dataclasses.replace(one, connections=16, max_connections=20) for one in history.servers
        ),
    )


def forked(processes: int = 2) -> History:
    history = logged("shared_connection")
    inherited = tuple(
        f.Inherited(STARTED_S + 3, PID + child, "replica", (9001, 9002), uses=20)
        for child in range(processes)
    )
    return dataclasses.replace(history, inherited=inherited)


def blocked(share: float = 0.8) -> History:
    made = story()
    made.pool("replica", lambda _: Level(1, checkouts=50))
    made.requests(LIST, 5, 1_900)
    for second in range(LOAD_S):
        made.add("loops", f.LoopSample(STARTED_S + second, PID, 10, int(10 * share), WAIT_SITE))
    return made.history()


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


def test_a_loop_that_is_seldom_blocked_is_well() -> None:
    assert diagnosed(blocked(share=0.3)).cause == "none"


def without_agent(history: History) -> History:
    return History(
        history.environment,
        events=history.events,
        requests=history.requests,
        generator=history.generator,
        servers=history.servers,
        host=history.host,
    )


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
    history = without_agent(told())
    scenario = histories.scenario() if told.__module__ == histories.__name__ else None
    found = diagnose(history, measure(scenario, history)) if scenario else diagnosed(history)
    assert found.cause == cause
    assert found.confidence != "certain"
    assert found.call_sites == ()


@pytest.mark.parametrize("cause", [nested, external, stream])
@pytest.mark.parametrize(
    ("component", "cores", "limit"), [("machine", 1.8, 2.0), ("service", 0.95, None), ("service", 1.7, 2.0)]
)
def test_a_black_box_without_cpu_waits_for_nobody_that_is_known(
    cause: Callable[[], History], component: str, cores: float, limit: float | None
) -> None:
    history = without_agent(cause())
    used = tuple(
        f.HostSample(STARTED_S + second + 0.5, component, cores, 80.0, 3, limit) for second in range(LOAD_S)
    )
    assert diagnosed(dataclasses.replace(history, host=used)).cause == "none"


def test_a_request_that_waits_after_the_load_is_no_leak_of_a_black_box() -> None:
    history = without_agent(nested())
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
    history = without_agent(saturated())
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
    for history in (histories.healthy(), without_agent(histories.healthy())):
        found = diagnose(history, measure(histories.scenario(), history))
        assert found.cause == "none"
    assert len(RULES) == len(set(RULES))
    assert len(BLACK_BOX_RULES) == len(set(BLACK_BOX_RULES))


def test_an_engine_for_each_request_is_named_at_the_line_that_creates_it() -> None:
    history = refused()
    requests = sum(row.count for row in history.requests)
    site = f.CallSite("shop.py", 70, "more")
    made = (f.EnginesMade(9.0, PID, site, 5, 5), f.EnginesMade(12.0, PID, site, requests, requests))
    found = diagnosed(dataclasses.replace(history, engines=made))
    assert found.cause == "server-limit"
    assert f"an engine is created for each request, at shop.py:70 more: {requests} engines" in found.summary
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
