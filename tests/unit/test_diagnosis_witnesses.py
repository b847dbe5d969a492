"""Confidence: whatever else a history shows, a cause that a witness contradicts is never certain."""

import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rushhour.diagnosis import Diagnosis, diagnose
from rushhour.metrics.measure import measure
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.scenario.model import CAUSES
from rushhour.verdict.judge import judge
from tests.unit import histories as h
from tests.unit import test_diagnosis_forks as forks
from tests.unit import zoo_histories as zoo
from tests.unit.test_diagnosis_standing import streaming

Change = Callable[[History], History]
UNJOINED = tuple(f.Backend(7000 + number, "idle", None, 0.3) for number in range(h.CAPACITY))


def diagnosed(history: History) -> Diagnosis:
    return zoo.diagnosed(history)


def servers(history: History, state: str, wait: str | None = None, state_s: float | None = None) -> History:
    """The backends of the replica are all in this state, in every sample."""

    def changed(one: f.ServerSample) -> f.ServerSample:
        if one.server != "replica" or one.error is not None:
            return one
        backends = tuple(
            dataclasses.replace(
                backend, state=state, wait=wait, state_s=backend.state_s if state_s is None else state_s
            )
            for backend in one.backends or UNJOINED
        )
        return dataclasses.replace(
            one, states={state: h.CAPACITY}, backends=backends, oldest_idle_in_xact_s=20.0
        )

    return dataclasses.replace(history, servers=tuple(changed(one) for one in history.servers))


def looks(history: History, **counts: int) -> History:
    """The looks at holders found them at this instead."""
    plain = {"driver": 0, "queue": 0, "elsewhere": 0, "streaming": 0} | counts
    doing = tuple(
        f.PoolDoing(
            h.STARTED_S + second,
            h.PID,
            "replica",
            driver=plain["driver"],
            queue=plain["queue"],
            elsewhere=plain["elsewhere"],
            streaming=plain["streaming"],
        )
        for second in range(2, 77)
    )
    return dataclasses.replace(history, doing=doing)


def died(history: History) -> History:
    detail = {
        "part": "service",
        "how": "exit code 9",
        "what": "service ended with exit code 9",
        "log_tail": ["boom"],
    }
    event = f.Event(h.STARTED_S + 12, f.STACK_BROKE, detail)
    kept = tuple(one for one in history.events if one.t_s < event.t_s)
    return dataclasses.replace(h.cut_short(history, 12), events=(*kept, event))


def agent_failed(history: History) -> History:
    return dataclasses.replace(history, agent_faults=(f.AgentFault(9.0, h.PID, "sampling", "KeyError: 1"),))


def holding_more_than_there_is(history: History) -> History:
    """Thirty-one requests wait at once, and each of their time-outs says that it holds two."""
    late = tuple(
        f.PoolTimeout(h.STARTED_S + 9 + number / 1000, h.PID, "replica", h.SITE, h.ROUTE, 1.0, holding=2)
        for number in range(31)
    )
    return dataclasses.replace(history, pool_timeouts=late)


def locks_of_others(history: History, share: float) -> History:
    """This share of the transactions at the ends of chains are somebody else's."""
    ends = sorted({wait.blocked_by for one in history.servers for wait in one.lock_waits})
    theirs = {pid: 70_000 + pid for pid in ends[: round(share * len(ends))]}

    def changed(wait: f.LockWait) -> f.LockWait:
        pid = theirs.get(wait.blocked_by, wait.blocked_by)
        return dataclasses.replace(wait, blocked_by=pid, blocker_name="psql of user admin")

    servers = tuple(
        dataclasses.replace(one, lock_waits=tuple(map(changed, one.lock_waits))) for one in history.servers
    )
    return dataclasses.replace(history, servers=servers)


def lock_holders_leaked(history: History) -> History:
    ended = tuple(dataclasses.replace(one, request_ended_s=one.taken_s) for one in history.checkouts)
    return dataclasses.replace(history, checkouts=ended)


def by_a_busy_server() -> History:
    """The event loop waits for queries that a server runs."""
    at_work = tuple(dataclasses.replace(one, states={"active": 1}) for one in zoo.blocked().servers)
    return dataclasses.replace(zoo.blocked(), servers=at_work)


def answered(history: History) -> History:
    """The server answered the observer all the while."""
    return dataclasses.replace(
        history, servers=tuple(dataclasses.replace(one, error=None) for one in history.servers)
    )


