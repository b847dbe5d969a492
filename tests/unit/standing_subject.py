"""Tasks, threads and holds for the tests of what the holder of a connection does."""

import asyncio
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rushhour.agent.book import Hold
from rushhour.agent.call_sites import Classifier
from rushhour.agent.catalog import Catalog
from rushhour.agent.coroutines import chain_of
from rushhour.agent.doing import Doing
from rushhour.agent.looks import BEHIND, LOCK, OTHER_POOL, SENDING, STREAMING, UNSEEN
from rushhour.agent.owners import TASK, Owner
from rushhour.agent.standing import DRIVER, ELSEWHERE, QUEUE
from tests.unit.test_agent_doing import (
    SQLALCHEMY,
)

DEADLINE_S = 10


def an_owner(found: Any, kind: str = TASK) -> Owner:
    owner = Owner(kind, threading.get_ident())
    owner.ref = weakref.ref(found)
    return owner


def functions(task: Any) -> list[str]:
    return [frame.f_code.co_name for frame in chain_of(task).frames]


def compiled(source: str, file: str, name: str, **scope: Any) -> Any:
    """A function whose source is said to be in this file."""
    exec(compile(source, file, "exec"), scope)  # noqa: S102  # our own lines, so that their file can be named
    return scope[name]


WAIT_IN_QUEUE = compiled("def get(wait):\n    wait()\n", f"{SQLALCHEMY}util/queue.py", "get")


async def pauses() -> None:
    await asyncio.sleep(DEADLINE_S)


def during(work: Callable[[], Awaitable[Any]], look: Callable[[asyncio.Task[Any]], None]) -> None:
    """Calls `look` from another thread, as the sampler does, while a task is in `work`."""

    async def main() -> None:
        async def run() -> None:
            await work()

        task = asyncio.create_task(run())
        await asyncio.sleep(0.01)
        await asyncio.to_thread(look, task)
        task.cancel()

    asyncio.run(main())


def counts_of(holds: list[Hold], doing: Doing | None = None) -> dict[str, int]:
    doing = doing or Doing(Classifier(), Catalog())
    doing.tick(holds, {hold: number for number, hold in enumerate(holds, 1)})
    counts = dict.fromkeys(
        (DRIVER, QUEUE, OTHER_POOL, LOCK, BEHIND, STREAMING, SENDING, ELSEWHERE, UNSEEN), 0
    )
    for record in doing.take(2.0):
        if record["k"] == "doing":
            for name in counts:
                counts[name] += record[name]
    return counts


@contextmanager
def thread_in(work: Callable[[], None]) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.05)
    try:
        yield thread
    finally:
        thread.join(DEADLINE_S)
