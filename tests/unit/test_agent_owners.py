"""Threads and tasks as owners: an owner is never used again, and what is its unit of work's end."""

import asyncio
import gc
import queue
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from rushhour.agent.book import Hold
from rushhour.agent.call_sites import UNKNOWN, Classifier, Stack
from rushhour.agent.owners import TASK, THREAD, Owner, has_ended, owner_finder
from rushhour.agent.units import AFTER_S, AFTER_UNUSED_S, OWNER_ENDED, Units
from rushhour.agent.uses import ASKER, USER
from tests.unit.standing_subject import compiled

DEADLINE_S = 10


def a_hold(owner: Owner, taken: float) -> Hold:
    hold = Hold()
    hold.scoped, hold.stack = None, UNKNOWN
    hold.owner, hold.request, hold.lost, hold.taken = owner, None, None, taken
    hold.others, hold.used = None, taken or 0.001
    return hold


def lost_after(owner: Owner) -> str | None:
    """What two looks say of a hold, well after its owner was last seen."""
    hold, units = a_hold(owner, 0.0), Units(Classifier())
    now = (owner.ended or 0.0) + 2 * AFTER_S
    units.look([hold], now)
    units.look([hold], now + 2 * AFTER_S)
    return hold.lost


def test_each_thread_has_one_owner_and_no_later_thread_has_it_again() -> None:
    current, owners = owner_finder(), list[Owner]()

    def work() -> None:
        owners.append(current())
        assert current() is owners[-1]

    for _ in range(20):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(DEADLINE_S)
    assert len(set(owners)) == 20
    assert {owner.kind for owner in owners} == {THREAD}
    assert all(owner.ended is not None for owner in owners)
    assert current().ended is None


def test_each_task_has_an_owner_that_does_not_keep_it_alive() -> None:
    current = owner_finder()

    async def work() -> Owner:
        owner = current()
        await asyncio.sleep(0)
        assert current() is owner
        return owner

    async def main() -> list[Owner]:
        assert current().kind == TASK
        return await asyncio.gather(*(work() for _ in range(20)))

    owners = asyncio.run(main())
    assert len(set(owners)) == 20
    assert {owner.kind for owner in owners} == {TASK}
    assert all(has_ended(owner, 1.0) for owner in owners)
    assert {owner.ref() for owner in owners} == {None}


def in_a_task(work: Callable[[], None]) -> None:
    async def main() -> None:
        await asyncio.create_task(coroutine())

    async def coroutine() -> None:
        work()

    asyncio.run(main())


