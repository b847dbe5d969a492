"""The part of rushhour that the Locust of `rushhour ui` loads beside a locustfile.

It puts scenario and release into Locust's form, asks the harness for a service before a load starts, records
each run into its own directory, and serves the pages of `pages.py` from the same origin.
"""

# Locust's events and user classes carry no types.
# mypy: allow-untyped-calls, allow-untyped-decorators

import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import gevent
from flask import Response, jsonify, request
from gevent.event import AsyncResult
from locust import argument_parser, events
from locust.clients import HttpSession
from locust.contrib.fasthttp import FastHttpSession
from locust.env import Environment
from locust.html import get_html_report
from locust.runners import LocalRunner
from locust.web import WebUI

from rushhour.jobs.webui.board import BUSY, Board
from rushhour.jobs.webui.form import FormError, read_ask
from rushhour.jobs.webui.masked import masked_page
from rushhour.jobs.webui.messages import Ask, Channel, Ended, Go, Refused, Stop, View, Welcome
from rushhour.jobs.webui.pages import add_pages
from rushhour.load.names import CHANNEL
from rushhour.load.plugin import Shape, count_started
from rushhour.load.recorder import Clock, Tally
from rushhour.load.recording import HURRY_S, Counter
from rushhour.load.spawning import start_in_slices
from rushhour.load.visitors import Visitors
from rushhour.load.writing import Writer
from rushhour.rundir import FactWriter, RunDir

__all__ = ["Shape"]  # Locust takes it from here

PREPARE_TIMEOUT_S = 600.0  # a Compose stack may have to build its image first
WELCOME_TIMEOUT_S = 30.0
_PLAIN_FAST, _PLAIN = FastHttpSession.request, HttpSession.request


class Recording:
    """One run's recorder: listens from the load's start to its end, then lets go of all of it."""

    def __init__(self, environment: Environment, runner: LocalRunner, go: Go) -> None:
        self._environment = environment
        self.run = RunDir(Path(go.run_dir))
        self.clock = Clock.since(go.anchor_wall_s)
        hooks = environment.events
        self._hooks = (
            hooks.test_start,
            hooks.test_stopping,
            hooks.test_stop,
            hooks.request,
            hooks.user_error,
            hooks.quitting,
        )
        self._before = [list(hook._handlers) for hook in self._hooks]
        files = FactWriter(self.run)
        tally = Tally(self.clock, "local", time.process_time)
        count_started(tally)
        start_in_slices(runner)
        self.writer = Writer(environment, runner, files, self.clock, go.warm_up_s)
        counter = Counter(runner, tally, self.writer.take)
        hooks.request.add_listener(counter.on_request)
        hooks.user_error.add_listener(counter.on_user_error)
        hooks.test_start.add_listener(lambda **_: counter.begin())
        hooks.test_stop.add_listener(lambda **_: counter.end())
        Visitors(environment, runner, tally)

    def close(self) -> None:
        """Write what is left, and Locust's own report; then nothing of this run listens any more."""
        self.writer.finish()
        for hook, before in zip(self._hooks, self._before, strict=True):
            hook._handlers[:] = before
        FastHttpSession.request = _PLAIN_FAST  # type: ignore[method-assign]
        HttpSession.request = _PLAIN  # type: ignore[method-assign]
        page = masked_page(get_html_report(self._environment, show_download_link=False))
        self.run.file("locust.html").write_text(page, encoding="utf-8")


