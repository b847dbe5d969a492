"""Counts requests in a Locust process that runs customers; `writing.py` writes the counts."""

# Locust's events and user classes carry no types.
# mypy: allow-untyped-calls, allow-untyped-decorators

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final

import gevent
from locust.env import Environment
from locust.runners import STATE_INIT, STATE_STOPPED, Runner

from rushhour.load.due import LATE_MS
from rushhour.load.lacking import lacking
from rushhour.load.messages import FACTS, Raised, Report, pack
from rushhour.load.outcome import classify
from rushhour.load.raised import Exceptions
from rushhour.load.recorder import TICK_S, Tally, overdue_ms

HURRY_S: Final = 1.0  # an interrupted run waits this long for requests in flight
PAST_S: Final = 0.005  # reports are made this long after a second's end, since timers may fire early


class Counter:
    """Counts the requests of a process that runs customers, and passes on a report each second."""

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
        *,
        context: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Handle Locust's `request` event: an attempt ended."""
        status = None if response is None else response.status_code or 0
        if status and response.history:
            self._tally.redirected += 1
        late_ms = context.get(LATE_MS, 0.0) if context else 0.0
        if status == 200 and exception is None:  # nearly all requests
            self._succeeded(request_type, name, response_time, late_ms)
        else:
            body = response.content if status is not None and status >= 500 else None
            outcome = classify(status, body, exception)
            if not status and (what := lacking(exception)):
                self._tally.lacking[what] += 1
            self._tally.ended(request_type, name, outcome, response_time, status, late_ms=late_ms)

    def on_user_error(self, exception: BaseException, tb: TracebackType | None, **_: Any) -> None:
        """Handle Locust's `user_error` event: a task or `on_start` raised an exception."""
        self._exceptions.add(exception, tb)

    def begin(self) -> None:
        """Start to report."""
        if not self._greenlets:
            self._greenlets = [gevent.spawn(self._tick), gevent.spawn(self._report_each_second)]

    def end(self) -> None:
        """Report everything that is left, after the customers have stopped."""
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
    """Sends the reports of a worker process to the master."""

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
        # Locust's worker would now sleep for its stop_timeout and miss the master's "quit", although its
        # customers have stopped.
        self._environment.stop_timeout = 0

    def _on_quitting(self, **_: Any) -> None:
        if self._runner.state not in (STATE_INIT, STATE_STOPPED):  # ended by a signal, not by the master
            self._environment.stop_timeout = HURRY_S
            self._runner.stop()
