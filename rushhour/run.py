"""Runs a scenario from start to finish; the steps are listed in `run_scenario`."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from rushhour.errors import ServiceDiedError, StackError
from rushhour.judging.judge import JudgedRun, judge_run
from rushhour.load.locust import in_flight_s
from rushhour.load.master_address import GATHER_S
from rushhour.load.placement import ByHand, place_load
from rushhour.observe.environment import describe_environment
from rushhour.observe.live_state import LiveState
from rushhour.observe.start import keep_pools_of_start
from rushhour.observe.watch import Watcher, pool_watcher, watch
from rushhour.process.guard import Guard
from rushhour.process.waiting import came_true
from rushhour.rundir import Recorder, RunDir, create_run_dir
from rushhour.rundir import facts as f
from rushhour.scenario.model import Scenario
from rushhour.stack import Alerting, BringsUp, Progress, Running, RunsAlerting, Stack
from rushhour.stack.fault_plan import FaultPlan

R = TypeVar("R", bound=Running)

POLL_S = 0.2
COLLECT_WITHIN_S = 1.0  # a process that has ended, or runs greenlets, never answers
OVERTIME_S = 20.0  # Locust has this long, after its last request may have ended, to write and exit


@dataclass(frozen=True, slots=True)
class Screen:
    """The callbacks through which a run reports its progress to the terminal."""

    progress: Progress
    live: Callable[[LiveState], None]

    done: Callable[[], None]  # ends the live view


@dataclass(frozen=True, slots=True)
class RunContext:
    """The settings of a run that belong neither to its scenario nor to its stack."""

    guard: Guard
    runs: Path  # the folder in which the run directory is created
    screen: Screen
    by_hand: ByHand | None = None  # where the master waits for workers started by hand
    allow_host: str | None = None  # a host other than loopback that may receive load
    await_pages_s: float | None = None  # wait for real alarms; None: as long as a first page may take


class Load(Protocol):
    """A load generator that is running."""

    @property
    def log(self) -> Path | None:
        """The generator's log file."""
        ...

    def poll(self) -> int | None:
        """Return the generator's exit code, or None while it runs."""
        ...

    def check(self) -> None:
        """Raise StackError, with the last lines of the log, if the generator ended with an error."""
        ...


def run_scenario(scenario: Scenario, stack: Stack, context: RunContext) -> tuple[RunDir, JudgedRun]:
    """Run one scenario.

    1. Make the run directory. 2. Record into it, however the run ends. 3. Bring the stack up. 4. Observe it.
    5. Send the load, and follow it to its end. 6. Watch the pools drain. 7. Ask for a garbage collection.
    8. Wait for real pages. 9. Judge what the run directory then holds.

    A stack that breaks makes the verdict unknown. KeyboardInterrupt passes through, after the run so far has
    been judged and reported.
    """
    run = create_run_dir(context.runs, scenario.name)
    judge = partial(judge_run, source_root=Path(scenario.target.root))
    with (
        recording(scenario, run, context.screen, judge) as recorder,
        stack_up(scenario, stack, recorder, context.screen) as running,
        observing(scenario, running, recorder, context.screen) as observation,
    ):
        with place_load(
            scenario,
            running,
            recorder,
            context.guard,
            observation.watcher,
            by_hand=context.by_hand,
            allow_host=context.allow_host,
        ) as load:
            observation.follow(load, extra_s=GATHER_S if context.by_hand else 0.0)
        observation.drain()
        observation.collect_garbage()
        observation.await_pages(context.await_pages_s)
    return run, judge(run)


@contextmanager
def recording(
    scenario: Scenario, run: RunDir, screen: Screen, judge: Callable[[RunDir], object]
) -> Iterator[Recorder]:
    """Record facts into a run directory, and how the run ended.

    A StackError is recorded as an event and suppressed. KeyboardInterrupt passes through, after `judge` has
    judged the run so far.
    """
    recorder = Recorder(run)
    try:
        recorder.write_json("scenario.json", scenario)
        yield recorder
        recorder.event(f.RUN_ENDED)
    except StackError as error:
        died = {"part": "service", "how": error.how} if isinstance(error, ServiceDiedError) else {}
        what = str(error).splitlines()[0]
        recorder.event(f.STACK_BROKE, what=what, log_tail=list(error.log_tail), **died)
    except KeyboardInterrupt:
        recorder.event(f.INTERRUPTED)
        judge(run)
        raise
    finally:
        screen.done()
        recorder.close()