class Conductor:
    """Starts and stops loads as the browser and the harness ask; one at a time."""

    def __init__(self, environment: Environment, web_ui: WebUI, channel: Channel) -> None:
        assert isinstance(environment.runner, LocalRunner)  # noqa: S101  # the command line says so
        self._environment = environment
        self._options: Any = environment.parsed_options
        self._runner = environment.runner
        self._web_ui = web_ui
        self._channel = channel
        self._welcome: AsyncResult[Welcome] = AsyncResult()
        self._answer: AsyncResult[Go | Refused] | None = None
        self._recording: Recording | None = None
        self._by_hand = False
        self._began_s = self._lasted_s = 0.0
        self._urls = {""}  # hosts that the form may hold: those that this session's services had
        self.board = Board()
        gevent.spawn(self._listen)

    def welcome(self) -> Welcome:
        """Return what the harness said first. Raises gevent.Timeout."""
        found = self._welcome.get(timeout=WELCOME_TIMEOUT_S)
        assert found is not None  # noqa: S101  # only messages are set
        return found

    def _listen(self) -> None:
        for message in self._channel.received():
            match message:
                case Welcome():
                    self._welcome.set(message)
                case View():
                    self.board.show(message)
                case Go() | Refused() if self._answer is not None:
                    self._answer.set(message)
                case Stop():
                    gevent.spawn(self._hurry)
        # The harness is gone: nobody observes, and nothing may run on.
        gevent.spawn(self._runner.quit)
        self._web_ui.stop()

    def swarm(self) -> Response:
        """Return the form's answer: the load runs, or why it does not."""
        if self.busy:
            return self._refuse("a run is under way; stop it, and wait for its verdict, before the next")
        try:
            ask = read_ask(request.form, self.welcome(), self._urls)
        except FormError as error:
            return self._refuse(str(error))
        self._answer = AsyncResult()
        try:
            return self._prepare(ask, self._answer)
        finally:
            self._answer = None

    @property
    def busy(self) -> bool:
        """Whether a run is being made ready, runs, or is being judged."""
        return self._answer is not None or self._recording is not None or self.board.view.phase in BUSY

    def _prepare(self, ask: Ask, awaited: "AsyncResult[Go | Refused]") -> Response:
        self._channel.send(ask)
        try:
            answer = awaited.get(timeout=PREPARE_TIMEOUT_S)
        except gevent.Timeout:
            return self._refuse(f"the service was not ready within {PREPARE_TIMEOUT_S:.0f} s")
        if not isinstance(answer, Go):
            return self._refuse(answer.why if answer else "rushhour gave no answer")
        self._start(answer)
        return jsonify(success=True, message=f"{ask.scenario}, release {ask.release}", host=answer.url)

    def _refuse(self, why: str) -> Response:
        return jsonify(success=False, message=why, host=self._environment.host)

    def _start(self, go: Go) -> None:
        os.environ.update(go.settings)  # read again by the locustfile's own options
        parsed = argument_parser.get_parser().parse_args(sys.argv[1:])
        vars(self._options).update(vars(parsed))
        self._options.num_users, self._options.spawn_rate = go.users, go.spawn_rate
        self._environment.host = go.url
        self._environment.stop_timeout = go.stop_timeout_s
        self._urls.add(go.url)
        self._by_hand, self._began_s = False, time.monotonic()
        self._recording = Recording(self._environment, self._runner, go)
        self._environment.events.test_stop.add_listener(self._on_test_stop)
        self._runner.start_shape()

    def stop(self) -> Response:
        """Answer the stop button: the load ends here, as its user wants."""
        if self._recording is None:
            return jsonify(success=True, message="no load runs")
        shape: Any = self._environment.shape_class
        if not shape.finished:
            self._by_hand = shape.finished = True
            self._lasted_s = time.monotonic() - self._began_s  # requests in flight may take longer
        self._end()
        return jsonify(success=True, message="Test stopped")

    def _hurry(self) -> None:
        self._environment.stop_timeout = HURRY_S
        self._end()

    def _end(self) -> None:
        if self._recording is None:
            return
        self._runner.stop()  # it fires test_stop, unless it had stopped already

    def _on_test_stop(self, **_: Any) -> None:
        recording, self._recording = self._recording, None
        if recording is None:
            return
        recording.close()
        self._channel.send(Ended(self._by_hand, round(self._lasted_s, 3)))


def _join(environment: Environment, web_ui: WebUI | None = None, **_: Any) -> None:
    """Wire all of it up. Raises, and so ends Locust, when the harness is not there."""
    if web_ui is None or CHANNEL not in os.environ:
        raise RuntimeError("this file is for the Locust that `rushhour ui` starts")
    channel = Channel(socket.socket(fileno=int(os.environ[CHANNEL])))
    conductor = Conductor(environment, web_ui, channel)
    add_pages(web_ui, conductor.board, conductor.welcome(), swarm=conductor.swarm, stop=conductor.stop)


events.init.add_listener(_join)
