"""Holders that look again and again for what a task has done, which itself waits in the queue."""

import asyncio
import dataclasses
from typing import Any

import pytest

from rushhour.agent.asgi_requests import running_task
from rushhour.agent.book import Book, Request
from rushhour.diagnosis import Diagnosis
from rushhour.rundir import facts as f
from tests.unit import histories as h
from tests.unit import zoo_histories as zoo
from tests.unit.test_agent_detached import owner_of
from tests.unit.test_agent_doing import FakePool, a_hold
from tests.unit.test_diagnosis_following import WORK, polling

TASKS_LINE = f.CallSite("app/tasks.py", 14, "reserve")


def external_with(share: float, **timeout: Any) -> Diagnosis:
    """Holders seen elsewhere, while time-outs of this kind add up to this share of the pool."""
    history = zoo.external()
    full_s = sum(sample.checked_out >= h.CAPACITY for sample in history.pools) / len(history.pools) * 20
    waits = tuple(
        f.PoolTimeout(h.STARTED_S + 6 + n / 100, h.PID, "replica", TASKS_LINE, None, 1.0, **timeout)
        for n in range(round(share * full_s))
    )
    return zoo.diagnosed(dataclasses.replace(history, pool_timeouts=(*history.pool_timeouts, *waits)))


def test_tasks_that_holders_have_left_and_that_wait_in_vain_make_a_second_candidate() -> None:
    """The holders may look again and again for what these have done, or wait for the world outside."""
    found = external_with(0.8 * h.CAPACITY, beside=True)
    assert (found.cause, found.confidence) == ("held-across-external-wait", "possible")
    assert "at app/tasks.py:14 reserve" in found.summary
    assert "nested-checkout" in found.summary


@pytest.mark.parametrize("kind", [{"beside": True}, {"requested": False}])
def test_holders_that_go_on_at_other_moments_do_not_wait_for_such_tasks(kind: dict[str, Any]) -> None:
    """A task of an audit, or a heartbeat, which times out while the holders ask a partner."""
    late = [4.0 + 2.0 * n for n in range(7)]

    def found(after_s: float) -> Diagnosis:
        history = polling(timeouts_s=late, returned_s=[at + after_s for at in late[:6]], waited_s=12.0)
        of_kind = tuple(dataclasses.replace(one, **kind) for one in history.pool_timeouts if one.site == WORK)
        others = zoo.external().pool_timeouts
        assert len(of_kind) == len(late)
        return zoo.diagnosed(dataclasses.replace(history, pool_timeouts=(*others, *of_kind)))

    assert (found(0.1).cause, found(0.1).confidence) == ("held-across-external-wait", "possible")
    assert (found(1.3).cause, found(1.3).confidence) == ("held-across-external-wait", "certain")


@pytest.mark.parametrize(
    ("route", "confidence"),
    [
        ("GET /prices/<int:number>", "possible"),  # the service asks itself
        (h.ROUTE, "certain"),
        ("WEBSOCKET /chat", "certain"),  # of which customers may say nothing
        (None, "certain"),
    ],
)
def test_requests_that_no_customer_sent_and_that_wait_in_vain_make_a_second_candidate(
    route: str | None, confidence: str
) -> None:
    history = zoo.external()
    waits = tuple(
        f.PoolTimeout(h.STARTED_S + 6 + n / 100, h.PID, "replica", TASKS_LINE, route, 1.0) for n in range(20)
    )
    found = zoo.diagnosed(dataclasses.replace(history, pool_timeouts=(*history.pool_timeouts, *waits)))
    assert (found.cause, found.confidence) == ("held-across-external-wait", confidence)
    assert ("nested-checkout" in found.summary) == (confidence == "possible")
    other_names = tuple(dataclasses.replace(row, endpoint="GET search") for row in history.requests)
    unmatched = dataclasses.replace(
        history, requests=other_names, pool_timeouts=(*history.pool_timeouts, *waits)
    )
    assert zoo.diagnosed(unmatched).confidence == "certain"


@pytest.mark.parametrize(
    "name", ["GET /prices/17", "GET /prices/17?unit=kg", "GET /prices/:id", "GET /prices/{number}"]
)
def test_a_route_is_known_by_the_paths_that_customers_asked_for(name: str) -> None:
    """A locustfile that names no requests has a name for each path."""
    history = zoo.external()
    route = "GET /prices/<int:number>"
    waits = tuple(
        f.PoolTimeout(h.STARTED_S + 6 + n / 100, h.PID, "replica", TASKS_LINE, route, 1.0) for n in range(20)
    )
    asked = dataclasses.replace(history.requests[0], endpoint=name)
    found = zoo.diagnosed(
        dataclasses.replace(
            history,
            requests=(*history.requests, asked),
            pool_timeouts=(*history.pool_timeouts, *waits),
        )
    )
    assert (found.cause, found.confidence) == ("held-across-external-wait", "certain")


