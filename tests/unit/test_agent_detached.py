"""Work that a request starts and does not wait for: it holds its connection for as long as it runs."""

import asyncio
import weakref
from collections.abc import Callable, Coroutine
from types import ModuleType
from typing import Any

import pytest

from rushhour.agent.asgi_requests import running_task
from rushhour.agent.book import Book, Hold, Request, monotonic
from rushhour.agent.call_sites import Classifier
from rushhour.agent.flask_requests import current_request
from rushhour.agent.items import ANYIO, ItemPatch
from rushhour.agent.owners import TASK, THREAD, Owner
from rushhour.agent.readings import GRACE_S, outlived
from rushhour.agent.standing import ELSEWHERE
from rushhour.agent.tally import Tally
from rushhour.agent.units import Units
from rushhour.agent.uses import HELPER, USER, add_holder
from tests.unit.standing_subject import counts_of
from tests.unit.test_agent_doing import FakePool, a_hold


def a_hold_of(owner: Owner, request: Request) -> Hold:
    hold = a_hold(Book(), FakePool(), request, 0, monotonic())
    hold.owner = owner
    return hold


def owner_of(task: asyncio.Task[Any]) -> Owner:
    owner = Owner(TASK, 0)
    owner.ref = weakref.ref(task)
    return owner


async def until_set(event: asyncio.Event) -> None:
    await event.wait()


async def answered(work: Callable[[], Coroutine[Any, Any, None]]) -> tuple[asyncio.Task[Any], Request]:
    """A request that starts a task and ends."""

    async def request() -> tuple[asyncio.Task[Any], Request]:
        found = Request("GET", None)
        found.task = running_task()
        started = asyncio.create_task(work())
        await asyncio.sleep(0)
        return started, found

    started, found = await asyncio.create_task(request())
    return started, found


def ended_long_ago(request: Request) -> None:
    request.ended = monotonic()


def later() -> float:
    return monotonic() + 2 * GRACE_S


def test_a_task_that_its_request_started_keeps_its_connection_while_it_runs() -> None:
    async def main() -> None:
        may_end = asyncio.Event()
        started, request = await answered(lambda: until_set(may_end))
        hold = a_hold_of(owner_of(started), request)
        ended_long_ago(request)
        assert not outlived(hold, later())
        assert counts_of([hold])[ELSEWHERE] == 1  # and what it does is looked at
        may_end.set()
        await started
        assert outlived(hold, later())

    asyncio.run(main())


def test_a_task_that_ended_before_its_request_left_its_connection() -> None:
    async def main() -> None:
        started, request = await answered(lambda: asyncio.sleep(0))
        hold = a_hold_of(owner_of(started), request)
        await started
        ended_long_ago(request)
        assert outlived(hold, later())

    asyncio.run(main())


def test_the_task_of_a_request_may_live_on() -> None:
    """As a server's does that keeps a task for each connection of a client."""

    async def main() -> None:
        request = Request("GET", None)
        request.task = running_task()
        task = asyncio.current_task()
        assert task is not None
        hold = a_hold_of(owner_of(task), request)
        ended_long_ago(request)
        assert outlived(hold, later())

    asyncio.run(main())


def test_a_connection_that_a_request_hands_to_a_task_is_the_tasks() -> None:
    async def main() -> None:
        may_end = asyncio.Event()
        started, request = await answered(lambda: until_set(may_end))
        gone = Owner(TASK, 0)
        gone.ended = monotonic()
        hold = a_hold_of(gone, request)
        ended_long_ago(request)
        add_holder(hold, USER, owner_of(started))
        assert outlived(hold, later())  # a later request of somebody else's may use what this one left
        add_holder(hold, HELPER, owner_of(started))
        assert not outlived(hold, later())
        may_end.set()
        await started
        assert outlived(hold, later())

    asyncio.run(main())


@pytest.mark.parametrize("in_loop", [True, False])
def test_an_item_of_a_thread_keeps_its_connection_while_it_runs(in_loop: bool) -> None:
    """A server may run all requests of a thread in one item: it says nothing of these."""
    request, owner = Request("GET", None), Owner(THREAD, 0)
    if in_loop:
        request.task = weakref.ref(owner)
    owner.first = owner.began = monotonic()
    hold = a_hold_of(owner, request)
    hold.taken = monotonic()
    request.ended = monotonic()
    assert outlived(hold, later()) is not in_loop
    owner.began = None
    assert outlived(hold, later())
    owner.began = monotonic()  # its next item
    assert outlived(hold, later())


def test_an_item_of_a_request_is_known_while_it_runs() -> None:
    book, seen = Book(), list[bool]()

    def run_sync_in_worker_thread(function: Any) -> Any:
        return function()

    module = ModuleType(ANYIO)  # as much of anyio's as is wrapped
    module.run_sync_in_worker_thread = run_sync_in_worker_thread  # type: ignore[attr-defined]  # as above
    patch = ItemPatch(book, current_request)
    patch.apply(module)
    reset = current_request.set(Request("GET", None))
    try:
        module.run_sync_in_worker_thread(lambda: seen.append(book.owner_of().began is not None))
    finally:
        current_request.reset(reset)
        patch.remove()
    assert seen == [True]
    assert book.owner_of().began is None


