"""Counts how many requests are due in each second, from the customers' own schedule.

The count is known before the second comes, so that it is right however late the requests are sent.
"""

# Locust's classes carry no types.
# mypy: allow-untyped-calls

import time

from locust.user.task import TaskSet

from rushhour.load.recorder import Tally


def count_due(tally: Tally) -> None:
    """Make each wait of a customer, which `wait_time` decides, count in the second in which it is to end."""
    sleep = TaskSet._sleep

    def sleep_as_planned(self: TaskSet, seconds: float) -> None:
        due_s = time.monotonic() + seconds
        tally.plan(due_s)
        try:
            sleep(self, seconds)
        except BaseException:  # the customer leaves
            tally.plan(due_s, -1)
            raise

    TaskSet._sleep = sleep_as_planned  # type: ignore[method-assign]
