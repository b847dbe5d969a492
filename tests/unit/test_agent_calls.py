"""The name of what a frame calls, and the object whose method that is."""

import sys
from collections.abc import Callable
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

from rushhour.agent.calls import ENTERS, ITERATES, called_at, receiver_of


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


def with_starred_arguments(probe: Probe) -> None:
    probe.look(*[HOLDER.limit])


@pytest.mark.parametrize(
    "calls", [by_variable, by_global, by_attribute, over_lines, by_closure, with_starred_arguments]
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
