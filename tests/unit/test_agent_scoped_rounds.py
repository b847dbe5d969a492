"""Sessions that a registry keeps for a thread whose loop waits for its next item."""

import threading
from itertools import count
from typing import Any

import pytest

from rushhour.agent.units import OWNER_IDLE
from tests.unit.loops_of_threads import (
    Worker,
    leaves_it,
    leaves_it_and_asks_again_after_a_while,
    leaves_it_and_asks_at_the_end_of_a_round,
    leaves_it_and_asks_through_a_function,
    leaves_it_and_passes_items_over,
    leaves_it_and_waits_for_a_signal,
    leaves_it_further_in,
    leaves_it_in_a_function_that_does_a_round,
    leaves_it_over_a_generator,
    waits_for_how_it_went,
    waits_within_a_round,
)
from tests.unit.rounds_subject import Loop, Take

pytestmark = pytest.mark.usefixtures("no_loop_goes_on")


def works_in_rounds(items: Any, take: Take) -> None:
    while True:
        for _ in range(9):
            items.get()
            take()


def works_in_rounds_while_it_may(items: Any, take: Take) -> None:
    running = True
    while running:
        while running:
            if items.get() is None:
                continue
            take()


def runs_jobs_that_work_in_rounds(items: Any, take: Take) -> None:
    def job() -> None:
        for _ in range(9):
            items.get()
            take()

    while True:
        job()


def leaves_it_in_an_executor(items: Any, take: Take) -> None:
    for work in (leaves_it, leaves_it):
        work(items, take)


def rounds_of_a_job_through_a_function(items: Any, take: Take) -> None:
    worker = Worker(items, take)

    def job() -> None:
        for _ in range(9):
            worker.does_a_round()

    while True:
        job()


class Registry:
    """Stands in for a `scoped_session`."""

    def __init__(self) -> None:
        self.registry = threading.local()

    def commit(self) -> None:
        """Nothing to commit."""

    remove = commit


REGISTRY = Registry()
ENDS_SESSIONS = False  # settings
END_AFTER_S: float | None = None
MODE = "quick"
stopping = False  # set by a function


def stop() -> None:
    global stopping  # noqa: PLW0603  # no setting
    stopping = True


def ends_it_if_set(items: Any, take: Take) -> None:
    while True:
        items.get()
        take()
        if ENDS_SESSIONS:
            REGISTRY.remove()


def ends_it_if_set_further_in(take: Take) -> None:
    take()
    if ENDS_SESSIONS:
        REGISTRY.remove()


def returns_first_unless_set(take: Take) -> None:
    take()
    if not ENDS_SESSIONS:
        return
    REGISTRY.remove()


def ends_it_after_a_time_if_set(take: Take) -> None:
    take()
    if END_AFTER_S is not None:
        REGISTRY.remove()


def ends_it_in_another_mode(take: Take) -> None:
    take()
    if MODE == "thorough":
        REGISTRY.remove()


def ends_it_unless_in_this_mode(take: Take) -> None:
    take()
    if MODE != "quick":
        REGISTRY.remove()


def ends_it_once_it_is_to_stop(take: Take) -> None:
    take()
    if stopping:
        REGISTRY.remove()


def handled_by(handle: Any) -> Any:
    """A loop whose rounds are in a function of their own."""

    def work(items: Any, take: Take) -> None:
        while True:
            items.get()
            handle(take)

    return work


def commits_in_batches(items: Any, take: Take) -> None:
    for number in count():
        items.get()
        take()
        if number % 9 == 8:
            REGISTRY.commit()


def commits_in_batches_further_in(items: Any, take: Take) -> None:
    seen = list[int]()

    def handle(item: int) -> None:
        take()
        seen.append(item)
        if len(seen) % 9 == 8:
            REGISTRY.commit()

    while True:
        handle(items.get())


def commit() -> None:
    REGISTRY.commit()


