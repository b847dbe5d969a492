"""Starts customers as the plugin does, in a process that Locust has patched, and prints what happened."""

import json
import sys
import time
from typing import Any, ClassVar

import gevent
from locust import User, task
from locust.env import Environment

from rushhour.load.due import count_due, note_ends_of_waits
from rushhour.load.recorder import Clock, Tally
from rushhour.load.spawning import AT_ONCE, count_at_once, start_in_slices

CUSTOMERS = AT_ONCE + 50


class Customer(User):
    """Waits once for as long as the class says."""

    pause_s = 0.3
    busy_s = 0.0
    waits_since: ClassVar[list[float]] = []

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        until_s = time.monotonic() + self.busy_s
        while time.monotonic() < until_s:
            pass

    def wait_time(self) -> float:
        self.waits_since.append(time.monotonic())
        return self.pause_s

    @task
    def act(self) -> None:
        """Do nothing."""


def runner_of(sliced: bool) -> Any:
    environment = Environment(user_classes=[Customer])
    runner = environment.create_local_runner()
    if sliced:
        start_in_slices(runner)
    return runner


def turns_while_starting(sliced: bool, *, busy_s: float = 0.0) -> dict[str, Any]:
    """How often another greenlet had its turn while the customers were started."""
    runner, turns = runner_of(sliced), 0
    Customer.busy_s = busy_s

    def take_turns() -> None:
        nonlocal turns
        while True:
            gevent.sleep(0)
            turns += 1

    other = gevent.spawn(take_turns)
    gevent.sleep(0)
    before, began_s = turns, time.monotonic()
    started = runner.spawn_users({"Customer": CUSTOMERS})
    result = {
        "turns": turns - before,
        "started": len(started),
        "there": runner.user_count,
        "state": runner.state,
        "took_s": time.monotonic() - began_s,
    }
    other.kill()
    runner.quit()
    Customer.busy_s = 0.0
    return result


def stopped_while_starting() -> int:
    """How many customers are there after a stop that came while they were started."""
    runner = runner_of(sliced=True)
    runner.start(CUSTOMERS, CUSTOMERS)
    while not runner.user_count:
        gevent.sleep(0)
    assert runner.user_count < CUSTOMERS
    runner.stop()
    gevent.sleep(0.8)
    return int(runner.user_count)


def due_of_a_second() -> dict[str, Any]:
    """What is due, when some customers leave before their time.

    `due` has, of each sample, the first second that it covers, the second in which it was taken, and how many
    were due; `ends` the seconds in which the waits of all customers were to end.
    """
    runner = runner_of(sliced=False)
    tally = Tally(Clock(time.monotonic()), "local", time.process_time)
    note_ends_of_waits()
    count_due(tally)
    Customer.pause_s = 5.0  # longer than the machine stands still before some of them leave
    Customer.waits_since.clear()
    runner.spawn_users({"Customer": 30})
    while len(Customer.waits_since) < 30:
        gevent.sleep(0)
    ends = sorted({int(began_s - tally.clock.zero_s + Customer.pause_s) for began_s in Customer.waits_since})
    Customer.pause_s = 600.0  # of the waits after these
    runner.stop_users({"Customer": 10})
    samples, covered = [], 0
    while covered <= max(ends) + 1:
        gevent.sleep(max(0.0, covered + 1.01 - tally.clock.now_s()))
        now = int(tally.clock.now_s())
        samples.append((covered, now, tally.sample(20).due))
        covered = now
    return {"due": samples, "ends": ends}


def counts() -> list[dict[str, int]]:
    """The customers by class, of one class and of two: as Locust counts them, and as the plugin does."""

    class Other(Customer):
        pass

    seen = []
    both: tuple[list[type[User]], ...] = ([Customer], [Customer, Other])
    for ours in (False, True):
        if ours:
            count_at_once()
        for classes in both:
            runner = Environment(user_classes=classes).create_local_runner()
            runner.spawn_users({"Customer": 7})
            gevent.sleep(0)
            seen.append(runner.user_classes_count)
            runner.stop_users({"Customer": 3})
            seen.append(runner.user_classes_count)
            runner.quit()
            seen.append(runner.user_classes_count)
    return seen


if __name__ == "__main__":
    sys.stdout.write(
        json.dumps(
            {
                "customers": CUSTOMERS,
                "stock": turns_while_starting(sliced=False),
                "sliced": turns_while_starting(sliced=True),
                "slow": turns_while_starting(sliced=True, busy_s=0.006),
                "left": stopped_while_starting(),
                "counts": counts(),
                **due_of_a_second(),
            }
        )
    )
