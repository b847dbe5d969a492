"""A locustfile with the pages of `rushhour ui` over views that it makes up; it sends no request."""

# Locust's events and user classes carry no types.
# mypy: allow-untyped-calls, allow-untyped-decorators

from typing import Any

import gevent
from flask import Response, jsonify
from locust import User, constant, events, task
from locust.env import Environment
from locust.web import WebUI

from rushhour.jobs.webui.board import Board
from rushhour.jobs.webui.messages import Choice, Judged, View, Welcome
from rushhour.jobs.webui.pages import add_pages
from rushhour.observe.live_state import LiveState, PoolGauge

DRAIN_S, JUDGING_S = 2.5, 2.5  # longer than the page's own interval
WELCOME = Welcome(
    choices=(Choice("tiny", "1.1", 60, 60.0, 75.0), Choice("other", "1.0", 7, 3.0, 30.0)),
    chosen="tiny",
    releases=("1.0", "1.1"),
    login=None,
    runs="/nowhere",
    loopback=True,
)


class Idle(User):
    """Does nothing."""

    wait_time = constant(1)

    @task
    def rest(self) -> None:
        """Send no request."""


class Story:
    """One made-up run after another: the pool fills, drains to 1 while it is judged; the verdict is last."""

    def __init__(self, environment: Environment) -> None:
        self.board = Board()
        self._runner: Any = environment.runner
        self._runs: tuple[Judged, ...] = ()
        self._elapsed_s = 0
        self._show("ready", 0)

    def _show(self, phase: Any, out: int) -> None:
        state = LiveState(
            elapsed_s=self._elapsed_s, users=1, rps=1.0, pools=(PoolGauge("replica", out, 5, 0, out, 0),)
        )
        self.board.show(
            View(
                phase,
                f"words of {phase}",
                f"run-{len(self._runs)}",
                "tiny",
                "1.1",
                75.0,
                "of 60",
                state,
                self._runs,
            )
        )

    def start(self) -> Response:
        """The form's answer."""
        self._elapsed_s = 0
        self._show("preparing", 0)
        self._runner.start(1, 1)
        gevent.spawn(self._run)
        return jsonify(success=True, message="tiny", host="")

    def _run(self) -> None:
        while self._runner.state in ("spawning", "running"):
            self._show("running", 5)
            gevent.sleep(1)
            self._elapsed_s += 1

    def stop(self) -> Response:
        """The button's answer: the load is over at once, the verdict is not."""
        self._runner.stop()
        gevent.spawn(self._end)
        return jsonify(success=True, message="Test stopped")

    def _end(self) -> None:
        gevent.sleep(1)
        self._show("draining", 3)
        gevent.sleep(DRAIN_S)
        self._show("judging", 1)
        gevent.sleep(JUDGING_S)
        self._runs = (Judged(f"run-{len(self._runs)}", "tiny", "1.1", "fail", "it ran out"), *self._runs)
        self._show("ready", 1)


@events.init.add_listener
def _join(environment: Environment, web_ui: WebUI, **_: Any) -> None:
    story = Story(environment)
    add_pages(web_ui, story.board, WELCOME, swarm=story.start, stop=story.stop)
