"""A request of an event loop that holds a connection and waits until a thread is free."""

import asyncio
import threading
import weakref
from collections.abc import Callable

import pytest

from rushhour.agent.book import Book, Request
from rushhour.agent.looks import BEHIND
from rushhour.agent.owners import TASK, Owner
from rushhour.agent.standing import ELSEWHERE
from tests.unit.standing_subject import DEADLINE_S, compiled, counts_of, thread_in
from tests.unit.test_agent_asked import in_queue
from tests.unit.test_agent_doing import FakePool, a_hold

ANYIO = "/srv/venv/lib/python3.11/site-packages/anyio/_backends/_asyncio.py"
WORKER = compiled("def run(work):\n    work()\n", ANYIO, "run")
CLOSE = compiled(
    "async def acquire_on_behalf_of(event):\n    await event.wait()\n", ANYIO, "acquire_on_behalf_of"
)
HAND_ON = compiled(
    "async def run_sync_in_worker_thread(wait):\n    await wait()\n", ANYIO, "run_sync_in_worker_thread"
)
APP_WAITS = compiled("def ask(wait):\n    wait()\n", "/srv/app/partner.py", "ask")


@pytest.mark.parametrize(("where", "seen"), [(in_queue, BEHIND), (APP_WAITS, ELSEWHERE)])
def test_who_waits_for_a_thread_waits_for_those_in_the_queue(
    where: Callable[[Callable[[], None]], None], seen: str
) -> None:
    go_on = threading.Event()

    async def main() -> dict[str, int]:
        event = asyncio.Event()
        task = asyncio.create_task(HAND_ON(lambda: CLOSE(event)))
        await asyncio.sleep(0)
        request = Request("GET", None)
        request.task = weakref.ref(task)
        hold = a_hold(Book(), FakePool(), request, 0, 1.0)
        hold.owner = Owner(TASK, 0)
        hold.owner.ref = weakref.ref(task)
        counts = counts_of([hold])
        event.set()
        await task
        return counts

    def hold_on() -> None:
        go_on.wait(DEADLINE_S)

    with thread_in(lambda: WORKER(lambda: where(hold_on))):
        counts = asyncio.run(main())
        go_on.set()
    assert {what: count for what, count in counts.items() if count} == {seen: 1}
