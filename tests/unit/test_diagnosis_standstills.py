"""Processes that stand still, and holders that have left the driver, make a server that is well look slow."""

import dataclasses
from collections.abc import Callable

import pytest

from rushhour.diagnosis import Diagnosis
from rushhour.diagnosis.standstills import Standstills, late_spans, standstills
from rushhour.rundir import History
from rushhour.rundir import facts as f
from tests.unit import histories as h
from tests.unit import zoo_histories as zoo
from tests.unit.test_diagnosis_services import slow_to_open

SLOW = "slow-or-dead-backend"


def every(history: History, step_s: float, until_s: float = 1000.0) -> History:
    """The agent got to a sample only as often as this until then, and five times a second later."""
    kept, last_s = [], 0.0
    for one in history.pools:
        if one.pool != "replica" or one.t_s - h.STARTED_S >= until_s or one.t_s - last_s >= step_s:
            kept.append(one)
            last_s = one.t_s if one.pool == "replica" else last_s
    return dataclasses.replace(history, pools=tuple(kept))


def opening(from_s: float, to_s: float) -> History:
    """Connections are being opened, all at once, between these moments; the server is well."""
    made = zoo.story()
    zoo.full_pool(made)
    made.requests(h.LIST, 3, 1_250)
    made.facts["pools"] = [
        dataclasses.replace(one, live=0)
        if from_s <= one.t_s - h.STARTED_S <= to_s
        else dataclasses.replace(one, checked_out=5, live=5, waiting=0)
        for one in made.facts["pools"]
    ]
    zoo.backends(made, "idle", lambda _: 1.0)
    return made.history()


def said_of_the_process(found: Diagnosis) -> bool:
    return any("its thread did not run" in str(one.value) for one in found.evidence if SLOW in one.signal)


@pytest.mark.parametrize(
    ("spell_s", "step_s", "slow"),
    [(4, 0.1, True), (4, 0.7, False), (7, 0.7, False), (16, 0.39, True), (16, 1.4, False)],
)
def test_connections_that_open_slowly_in_a_process_that_hardly_runs_are_no_sign(
    spell_s: float, step_s: float, slow: bool
) -> None:
    """What its threads lacked is more than what the agent's thread lacked."""
    found = zoo.diagnosed(every(opening(3, 3 + spell_s), step_s, until_s=3 + spell_s))
    assert (found.cause == SLOW) == slow
    assert found.confidence == "possible"
    assert slow or said_of_the_process(found)


def test_a_few_slow_connects_of_a_process_without_cpu_are_no_sign() -> None:
    """A silent server stays one: that was seen from outside of the process."""
    slow = dataclasses.replace(
        opening(3, 3.2),
        times=(f.PoolTimes(h.STARTED_S + 6, h.PID, "replica", create_us={1 << 22: 5, 1 << 14: 2}),),
    )
    assert zoo.diagnosed(slow).cause == SLOW
    assert zoo.diagnosed(every(slow, 1.2, until_s=8)).cause != SLOW
    silent = slow_to_open(silent=True)
    assert zoo.diagnosed(every(silent, 1.2, until_s=8)).cause == SLOW


@pytest.mark.parametrize(("step_s", "slow"), [(0.1, True), (1.0, False)])
def test_answers_that_nobody_reads_in_a_process_without_cpu_are_not_lost(step_s: float, slow: bool) -> None:
    found = zoo.diagnosed(every(zoo.black_hole(), step_s, until_s=12))
    assert (found.cause == SLOW) == slow


def blocked_for(seconds: range, driver: int) -> History:
    """Every request of the process is run by one event loop, which is blocked in these seconds."""
    loops = tuple(
        f.LoopSample(
            h.STARTED_S + second + 1,
            h.PID,
            10,
            9 if second in seconds else 0,
            zoo.WAIT_SITE,
            driver=driver if second in seconds else 0,
            waits=9 - driver if second in seconds else 0,
        )
        for second in range(zoo.LOAD_S)
    )
    return dataclasses.replace(zoo.black_hole(), loops=loops)


@pytest.mark.parametrize(
    ("seconds", "driver", "slow"),
    [(range(2, 11), 0, False), (range(2, 11), 9, True), (range(14, 18), 0, True)],
)
def test_what_waits_for_a_blocked_event_loop_does_not_wait_for_the_server(
    seconds: range, driver: int, slow: bool
) -> None:
    """A driver that blocks the loop waits for the server itself."""
    found = zoo.diagnosed(blocked_for(seconds, driver))
    assert (found.cause == SLOW) == slow


