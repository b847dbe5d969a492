"""A connection that is shared over a fork: who contradicts it, and what is said then."""

import dataclasses
from collections.abc import Callable

import pytest

from rushhour.rundir import History
from rushhour.rundir import facts as f
from tests.unit import histories as h
from tests.unit import zoo_histories as zoo

LATER_S = h.STARTED_S + 10.0


def lived(history: History, *spans: tuple[int, float, float]) -> History:
    """Each process (pid) wrote samples from the one moment to the other."""
    pattern = history.pools[0]
    pools = tuple(
        dataclasses.replace(pattern, pid=pid, t_s=from_s + second)
        for pid, from_s, to_s in spans
        for second in range(int(to_s - from_s) + 1)
    )
    return dataclasses.replace(history, pools=pools)


def not_garbled(history: History, kind: str = "backend_lost") -> History:
    """The same errors in the log are of another kind."""
    events = tuple(
        dataclasses.replace(event, detail={**event.detail, "kinds": {kind: 1}})
        if event.name == f.LOG_ERRORS
        else event
        for event in history.events
    )
    return dataclasses.replace(history, events=events)


def with_backends(history: History, *pids: int) -> History:
    servers = tuple(
        dataclasses.replace(one, backends=tuple(f.Backend(pid, "idle", None, 1.0) for pid in pids))
        for one in history.servers
        if one.server == "replica"
    )
    return dataclasses.replace(history, servers=servers)


def with_a_new_connection(history: History, server_pid: int) -> History:
    """One that a child opened itself."""
    pool, site = history.inherited[0].pool, h.SITE
    out = f.CheckOut(LATER_S, h.PID, 1, pool, site, (), None, "1", server_pid, h.STARTED_S, None, LATER_S)
    return dataclasses.replace(history, checkouts=(*history.checkouts, out))


def inherited_from(history: History, t_s: float) -> History:
    return dataclasses.replace(
        history, inherited=tuple(dataclasses.replace(one, t_s=t_s) for one in history.inherited)
    )


def one_after_the_other(history: History) -> History:
    return lived(history, (h.PID, h.STARTED_S, h.STARTED_S + 8), (h.PID + 1, h.STARTED_S + 9, LATER_S + 9))


CONTRADICTS: dict[str, Callable[[History], History]] = {
    "ran one after the other": one_after_the_other,
    "no answer of the server was of another question": not_garbled,
    "none of the 2 backends of these connections was there": lambda history: with_backends(
        with_a_new_connection(history, 8001), 8001, 8002
    ),
    "came while no process lived that had inherited": lambda history: inherited_from(
        lived(history, (h.PID, LATER_S + 4, LATER_S + 9), (h.PID + 1, LATER_S + 4, LATER_S + 9)), LATER_S + 4
    ),
}


@pytest.mark.parametrize("says", CONTRADICTS)
def test_a_connection_that_a_witness_says_is_not_shared_is_only_possibly_so(says: str) -> None:
    assert zoo.diagnosed(zoo.forked()).confidence == "certain"
    found = zoo.diagnosed(CONTRADICTS[says](zoo.forked()))
    assert (found.cause, found.confidence) == ("fork-shared", "possible")
    against = [str(one.value) for one in found.evidence if one.signal.startswith("against fork-shared")]
    assert [says in one for one in against] == [True], against


def test_processes_that_ran_beside_each_other_and_backends_that_were_there_are_no_objection() -> None:
    together = lived(zoo.forked(), (h.PID, h.STARTED_S, LATER_S), (h.PID + 1, h.STARTED_S + 5, LATER_S))
    behind_a_pooler = with_backends(zoo.forked(), 8001, 8002)
    for history in (together, with_backends(zoo.forked(), 9002), behind_a_pooler):
        assert zoo.diagnosed(history).confidence == "certain"


def test_a_shared_connection_that_garbles_nothing_does_not_hide_why_requests_fail() -> None:
    inherited = zoo.forked().inherited
    found = zoo.diagnosed(dataclasses.replace(zoo.external(), inherited=inherited))
    assert (found.cause, found.confidence) == ("fork-shared", "possible")
    assert found.summary.startswith("Either fork-shared: 2 processes use the same 2 connections")
    assert " Or held-across-external-wait: Pool replica was full" in found.summary


def test_garbled_answers_alone_may_be_of_threads_that_share_a_session() -> None:
    found = zoo.diagnosed(h.without_agent(zoo.forked()))
    assert (found.cause, found.confidence) == ("fork-shared", "possible")
    assert "several processes or threads read from one connection" in found.summary
