"""The recorder's roles inside Locust: every process that runs customers counts, one process writes."""

# Locust's events and user classes carry no types.
# mypy: allow-untyped-calls, allow-untyped-decorators

import logging
import signal
import time
from collections.abc import Callable
from typing import Any, Final

import gevent
from locust.env import Environment
from locust.runners import STATE_INIT, STATE_STOPPED, STATE_STOPPING, MasterRunner, Runner

from rushhour.history import FactWriter
from rushhour.history import facts as f
from rushhour.load.joining import invite
from rushhour.load.messages import FACTS, UNFIT, Lost, Report, pack, run_problem, unpack
from rushhour.load.outcome import classify
from rushhour.load.recorder import TICK_S, Clock, Tally, overdue_ms

logger = logging.getLogger(__name__)

INCOMPLETE: Final = 3  # exit code of a run that proves nothing
HURRY_S: Final = 1.0  # an interrupted run waits this long for requests in flight
PAST_S: Final = 0.005  # a second's report is made this long after its end: a timer may fire early by less
WATCH_S: Final = 0.5
REPORT_S: Final = 5.0  # a worker's last report comes this soon after its customers have stopped


class Counter:
    """Counts the requests of one process that runs customers, and hands a report on each second."""

    def __init__(self, runner: Runner, tally: Tally, hand_on: Callable[[Report], None]) -> None:
        self._runner = runner
        self._tally = tally
        self._succeeded = tally.succeeded
        self._hand_on = hand_on
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
        if status == 200 and exception is None:  # nearly all of them
            self._succeeded(request_type, name, response_time)
        else:
            body = response.content if status is not None and status >= 500 else None
            self._tally.ended(request_type, name, classify(status, body, exception), response_time)

    def begin(self) -> None:
        """The test starts."""
        if not self._greenlets:
            self._greenlets = [gevent.spawn(self._tick), gevent.spawn(self._report_each_second)]

    def end(self) -> None:
        """The test is over and its customers have stopped: everything that is left goes out."""
        gevent.killall(self._greenlets)
        samples = (self._tally.sample(self._runner.user_count),) if self._greenlets else ()
        self._greenlets = []
        self._hand_on(Report(tuple(self._tally.rows(final=True)), samples, final=True))

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
            self._hand_on(Report(tuple(self._tally.rows()), (sample,)))


class Worker:
    """A worker process: its counter's reports go to the master."""

    def __init__(self, environment: Environment, runner: Runner, tally: Tally) -> None:
        self._environment = environment
        self._runner = runner
        self.counter = Counter(runner, tally, self._send)
        events = environment.events
        events.request.add_listener(self.counter.on_request)
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


