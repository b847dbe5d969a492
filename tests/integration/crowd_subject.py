"""Starts customers as the plugin does, in a process that Locust has patched, and prints what happened."""

import json
import sys
import time
from typing import Any

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

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        until_s = time.monotonic() + self.busy_s
        while time.monotonic() < until_s:
            pass

    def wait_time(self) -> float:
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
    gevent.sleep(0.2)
    assert 0 < runner.user_count < CUSTOMERS
    runner.stop()
    gevent.sleep(0.8)
    return int(runner.user_count)


def due_of_a_second() -> list[int]:
    """What is due in the seconds that follow, when some customers leave before their time."""
    tally = Tally(Clock(time.monotonic()), "local", time.process_time)
    note_ends_of_waits()
    count_due(tally)
    runner = runner_of(sliced=False)
    Customer.pause_s = 1.5
    runner.spawn_users({"Customer": 30})
    gevent.sleep(0.1)
    runner.stop_users({"Customer": 10})
    samples = []
    for second in range(1, 4):
        gevent.sleep(second + 0.01 - tally.clock.now_s())
        samples.append(tally.sample(20).due)
    return samples


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
                "due": due_of_a_second(),
            }
        )
    )
