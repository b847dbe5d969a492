"""Knows when the requests of a customer are due, how many in each second, and how much later they are sent.

A request is due when its customer arrives, or when the wait before its task ends. A generator that has too
little CPU sends it later, and the latency from when it was sent hides that (coordinated omission).
"""

# Locust's classes carry no types.
# mypy: allow-untyped-calls

import time
from typing import Any, ClassVar, Final

from locust import User
from locust.user.task import TaskSet

from rushhour.load.recorder import Tally

LATE_MS: Final = "rushhour_late_ms"  # key in the context of Locust's `request` event
LEAST_MS: Final = 1.0  # a timer of the event loop that fires this late is punctual

_DUE_S: Final = "_rushhour_due_s"  # attribute of a customer, a reading of time.monotonic()


def set_due(user: User, due_s: float) -> None:
    """Note when the customer's next request is due, as a reading of time.monotonic()."""
    user.__dict__[_DUE_S] = due_s


def take_late_ms(user: Any) -> float | None:
    """Return how late the request is that the customer sends now; None if it had no moment of its own."""
    due_s = user.__dict__.pop(_DUE_S, None)
    return None if due_s is None else max(0.0, (time.monotonic() - due_s) * 1000)


class Schedule:
    """Where this process counts what is due; the web UI starts one run after another in it."""

    tally: ClassVar[Tally | None] = None


def count_due(tally: Tally) -> None:
    """Count the requests that are due in each second in this tally from now on."""
    Schedule.tally = tally


def note_ends_of_waits() -> None:
    """Make every wait of a customer, which `wait_time` decides, set when the next request is due.

    It is counted in its second before that comes, so that the count is right however late it is sent.
    """
    sleep = TaskSet._sleep

    def sleep_and_note(self: TaskSet, seconds: float) -> None:
        due_s, tally = time.monotonic() + seconds, Schedule.tally
        if tally is not None:
            tally.plan(due_s)
        try:
            sleep(self, seconds)
        except BaseException:  # the customer leaves
            if tally is not None:
                tally.plan(due_s, -1)
            raise
        set_due(self.user, due_s)

    TaskSet._sleep = sleep_and_note  # type: ignore[method-assign]
