"""Counts how many requests are due in each second, from the customers' own schedule.

The count is known before the second comes, so that it is right however late the requests are sent.
"""

# Locust's classes carry no types.
# mypy: allow-untyped-calls

import time
from typing import ClassVar

from locust.user.task import TaskSet

from rushhour.load.recorder import Tally


class Schedule:
    """Where this process counts; the web UI starts one run after another in it."""

    tally: ClassVar[Tally | None] = None


def count_due(tally: Tally) -> None:
    """Make each wait of a customer, which `wait_time` decides, count in the second in which it is to end."""
    first, Schedule.tally = Schedule.tally is None, tally
    if not first:
        return
    sleep = TaskSet._sleep

    def sleep_as_planned(self: TaskSet, seconds: float) -> None:
        due_s, counts = time.monotonic() + seconds, Schedule.tally
        assert counts is not None  # noqa: S101  # it was set before any customer came
        counts.plan(due_s)
        try:
            sleep(self, seconds)
        except BaseException:  # the customer leaves
            counts.plan(due_s, -1)
            raise

    TaskSet._sleep = sleep_as_planned  # type: ignore[method-assign]
