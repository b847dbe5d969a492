"""What a loop waits for, and what its instructions say of its rounds."""

import multiprocessing
import queue
import select
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from rushhour.agent.call_sites import Classifier
from rushhour.agent.flow import comes_round, variables_read
from rushhour.agent.frames import stack_of
from rushhour.agent.rounds import wait_for_items
from tests.unit.loops_of_threads import (
    keeps_it_in_a_variable,
    leaves_it,
    took_it_before_its_loop,
)
from tests.unit.rounds_subject import DEADLINE_S
from tests.unit.standing_subject import until_they_wait

Waited = tuple[Callable[[], object], Callable[[], object]]  # what waits, and what ends that


def of_a_simple_queue() -> Waited:
    items = queue.SimpleQueue[int]()
    return items.get, lambda: items.put(1)


def of_another_process() -> Waited:
    items = multiprocessing.Queue()  # type: ignore[var-annotated]  # of anything

    def ask() -> None:
        items.get()
        items.close()
        items.join_thread()  # the one that sends

    return ask, lambda: items.put(1)


def of_an_event() -> Waited:
    event = threading.Event()
    return event.wait, event.set


def of_a_future() -> Waited:
    future = Future[int]()
    return future.result, lambda: future.set_result(1)


def of_a_socket() -> Waited:
    ours, theirs = socket.socketpair()

    def ask() -> None:
        with ours, theirs:
            ours.recv(1)

    return ask, lambda: theirs.send(b"1")


def of_readiness() -> Waited:
    ours, theirs = socket.socketpair()

    def ask() -> None:
        with ours, theirs:
            select.select([ours], [], [])

    return ask, lambda: theirs.send(b"1")


@pytest.mark.parametrize(
    ("of", "waits", "is_for_an_item"),
    [
        (of_a_simple_queue, True, True),
        (of_another_process, True, True),
        (of_an_event, True, False),
        (of_a_future, False, False),
        (of_a_socket, False, False),
        (of_readiness, False, False),
    ],
)
def test_what_a_loop_waits_for(of: Callable[[], Waited], waits: bool, is_for_an_item: bool) -> None:
    get, end = of()
    thread = threading.Thread(target=lambda: get(), daemon=True)  # noqa: PLW0108  # a function of its own
    thread.start()
    until_they_wait(thread)
    assert thread.is_alive()
    found = wait_for_items(stack_of(sys._current_frames().get(thread.ident or 0)), Classifier())
    end()
    thread.join(DEADLINE_S)
    assert (bool(found.places), found.is_for_an_item) == (waits, is_for_an_item)


def places_of(function: Any, name: str = "get") -> list[int]:
    """The offsets at which a function calls what has this name."""
    import dis  # noqa: PLC0415  # for this alone

    items = list(dis.get_instructions(function))
    named = [number for number, item in enumerate(items) if item.argval == name]
    return [
        next(item.offset for item in items[number:] if item.opname.startswith("CALL")) for number in named
    ]


def test_a_variable_that_is_set_before_it_is_read_is_not_read() -> None:
    [left], [kept] = places_of(leaves_it), places_of(keeps_it_in_a_variable)
    assert "session" not in variables_read(leaves_it.__code__, left)
    assert "session" in variables_read(keeps_it_in_a_variable.__code__, kept)
    assert "items" in variables_read(leaves_it.__code__, left)


def test_a_line_before_a_loop_is_in_no_round_of_it() -> None:
    [at], [taken_at] = places_of(took_it_before_its_loop), places_of(took_it_before_its_loop, "take")
    line = took_it_before_its_loop.__code__.co_firstlineno
    assert not comes_round(took_it_before_its_loop.__code__, at, line + 1, taken_at)
    assert not comes_round(took_it_before_its_loop.__code__, at, line + 99, taken_at)
