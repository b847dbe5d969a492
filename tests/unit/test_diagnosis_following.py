"""Holders that wait for work in a pool's queue, in a way that is not seen: they go on when it times out."""

import dataclasses
import random

import pytest

from rushhour.rundir import History
from rushhour.rundir import facts as f
from tests.unit import histories as h
from tests.unit import zoo_histories as zoo

WORK = f.CallSite("app/work.py", 16, "work")


def polling(*, timeouts_s: list[float], returned_s: list[float], waited_s: float = 2.0) -> History:
    """Holders seen at one line outside of the driver, with these time-outs at another, and these returns."""
    made = zoo.story()
    zoo.full_pool(made)
    zoo.doing(made, elsewhere=60)
    zoo.backends(made, "idle in transaction", lambda _: 1.1, spread=0.2)
    for number, at in enumerate(returned_s):
        made.checkout(number, at - 1.5, f"t{number}", request_ended_s=None, returned_s=h.STARTED_S + at)
    for at in timeouts_s:
        made.add("pool_timeouts", f.PoolTimeout(h.STARTED_S + at, h.PID, "replica", WORK, None, waited_s))
    history = made.history()
    taken = history.checkouts[0].site
    seen = zoo.WAIT_SITE
    doing = tuple(
        dataclasses.replace(
            one, places=(f.Place("elsewhere", taken, seen, 60), f.Place("driver", WORK, None, 2))
        )
        for one in history.doing
    )
    return dataclasses.replace(history, doing=doing)


EVERY_2_S = [4.0 + 2.0 * n for n in range(7)]


def test_what_comes_back_just_after_time_outs_at_one_line_was_held_by_who_waits_there() -> None:
    after = [at + 0.05 * n for at in EVERY_2_S for n in (1, 2, 3)]
    found = zoo.diagnosed(polling(timeouts_s=EVERY_2_S, returned_s=after))
    assert (found.cause, found.confidence) == ("nested-checkout", "likely")
    assert (
        "21 of 21 connections of pool replica came back just after a time-out at app/work.py:16"
        in found.summary
    )


@pytest.mark.parametrize("seed", range(3))
def test_returns_that_time_outs_do_not_explain_are_a_wait_for_the_world_outside(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # no secret
    returned = [chance.uniform(4, 18) for _ in range(60)]
    assert (
        zoo.diagnosed(polling(timeouts_s=EVERY_2_S, returned_s=returned)).cause == "held-across-external-wait"
    )


def test_time_outs_that_are_always_near_explain_nothing() -> None:
    often = [4.0 + 0.1 * n for n in range(140)]
    after = [at + 0.01 for at in EVERY_2_S for _ in range(3)]
    assert zoo.diagnosed(polling(timeouts_s=often, returned_s=after)).cause == "held-across-external-wait"


def test_many_that_come_back_at_one_moment_are_one_coincidence() -> None:
    """A partner that answers again lets all of its callers go on."""
    late = [4.0, 7.0, 9.0, 12.2, 16.0]
    found = zoo.diagnosed(polling(timeouts_s=late, returned_s=[12.3 + n / 1000 for n in range(15)]))
    assert found.cause == "held-across-external-wait"


def test_few_time_outs_or_returns_say_nothing() -> None:
    few = EVERY_2_S[:4]
    after = [at + 0.05 for at in few for _ in range(3)]
    assert zoo.diagnosed(polling(timeouts_s=few, returned_s=after)).cause == "held-across-external-wait"
    assert (
        zoo.diagnosed(polling(timeouts_s=EVERY_2_S, returned_s=after[:9])).cause
        == "held-across-external-wait"
    )
