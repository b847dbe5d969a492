"""Histories of ordinary services, each with the right answer: a cause, or at least no wrong one."""

import dataclasses
from collections.abc import Callable

import pytest

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
