"""Lets customers arrive in a Locust process, and closes their connections when they have left."""

# Locust's events and user classes carry no types.
# mypy: allow-untyped-calls

import functools
import random
import resource
import time
from contextlib import ExitStack
from typing import Any, Final

import gevent
from locust import HttpUser, User
from locust.contrib.fasthttp import FastHttpUser
from locust.env import Environment
from locust.runners import STATE_RUNNING, Runner

from rushhour.load.arrivals import arrival_times
from rushhour.load.due import set_due
from rushhour.load.recorder import Tally
from rushhour.load.sessions import one_pass
from rushhour.process.waiting import came_true  # Locust has made its sleep gevent's
from rushhour.scenario.arrivals import from_text

READY_S: Final = 10.0  # Locust's runner runs this soon after a test has started
MOST_PRESENT: Final = 20_000  # customers at once in one process
AT_ONCE: Final = 50  # late customers who are admitted in one turn of the event loop
OWN_FILES: Final = 256  # file descriptors that are left for other things than customers


def room() -> int:
    """Return how many customers may be present in this process; each has a connection."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_PRESENT if soft == resource.RLIM_INFINITY else max(1, min(MOST_PRESENT, soft - OWN_FILES))


class Visitors:
    """Starts a customer at each moment of a Poisson process, whatever the answers do.

    With several processes each carries its share of the rate, from its own part of the seed.
    """

    def __init__(self, environment: Environment, runner: Runner, tally: Tally) -> None:
        self._environment = environment
        self._runner = runner
        self._tally = tally
        self._room = room()
        self._greenlet: gevent.Greenlet[..., None] | None = None
        self._leaving = ExitStack()  # what is undone at the end of the test
        environment.events.test_start.add_listener(self._on_test_start)
        environment.events.test_stopping.add_listener(self._on_test_stopping)
        environment.events.test_stop.add_listener(self._on_test_stop)

    def _on_test_start(self, **_: Any) -> None:
        options: Any = self._environment.parsed_options
        if options.load_arrivals and self._greenlet is None:
            self._leaving.enter_context(one_pass())
            self._greenlet = gevent.spawn(self._receive, options)

    def _on_test_stopping(self, **_: Any) -> None:
        if self._greenlet is not None:
            self._greenlet.kill()
            self._greenlet = None

    def _on_test_stop(self, **_: Any) -> None:
        self._leaving.close()  # the customers have stopped

    def _receive(self, options: Any) -> None:
        if not came_true(lambda: self._runner.state == STATE_RUNNING, READY_S, poll_s=0.005):
            return  # no customer comes, and the run is void
        began_s = time.monotonic()
        index = max(0, getattr(self._runner, "worker_index", 0))
        rng = random.Random(f"{options.load_seed}/{index}/arrivals")  # noqa: S311  # no secret
        classes = [user_class for user_class in self._environment.user_classes if user_class.weight > 0]
        weights = [user_class.weight for user_class in classes]
        moments = arrival_times(
            from_text(options.load_arrivals), options.load_duration, rng, 1 / options.load_processes
        )
        at_once = 0  # customers who were admitted without letting others run
        for at_s in moments:
            due_s = began_s + at_s
            wait_s = due_s - time.monotonic()
            # One customer for each turn of the event loop would never catch up after a stall.
            if wait_s > 0 or at_once >= AT_ONCE:
                gevent.sleep(max(0.0, wait_s))
                at_once = 0
            self._admit(rng.choices(classes, weights)[0], due_s)
            at_once += 1

    def _admit(self, user_class: type[User], due_s: float) -> None:
        if self._runner.user_count >= self._room:
            self._tally.turned_away += 1
            return
        user = user_class(self._environment)
        set_due(user, due_s)
        greenlet = user.start(self._runner.user_greenlets)
        greenlet.link(functools.partial(_disconnect, user))
        self._tally.arrived += 1


def _disconnect(user: User, _: Any) -> None:
    """Close the connection of a customer who has left, unless the class shares it among its customers."""
    if isinstance(user, FastHttpUser) and user.client_pool is None:
        user.client.client.close()
    elif isinstance(user, HttpUser) and user.pool_manager is None:
        user.client.close()