def in_a_thread(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(DEADLINE_S)


@pytest.mark.parametrize("run", [in_a_task, in_a_thread])
def test_what_an_owner_that_is_gone_took_last_is_freed_without_a_collection(
    run: Callable[[Callable[[], None]], None],
) -> None:
    """Each request may have a task of its own: they would leave garbage at the rate of the requests."""
    current, owners = owner_finder(), list[weakref.ref[Owner]]()

    def work() -> None:
        owner = current()
        owner.newest = a_hold(owner, 0.0)
        owners.append(weakref.ref(owner))

    gc.disable()
    try:
        run(work)
        assert owners[0]() is None
    finally:
        gc.enable()


def test_a_task_that_is_kept_has_ended_when_it_is_done() -> None:
    current = owner_finder()

    async def work(proceed: asyncio.Event, owners: list[Owner]) -> None:
        owners.append(current())
        await proceed.wait()

    async def main() -> None:
        proceed, owners = asyncio.Event(), list[Owner]()
        task = asyncio.create_task(work(proceed, owners))
        await asyncio.sleep(0)
        assert not has_ended(owners[0], 1.0)
        proceed.set()
        await task
        assert has_ended(owners[0], 2.0)
        assert lost_after(owners[0]) == OWNER_ENDED

    asyncio.run(main())


def stack_in(*functions: Any) -> Stack:
    codes = tuple(function.__code__ for function in functions)
    return Stack((), codes, ())


def test_what_a_task_took_in_a_generator_is_in_the_hands_of_whoever_closes_that() -> None:
    """Another task may, as with the fixtures of pytest-asyncio, or an exit stack that a task has filled."""

    async def scope() -> AsyncIterator[None]:
        yield

    async def opens() -> None: ...

    for kind, functions, lost in (
        (TASK, (scope, opens), None),
        (TASK, (opens, scope), None),
        (TASK, (opens,), OWNER_ENDED),
        (THREAD, (scope, opens), OWNER_ENDED),
    ):
        owner = ended_owner()
        owner.kind = kind
        hold, units = a_hold(owner, 0.5), Units(Classifier())
        hold.stack = stack_in(*functions)
        hold.others = {USER: owner}  # it makes no difference that a task that has ended used it
        units.look([hold], 9.0)
        assert hold.lost == lost


def test_a_task_of_a_library_only_fetched_what_another_task_uses() -> None:
    """As `asyncio.wait_for(engine.connect(), 5)` does until Python 3.11."""
    current = owner_finder()

    async def work() -> Owner:
        return current()

    async def main() -> Owner:
        return await asyncio.create_task(work())

    owner = asyncio.run(main())
    assert lost_after(owner) == OWNER_ENDED
    for file in (asyncio.__file__, None):  # plumbing, or a coroutine in C: not seen
        owner.file = file
        assert lost_after(owner) is None


class OwnTask:
    """A task that nothing can refer to weakly."""

    __slots__ = ()


@pytest.mark.parametrize(
    ("file", "watched"),
    [
        ("/venv/site-packages/uvicorn/protocols/http/h11_impl.py", False),
        ("/venv/site-packages/hypercorn/asyncio/task_group.py", False),
        ("/srv/shop/jobs.py", True),
        ("/srv/sanic/jobs.py", True),
    ],
)
def test_what_a_task_of_a_server_returns_is_not_looked_at(file: str, watched: bool) -> None:
    """Nobody would go on with a connection in it, and each request is such a task."""
    run = compiled("async def run_asgi(own):\n    return own()\n", file, "run_asgi")

    async def main() -> bool:
        found = owner_finder()
        task = asyncio.create_task(run(found))
        owner: Owner = await task
        return owner.result_carries is not False

    assert asyncio.run(main()) is watched


def test_a_task_that_cannot_be_referred_to_is_its_thread() -> None:
    current = owner_finder()

    async def main() -> Owner:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        own = OwnTask()
        asyncio.tasks._leave_task(loop, task)  # type: ignore[arg-type]
        asyncio.tasks._enter_task(loop, own)  # type: ignore[arg-type]
        try:
            return current()
        finally:
            asyncio.tasks._leave_task(loop, own)  # type: ignore[arg-type]
            asyncio.tasks._enter_task(loop, task)  # type: ignore[arg-type]

    assert asyncio.run(main()).kind == THREAD


@contextmanager
def frames_of_idle_and_busy() -> Iterator[tuple[int, int]]:
    """The numbers of two threads of an executor: one waits for a job, one runs a job that waits."""
    release, numbers = threading.Event(), queue.Queue[int]()

    def busy() -> None:
        numbers.put(threading.get_ident())
        release.wait(DEADLINE_S)

    with ThreadPoolExecutor(1) as idle, ThreadPoolExecutor(1) as working:
        try:
            number = idle.submit(threading.get_ident).result(DEADLINE_S)
            working.submit(busy)
            yield number, numbers.get(timeout=DEADLINE_S)
        finally:
            release.set()


def test_a_thread_in_the_loop_of_an_executor_is_idle_and_one_in_a_job_is_not() -> None:
    units = Units(Classifier())
    with frames_of_idle_and_busy() as (idle, busy):
        deadline = threading.Event()
        for _ in range(100):
            frames = sys._current_frames()
            if units.is_idle(frames[idle]):
                break
            deadline.wait(0.05)
        assert units.is_idle(frames[idle])
        assert not units.is_idle(frames[busy])
    assert not units.is_idle(None)


def run(source: str, path: str) -> bool:
    """Whether the stack in which `probe` is called is idle, of code that lies at `path`."""
    units, seen = Units(Classifier()), list[bool]()
    scope: dict[str, object] = {"probe": lambda: seen.append(units.is_idle(sys._getframe(1)))}
    exec(compile(source, path, "exec"), scope)  # noqa: S102  # stands in for frameworks that are not installed
    return seen[0]


def test_the_loops_of_job_runners_are_known() -> None:
    site = "/venv/lib/site-packages"
    for path, function in (
        ("billiard/pool.py", "receive"),
        ("rq/worker/base.py", "dequeue_job_and_maintain_ttl"),
        ("rq/worker.py", "dequeue_job_and_maintain_ttl"),
        ("dramatiq/worker.py", "run"),
        ("huey/consumer.py", "loop"),
        ("huey/consumer.py", "sleep"),
        ("anyio/_backends/_asyncio.py", "run"),
    ):
        assert run(f"def {function}():\n    probe()\n{function}()", f"{site}/{path}"), path
    assert not run("def work():\n    probe()\nwork()", f"{site}/rq/worker.py")
    assert not run("def loop():\n    probe()\nloop()", "/srv/app/consumer.py")


def ended_owner(ended: float = 1.0) -> Owner:
    owner = Owner(THREAD, -1)
    owner.ended = ended
    return owner


def test_a_connection_that_somebody_else_has_in_hands_is_not_lost() -> None:
    for why in (USER, ASKER):
        hold, units, other = a_hold(ended_owner(), 0.5), Units(Classifier()), Owner(THREAD, -2)
        hold.others = {why: other}
        units.look([hold], 10.0)
        assert hold.lost is None, why
        other.ended = 11.0
        units.look([hold], 12.0)
        assert hold.lost_s == 11.0, why


def test_a_lost_connection_used_by_another_owner_is_resumed() -> None:
    hold, units = a_hold(ended_owner(), 0.5), Units(Classifier())
    units.look([hold], 2.0)
    assert hold.lost == OWNER_ENDED
    hold.used = 2.5  # by its own thread: a later job goes on with what an earlier one left
    assert units.resumed([hold]) == []
    hold.others = {USER: Owner(THREAD, -2)}
    assert units.resumed([hold]) == [hold]
    assert hold.lost is None


def test_without_a_statement_it_is_waited_longer_for_a_user() -> None:
    hold, units = a_hold(ended_owner(), 0.5), Units(Classifier())
    hold.used = 0.0
    units.look([hold], 1.0 + AFTER_S)
    assert hold.lost is None
    units.look([hold], 1.0 + AFTER_UNUSED_S)
    assert hold.lost == OWNER_ENDED


class PickyTask(asyncio.Task[Any]):
    """A class of the service's own, whose instances take no callback from anybody else."""

    def add_done_callback(self, *_arguments: object, **_options: object) -> None:
        raise RuntimeError("no callbacks")


def test_a_task_whose_result_cannot_be_watched_is_not_seen() -> None:
    current, owners = owner_finder(), list[Owner]()

    async def work(proceed: asyncio.Event) -> int:
        owners.append(current())
        await proceed.wait()
        return 1

    async def main() -> None:
        loop, proceed = asyncio.get_running_loop(), asyncio.Event()
        task = PickyTask(work(proceed), loop=loop)
        proceed.set()
        while not task.done():
            await asyncio.sleep(0)

    asyncio.run(main())
    assert owners[0].result_carries
    assert lost_after(owners[0]) is None


class SilentTask(asyncio.Task[Any]):
    """One that fails whatever the agent asks it."""

    def get_coro(self) -> Any:
        raise RuntimeError("no coroutine")

    def done(self) -> bool:
        if sys._getframe(1).f_globals["__name__"].startswith("rushhour.agent"):
            raise RuntimeError("not said")
        return super().done()


def test_a_task_that_fails_to_answer_is_an_owner_whose_end_its_base_class_knows() -> None:
    current, owners = owner_finder(), list[Owner]()

    async def work() -> None:
        owners.append(current())

    async def main() -> SilentTask:
        task = SilentTask(work(), loop=asyncio.get_running_loop())
        while not owners:
            await asyncio.sleep(0)
        return task

    task = asyncio.run(main())
    assert (owners[0].kind, owners[0].file) == (TASK, None)
    assert has_ended(owners[0], 1.0)
    assert lost_after(owners[0]) is None
    del task


@pytest.mark.parametrize("name", ["dead", "gr_frame"])
def test_a_greenlet_whose_class_fails_to_answer_spoils_no_look(name: str) -> None:
    greenlet = pytest.importorskip("greenlet")
    current, owners = owner_finder(), list[Owner]()

    def fails(_: object) -> None:
        raise RuntimeError("not said")

    def work() -> None:
        owners.append(current())
        greenlet.getcurrent().parent.switch()

    found = type("Own", (greenlet.greenlet,), {name: property(fails)})(work)
    found.switch()
    assert lost_after(owners[0]) is None
    found.switch()
    assert lost_after(owners[0]) == OWNER_ENDED


def test_the_tasks_of_pure_python_are_owners_that_end() -> None:
    current = owner_finder()

    async def work() -> Owner:
        return current()

    async def main() -> Owner:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(lambda loop, coro, **options: asyncio.tasks._PyTask(coro, loop=loop, **options))  # type: ignore[attr-defined]  # not in its stubs
        return await asyncio.create_task(work())

    owner = asyncio.run(main())
    assert owner.kind == TASK
    assert has_ended(owner, 1.0)
    assert not owner.result_carries
