"""Writes a run's files, in Locust's only process or in the master."""

# Locust's events and user classes carry no types.
# mypy: allow-untyped-calls, allow-untyped-decorators

import logging
import signal
from dataclasses import asdict
from typing import Any, Final

import gevent
from locust.env import Environment
from locust.runners import STATE_STOPPED, STATE_STOPPING, MasterRunner, Runner

from rushhour.load.joining import invite
from rushhour.load.merging import MERGED_FROM, MergedRows
from rushhour.load.messages import FACTS, FIT, HELLO, UNFIT, Lost, Report, run_problem, unpack
from rushhour.load.old_seconds import KEPT_S, forget_old_seconds
from rushhour.load.recorder import Clock
from rushhour.load.recording import HURRY_S
from rushhour.process.waiting import came_true  # Locust has made its sleep gevent's
from rushhour.rundir import FactWriter
from rushhour.rundir import facts as f

logger = logging.getLogger(__name__)

INCOMPLETE: Final = 3  # exit code of a load that was cut short or not recorded completely
WATCH_S: Final = 0.5
MERGED_AT_S: Final = 0.6  # after a second's end: workers report it just after that
REPORT_S: Final = 5.0  # a worker's last report comes this soon after its customers have stopped
JOINED_S: Final = 10.0  # a worker listens this soon after it connected, even on a busy machine