def test_a_time_out_does_not_count_what_a_sibling_task_holds() -> None:
    """Two queries of a `gather` run beside each other, and neither waits for the other."""

    async def main() -> None:
        book, pool, event = Book(), FakePool(), asyncio.Event()
        state = book.pool_state(pool)

        async def holds() -> None:
            await event.wait()

        async def asks(request: Request, holder: Owner) -> None:
            hold = a_hold(book, pool, request, 0, 1.0)
            hold.owner = holder
            found.append(book.held_by(request, book.owner_of(), state))

        found = list[tuple[int, int]]()
        request, holder = Request("GET", None), asyncio.create_task(holds())
        await asyncio.sleep(0)
        await asyncio.gather(asyncio.create_task(asks(request, owner_of(holder))))
        assert found == [(0, 0)]
        event.set()
        await holder

    asyncio.run(main())


def test_a_time_out_counts_what_the_task_holds_that_waits_for_it() -> None:
    async def main() -> None:
        book, pool = Book(), FakePool()
        state, request = book.pool_state(pool), Request("GET", None)

        async def asks() -> None:
            await asyncio.sleep(0)
            found.append(book.held_by(request, book.owner_of(), state))

        found = list[tuple[int, int]]()
        hold = a_hold(book, pool, request, 0, 1.0)
        task = asyncio.current_task()
        assert task is not None
        hold.owner = owner_of(task)
        await asyncio.gather(asks(), asks())
        assert found == [(1, 0), (1, 0)]

    asyncio.run(main())


def test_a_connection_that_a_task_uses_after_its_request_is_no_leak_after_all() -> None:
    async def main() -> None:
        may_end = asyncio.Event()
        started, request = await answered(lambda: until_set(may_end))
        gone = Owner(TASK, 0)
        gone.ended = monotonic()
        hold = a_hold_of(gone, request)
        ended_long_ago(request)
        units = Units(Classifier())
        assert units.resumed([hold]) == []
        add_holder(hold, HELPER, owner_of(started))
        assert units.resumed([hold]) == [hold]
        may_end.set()
        await started
        assert units.resumed([hold]) == []

    asyncio.run(main())


@pytest.mark.parametrize(("how", "kinds"), [("close", ["resumed", "back"]), ("gc", ["back"])])
def test_a_connection_that_a_task_uses_and_gives_back_between_two_ticks_is_no_leak(
    how: str, kinds: list[str]
) -> None:
    async def main() -> None:
        may_end = asyncio.Event()
        started, request = await answered(lambda: until_set(may_end))
        book = Book()
        hold = a_hold(book, FakePool(), request, 0, monotonic())
        hold.owner = Owner(TASK, 0)
        hold.owner.ended = monotonic()
        ended_long_ago(request)
        tally = Tally(book, Classifier())
        assert [record["k"] for record in tally.tick(later()) if record["k"] in ("out", "ended")] == [
            *("out", "ended")
        ]
        add_holder(hold, HELPER, owner_of(started))
        hold.used = hold.returned = monotonic()
        hold.how = how
        del book.live[hold]
        book.ended.append(hold)
        may_end.set()
        await started
        records = tally.tick(later() + GRACE_S)
        assert [record["k"] for record in records if record["k"] in ("resumed", "back")] == kinds

    asyncio.run(main())


def test_who_uses_a_connection_is_looked_at_once_its_owner_has_ended() -> None:
    async def main() -> None:
        may_end = asyncio.Event()
        started, request = await answered(lambda: until_set(may_end))
        gone = Owner(TASK, 0)
        hold = a_hold_of(gone, request)
        ended_long_ago(request)
        for why in (USER, HELPER):
            add_holder(hold, why, owner_of(started))
        assert counts_of([hold])[ELSEWHERE] == 1
        may_end.set()
        await started

    asyncio.run(main())


@pytest.mark.parametrize("in_loop", [False, True])
def test_a_thread_with_a_copy_of_a_requests_context_goes_on_after_the_request(in_loop: bool) -> None:
    request, thread = Request("GET", None), Owner(THREAD, 1)
    if in_loop:
        request.task = lambda: None  # it is gone
    else:
        request.owner = Owner(THREAD, 2)
    hold = a_hold_of(thread, request)
    ended_long_ago(request)
    assert not outlived(hold, later())
    thread.ended = monotonic()
    assert outlived(hold, later() + 1)


@pytest.mark.parametrize("in_loop", [False, True])
def test_an_item_with_a_copy_of_a_requests_context_goes_on_until_its_thread_is_done(in_loop: bool) -> None:
    request, thread = Request("GET", None), Owner(THREAD, 1)
    if in_loop:
        request.task = lambda: None  # as above
    else:
        request.owner = Owner(THREAD, 2)
    hold = a_hold_of(thread, request)
    thread.first = thread.began = hold.taken - 1
    ended_long_ago(request)
    assert not outlived(hold, later())
    thread.began = hold.taken + 1  # it runs another one
    assert outlived(hold, later())


def test_what_the_thread_of_a_request_takes_ends_with_the_request() -> None:
    thread = Owner(THREAD, 1)
    request = Request("GET", None, thread)
    hold = a_hold_of(thread, request)
    ended_long_ago(request)
    assert outlived(hold, later())
