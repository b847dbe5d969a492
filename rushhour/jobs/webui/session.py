"""`rushhour ui`, the harness's side: a standing stack, and one run after another as the browser asks."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from rushhour.errors import RunDataError, RushhourError, StackError
from rushhour.jobs.webui.asked import asked_for, go_of, run_problems, same_databases
from rushhour.jobs.webui.locust import BrowserLoad, WebLocust
from rushhour.jobs.webui.messages import Ask, Judged, Phase, Refused, View
from rushhour.judging.judge import judge_run
from rushhour.load.machine import make_room
from rushhour.observe.environment import describe_environment
from rushhour.observe.live_state import LiveState
from rushhour.observe.watch import Watcher
from rushhour.process.guard import Guard
from rushhour.process.psutil_meters import ProcessTreeMeter
from rushhour.run import Screen, observing, recording
from rushhour.rundir import Recorder, RunDir, create_run_dir
from rushhour.rundir import facts as f
from rushhour.scenario.model import Scenario
from rushhour.stack import Running, ServesAgain, Stack
from rushhour.verdict.judge import Verdict

IDLE_S: Final = 0.5
VIEW_EVERY_S: Final = 1.0
_SHORTEST_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Standing:
    """A stack that is up, for whom, and what takes it down."""

    scenario: Scenario
    running: Running
    exits: ExitStack


class Session:
    """Everything between the page's start and Ctrl-C."""

    def __init__(
        self,
        stack: Stack,
        guard: Guard,
        scenarios: dict[str, Scenario],
        runs: Path,
        folder: RunDir,
        *,
        say: Callable[[str], object],
        judged: Callable[[RunDir, Verdict, Scenario], object],
    ) -> None:
        self._stack = stack
        self._guard = guard
        self._scenarios = scenarios
        self._runs = runs
        self._folder = folder  # the session's own: Locust's log, the servers' logs
        self._say = say
        self._judged = judged
        self._standing: Standing | None = None
        self._locust: WebLocust | None = None
        self._view = View("preparing", "the stack comes up")
        self._shown_s = 0.0

    @contextmanager
    def opened(self, first: Scenario) -> Iterator[None]:
        """The stack stands for the first scenario; all of it is down when the block ends."""
        try:
            self._stand(first, self._folder)
            yield
        finally:
            self._take_down()

    def serve(self, locust: WebLocust) -> None:
        """Run what the browser asks for, until Ctrl-C. Raises StackError when Locust ends."""
        self._locust = locust
        self._show("ready", "ready: choose scenario and release, then press Start")
        while True:
            ask = locust.next_ask(IDLE_S)
            if ask is not None:
                self._run(ask, locust)
            elif self._standing is not None:
                self._watch_idle(self._standing)
            if time.monotonic() - self._shown_s >= VIEW_EVERY_S:
                self._show(self._view.phase, self._view.words)

    def _watch_idle(self, standing: Standing) -> None:
        try:
            standing.running.check_alive()
        except StackError as error:
            self._say(str(error))
            self._take_down()
            self._show("ready", "ready; the stack broke and comes up anew at the next Start")

    def _run(self, ask: Ask, locust: WebLocust) -> None:
        """One run, from the form to its verdict; after one that fails, the next has a new stack."""
        scenario = asked_for(self._scenarios[ask.scenario], ask)
        if problems := run_problems(scenario):
            locust.say(Refused("; ".join(problems)))
            return
        run = create_run_dir(self._runs, scenario.name)
        self._view = replace(
            self._view,
            run=run.path.name,
            scenario=scenario.name,
            release=scenario.release,
            duration_s=scenario.load.duration,
            customers=_customers(scenario),
            state=None,
        )
        self._say(f"run {run.path}: {scenario.name}, release {scenario.release}")
        load = BrowserLoad(locust)
        screen = self._screen(load)
        judge = partial(judge_run, source_root=Path(scenario.target.root))
        started = False
        try:
            with recording(scenario, run, screen, judge) as recorder:
                self._show(
                    "preparing", f"{scenario.name}: the service starts with release {scenario.release}"
                )
                running = self._serving(scenario, recorder)
                recorder.write_json(
                    "environment.json", describe_environment(scenario, self._stack.name, running)
                )
                with observing(scenario, running, recorder, screen) as observation:
                    started = True
                    with self._under_load(scenario, running, observation.watcher, load, recorder):
                        observation.follow(load)
                    observation.drain()
                    observation.collect_garbage()
                    observation.await_pages(None)
                if load.ended is not None and load.ended.by_hand:
                    _shorten(scenario, recorder, load.ended.lasted_s)
            self._show("judging", f"{self._view.scenario}, release {self._view.release}: the run is judged")
            saved = judge(run)
            verdict = saved.verdict
            if saved.not_saved:
                self._say(f"{saved.not_saved}; the verdict is only shown; rushhour judge saves it later")
        except (RushhourError, OSError) as error:
            self._say(str(error))
            if not started:
                locust.say(Refused(str(error)))
            self._take_down()  # nobody knows in which state the run left it
            self._show(
                "ready", f"ready; {str(error).splitlines()[0]}; the stack comes up anew at the next Start"
            )
            return
        if not started:
            locust.say(Refused("\n".join(verdict.reasons)))
        if not started or broke(run) or scenario.faults:
            self._take_down()
        self._let_go(scenario)
        row = Judged(run.path.name, scenario.name, scenario.release, verdict.verdict, verdict.headline)
        self._view = replace(self._view, runs=(row, *self._view.runs))
        self._show("ready", f"ready; the last run's verdict: {verdict.verdict}")
        self._judged(run, verdict, scenario)

    def _screen(self, load: BrowserLoad) -> Screen:
        def live(state: LiveState) -> None:
            self._view = replace(self._view, state=state)
            phase: Phase = "running" if load.ended is None else "draining"
            words = "the load runs" if load.ended is None else "the load is over; what is still held?"
            if time.monotonic() - self._shown_s >= VIEW_EVERY_S or phase != self._view.phase:
                self._show(phase, f"{self._view.scenario}, release {self._view.release}: {words}")

        return Screen(self._progress, live, lambda: None)

    @contextmanager
    def _under_load(
        self, scenario: Scenario, running: Running, watcher: Watcher, load: BrowserLoad, recorder: Recorder
    ) -> Iterator[None]:
        """The browser's Locust sends the load until the block ends."""
        watcher.add_meter("generator", ProcessTreeMeter(load.pid))
        load.begin(go_of(scenario, running.service_url, recorder.run, recorder.anchor_wall_s))
        try:
            yield
        finally:
            load.stop()

    def _progress(self, step: str, done: float = 0, total: float | None = None, unit: str = "") -> None:
        del done, total, unit
        if step not in self._view.words:
            self._show("preparing", f"preparing: {step}")

    def _show(self, phase: Phase, words: str) -> None:
        self._view = replace(self._view, phase=phase, words=words)
        self._shown_s = time.monotonic()
        if self._locust is not None:
            self._locust.say(self._view)

    def _serving(self, scenario: Scenario, recorder: Recorder) -> Running:
        """Return the service, anew for this run; the databases too where they stand for other settings."""
        make_room([scenario])
        standing = self._standing
        if (
            standing is not None
            and same_databases(standing.scenario, scenario)
            and isinstance(standing.running, ServesAgain)
        ):
            standing.running.serve_again(scenario, recorder.run)
            return standing.running
        self._take_down()
        return self._stand(scenario, recorder.run)

    def _let_go(self, scenario: Scenario) -> None:
        """Have the service report into the session's folder: the run is judged, and may grow no more."""
        standing = self._standing
        if standing is None:
            return
        if not isinstance(standing.running, ServesAgain):
            self._take_down()
            return
        try:
            standing.running.serve_again(scenario, self._folder)
        except StackError as error:
            self._say(str(error))
            self._take_down()

    def _stand(self, scenario: Scenario, run: RunDir) -> Running:
        exits = ExitStack()
        running = exits.enter_context(self._stack.up(scenario, run, self._progress))
        self._standing = Standing(scenario, running, exits)
        return running

    def _take_down(self) -> None:
        standing, self._standing = self._standing, None
        if standing is not None:
            standing.exits.close()


def broke(run: RunDir) -> bool:
    """Return whether the stack broke in this run."""
    try:
        return f'"{f.STACK_BROKE}"' in run.file("events.jsonl").read_text(encoding="utf-8")
    except OSError as error:
        raise RunDataError(f"{run.path}: {error}") from error


def _shorten(scenario: Scenario, recorder: Recorder, lasted_s: float) -> None:
    """A load that was stopped by hand is judged as one that was to last as long as it did."""
    recorder.event(f.STOPPED, planned_s=scenario.load.duration, lasted_s=lasted_s)
    words = f"Stopped by hand after {lasted_s:.0f} s of {scenario.load.duration:g} s. {scenario.description}"
    load = replace(scenario.load, duration=max(lasted_s, _SHORTEST_S))
    recorder.write_json("scenario.json", replace(scenario, load=load, description=words.strip()))


def _customers(scenario: Scenario) -> str:
    """Write what follows the number of customers who are there now, as in "of 800"."""
    load = scenario.load
    return f"of {load.short()}" if load.arrivals is None else f"present, {load.in_words()}"
