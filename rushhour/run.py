"""Run one scenario: reads as the table of contents of the whole program."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rushhour.crew import ByHand, load_of
from rushhour.environment import describe_environment
from rushhour.errors import ServiceDiedError, StackError
from rushhour.faults import FaultPlan
from rushhour.history import Recorder, RunDir, create_run_dir
from rushhour.history import facts as f
from rushhour.judging import judge_run
from rushhour.live import LiveState
from rushhour.load.locust import in_flight_s
from rushhour.load.post import GATHER_S
from rushhour.observe.pools import PoolWatcher
from rushhour.observe.watch import Watcher, watch
from rushhour.process.guard import Guard
from rushhour.scenario.model import Scenario
from rushhour.stack import Alerting, KnowsSources, Progress, Running, RunsAlerting, Stack
from rushhour.verdict.judge import Verdict

POLL_S = 0.2
COLLECT_WITHIN_S = 1.0  # a process that has ended, or runs under gevent, never answers
OVERTIME_S = 20.0  # Locust has this long, after its last request may have ended, to write and exit


@dataclass(frozen=True, slots=True)
class Means:
    """How a run's load may be brought about, beyond what its scenario says."""

    by_hand: ByHand | None = None
    allow_host: str | None = None
    await_pages_s: float | None = None  # of real alarms; None: as long as a first page may take


@dataclass(frozen=True, slots=True)
class Screen:
    """Where a run shows how far it is."""

    progress: Progress
    live: Callable[[LiveState], None]
    done: Callable[[], None]  # the live view ends here


class Load(Protocol):
    """Customers under way."""

    @property
    def log(self) -> Path:
        """Where their generator tells what it does."""
        ...

    def poll(self) -> int | None:
        """None while they come; then the generator's exit code."""
        ...

    def check(self) -> None:
        """Raises StackError, with the log's last lines, when it has ended in any way but the good one."""
        ...


def run_scenario(
    scenario: Scenario, stack: Stack, guard: Guard, runs: Path, screen: Screen, *, means: Means
) -> tuple[RunDir, Verdict]:
    """Bring the stack up, send the load, watch, and judge what the run directory then holds.

    A stack that breaks makes the verdict unknown. KeyboardInterrupt passes through, after the run so far has
    been judged and reported.
    """
    return recorded(
        scenario,
        create_run_dir(runs, scenario.name),
        screen,
        lambda recorder: observe_run(scenario, stack, guard, recorder, screen, means=means),
    )


def recorded(
    scenario: Scenario,
    run: RunDir,
    screen: Screen,
    observe: Callable[[Recorder], None],
    judging: Callable[[], None] = lambda: None,
) -> tuple[RunDir, Verdict]:
    """Record what `observe` does, and judge it; `judging` is called in between."""
    run.write_json("scenario.json", scenario)
    recorder = Recorder(run)
    try:
        observe(recorder)
        recorder.event(f.RUN_ENDED)
    except StackError as error:
        died = {"part": "service", "how": error.how} if isinstance(error, ServiceDiedError) else {}
        what = str(error).splitlines()[0]
        recorder.event(f.STACK_BROKE, what=what, log_tail=list(error.log_tail), **died)
    except KeyboardInterrupt:
        recorder.event(f.INTERRUPTED)
        judge_run(run)
        raise
    finally:
        screen.done()
        recorder.close()
    judging()
    return run, judge_run(run)


def observe_run(
    scenario: Scenario, stack: Stack, guard: Guard, recorder: Recorder, screen: Screen, *, means: Means
) -> None:
    """Stack up -> load + observe -> run directory; everything that was started is stopped on leaving."""
    run = recorder.run
    began_s = recorder.now_s()
    run.write_json("environment.json", describe_environment(scenario, stack.name))
    with stack.up(scenario, run, screen.progress) as running:
        recorder.event(f.STACK_UP, seconds=round(recorder.now_s() - began_s, 3))
        if (alerting := alerting_of(running)) is not None:
            recorder.event(f.ALERTING_UP, **alerting.detail)
        run.write_json("environment.json", describe_environment(scenario, stack.name, running))
        observe_load(
            scenario,
            running,
            recorder,
            screen,
            lambda watcher: load_of(
                scenario,
                running,
                recorder,
                guard,
                watcher,
                by_hand=means.by_hand,
                allow_host=means.allow_host,
            ),
            extra_s=GATHER_S if means.by_hand else 0.0,
            await_pages_s=means.await_pages_s,
        )


