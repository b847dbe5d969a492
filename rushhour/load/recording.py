"""The recorder inside a Locust process that runs customers: it counts; `writing.py` keeps what is counted."""

# Locust's events and user classes carry no types.
# mypy: allow-untyped-calls, allow-untyped-decorators

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

import gevent
from locust.env import Environment
from locust.runners import STATE_INIT, STATE_STOPPED, Runner

from rushhour.load.messages import FACTS, Raised, Report, pack
from rushhour.load.outcome import classify
from rushhour.load.raised import Exceptions
from rushhour.load.recorder import TICK_S, Tally, overdue_ms

HURRY_S: Final = 1.0  # an interrupted run waits this long for requests in flight
PAST_S: Final = 0.005  # a second's report is made this long after its end: a timer may fire early by less


class Counter:
    """Counts the requests of one process that runs customers, and hands a report on each second."""

    def __init__(self, runner: Runner, tally: Tally, hand_on: Callable[[Report], None]) -> None:
        self._runner = runner
        self._tally = tally
        self._succeeded = tally.succeeded
        self._hand_on = hand_on
        self._exceptions = Exceptions()
        self._greenlets: list[gevent.Greenlet[..., None]] = []

    def on_request(
        self,
        request_type: str,
        name: str,
        response_time: float,
        response: Any = None,
        exception: BaseException | None = None,
        **_: Any,
    ) -> None:
        """Locust's `request` event: one attempt ended."""
        status = None if response is None else response.status_code or 0
        if status and response.history:
            self._tally.redirected += 1
        if status == 200 and exception is None:  # nearly all of them
            self._succeeded(request_type, name, response_time)
        else:
            body = response.content if status is not None and status >= 500 else None
            outcome = classify(status, body, exception)
            self._tally.ended(request_type, name, outcome, response_time, status)

    def on_user_error(self, exception: BaseException, tb: TracebackType | None, **_: Any) -> None:
        """Locust's `user_error` event: a task, or a customer's `on_start`, raised."""
        self._exceptions.add(exception, tb)

    def begin(self) -> None:
        """The test starts."""
        if not self._greenlets:
            self._greenlets = [gevent.spawn(self._tick), gevent.spawn(self._report_each_second)]

    def end(self) -> None:
        """The test is over and its customers have stopped: everything that is left goes out."""
        gevent.killall(self._greenlets)
        samples = (self._tally.sample(self._runner.user_count),) if self._greenlets else ()
        self._greenlets = []
        self._hand_on(
            Report(tuple(self._tally.rows(final=True)), samples, final=True, raised=self._take_raised())
        )

    def _take_raised(self) -> tuple[Raised, ...]:
        return self._exceptions.take(self._tally.clock.now_s(), self._tally.worker)

    def _tick(self) -> None:
        planned_s = time.monotonic() + TICK_S
        while True:
            gevent.sleep(max(0.0, planned_s - time.monotonic()))
            late_ms, planned_s = overdue_ms(planned_s, time.monotonic())
            self._tally.late(late_ms)

    def _report_each_second(self) -> None:
        clock = self._tally.clock
        while True:
            gevent.sleep(1 - clock.now_s() % 1 + PAST_S)
            sample = self._tally.sample(self._runner.user_count)
            self._hand_on(Report(tuple(self._tally.rows()), (sample,), raised=self._take_raised()))


class Worker:
    """A worker process: its counter's reports go to the master."""

    def __init__(self, environment: Environment, runner: Runner, tally: Tally) -> None:
        self._environment = environment
        self._runner = runner
        self.counter = Counter(runner, tally, self._send)
        events = environment.events
        events.request.add_listener(self.counter.on_request)
        events.user_error.add_listener(self.counter.on_user_error)
        events.test_start.add_listener(lambda **_: self.counter.begin())
        events.test_stop.add_listener(self._on_test_stop)
        events.quitting.add_listener(self._on_quitting)

    def _send(self, report: Report) -> None:
        self._runner.send_message(FACTS, pack(report))

    def _on_test_stop(self, **_: Any) -> None:
        self.counter.end()
        # Locust's worker now sleeps for its stop_timeout before it listens again; its customers have stopped,
        # so that would only make it deaf to the master's "quit".
        self._environment.stop_timeout = 0

    def _on_quitting(self, **_: Any) -> None:
        if self._runner.state not in (STATE_INIT, STATE_STOPPED):  # a signal, not the master's word
            self._environment.stop_timeout = HURRY_S
            self._runner.stop()