@contextmanager
def stack_up(scenario: Scenario, stack: BringsUp[R], recorder: Recorder, screen: Screen) -> Iterator[R]:
    """Bring the stack up, describe it in environment.json, and take it down when the block ends.

    If the stack does not come up, the pool facts that the agent wrote until then are kept.
    """
    run = recorder.run
    began_s = recorder.now_s()
    recorder.write_json("environment.json", describe_environment(scenario, stack.name))
    with ExitStack() as parts:
        try:
            running = parts.enter_context(stack.up(scenario, run, screen.progress))
        except StackError:
            keep_pools_of_start(recorder, Path(scenario.target.root))
            raise
        recorder.event(f.STACK_UP, seconds=round(recorder.now_s() - began_s, 3))
        if (alerting := alerting_of(running)) is not None:
            recorder.event(f.ALERTING_UP, **alerting.detail)
        recorder.write_json("environment.json", describe_environment(scenario, stack.name, running))
        yield running


@contextmanager
def observing(
    scenario: Scenario, running: Running, recorder: Recorder, screen: Screen
) -> Iterator["Observation"]:
    """Observe a running stack until the block ends, and apply the scenario's faults when they are due."""
    faults = FaultPlan(scenario.faults, running, recorder)
    with watch(recorder, running, pools=pool_watcher(running, recorder), extra_meters={}) as watcher:
        yield Observation(scenario, running, recorder, screen, watcher, faults)


@dataclass(frozen=True, slots=True)
class Observation:
    """A running stack with its observers, during the load and the drain after it."""

    scenario: Scenario
    running: Running
    recorder: Recorder
    screen: Screen
    watcher: Watcher
    faults: FaultPlan

    def follow(self, load: Load, *, extra_s: float = 0.0) -> None:
        """Wait until the load has ended; `extra_s` is how long its workers may take to connect.

        Raises StackError when a part of the stack ends, or when Locust fails or does not end in time.
        """
        late_s = in_flight_s(self.scenario) + OVERTIME_S
        deadline = time.monotonic() + self.scenario.load.duration + late_s + extra_s
        while load.poll() is None:
            self.look()
            if time.monotonic() > deadline:
                raise StackError(
                    f"Locust has not ended {late_s:.0f} s after the load of "
                    f"{self.scenario.load.duration:g} s should have; see {load.log}"
                )
            time.sleep(POLL_S)
        load.check()

    def look(self) -> LiveState:
        """Return the live state, and show it. Raises StackError when a part of the stack has ended."""
        self.running.check_alive()
        state = self.watcher.state()
        self.faults.apply_due(state.elapsed_s)
        self.screen.live(state)
        return state

    def drain(self) -> None:
        """Keep observing after the load, so that connections still in use can come back by themselves."""
        self._wait(self.scenario.load.drain, lambda: self.screen.live(self.watcher.state()))
        self.recorder.event(f.DRAINED)

    def collect_garbage(self) -> None:
        """If connections leaked, ask the agents to collect garbage; those that come back were unreachable."""
        if not any(gauge.leaked for gauge in self.watcher.state().pools):
            return
        agent = self.recorder.run.agent
        asked = len(list(agent.glob("*.jsonl")))
        (agent / "collect").touch()
        came_true(lambda: len(list(agent.glob("*.collected"))) >= asked, COLLECT_WITHIN_S)
        self.recorder.event(f.COLLECTED, asked=asked, answered=len(list(agent.glob("*.collected"))))

    def await_pages(self, wait_s: float | None) -> None:
        """Wait, if real alarms run, until the last failures can have been scraped, evaluated and sent."""
        if (alerting := alerting_of(self.running)) is None:
            return
        wait_s = alerting.settles_s if wait_s is None else wait_s
        self.screen.done()
        self.screen.progress(f"wait {wait_s:.0f} s for real pages")
        self._wait(wait_s)
        self.screen.done()
        self.recorder.event(f.ALERTING_ENDED, **alerting.ended())

    def _wait(self, seconds: float, show: Callable[[], None] = lambda: None) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.running.check_alive()
            show()
            time.sleep(POLL_S)


def alerting_of(running: Running) -> Alerting | None:
    """Return the real alarms that run beside the stack, or None if they were not asked for."""
    return running.alerting if isinstance(running, RunsAlerting) else None