class Writer:
    """The process that writes the run's files: the only one, or the master.

    The exit code is INCOMPLETE from the start, and becomes 0 only when the load went to its end, requests
    were recorded and every worker has reported.
    """

    def __init__(
        self,
        environment: Environment,
        runner: Runner,
        files: FactWriter,
        clock: Clock,
        warm_up_s: float,
    ) -> None:
        self._environment = environment
        self._runner = runner
        self._files = files
        self._clock = clock
        self._warm_up_s = warm_up_s
        self._recorded = 0
        self._begun = self._ended = self._completed = self._quitting = False
        self._faults: list[str] = []
        self._workers: dict[str, str] = {}  # Locust's id of a worker -> its name in the facts
        self._users: dict[str, int] = {}  # of each worker, as it told last
        self._lost: dict[str, Lost] = {}
        self._final: set[str] = set()
        environment.process_exit_code = INCOMPLETE
        events = environment.events
        events.test_start.add_listener(self._on_test_start)
        events.test_stopping.add_listener(self._on_test_stopping)
        events.quitting.add_listener(self._on_quitting)
        if environment.parsed_options is not None and environment.parsed_options.headless:
            # Locust handles SIGTERM only once a shape has ended; until then it would just die.
            gevent.signal_handler(signal.SIGTERM, self._hurry)
        if isinstance(runner, MasterRunner):
            events.worker_connect.add_listener(self._on_worker_connect)
            runner.register_message(FACTS, self._on_message)
            runner.register_message(UNFIT, self._on_unfit)

    def _hurry(self) -> None:
        self._quitting = True
        self._environment.stop_timeout = min(self._environment.stop_timeout, HURRY_S)
        self._runner.quit()
        if not self._begun:
            self._leave()

    def _leave(self) -> None:
        """End a Locust whose main greenlet waits for workers, and would go on to."""
        self._files.close()
        gevent.get_hub().handle_system_error(SystemExit, SystemExit(INCOMPLETE))

    def take(self, report: Report) -> None:
        """Write a report's facts at once, so that a killed run keeps them."""
        self._recorded += sum(row.count for row in report.rows)
        self._users.update((sample.worker, sample.users) for sample in report.samples)
        self._write(*report.rows, *report.samples)

    def _write(self, *new: object) -> None:
        try:
            self._files.write(new)
        except OSError as error:
            self._fault(f"the recorder could not write to {self._files.run.path}: {error}")
            gevent.spawn(self._runner.quit)  # what is not recorded need not be sent

    def _event(self, name: str, **detail: Any) -> None:
        self._write(f.Event(round(self._clock.now_s(), 4), name, detail))

    def _fault(self, error: str) -> None:
        if error not in self._faults:
            logger.error(error)
            self._faults.append(error)

    def _on_test_start(self, **_: Any) -> None:
        self._begun, self._ended, self._completed = True, False, False
        self._final.clear()
        self._event(f.LOAD_STARTED)
        gevent.spawn_later(self._warm_up_s, self._end_warm_up)
        if isinstance(self._runner, MasterRunner):
            gevent.spawn(self._watch_workers, self._runner)

    def _end_warm_up(self) -> None:
        if not self._ended:
            self._event(f.WARMUP_ENDED)

    def _on_test_stopping(self, **_: Any) -> None:
        if self._ended:
            return
        self._ended = True
        # A shape that failed ends the test as well; ours says whether its time was up.
        finished = getattr(self._environment.shape_class, "finished", True)
        self._completed = finished and not self._quitting
        self._event(f.LOAD_ENDED, completed=self._completed)
        if isinstance(self._runner, MasterRunner):
            # Locust's master would send "quit" now and listen for half a second more; requests in flight may
            # take as long as the pool's time-out, and must not be lost.
            # In any other state it would take workers that come back as ready for new ones, and start anew.
            self._runner.update_state(STATE_STOPPING)
            self._runner.send_message("stop")
            self._await_workers(self._runner, self._environment.stop_timeout + REPORT_S)

    def _await_workers(self, master: MasterRunner, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while self._silent(master) and time.monotonic() < deadline_s:
            gevent.sleep(0.02)
        if self._quitting:
            return
        deadline_s = time.monotonic() + REPORT_S
        while len(master.clients.ready) < len(self._final) and time.monotonic() < deadline_s:
            gevent.sleep(0.02)  # they are about to listen again, and must hear "quit"

    def _silent(self, master: MasterRunner) -> set[str]:
        """Workers that are alive and have yet to send their last report."""
        alive = {client.id for client in master.clients.all} - {
            client.id for client in master.clients.missing
        }
        return alive - self._final

    def _on_worker_connect(self, client_id: str, **_: Any) -> None:
        master = self._runner
        assert isinstance(master, MasterRunner)  # noqa: S101  # only then is this a listener
        self._workers[client_id] = f"worker-{master.get_worker_index(client_id)}"
        invite(master, self._clock, client_id)

    def _on_unfit(self, msg: Any, **_: Any) -> None:
        self._fault(f"Locust worker {msg.data['worker']} cannot take part: {msg.data['why']}")
        if not self._begun:
            self._event(f.OBSERVER_FAULT, observer="recorder", error=self._faults[-1])
        gevent.spawn(self._hurry)

    def _watch_workers(self, master: MasterRunner) -> None:
        """Note when a worker falls silent; Locust gives its customers to the others."""
        while not self._ended:
            gone = {client.id for client in master.clients.missing} | (
                self._workers.keys() - master.clients.keys()
            )
            for client in gone - self._lost.keys() - self._final:
                name = self._workers.get(client, client)
                lost = Lost(name, round(self._clock.now_s(), 1), self._users.get(name))
                self._lost[client] = lost
                self._event(f.WORKER_LOST, worker=lost.worker, users=lost.users)
            gevent.sleep(WATCH_S)

    def _on_message(self, msg: Any, **_: Any) -> None:
        try:
            report = unpack(msg.data)
        except (KeyError, TypeError, ValueError) as error:
            self._fault(f"a report of a worker could not be read: {error!r}")
            return
        self.take(report)
        if report.final:
            self._final.add(msg.node_id)

    def _on_quitting(self, **_: Any) -> None:
        self._quitting = True
        if self._begun and self._runner.state != STATE_STOPPED:
            self._environment.stop_timeout = min(self._environment.stop_timeout, HURRY_S)
            if isinstance(self._runner, MasterRunner):
                self._runner.stop(send_stop_to_client=False)
            else:
                self._completed = False  # interrupted, if only while the last requests were awaited
                self._runner.stop()
        problem = run_problem(
            completed=self._completed,
            recorded=self._recorded,
            lost=self._lost_workers(),
            faults=[*self._faults, *self._user_errors()],
        )
        if problem is None:
            self._environment.process_exit_code = 0
        else:
            logger.error(problem)
            self._event(f.OBSERVER_FAULT, observer="recorder", error=problem)
        self._files.close()

    def _user_errors(self) -> list[str]:
        return [
            f"the locustfile raised {error['count']} times: {error['msg']}"
            for error in self._runner.exceptions.values()
        ]

    def _lost_workers(self) -> list[Lost]:
        return [
            self._lost.get(client, Lost(name))
            for client, name in self._workers.items()
            if client not in self._final
        ]