def turned_away_by_pools(history: History) -> History:
    """Far more requests waited in vain for a full pool than were refused a connection."""
    pools = tuple(dataclasses.replace(one, timeouts=500) for one in history.pools)
    return dataclasses.replace(history, pools=pools)


def servers_idle(history: History) -> History:
    return dataclasses.replace(
        history, servers=tuple(dataclasses.replace(one, states={"idle": 6}) for one in history.servers)
    )


def leaked_at_work(history: History) -> History:
    return at_work_at_the_end(history, 2, 0)


def not_handed_on(history: History) -> History:
    return forks.one_after_the_other(history) if history.inherited else history


STORIES: dict[str, Callable[[], History]] = {
    "nested": zoo.nested,
    "external": zoo.external,
    "stream": zoo.stream,
    "streaming": streaming,
    "saturated": zoo.saturated,
    "black hole": zoo.black_hole,
    "hot row": zoo.hot_row,
    "own second session": zoo.own_second_session,
    "behind a migration": zoo.behind_a_migration,
    "behind replay": lambda: zoo.behind_a_migration(name=f.REPLAY),
    "refused": zoo.refused,
    "forked": zoo.forked,
    "blocked": by_a_busy_server,
    "incident": h.incident,
    "unclosed": h.unclosed,
    "long saturated": h.saturated,
    "dead": h.dead_backend,
    "healthy": h.healthy,
}
CHANGES: dict[str, Change] = {
    "nothing": lambda history: history,
    "all backends run a query": lambda history: servers(history, "active"),
    "all backends idle in a transaction": lambda history: servers(history, "idle in transaction"),
    "all backends wait for a standby": lambda history: servers(history, "active", "IPC:SyncRep"),
    "holders ask the server again and again": lambda history: servers(
        history, "idle in transaction", state_s=0.01
    ),
    "no holder in the queue": lambda history: looks(history, driver=60),
    "holders elsewhere": lambda history: looks(history, elsewhere=60),
    "holders in the queue": lambda history: looks(history, queue=60),
    "the service died": died,
    "the agent failed": agent_failed,
    "time-outs of holders that held nothing": holding_more_than_there_is,
    "no server was seen": lambda history: dataclasses.replace(history, servers=()),
    "somebody else holds every lock": lambda history: locks_of_others(history, 1.0),
    "somebody else holds every third lock": lambda history: locks_of_others(history, 0.34),
    "who holds a lock has ended": lock_holders_leaked,
    "who shares a connection ran before the next": not_handed_on,
    "no answer was garbled": forks.not_garbled,
    "the server is silent": lambda history: dataclasses.replace(
        history,
        servers=tuple(
            dataclasses.replace(one, error="no answer", backends=(), lock_waits=()) if number % 2 else one
            for number, one in enumerate(history.servers)
        ),
    ),
}
# What each change contradicts, whatever the story: the causes that may not be certain after it.
CONTRADICTS: dict[str, frozenset[str]] = {
    "all backends run a query": frozenset(
        {"nested-checkout", "held-across-external-wait", "held-while-streaming", "abandoned-stream"}
    ),
    "all backends idle in a transaction": frozenset({"saturation", "none"}),
    "all backends wait for a standby": frozenset({"saturation"}),
    "holders ask the server again and again": frozenset({"saturation", "none", "held-across-external-wait"}),
    "no server was seen": frozenset({"saturation"}),
    "who shares a connection ran before the next": frozenset({"fork-shared"}),
    "no answer was garbled": frozenset({"fork-shared"}),
    "no holder in the queue": frozenset({"nested-checkout", "held-while-streaming"}),
    "holders elsewhere": frozenset(
        {"nested-checkout", "held-while-streaming", "saturation", "slow-or-dead-backend"}
    ),
    "holders in the queue": frozenset({"saturation", "held-while-streaming"}),
    "time-outs of holders that held nothing": frozenset({"nested-checkout"}),
}
CONTRADICTS_OWN_LOCKS = frozenset(
    {
        "all backends run a query",
        "all backends idle in a transaction",
        "holders elsewhere",
        "holders in the queue",
        "somebody else holds every lock",
        "somebody else holds every third lock",
        "who holds a lock has ended",
        "the server is silent",
    }
)
EVERY_CAUSE = frozenset({"the service died", "the agent failed"})
# A later change may undo what an earlier one contradicts, so those of one fact exclude each other.
SERVERS = (
    *("nothing", "all backends run a query", "all backends idle in a transaction", "no server was seen"),
    *("all backends wait for a standby", "holders ask the server again and again"),
)
LOOKS = ("nothing", "no holder in the queue", "holders elsewhere", "holders in the queue")
LOCKS = (
    "nothing",
    "somebody else holds every lock",
    "somebody else holds every third lock",
    "who holds a lock has ended",
    "the server is silent",
)
REST = (
    *("nothing", "the service died", "the agent failed", "time-outs of holders that held nothing"),
    *("who shares a connection ran before the next", "no answer was garbled"),
)


