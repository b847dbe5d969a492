"""Starts many customers a few at a time, so that those who are there already keep their schedule.

Locust starts all customers of a second at once. Three hundred of them keep the event loop for a tenth of a
second, in which every other customer is late.
"""

# Locust's classes carry no types.
# mypy: allow-untyped-calls

import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import gevent
from locust.runners import STATE_INIT, STATE_SPAWNING, STATE_STOPPED, Runner

# Locust cuts the start of a second's customers short when that of the next second begins.
SPREAD_S: Final = 0.7
# As Locust does: some defects need a burst, such as requests that take a second connection. It takes 50 ms.
AT_ONCE: Final = 250


def count_at_once() -> None:
    """Make Locust count the customers of a single class without a look at each of them.

    It counts them five times a second while it starts some: 20 ms of ten thousand customers.
    """
    by_class = Runner.user_classes_count.fget  # type: ignore[attr-defined]

    def user_classes_count(self: Runner) -> dict[str, int]:
        if len(self.user_classes) == 1:
            return {self.user_classes[0].__name__: len(self.user_greenlets)}
        counted: dict[str, int] = by_class(self)
        return counted

    Runner.user_classes_count = property(user_classes_count)  # type: ignore[assignment,method-assign]


def start_in_slices(runner: Runner) -> None:
    """Spread what this process starts in a second over that second."""
    at_once = partial(type(runner).spawn_users, runner)  # the web UI calls this for each run of a process

    def spawn_users(user_classes_spawn_count: Mapping[str, int], wait: bool = False) -> list[Any]:
        total = sum(user_classes_spawn_count.values())
        if wait or total <= AT_ONCE:
            return list(at_once(dict(user_classes_spawn_count), wait))
        if runner.state in (STATE_INIT, STATE_STOPPED):
            runner.update_state(STATE_SPAWNING)
        users: list[Any] = []
        began_s = time.monotonic()
        for name, count in user_classes_spawn_count.items():
            for _ in range(count):
                user = runner.user_classes_by_name[name](runner.environment)
                user.start(runner.user_greenlets)
                users.append(user)
                early_s = began_s + SPREAD_S * len(users) / total - time.monotonic()
                if early_s > 0:
                    gevent.sleep(early_s)
        return users

    runner.spawn_users = spawn_users  # type: ignore[method-assign]