def test_a_few_such_tasks_make_a_wait_for_the_world_outside_only_possible() -> None:
    assert external_with(0.0).confidence == "certain"
    found = external_with(0.3 * h.CAPACITY, beside=True)
    assert (found.cause, found.confidence) == ("held-across-external-wait", "possible")


def test_work_of_no_request_that_waits_in_vain_keeps_a_wait_for_the_world_outside_from_being_certain() -> (
    None
):
    assert external_with(0.2, requested=False).confidence == "certain"
    found = external_with(1.5, requested=False)
    assert (found.cause, found.confidence) == ("held-across-external-wait", "possible")
    assert "at app/tasks.py:14 reserve" in found.summary
    assert "nested-checkout" in found.summary
    assert any("app/tasks.py:14" in str(item.value) for item in found.evidence if "against" in item.signal)


def test_where_no_request_is_known_at_all_time_outs_are_of_no_other_work() -> None:
    """Under a server whose requests the agent does not track, as aiohttp's."""
    history = zoo.external()
    late = tuple(
        dataclasses.replace(timeout, requested=False, site=TASKS_LINE) for timeout in history.pool_timeouts
    )
    assert zoo.diagnosed(dataclasses.replace(history, pool_timeouts=late)).confidence == "certain"


def test_tasks_that_wait_beside_responses_on_their_way_are_no_nested_check_out() -> None:
    history = zoo.external()
    full_s = sum(sample.checked_out >= h.CAPACITY for sample in history.pools) / len(history.pools) * 20
    waits = tuple(
        f.PoolTimeout(h.STARTED_S + 6 + n / 100, h.PID, "replica", TASKS_LINE, None, 1.0, beside=True)
        for n in range(round(0.8 * h.CAPACITY * full_s))
    )
    sent = tuple(
        dataclasses.replace(look, elsewhere=0, streaming=look.elsewhere, sending=0) for look in history.doing
    )
    found = zoo.diagnosed(dataclasses.replace(history, pool_timeouts=waits, doing=sent))
    assert found.cause == "held-while-streaming"


@pytest.mark.parametrize(("method", "returned"), [("WEBSOCKET", False), ("GET", True)])
def test_a_websocket_and_a_response_on_its_way_wait_for_their_clients_and_for_no_task(
    method: str, returned: bool
) -> None:
    async def main() -> list[bool]:
        book, pool, request = Book(), FakePool(), Request(method, None)
        state, found = book.pool_state(pool), list[bool]()

        async def asks() -> None:
            found.append(book.held_beside(request, book.owner_of(), state, began=2.0))

        request.task, request.returned = running_task(), returned
        mine = asyncio.current_task()
        assert mine is not None
        hold = a_hold(book, pool, request, 0, 1.0)
        hold.owner = owner_of(mine)
        asking = asyncio.create_task(asks())
        while not asking.done():
            await asyncio.sleep(0.001)
        return found

    assert asyncio.run(main()) == [False]


@pytest.mark.parametrize("below_a_middleware", [False, True])
@pytest.mark.parametrize("awaited", [False, True])
def test_a_time_out_says_that_its_request_holds_one_in_a_task_that_does_not_wait_for_it(
    below_a_middleware: bool, awaited: bool
) -> None:
    async def main() -> bool:
        book, pool, request = Book(), FakePool(), Request("GET", None)
        state, found = book.pool_state(pool), list[bool]()

        async def asks() -> None:
            await asyncio.sleep(0.01)
            found.append(book.held_beside(request, book.owner_of(), state, began=2.0))

        async def endpoint() -> None:
            task = asyncio.current_task()
            assert task is not None
            hold = a_hold(book, pool, request, 0, 1.0)
            hold.owner = owner_of(task)
            asking = asyncio.create_task(asks())
            if awaited:
                await asking
            while not asking.done():
                await asyncio.sleep(0.001)

        request.task = running_task()
        if below_a_middleware:
            await asyncio.create_task(endpoint())
        else:
            await endpoint()
        return found[0]

    assert asyncio.run(main()) is not awaited


def test_a_time_out_of_a_task_says_nothing_of_what_its_request_took_later_or_of_a_siblings_connection() -> (
    None
):
    async def main() -> list[bool]:
        book, pool, request = Book(), FakePool(), Request("GET", None)
        state, found = book.pool_state(pool), list[bool]()

        async def asks(began: float) -> None:
            found.append(book.held_beside(request, book.owner_of(), state, began))

        async def holds() -> None:
            await asyncio.sleep(1)

        request.task = running_task()
        mine, sibling = asyncio.current_task(), asyncio.create_task(holds())
        assert mine is not None
        hold = a_hold(book, pool, request, 0, 3.0)
        for holder, began in ((mine, 2.0), (mine, 4.0), (sibling, 4.0)):
            hold.owner = owner_of(holder)
            asking = asyncio.create_task(asks(began))
            while not asking.done():
                await asyncio.sleep(0.001)
        sibling.cancel()
        return found

    assert asyncio.run(main()) == [False, True, False]