@settings(deadline=None, max_examples=150)
@given(
    story=st.sampled_from(sorted(STORIES)),
    changes=st.tuples(*(st.sampled_from(names) for names in (SERVERS, LOOKS, LOCKS, REST))),
)
def test_no_history_in_which_a_witness_contradicts_is_certain(story: str, changes: tuple[str, ...]) -> None:
    history = STORIES[story]()
    for name in changes:
        history = CHANGES[name](history)
    found = diagnosed(history)
    if found.confidence != "certain":
        return
    assert not EVERY_CAUSE.intersection(changes)
    assert found.cause != "own-lock-chain" or not CONTRADICTS_OWN_LOCKS.intersection(changes), changes
    for name in changes:
        # Saturation and slow servers are contradicted by looks, and by backends, of a pool that was full.
        assert found.cause not in CONTRADICTS.get(name, ()), (found, changes)
    assert not any(one.signal.startswith("against ") for one in found.evidence if found.cause in one.signal)


# For each cause a story that is certain, and what only contradicts that one.
CONTRADICTED: dict[str, tuple[str, Change]] = {
    "scope-never-removed": ("incident", leaked_at_work),
    "unclosed-path": ("unclosed", leaked_at_work),
    "held-across-external-wait": ("external", CHANGES["holders ask the server again and again"]),
    "nested-checkout": ("nested", CHANGES["no holder in the queue"]),
    "held-while-streaming": ("streaming", CHANGES["all backends run a query"]),
    "abandoned-stream": ("stream", CHANGES["all backends run a query"]),
    "slow-or-dead-backend": ("dead", answered),
    "server-limit": ("refused", turned_away_by_pools),
    "fork-shared": ("forked", not_handed_on),
    "blocked-worker": ("blocked", servers_idle),
    "own-lock-chain": ("hot row", CHANGES["somebody else holds every third lock"]),
    "saturation": ("long saturated", CHANGES["no server was seen"]),
    "none": ("healthy", CHANGES["all backends idle in a transaction"]),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_every_cause_can_be_certain_and_be_contradicted(cause: str) -> None:
    story, change = CONTRADICTED[cause]
    told, changed = diagnosed(STORIES[story]()), diagnosed(change(STORIES[story]()))
    assert (told.cause, told.confidence) == (cause, "certain")
    assert (changed.cause, changed.confidence) != (cause, "certain")
    said = [one.signal for one in changed.evidence]
    assert changed.cause != cause or changed.confidence == "possible", said


@pytest.mark.parametrize(
    "story", ["nested", "external", "hot row", "own second session", "incident", "unclosed", "healthy"]
)
def test_the_stories_are_certain_until_a_witness_contradicts(story: str) -> None:
    assert diagnosed(STORIES[story]()).confidence == "certain"
    assert diagnosed(died(STORIES[story]())).confidence != "certain"


def test_holders_elsewhere_whose_backends_run_queries_do_not_wait_for_a_partner() -> None:
    unjoined = tuple(dataclasses.replace(one, server_pid=None) for one in zoo.external().checkouts)
    found = diagnosed(servers(dataclasses.replace(zoo.external(), checkouts=unjoined), "active"))
    assert found.cause == "saturation"
    assert found.confidence != "certain"
    assert any(one.signal == "against held-across-external-wait, says servers" for one in found.evidence)


def test_timeouts_of_holders_never_seen_in_the_queue_are_not_nested_checkouts() -> None:
    """Thirty websockets of one thread: the thread's check-outs counted for whatever ran in it."""
    found = diagnosed(looks(zoo.nested(), elsewhere=60))
    assert found.cause != "nested-checkout"
    assert found.confidence != "certain"


def test_two_candidates_are_both_named() -> None:
    found = diagnosed(CHANGES["no server was seen"](looks(zoo.nested(), queue=8, driver=52)))
    assert (found.cause, found.confidence) == ("nested-checkout", "possible")
    assert found.summary.startswith("Either nested-checkout: 13% of the looks")
    assert " Or saturation: Pool replica was full" in found.summary


def at_work_at_the_end(history: History, backends: int, given_up: int) -> History:
    """After the load so many leaked backends run a query, and so many customers had given up waiting."""
    leaked = [one.server_pid for one in history.checkouts if one.returned_s is None]
    states = ["active"] * backends + ["idle in transaction"] * (len(leaked) - backends)
    final = f.ServerSample(
        history.time_of(f.DRAINED) or 0.0,
        "replica",
        states={"active": backends, "idle in transaction": len(leaked) - backends},
        backends=tuple(
            f.Backend(pid or 0, state, None, 1.0) for pid, state in zip(leaked, states, strict=True)
        ),
    )
    late = dataclasses.replace(history.requests[-1], outcome=f.Outcome.CLIENT_TIMEOUT, count=given_up)
    requests = (*history.requests, *([late] if given_up else []))
    return dataclasses.replace(history, servers=(*history.servers, final), requests=requests)


@pytest.mark.parametrize(("given_up", "confidence"), [(2, "certain"), (1, "possible"), (0, "possible")])
def test_a_later_request_that_still_uses_what_a_thread_kept_is_no_sign_against_the_leak(
    given_up: int, confidence: str
) -> None:
    """On a replica replay may wait for the leaked transactions, and later requests for replay."""
    found = diagnosed(at_work_at_the_end(h.incident(), 2, given_up))
    assert (found.cause, found.confidence) == ("scope-never-removed", confidence)
    found = diagnosed(at_work_at_the_end(h.unclosed(), 2, given_up))
    assert (found.cause, found.confidence) == ("unclosed-path", "possible")


def test_a_service_that_dies_under_load_fails_what_expects_health() -> None:
    verdict = judge(h.scenario(), died(h.healthy()), "embedded")
    assert verdict.verdict == "fail"
    assert verdict.reasons[:2] == ("the service died: exit code 9, 12 s into the load", "| boom")
    assert "the service died: exit code 9, 12 s into the load" in verdict.headline
    assert verdict.diagnosis.confidence != "certain"


def test_a_service_that_dies_before_exhaustion_leaves_an_expected_exhaustion_unknown() -> None:
    assert judge(h.rush_hour(), died(h.healthy()), "embedded").verdict == "unknown"


def test_confidence_without_a_window_is_not_raised() -> None:
    empty = History(environment=None)
    assert diagnose(empty, measure(h.scenario(), empty)).confidence == "possible"


@pytest.mark.parametrize(("blocker", "cause"), [(9001, "own-lock-chain"), (1, "slow-or-dead-backend")])
def test_a_server_that_only_obeys_the_services_own_locks_is_not_slow(blocker: int, cause: str) -> None:
    """Twenty-seven updates of a hot row wait for the service's own transaction, or for somebody else's."""
    story = h.Story()
    story.checkout(1, 20.0, "t1", request_ended_s=None, returned_s=h.STARTED_S + 75)
    waits = tuple(f.LockWait(9002 + n, blocker, 3.0, "idle in transaction", 4.2, 4.5) for n in range(27))
    history = h.saturated()
    locked = tuple(
        dataclasses.replace(one, states={"active": 28}, waits={"Lock:tuple": 27}, lock_waits=waits)
        if one.server == "replica"
        else one
        for one in history.servers
    )
    history = dataclasses.replace(history, servers=locked, checkouts=tuple(story.facts["checkouts"]))
    found = diagnose(history, measure(h.scenario(), history))
    assert found.cause == cause
    said = [one for one in found.evidence if one.signal == "against slow-or-dead-backend, says servers"]
    assert bool(said) == (blocker == 9001)
    assert all("own transactions, mostly taken at app/referrals.py:88" in str(one.value) for one in said)


def places(history: History, what: str) -> History:
    """The holders that were elsewhere were seen at one place."""
    seen = f.CallSite("app/partner.py", 12, "ask")
    doing = tuple(
        dataclasses.replace(one, places=(f.Place(what, h.SITE, seen, one.elsewhere),))
        for one in history.doing
    )
    return dataclasses.replace(history, doing=doing)


def some_in_queue(history: History) -> History:
    """One of six holders waits for another connection."""
    doing = tuple(dataclasses.replace(one, queue=10, elsewhere=50) for one in history.doing)
    return dataclasses.replace(history, doing=doing)


def by_tasks(history: History, endpoint: str | None) -> History:
    outs = tuple(dataclasses.replace(one, by_task=True, endpoint=endpoint) for one in history.checkouts)
    return dataclasses.replace(history, checkouts=outs)


@pytest.mark.parametrize(
    ("history", "confidence", "says"),
    [
        (zoo.external(), "certain", None),
        (places(zoo.external(), "elsewhere"), "certain", None),
        (places(zoo.external(), "inside"), "possible", "waited for another thread or task"),
        (
            some_in_queue(zoo.external()),
            "likely",
            "waited for another connection, on average",
        ),
        (by_tasks(zoo.external(), h.LIST), "certain", None),
        (by_tasks(zoo.external(), None), "likely", "no request of most of these tasks is known"),
    ],
)
def test_a_wait_whose_end_was_not_seen_is_not_certainly_outside(
    history: History, confidence: str, says: str | None
) -> None:
    found = diagnosed(history)
    assert (found.cause, found.confidence) == ("held-across-external-wait", confidence)
    against = [str(one.value) for one in found.evidence if one.signal.startswith("against")]
    assert [says in one for one in against] == ([True] if says else []) if says else not against


def test_holders_that_wait_within_the_process_may_wait_for_one_that_needs_a_connection() -> None:
    history = places(zoo.external(), "inside")
    away = tuple(
        dataclasses.replace(one, site=f.CallSite("app/loader.py", 57, "load"))
        for one in history.pool_timeouts
    )
    summary = diagnosed(dataclasses.replace(history, pool_timeouts=away)).summary
    assert "as at app/loader.py:57 load (40 time-outs), it is a nested-checkout" in summary
    assert "nested-checkout" not in diagnosed(zoo.external()).summary


def test_connections_that_stay_out_to_the_end_are_none_that_wait_for_others() -> None:
    def story(*, to_the_end: bool) -> History:
        made = zoo.story()
        zoo.full_pool(made, holding=1)
        zoo.doing(made, queue=20)
        for number in range(20):
            ends = None if to_the_end else h.STARTED_S + 6.0
            made.checkout(number, 3.0, f"t{number}", request_ended_s=None, returned_s=ends)
        return made.history()

    assert diagnosed(story(to_the_end=False)).confidence == "certain"
    found = diagnosed(story(to_the_end=True))
    assert found.confidence == "possible"
    assert any("gives back the first when that wait times out" in str(one.value) for one in found.evidence)


def test_slow_answers_that_nothing_explains_leave_a_doubt() -> None:
    quick, slow = h.Story(), h.Story()
    for story, took_ms in ((quick, 20), (slow, 2_300)):
        story.pool("replica", lambda t: h.Level(out=int(t < 75), checkouts=int(t * 26)))
        story.requests(h.LIST, 20, took_ms)
    assert (diagnosed(quick.history()).cause, diagnosed(quick.history()).confidence) == ("none", "certain")
    assert (diagnosed(slow.history()).cause, diagnosed(slow.history()).confidence) == ("none", "likely")


@pytest.mark.parametrize(("exited", "confidence"), [(True, "certain"), (False, "likely")])
def test_of_a_worker_that_was_killed_not_all_is_known(exited: bool, confidence: str) -> None:
    history = h.healthy()
    ended_s = h.STARTED_S + 30
    gone = tuple(
        dataclasses.replace(one, pid=77, checked_out=0) for one in history.pools if one.t_s < ended_s
    )
    process = f.AgentProcess(1.0, 77, 1, "3.13.1", None, None)
    ended = (dataclasses.replace(process, t_s=ended_s, exited_s=ended_s),) if exited else ()
    history = dataclasses.replace(
        history, pools=(*history.pools, *gone), processes=(*history.processes, process, *ended)
    )
    found = diagnose(history, measure(h.scenario(), history))
    assert (found.cause, found.confidence) == ("none", confidence)
    says = "1 process was killed, or stood still to the end"
    assert any(says in str(item.value) for item in found.evidence) is not exited


@pytest.mark.parametrize(("answered", "confidence"), [(0, "possible"), (20, "likely")])
def test_requests_that_are_refused_leave_a_doubt(answered: int, confidence: str) -> None:
    """Whoever is refused by the service itself gets no answer, so none that is 5xx."""
    story = h.Story()
    story.pool("replica", lambda t: h.Level(out=1, checkouts=int(t * 26)))
    story.requests(h.LIST, answered, 20)
    story.requests(h.LIST, 2, 1, f.Outcome.CONNECT_ERROR)
    found = diagnosed(story.history())
    assert (found.cause, found.confidence) == ("none", confidence)


def test_a_process_that_ends_under_load_takes_its_connections_with_it() -> None:
    story = h.Story()
    story.requests(h.LIST, 20, 20)
    story.pool("replica", lambda t: h.Level(out=2 * (t < 75), checkouts=int(t * 26)))
    history = story.history()
    assert diagnosed(history).confidence == "certain"
    ended = tuple(
        dataclasses.replace(one, pid=h.PID + (one.t_s >= h.STARTED_S + 30)) for one in history.pools
    )
    found = diagnosed(dataclasses.replace(history, pools=ended))
    assert (found.cause, found.confidence) == ("none", "possible")
    says = "but under load 1 of its processes was killed, or stood still, with connections out (2 in all)."
    assert found.summary.endswith(says)


def test_a_queue_that_no_rule_explains_leaves_a_doubt() -> None:
    """All its connections are being opened, and whoever asks for one gives up before it is there."""
    story = h.Story()
    story.requests(h.LIST, 20, 400)
    story.pool(
        "replica",
        lambda t: h.Level(out=h.CAPACITY, live=0, waiting=9) if int(t) % 3 else h.Level(out=0),
    )
    found = diagnosed(story.history())
    assert (found.cause, found.confidence) == ("none", "possible")
    assert "with up to 9 waiting and 100% of its connections being opened" in found.summary


def test_a_service_that_got_no_request_shows_nothing_for_certain() -> None:
    without = dataclasses.replace(h.healthy(), requests=())
    found = diagnose(without, measure(h.scenario(), without))
    assert (found.cause, found.confidence) == ("none", "possible")
    assert any("the load never came" in str(item.value) for item in found.evidence)


def test_tasks_of_one_request_claim_its_connection_once() -> None:
    """A request that holds one connection waits for several tasks, each of which asks for its own."""

    def with_time_outs(request_of: Callable[[int], int | None]) -> Diagnosis:
        late = tuple(
            f.PoolTimeout(
                *(h.STARTED_S + 9 + number / 1000, h.PID, "replica", h.SITE, h.ROUTE, 1.0),
                holding=1,
                request=request_of(number),
            )
            for number in range(2 * h.CAPACITY)
        )
        return diagnosed(dataclasses.replace(zoo.nested(), pool_timeouts=late))

    assert with_time_outs(lambda number: number // 2).confidence == "certain"
    assert with_time_outs(lambda number: None).confidence == "possible"
    assert with_time_outs(lambda number: number).confidence == "possible"


@pytest.mark.parametrize(
    ("working", "locked", "idle", "confidence"),
    [(24, 0, 0, "certain"), (0, 24, 0, "possible"), (12, 9, 9, "possible"), (24, 3, 3, "certain")],
)
def test_connections_of_which_most_wait_are_not_certain_to_be_at_work(
    working: int, locked: int, idle: int, confidence: str
) -> None:
    backends = (
        *(f.Backend(9000 + number, "active", None, 0.1) for number in range(working)),
        *(f.Backend(9100 + number, "active", "Lock:transactionid", 1.0) for number in range(locked)),
        *(f.Backend(9200 + number, "idle in transaction", None, 0.1) for number in range(idle)),
    )
    states = {"active": working + locked, "idle in transaction": idle}
    history = h.saturated()
    pressed = tuple(dataclasses.replace(one, backends=backends, states=states) for one in history.servers)
    history = dataclasses.replace(history, servers=pressed)
    found = diagnose(history, measure(h.scenario(), history))
    assert (found.cause, found.confidence) == ("saturation", confidence)


def test_a_process_that_stands_still_itself_says_nothing_for_certain_of_its_server() -> None:
    history = zoo.black_hole()
    assert diagnosed(history).confidence == "likely"
    seen = tuple(one for one in history.pools if int(one.t_s) % 3 == 0)  # it runs for every third second
    found = diagnosed(dataclasses.replace(history, pools=seen))
    assert (found.cause, found.confidence) == ("slow-or-dead-backend", "possible")
    assert any("its thread did not run" in str(item.value) for item in found.evidence)