def commits_in_batches_by_a_function(items: Any, take: Take) -> None:
    seen = list[int]()

    def handle(item: int) -> None:
        take()
        seen.append(item)
        if len(seen) % 9 == 8:
            commit()

    while True:
        handle(items.get())


def removes_it_after_its_rounds(items: Any, take: Take) -> None:
    for _ in iter(items.get, None):
        take()
    REGISTRY.remove()


def removes_it_after_the_rounds_of_a_function(items: Any, take: Take) -> None:
    removes_nothing(items, take)
    REGISTRY.remove()


def never_comes_to_remove_it(items: Any, take: Take) -> None:
    leaves_it(items, take)
    REGISTRY.remove()


def removes_nothing(items: Any, take: Take) -> None:
    for _ in iter(items.get, None):
        take()


def removes_it_if_it_fails(items: Any, take: Take) -> None:
    try:
        while True:
            items.get()
            take()
    except ValueError:
        REGISTRY.remove()


@pytest.mark.parametrize(
    ("work", "lost"),
    [
        (leaves_it, OWNER_IDLE),
        (leaves_it_in_an_executor, OWNER_IDLE),
        (removes_it_if_it_fails, OWNER_IDLE),
        (commits_in_batches, None),
        (commits_in_batches_further_in, None),
        (commits_in_batches_by_a_function, None),
        (removes_it_after_its_rounds, None),
        (removes_it_after_the_rounds_of_a_function, None),
        (never_comes_to_remove_it, OWNER_IDLE),
        (removes_nothing, OWNER_IDLE),
        (leaves_it_and_asks_at_the_end_of_a_round, OWNER_IDLE),
        (leaves_it_and_asks_through_a_function, OWNER_IDLE),
        (leaves_it_in_a_function_that_does_a_round, OWNER_IDLE),
        (leaves_it_and_waits_for_a_signal, None),
        (waits_for_how_it_went, None),
        (rounds_of_a_job_through_a_function, None),
        (leaves_it_and_asks_again_after_a_while, OWNER_IDLE),
        (leaves_it_and_passes_items_over, OWNER_IDLE),
        (leaves_it_further_in, OWNER_IDLE),
        (leaves_it_over_a_generator, OWNER_IDLE),
        (waits_within_a_round, None),
        (works_in_rounds, None),
        (works_in_rounds_while_it_may, None),
        (runs_jobs_that_work_in_rounds, None),
    ],
)
def test_a_threads_session_is_left_out_if_the_next_round_uses_it_unless_a_job_may_have_many_rounds(
    work: Any, lost: str | None
) -> None:
    assert found_of(work) == lost


@pytest.mark.parametrize(
    ("work", "lost"),
    [
        (ends_it_if_set, OWNER_IDLE),
        (handled_by(ends_it_if_set_further_in), OWNER_IDLE),
        (handled_by(returns_first_unless_set), OWNER_IDLE),
        (handled_by(ends_it_after_a_time_if_set), OWNER_IDLE),
        (handled_by(ends_it_in_another_mode), OWNER_IDLE),
        (handled_by(ends_it_unless_in_this_mode), OWNER_IDLE),
        (handled_by(ends_it_once_it_is_to_stop), None),
    ],
)
def test_what_a_setting_keeps_from_the_end_of_its_session_does_not_end_it(
    work: Any, lost: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found_of(work) == lost
    monkeypatch.setitem(globals(), "ENDS_SESSIONS", True)
    monkeypatch.setitem(globals(), "END_AFTER_S", 2.0)
    monkeypatch.setitem(globals(), "MODE", "thorough")
    assert found_of(work) is None


def found_of(work: Any) -> str | None:
    """Whether a scoped session is taken for left out after its second round."""
    loop = Loop(work)
    loop.step()
    first = loop.taking.holds[0]
    first.scoped = True
    assert loop.taking.lost(3.0)[0] is None
    first.used = 4.0
    return loop.taking.lost(6.0)[0]