def test_a_killed_process_reads_no_answers() -> None:
    """Until the agent's file is known to be silent, its check-outs look as if they waited for the server."""
    history = zoo.black_hole()
    killed = dataclasses.replace(
        history, pools=tuple(one for one in history.pools if one.t_s < h.STARTED_S + 4)
    )
    assert zoo.diagnosed(killed).cause != SLOW


def in_turns(query_s: float, rest_s: float, holders: int = h.CAPACITY) -> History:
    """Each holder asks the server for a while, and then keeps its connection while it waits in a queue."""
    made = zoo.story()
    zoo.full_pool(made)
    made.requests(h.LIST, 3, 1_250)
    hold_s = query_s + rest_s
    looks = round(60 * query_s / hold_s)
    zoo.doing(made, driver=looks, elsewhere=60 - looks)
    begun = [
        (holder, 2.0 - hold_s * holder / holders + hold_s * turn)
        for holder in range(holders)
        for turn in range(int(18 / hold_s) + 2)
    ]
    for number, (holder, taken_s) in enumerate(begun):
        made.checkout(
            number,
            taken_s,
            f"t{holder}",
            server_pid=9000 + holder,
            request_ended_s=None,
            returned_s=h.STARTED_S + taken_s + hold_s,
            in_driver=round(10 * query_s),
            elsewhere=round(10 * rest_s),
        )
    for second in range(zoo.LOAD_S):
        at_s = second + 0.5
        backends = tuple(
            f.Backend(9000 + holder, "active", None, at_s - taken_s)
            if at_s < taken_s + query_s
            else f.Backend(9000 + holder, "idle in transaction", None, at_s - taken_s - query_s)
            for holder, taken_s in begun
            if taken_s <= at_s < taken_s + hold_s
        )
        active = sum(one.state == "active" for one in backends)
        states = {"active": active, "idle in transaction": len(backends) - active}
        made.server("replica", states, range(second, second + 1), backends=backends)
    return made.history()


@pytest.mark.parametrize("turns", [(0.9, 0.7), (0.7, 0.6), (2.0, 1.0), (4.0, 3.0)])
def test_who_has_left_the_driver_does_not_wait_for_the_server(turns: tuple[float, float]) -> None:
    """Most of the hold was a query, which ended: what idles since then is not an answer that was lost."""
    found = zoo.diagnosed(in_turns(*turns))
    assert found.cause != SLOW
    assert found.confidence != "certain"


def test_answers_that_half_of_the_connections_lose_are_lost() -> None:
    """The backends of the others run a query: fewer than half as many as wait in the driver."""
    history = zoo.black_hole()
    at_work = tuple(f.Backend(9100 + number, "active", None, 0.3) for number in range(2))
    servers = tuple(
        dataclasses.replace(one, backends=one.backends + at_work) if one.server == "replica" else one
        for one in history.servers
    )
    made = h.Story()
    for number in (100, 101):
        back_s = h.STARTED_S + 12
        made.checkout(number, 3.0, f"w{number}", request_ended_s=None, returned_s=back_s, in_driver=90)
    checkouts = (*history.checkouts, *made.facts["checkouts"])
    found = zoo.diagnosed(dataclasses.replace(history, servers=servers, checkouts=checkouts))
    assert (found.cause, found.confidence) == (SLOW, "likely")