def observe_load(
    scenario: Scenario,
    running: Running,
    recorder: Recorder,
    screen: Screen,
    open_load: Callable[[Watcher], AbstractContextManager[Load]],
    *,
    extra_s: float = 0.0,
    await_pages_s: float | None = None,
) -> None:
    """Observe a stack that is up, under the load that `open_load` starts, and for a while after it."""
    faults = FaultPlan(scenario.faults, running, recorder)

    def tick(state: LiveState) -> None:
        faults.apply_due(state.elapsed_s)
        screen.live(state)

    with watch(recorder, running, pools=pool_watcher(running, recorder), extra_meters={}) as watcher:
        with open_load(watcher) as load:
            follow(scenario, load, running, watcher, tick, extra_s=extra_s)
        watch_drain(scenario, running, watcher, screen)
        recorder.event(f.DRAINED)
        if any(gauge.leaked for gauge in watcher.state().pools):
            collect_garbage(recorder)
        if (alerting := alerting_of(running)) is not None:
            wait_s = alerting.settles_s if await_pages_s is None else await_pages_s
            await_pages(alerting, running, recorder, screen, wait_s)


def alerting_of(running: Running) -> Alerting | None:
    """The real alarms beside it, where they were asked for."""
    return running.alerting if isinstance(running, RunsAlerting) else None


def follow(
    scenario: Scenario,
    load: Load,
    running: Running,
    watcher: Watcher,
    tick: Callable[[LiveState], None],
    *,
    extra_s: float = 0.0,
) -> None:
    """Until Locust has ended; raises StackError when a part of the stack ends, or Locust not as it should."""
    late_s = in_flight_s(scenario) + OVERTIME_S
    deadline = time.monotonic() + scenario.load.duration + late_s + extra_s
    while load.poll() is None:
        running.check_alive()
        tick(watcher.state())
        if time.monotonic() > deadline:
            raise StackError(
                f"Locust has not ended {late_s:.0f} s after the load of "
                f"{scenario.load.duration:g} s should have; see {load.log}"
            )
        time.sleep(POLL_S)
    load.check()


def watch_drain(scenario: Scenario, running: Running, watcher: Watcher, screen: Screen) -> None:
    """After the load: what is still held now did not come back by itself."""
    until = time.monotonic() + scenario.load.drain
    while time.monotonic() < until:
        running.check_alive()
        screen.live(watcher.state())
        time.sleep(POLL_S)


def await_pages(
    alerting: Alerting, running: Running, recorder: Recorder, screen: Screen, wait_s: float
) -> None:
    """What failed in the last seconds of the load is scraped, evaluated, grouped and told only now."""
    screen.done()
    screen.progress(f"wait {wait_s:.0f} s for real pages")
    until = time.monotonic() + wait_s
    while time.monotonic() < until:
        running.check_alive()
        time.sleep(POLL_S)
    screen.done()
    recorder.event(f.ALERTING_ENDED, **alerting.ended())


def collect_garbage(recorder: Recorder) -> None:
    """Ask the agents to: a leaked connection that comes back now was unreachable, what stays is kept."""
    agent = recorder.run.agent
    asked = len(list(agent.glob("*.jsonl")))
    (agent / "collect").touch()
    deadline = time.monotonic() + COLLECT_WITHIN_S
    while (answered := len(list(agent.glob("*.collected")))) < asked and time.monotonic() < deadline:
        time.sleep(POLL_S / 4)
    recorder.event(f.COLLECTED, asked=asked, answered=answered)


def pool_watcher(running: Running, recorder: Recorder) -> PoolWatcher:
    """Reads the agent's files, and names each pool after its server."""
    return PoolWatcher(
        agent_dir=recorder.run.agent,
        anchor_monotonic_s=recorder.anchor_monotonic_s,
        servers={one.reached_as or f"{one.host}:{one.port}": one.name for one in running.servers},
        root=running.service_root,
        local=running.local_source if isinstance(running, KnowsSources) else str,
    )
