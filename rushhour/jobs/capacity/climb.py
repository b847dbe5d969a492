"""Runs the steps of a search on a stack that stays up, each into a run directory of its own."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from rushhour.jobs.capacity.facts import Search, Step
from rushhour.jobs.capacity.measured import step_of
from rushhour.jobs.capacity.search import Next, Plan, knee_of, next_step, steps_left
from rushhour.jobs.capacity.sure import PERCENTILES
from rushhour.judging.judge import judge_run
from rushhour.load.machine import make_room
from rushhour.load.placement import place_load
from rushhour.observe.environment import describe_environment
from rushhour.report.settings import uses_think_time
from rushhour.run import RunContext, Screen, observing, recording
from rushhour.rundir import RunDir, create_run_dir, load_history
from rushhour.rundir import facts as f
from rushhour.scenario.arrivals import RatePoint
from rushhour.scenario.model import Scenario
from rushhour.stack import Running, ServesAgain, Stack, set_up_alike

THINK_TIME_S: Final = 1.0  # shorter sessions reach their steady state sooner, at the same rate of requests
STEP_S: Final = 20.0
WARM_UP_S: Final = 12.0
OVERHEAD_S: Final = 8.0  # from one load to the next: drain, verdict, start of the service
BUDGET_S: Final = 840.0
BEYOND: Final = 20.0  # requests slower than a percentile, with which it means something
MOST_LONGER: Final = 2.0  # times a step may last longer for that

RunStep = Callable[[float, float], Step]  # runs a step at a rate, measured for so many seconds
Say = Callable[[str], None]
ScreenOf = Callable[[Scenario], Screen]


@dataclass(frozen=True, slots=True)
class Times:
    """How long a search and its steps take, in seconds."""

    step_s: float = STEP_S  # measured, of each step
    warm_up_s: float = WARM_UP_S
    budget_s: float = BUDGET_S  # of the whole search

    @property
    def each_s(self) -> float:
        """The time that a step takes, with what comes before and after its load."""
        return self.warm_up_s + self.step_s + OVERHEAD_S


def search(
    first: Search,
    plan: Plan,
    times: Times,
    run_step: RunStep,
    *,
    seconds_of: Callable[[float, Sequence[Step]], float] | None = None,
    say: Say,
    now_s: Callable[[], float] = time.monotonic,
) -> Iterator[Search]:
    """Yield the search after each step, and as it ended.

    `first` has no steps yet. A KeyboardInterrupt during a step ends the search; what was found stays.
    """
    began_s = now_s()
    found, longest_s = first, times.each_s
    steps: list[Step] = []
    ended = ""
    while (step := next_step(steps, plan)) is not None:
        spent_s = now_s() - began_s
        if spent_s + longest_s > times.budget_s:
            ended = f"the time of {times.budget_s / 60:.3g} min was over"
            break
        say(_announced(step, steps, plan, each_s=longest_s, most_s=times.budget_s - spent_s))
        try:
            steps.append(run_step(step.rate, seconds_of(step.rate, steps) if seconds_of else times.step_s))
        except KeyboardInterrupt:
            yield replace(found, knee=knee_of(steps, plan, ended="interrupted"), interrupted=True)
            return
        longest_s = max(longest_s, now_s() - began_s - spent_s)
        found = replace(found, steps=tuple(steps), knee=knee_of(steps, plan))
        yield found
    yield replace(found, knee=knee_of(steps, plan, ended=ended))


def _announced(step: Next, steps: Sequence[Step], plan: Plan, *, each_s: float, most_s: float) -> str:
    left_s = min(steps_left(steps, plan) * each_s, most_s)
    left = f"about {max(1, round(left_s / 60))} min left, {max(1, round(most_s / 60))} min at most"
    return f"step {len(steps) + 1}: {step.rate:g} customers a second ({step.why}); {left}"


def step_seconds(scenario: Scenario, rate: float, steps: Sequence[Step], times: Times) -> float:
    """Return how long a step at a rate is measured: longer where its percentiles would mean little.

    The highest percentile of the thresholds shall have BEYOND slower requests, as far as MOST_LONGER allows.
    How many requests a customer sends is known from the steps so far.
    """
    ranks = [PERCENTILES[each.metric] for each in scenario.thresholds if each.metric in PERCENTILES]
    each = [s.requests_per_s / s.arrived_per_s for s in steps if s.requests_per_s and s.arrived_per_s]
    if not ranks or not each:
        return times.step_s
    needed_s = BEYOND / (1 - max(ranks)) / (median(each) * rate)
    return float(round(min(max(times.step_s, needed_s), MOST_LONGER * times.step_s)))


def step_scenario(
    scenario: Scenario, rate: float, times: Times, think_time_s: float | None, step_s: float | None = None
) -> Scenario:
    """Return the scenario of a step: the same service under a constant rate of arrivals."""
    measured_s = times.step_s if step_s is None else step_s
    load = replace(
        scenario.load,
        users=None,
        arrivals=(RatePoint(0.0, rate),),
        duration=float(times.warm_up_s + measured_s),
        warm_up=float(times.warm_up_s),
        think_time=scenario.load.think_time if think_time_s is None else think_time_s,
    )
    description = f"A step of the search for the capacity of {scenario.name}."
    return replace(
        scenario,
        name=f"{scenario.name}-at-{rate:g}",
        load=load,
        description=description,
        expect="healthy",
        cause=None,
        expect_alarms=(),
        expect_capacity=None,
        faults=(),
    )


def think_time_of(scenario: Scenario, asked_s: float | None) -> float | None:
    """Return the think time of the steps, or None if the locustfile does not read any."""
    if not uses_think_time(scenario):
        return None
    return asked_s if asked_s is not None else min(THINK_TIME_S, scenario.load.think_time)


class Ladder:
    """Runs steps. The stack stays up from step to step, and its service is started again for each.

    Another release has its own stack where the target has a `setup` or a partner.
    """

    def __init__(self, stack: Stack, context: RunContext, folder: Path, make_screen: ScreenOf) -> None:
        self._stack = stack
        self._context = context
        self._folder = folder
        self._make_screen = make_screen
        self._running: Running | None = None
        self._stands_for: Scenario | None = None
        self._exits = ExitStack()

    @contextmanager
    def standing(self) -> Iterator["Ladder"]:
        """Take the stack down when the block ends."""
        try:
            yield self
        finally:
            self._take_down()

    def run(self, scenario: Scenario) -> Step:
        """Run one step, and read it from its run directory.

        A stack that breaks makes the step unknown, and comes up again for the next one.
        """
        run = create_run_dir(self._folder, scenario.name)
        context, screen = self._context, self._make_screen(scenario)
        judge = partial(judge_run, source_root=Path(scenario.target.root))
        with recording(scenario, run, screen, judge) as recorder:
            running = self._serve(scenario, run, screen)
            environment = describe_environment(scenario, self._stack.name, running)
            recorder.write_json("environment.json", environment)
            with observing(scenario, running, recorder, screen) as observation:
                with place_load(
                    scenario,
                    running,
                    recorder,
                    context.guard,
                    observation.watcher,
                    by_hand=None,
                    allow_host=context.allow_host,
                ) as load:
                    observation.follow(load)
                observation.drain()
                observation.collect_garbage()
        judge(run)
        if load_history(run).event(f.STACK_BROKE) is not None:
            self._take_down()
        return step_of(run)

    def _serve(self, scenario: Scenario, run: RunDir, screen: Screen) -> Running:
        make_room([scenario])
        standing, stands_for = self._running, self._stands_for
        alike = stands_for is not None and set_up_alike(stands_for, scenario)
        if standing is not None and alike and isinstance(standing, ServesAgain):
            standing.serve_again(scenario, run)
            return standing
        self._take_down()
        self._stands_for = scenario
        self._running = self._exits.enter_context(self._stack.up(scenario, run, screen.progress))
        return self._running

    def _take_down(self) -> None:
        self._running = None
        self._exits.close()