def full_while_some_answers_are_lost(lost: int, hold_us: int = 1 << 21) -> History:
    """A full pool, all in the driver: backends of `lost` idle for 3 s, and the others' run queries."""
    at_work = h.CAPACITY - lost
    made = zoo.story()
    zoo.full_pool(made)
    zoo.doing(made, driver=300)
    made.requests(h.LIST, 20, 1_250)
    backends = tuple(f.Backend(9000 + at, "idle in transaction", None, 3.0) for at in range(lost))
    backends += tuple(f.Backend(9100 + at, "active", None, 0.3) for at in range(at_work))
    for second in range(2, zoo.LOAD_S):
        states = {"active": at_work, "idle in transaction": lost}
        t_s = h.STARTED_S + second + 0.5
        made.add("servers", f.ServerSample(t_s, "replica", states=states, backends=backends, lag_s=0.0))
    for at in range(lost):
        back_s = h.STARTED_S + 12
        made.checkout(
            at, 3.0, f"t{at}", in_driver=90, request_ended_s=None, returned_s=back_s, server_pid=9000 + at
        )
    for at in range(at_work):
        for turn in range(8):
            back_s, number = h.STARTED_S + 5 + 2 * turn, 1000 + at * 10 + turn
            made.checkout(
                number,
                3.0 + 2 * turn,
                f"w{at}",
                in_driver=20,
                request_ended_s=None,
                returned_s=back_s,
                server_pid=9100 + at,
            )
    for second in range(3, zoo.LOAD_S):
        holds = {hold_us: at_work // 2 + 30}
        made.add("times", f.PoolTimes(h.STARTED_S + second, h.PID, "replica", hold_us=holds))
    return made.history()


@pytest.mark.parametrize("hold_us", [1 << 21, 1 << 23])
@pytest.mark.parametrize("lost", [3, 10, 12, 18])
def test_answers_that_fewer_connections_lose_than_get_theirs_are_lost_too(lost: int, hold_us: int) -> None:
    found = zoo.diagnosed(full_while_some_answers_are_lost(lost, hold_us))
    assert (found.cause, found.confidence) == (SLOW, "likely")


def test_a_process_that_forks_again_and_again_does_not_stand_still() -> None:
    """The sampler is stopped before a fork, and its first sample comes at once after it."""
    forks = [number * 0.22 + after for number in range(50) for after in (0.0, 0.1, 0.2)]
    assert late_spans(forks) == []
    calm = opening(3, 8)
    more = tuple(dataclasses.replace(one, t_s=one.t_s + 0.18) for one in calm.pools if one.pool == "replica")
    forking = dataclasses.replace(calm, pools=tuple(sorted((*calm.pools, *more), key=lambda one: one.t_s)))
    assert zoo.diagnosed(forking).cause == zoo.diagnosed(calm).cause == SLOW


def test_what_opened_slowly_in_a_standstill_counts_on_neither_side() -> None:
    """Five opened slowly while the process stood still, and all three that opened later."""
    times = tuple(
        f.PoolTimes(h.STARTED_S + at_s, h.PID, "replica", create_us={1 << 22: count})
        for at_s, count in ((6, 5), (14, 3))
    )
    history = dataclasses.replace(opening(3, 3.2), times=times)
    still = tuple(
        one for one in history.pools if one.pool != "replica" or not 3.5 < one.t_s - h.STARTED_S < 5.9
    )
    assert zoo.diagnosed(dataclasses.replace(history, pools=still)).cause == SLOW


def test_late_samples_are_those_behind_the_usual_pace() -> None:
    assert late_spans([]) == late_spans([1.0]) == []
    assert late_spans([0.0, 0.1, 0.25, 0.35]) == []
    [(from_s, to_s)] = late_spans([0.0, 0.1, 0.2, 0.3, 1.3, 1.4])
    assert (from_s, to_s) == pytest.approx((0.4, 1.3))
    assert late_spans(second * 5.0 for second in range(9)) == []  # a run that was sampled rarely


def test_a_process_ran_for_less_than_it_seems_where_it_stood_still() -> None:
    stood = Standstills(((10.0, 12.0), (15.0, 16.0)))
    assert stood.stood_s(11.0, 15.5) == pytest.approx(1.5)
    assert stood.ran_s(0.0, 13.0) == pytest.approx(11.0)
    assert stood.ran_s(10.0, 16.0) == pytest.approx(1.5)
    assert not stood.stood(13.0, 13.0)


@pytest.mark.parametrize(("exited", "stood"), [(True, False), (False, True)])
def test_a_process_without_an_orderly_end_stands_still_from_its_last_sample_on(
    exited: bool, stood: bool
) -> None:
    history = h.healthy()
    [process] = history.processes
    ended = dataclasses.replace(process, exited_s=80.0 if exited else None)
    spans = standstills(dataclasses.replace(history, processes=(ended,)))[h.PID]
    assert spans.stood(90.0, 91.0) == stood
    assert not spans.stood(20.0, 40.0)


Told = Callable[[], History]


@pytest.mark.parametrize(("told", "confidence"), [(zoo.black_hole, "likely"), (h.dead_backend, "certain")])
def test_a_sample_that_is_a_little_late_now_and_then_clears_no_server(told: Told, confidence: str) -> None:
    history = told()
    late = tuple(
        dataclasses.replace(one, t_s=one.t_s + 0.15 * (int(one.t_s * 5) % 7 == 0)) for one in history.pools
    )
    history = dataclasses.replace(history, pools=late)
    found = zoo.diagnosed(history)
    assert (found.cause, found.confidence) == (SLOW, confidence)
