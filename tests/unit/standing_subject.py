"""Tasks, threads and holds for the tests of what the holder of a connection does."""

import asyncio
import sys
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
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
LOOK_S, LOOKS = 0.01, 100


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


def until_they_wait(*threads: threading.Thread) -> None:
    """Until each thread sleeps at one place in two looks after each other, or has ended.

    A time would not do: on a machine that stands still it passes before a thread has had its turn.
    """
    before: list[Any] | None = None
    for _ in range(LOOKS):  # one that wakes up more often is never seen asleep at one place
        time.sleep(LOOK_S)
        now = [_asleep_at(thread) for thread in threads]
        if None not in now and now == before:
            return
        before = now


def _asleep_at(thread: threading.Thread) -> object:
    """Where it sleeps, and how often it has been woken; None if it runs, or waits for its turn."""
    if not thread.is_alive():
        return "ended"
    task = Path(f"/proc/self/task/{thread.native_id}")
    frame = sys._current_frames().get(thread.ident or 0)
    if not task.exists() or frame is None:
        return None
    status = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines())
    if not status["State"].startswith("S"):
        return None
    return frame.f_code, frame.f_lasti, status["voluntary_ctxt_switches"]


@contextmanager
def thread_in(work: Callable[[], None]) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=work)
    thread.start()
    until_they_wait(thread)
    try:
        yield thread
    finally:
        thread.join(DEADLINE_S)
