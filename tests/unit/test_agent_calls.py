"""The name of what a frame calls, and the object whose method that is."""

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

from rushhour.agent.calls import ENTERS, ITERATES, called_at, computes, receiver_of
from rushhour.agent.flow import loops_around

DEADLINE_S = 10.0


class Probe:
    """Notes what the frame that calls one of its methods seems to call."""

    def __init__(self) -> None:
        self.seen: list[tuple[str | None, Any]] = []

    def look(self, *_: Any, **__: Any) -> "Probe":
        self._note(sys._getframe(1))
        return self

    __enter__ = __next__ = look

    def __exit__(self, *_: object) -> None:
        """Nothing to release."""

    def __iter__(self) -> "Probe":
        return self

    def _note(self, frame: FrameType) -> None:
        self.seen.append((called_at(frame.f_code, frame.f_lasti), receiver_of(frame)))


PROBE = Probe()
HOLDER = SimpleNamespace(inner=SimpleNamespace(probe=PROBE), limit=3)


def by_variable(probe: Probe) -> None:
    probe.look()


def by_global(_: Probe) -> None:
    PROBE.look(1, HOLDER.limit)


def by_attribute(probe: Probe) -> None:
    holder = SimpleNamespace(inner=SimpleNamespace(probe=probe))
    holder.inner.probe.look(timeout=HOLDER.limit)


def over_lines(probe: Probe) -> None:
    probe.look(
        HOLDER.limit,
        HOLDER.inner.probe,
    )


def by_closure(probe: Probe) -> None:
    def inner() -> None:
        probe.look()

    inner()


def just_stored(probe: Probe) -> None:
    [each.look() for each in [probe]]  # Python 3.13 stores and loads it at once


def as_argument(probe: Probe) -> None:
    limit = 3
    SimpleNamespace(limit=[limit, probe.look()])  # two variables are loaded at once


def with_starred_arguments(probe: Probe) -> None:
    probe.look(*[HOLDER.limit])


@pytest.mark.parametrize(
    "calls",
    [
        by_variable,
        by_global,
        by_attribute,
        over_lines,
        by_closure,
        just_stored,
        as_argument,
        with_starred_arguments,
    ],
)
def test_the_method_that_is_called_and_its_object(calls: Callable[[Probe], None]) -> None:
    PROBE.seen.clear()
    calls(PROBE)
    assert PROBE.seen == [("look", PROBE)]


def test_of_a_computed_object_only_the_method_is_known() -> None:
    PROBE.seen.clear()
    [PROBE][0].look()
    assert PROBE.seen == [("look", None)]


def test_a_loop_and_a_block_call_without_a_name() -> None:
    PROBE.seen.clear()
    for _ in PROBE:
        break
    with PROBE:
        PROBE.look()
    names = [name for name, _ in PROBE.seen]
    assert names == [ITERATES, ENTERS, "look"]


def test_a_property_of_the_service_is_not_asked() -> None:
    class Service:
        """Its probe is computed."""

        @property
        def probe(self) -> Probe:
            asked.append(1)
            return PROBE

    asked = list[int]()
    service = Service()
    PROBE.seen.clear()
    service.probe.look()
    assert PROBE.seen == [("look", None)]
    assert asked == [1]


def adds(stop: threading.Event) -> None:
    total = 0
    while not stop.is_set():
        for number in range(1000):
            total += number * number % 7


def recurses(stop: threading.Event) -> None:
    def depth(left: int) -> int:
        return left and depth(left - 1)

    while not stop.is_set():
        depth(100)


def waits(stop: threading.Event) -> None:
    stop.wait(DEADLINE_S)


def sleeps(stop: threading.Event) -> None:
    while not stop.is_set():
        time.sleep(0.01)


def looked_at(work: Callable[[threading.Event], None]) -> list[bool]:
    """What 200 looks at the innermost frame of a thread say."""
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(stop,))
    thread.start()
    try:
        found = []
        for _ in range(200):
            time.sleep(0.001)  # and so the other thread has its turn
            frame = sys._current_frames().get(thread.ident or 0)
            if frame is not None:
                found.append(computes(frame))
            del frame
        return found
    finally:
        stop.set()
        thread.join(DEADLINE_S)


@pytest.mark.parametrize("work", [adds, recurses])
def test_code_that_runs_is_seen_to_compute(work: Callable[[threading.Event], None]) -> None:
    assert sum(looked_at(work)) > 50


@pytest.mark.parametrize("work", [waits, sleeps])
def test_code_that_waits_is_not_seen_to_compute(work: Callable[[threading.Event], None]) -> None:
    found = looked_at(work)
    assert sum(found[10:]) <= len(found) / 50  # it has to begin


@pytest.mark.parametrize("loops", [True, False])
def test_to_await_something_is_no_loop(loops: bool) -> None:
    async def once() -> None:
        await asyncio.sleep(DEADLINE_S)

    async def again() -> None:
        while True:
            await asyncio.sleep(DEADLINE_S)

    async def main() -> bool:
        coroutine: Any = again() if loops else once()
        task = asyncio.create_task(coroutine)
        await asyncio.sleep(0.01)
        frame = coroutine.cr_frame
        task.cancel()
        return loops_around(frame.f_code, frame.f_lasti) > 0

    assert asyncio.run(main()) == loops