class Writer:
    """Writes the run's files, in Locust's only process or in the master.

    The exit code is INCOMPLETE at first. It becomes 0 only if the load ran to its end, requests were recorded
    and every worker has reported.
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
        self._finished = False
        self._begun = self._ended = self._completed = self._quitting = False
        self._faults: list[str] = []
        self._workers: dict[str, str] = {}  # Locust's id of a worker -> its name in the facts
        self._joined: set[str] = set()  # workers that were invited and take part
        self._users: dict[str, int] = {}  # worker -> customers, as last reported
        self._lost: dict[str, Lost] = {}
        self._final: set[str] = set()
        self._merging: MergedRows | None = None  # None: reports are written as they come
        self._held: list[object] = []  # samples and events of reports, until the merged rows are written
        environment.process_exit_code = INCOMPLETE
        events = environment.events
        events.test_start.add_listener(self._on_test_start)
        events.test_stopping.add_listener(self._on_test_stopping)
        events.quitting.add_listener(self._on_quitting)
        if environment.parsed_options is not None and environment.parsed_options.headless:
            # Locust handles SIGTERM only after a shape has ended; before, the signal would kill it.
            gevent.signal_handler(signal.SIGTERM, self._hurry)
        if isinstance(runner, MasterRunner):
            events.worker_connect.add_listener(self._on_worker_connect)
            runner.register_message(FACTS, self._on_message)
            runner.register_message(HELLO, self._on_hello)
            runner.register_message(FIT, self._on_fit)
            runner.register_message(UNFIT, self._on_unfit)

    def _hurry(self) -> None:
        self._quitting = True
        self._environment.stop_timeout = min(self._environment.stop_timeout, HURRY_S)
        self._runner.quit()
        if not self._begun:
            self._leave()

    def _leave(self) -> None:
        """End Locust although its main greenlet still waits for workers."""
        self._files.close()
        gevent.get_hub().handle_system_error(SystemExit, SystemExit(INCOMPLETE))

    def take(self, report: Report) -> None:
        """Write a report's facts immediately, so that a killed run keeps them.

        Those of many workers are held for up to a second, until their merged rows are written.
        """
        self._recorded += sum(row.count for row in report.rows)
        self._users.update((sample.worker, sample.users) for sample in report.samples)
        raised = [
            f.Event(error.t_s, f.LOCUSTFILE_ERROR, {k: v for k, v in asdict(error).items() if k != "t_s"})
            for error in report.raised
        ]
        if self._merging is None:
            self._write(*report.rows, *report.samples, *raised)
        else:
            self._held += [*report.samples, *raised]

    def _write_merged(self) -> None:
        """Write what was held of the reports of many workers."""
        if self._merging is None:
            return
        held, self._held = self._held, []
        held += self._merging.take()
        if held:
            self._write(*held)

    def _write_each_second(self) -> None:
        while not self._finished:
            gevent.sleep(1 - (self._clock.now_s() - MERGED_AT_S) % 1)
            self._write_merged()

    def _write(self, *new: object) -> None:
        try:
            self._files.write(new)
        except OSError as error:
            self._fault(f"the recorder could not write to {self._files.run.path}: {error}")
            gevent.spawn(self._runner.quit)  # no use in sending requests that are not recorded

    def _event(self, name: str, **detail: Any) -> None:
        self._write(f.Event(round(self._clock.now_s(), 4), name, detail))

    def _fault(self, error: str) -> None:
        if error not in self._faults:
            logger.error(error)
            self._faults.append(error)

    def _on_test_start(self, **_: Any) -> None:
        if isinstance(self._runner, MasterRunner):
            self._await_joining(self._runner)  # Locust counts a worker as ready before it can listen
        if self._quitting:
            return  # a worker cannot take part
        self._begun, self._ended, self._completed = True, False, False
        self._final.clear()
        self._event(f.LOAD_STARTED)
        gevent.spawn_later(self._warm_up_s, self._end_warm_up)
        gevent.spawn(self._forget_old_seconds)
        if isinstance(self._runner, MasterRunner):
            gevent.spawn(self._watch_workers, self._runner)
            if self._merging is None and len(self._runner.clients) >= MERGED_FROM:
                self._merging = MergedRows()
                gevent.spawn(self._write_each_second)

    def _forget_old_seconds(self) -> None:
        while not self._ended:
            gevent.sleep(KEPT_S)
            forget_old_seconds(self._runner.stats)

    def _await_joining(self, master: MasterRunner) -> None:
        """Delay the load until every worker has joined, or end the run and say which has not."""

        def strangers() -> set[str]:
            return {client.id for client in master.clients.ready} - self._joined

        if came_true(lambda: not self._quitting and not strangers(), JOINED_S):
            return
        if not self._quitting:
            names = ", ".join(sorted(self._workers.get(worker, worker) for worker in strangers()))
            self._refuse(f"waited {JOINED_S:g} s for {names} to join: was it started by `rushhour worker`?")
        gevent.sleep(HURRY_S)  # this process ends now; to go on would bring customers to the other workers

    def _end_warm_up(self) -> None:
        if not self._ended:
            self._event(f.WARMUP_ENDED)

    def _on_test_stopping(self, **_: Any) -> None:
        if self._ended:
            return
        self._ended = True
        # A shape that raised also ends the test; ours knows whether its time was up.
        finished = getattr(self._environment.shape_class, "finished", True)
        self._completed = finished and not self._quitting
        self._event(f.LOAD_ENDED, completed=self._completed)
        if isinstance(self._runner, MasterRunner):
            # Locust's master would now send "quit" and listen for another half second, but requests in flight
            # may take as long as the pool's time-out and must not be lost.
            # In any other state it would treat workers that come back as new workers, and start again.
            self._runner.update_state(STATE_STOPPING)
            # Locust forgets it a moment later. Until then it would distribute all customers to the others for
            # each worker that stops, and once more for each that is ready: two minutes with a million of 200.
            self._runner._users_dispatcher = None
            self._runner.send_message("stop")
            self._await_workers(self._runner, self._environment.stop_timeout + REPORT_S)

    def _await_workers(self, master: MasterRunner, timeout_s: float) -> None:
        came_true(lambda: not self._silent(master), timeout_s)
        if not self._quitting:  # the workers are about to listen again, and must receive "quit"
            came_true(lambda: len(master.clients.ready) >= len(self._final), REPORT_S)

    def _silent(self, master: MasterRunner) -> set[str]:
        """Return the workers that are alive and have not sent their last report."""
        alive = {client.id for client in master.clients.all} - {
            client.id for client in master.clients.missing
        }
        return alive - self._final

    def _on_worker_connect(self, client_id: str, **_: Any) -> None:
        master = self._runner
        assert isinstance(master, MasterRunner)  # noqa: S101  # only then is this a listener
        self._workers[client_id] = f"worker-{master.get_worker_index(client_id)}"

    def _on_hello(self, msg: Any, **_: Any) -> None:
        if isinstance(self._runner, MasterRunner):
            invite(self._runner, self._clock, msg.node_id)

    def _on_fit(self, msg: Any, **_: Any) -> None:
        self._joined.add(msg.node_id)

    def _on_unfit(self, msg: Any, **_: Any) -> None:
        self._refuse(f"Locust worker {msg.data['worker']} cannot take part: {msg.data['why']}")

    def _refuse(self, error: str) -> None:
        """End the run, because a worker would count differently."""
        self._fault(error)
        if not self._begun:
            self._event(f.OBSERVER_FAULT, observer="recorder", error=self._faults[-1])
        gevent.spawn(self._hurry)

    def _watch_workers(self, master: MasterRunner) -> None:
        """Record when a worker stops answering; Locust gives its customers to the others."""
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
            report = unpack(msg.data, rows=self._merging is None)
            if self._merging is not None:
                self._recorded += self._merging.add(msg.data["rows"])
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
                self._completed = False  # interrupted, perhaps while waiting for the last requests
                self._runner.stop()
        self.finish()

    def finish(self) -> None:
        """Record why the run is incomplete, if it is, and close its files; does so only once."""
        if self._finished:
            return
        self._finished = True
        self._write_merged()
        problem = run_problem(
            completed=self._completed,
            recorded=self._recorded,
            lost=self._lost_workers(),
            faults=self._faults,
        )
        if problem is None:
            self._environment.process_exit_code = 0
        else:
            logger.error(problem)
            self._event(f.OBSERVER_FAULT, observer="recorder", error=problem)
        self._files.close()

    def _lost_workers(self) -> list[Lost]:
        return [
            self._lost.get(client, Lost(name))
            for client, name in self._workers.items()
            if client not in self._final
        ]
