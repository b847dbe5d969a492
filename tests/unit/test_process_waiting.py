"""Waits with a deadline, and servers that try again on another port."""

import time
from collections.abc import Callable, Iterable
from itertools import count

import pytest

from rushhour.errors import StackError
from rushhour.process.ports import PORT_ATTEMPTS, PortTakenError, free_port, on_free_ports
from rushhour.process.waiting import came_true, wait_until


def in_turn(values: Iterable[object]) -> Callable[[], object]:
    rest = iter(values)
    return lambda: next(rest)


def test_a_condition_is_asked_again_until_it_holds() -> None:
    assert came_true(in_turn([False, False, True]), 5.0, poll_s=0.0)


def test_a_condition_is_asked_once_even_without_any_time() -> None:
    assert came_true(lambda: True, 0.0)
    assert not came_true(lambda: False, 0.0)


def test_a_condition_is_asked_once_more_at_the_deadline() -> None:
    ends_s = time.monotonic() + 0.05
    assert came_true(lambda: time.monotonic() >= ends_s, 0.05, poll_s=60.0)


def test_the_error_of_a_wait_says_what_how_long_what_was_seen_and_what_to_do() -> None:
    with pytest.raises(StackError) as caught:
        wait_until("the page", lambda: "HTTP 503", 0.0, "see its log:", tail=lambda: ["no disk"])
    first, last = str(caught.value).splitlines()
    assert first == "waited 0.0 s for the page; last seen: HTTP 503; see its log:"
    assert last == "  | no disk"
    assert caught.value.log_tail == ("no disk",)


def test_a_wait_ends_at_once_when_its_check_finds_that_it_is_in_vain() -> None:
    def check() -> None:
        raise StackError("it has ended")

    with pytest.raises(StackError, match="it has ended"):
        wait_until("the page", lambda: "HTTP 503", 60.0, "see its log", check=check)


def test_a_problem_that_is_solved_is_not_checked() -> None:
    def check() -> None:
        raise AssertionError

    wait_until("the page", lambda: None, 60.0, "see its log", check=check)


def test_a_server_whose_port_was_taken_is_started_on_another() -> None:
    def start(port: int) -> int:
        if port < 2:
            raise PortTakenError("address already in use")
        return port

    assert on_free_ports(count().__next__, start) == 2


def test_a_server_whose_ports_are_always_taken_is_not_started_for_ever() -> None:
    tried: list[int] = []

    def start(port: int) -> None:
        tried.append(port)
        raise PortTakenError(f"port {port} is taken")

    with pytest.raises(PortTakenError, match=f"port {PORT_ATTEMPTS - 1} is taken"):
        on_free_ports(count().__next__, start)
    assert len(tried) == PORT_ATTEMPTS


def test_a_server_that_fails_otherwise_is_not_started_again() -> None:
    tried: list[int] = []

    def start(port: int) -> None:
        tried.append(port)
        raise StackError("no such program")

    with pytest.raises(StackError, match="no such program"):
        on_free_ports(free_port, start)
    assert len(tried) == 1
