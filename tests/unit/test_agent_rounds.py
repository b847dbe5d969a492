"""Loops of the service's own that wait for their next item, and what an earlier round of them left out."""

from typing import Any

import pytest

from rushhour.agent.book import CLOSE, GC
from rushhour.agent.units import OWNER_IDLE
from tests.unit.loops_of_threads import KEPT, LEFT, leaves_it
from tests.unit.rounds_subject import Loop

pytestmark = pytest.mark.usefixtures("no_loop_goes_on")


@pytest.mark.parametrize("work", LEFT)
def test_what_an_earlier_round_left_out_has_leaked_once_a_second_one_has_taken_another(work: Any) -> None:
    loop = Loop(work)
    loop.step()
    assert loop.taking.lost() == [None]
    loop.step()
    assert loop.taking.lost() == [OWNER_IDLE, OWNER_IDLE]


@pytest.mark.parametrize("work", KEPT)
def test_what_a_loop_may_yet_use_has_not(work: Any) -> None:
    loop = Loop(work)
    for _ in range(2):
        loop.step()
        assert set(loop.taking.lost()) == {None}


@pytest.mark.parametrize(("how", "lost"), [(GC, OWNER_IDLE), (CLOSE, None)])
def test_the_next_one_is_left_out_where_the_last_one_came_back_as_garbage(how: str, lost: str | None) -> None:
    loop = Loop(leaves_it)
    loop.step()
    loop.taking.lost()
    [first] = loop.taking.holds
    first.how, first.returned = how, 9.5
    loop.taking.holds.clear()
    loop.step()
    assert loop.taking.lost() == [lost]


def test_what_a_later_round_uses_was_kept_and_so_is_all_that_is_taken_there() -> None:
    loop = Loop(leaves_it)
    loop.step()
    loop.step()
    assert loop.taking.lost(9.0) == [OWNER_IDLE, OWNER_IDLE]
    first = loop.taking.holds[0]
    first.used = 10.0
    assert loop.taking.units.resumed(loop.taking.holds) == [first]
    loop.step()
    assert loop.taking.lost(12.0) == [None, OWNER_IDLE, None]


def test_one_that_the_second_round_uses_was_not_left_out() -> None:
    loop = Loop(leaves_it)
    loop.step()
    loop.taking.lost(3.0)
    loop.taking.holds[0].used = 4.0
    loop.taking.lost(5.0)
    loop.step()
    assert loop.taking.lost(9.0) == [None, None]


def test_a_connection_that_was_used_a_moment_ago_is_not_lost_yet() -> None:
    loop = Loop(leaves_it)
    loop.step()
    loop.step()
    loop.taking.holds[0].used = 8.9
    assert loop.taking.lost(9.0) == [None, None]
    assert loop.taking.lost(9.5) == [OWNER_IDLE, OWNER_IDLE]
