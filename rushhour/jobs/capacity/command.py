"""Searches the capacity of one release after the other on one stack, and keeps what was found."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from rushhour.jobs.capacity.climb import (
    Ladder,
    Say,
    ScreenOf,
    Times,
    search,
    step_scenario,
    step_seconds,
    think_time_of,
)
from rushhour.jobs.capacity.earlier import latest_before
from rushhour.jobs.capacity.facts import Knee, Search
from rushhour.jobs.capacity.search import Plan
from rushhour.jobs.capacity.store import STEPS, Judged, write_all
from rushhour.jobs.capacity.words import judged
from rushhour.run import RunContext
from rushhour.rundir import create_run_dir
from rushhour.scenario.arrivals import MOST_PER_S
from rushhour.scenario.model import Scenario
from rushhour.scenario.rules import contradictions
from rushhour.stack import Stack

SHORTEST_STEP_S: Final = 4.0
FEWEST_STEPS: Final = 2


@dataclass(frozen=True, slots=True)
class Wanted:
    """How to search, as the command line has it."""

    plan: Plan = field(default_factory=Plan)
    times: Times = field(default_factory=Times)
    think_time_s: float | None = None  # None: at most a second

    def plan_of(self, scenario: Scenario) -> Plan:
        """Return the plan, limited to what the load generator may be asked for."""
        most = MOST_PER_S * max(1, scenario.load.workers)
        return replace(self.plan, most=min(self.plan.most, most))


def problems_of(scenario: Scenario, wanted: Wanted) -> list[str]:
    """Return everything that speaks against a search, before anything starts."""
    plan, times = wanted.plan_of(scenario), wanted.times
    found = []
    if not scenario.thresholds:
        found.append(f"scenario {scenario.name} has no thresholds: nothing says when it gives way")
    if times.step_s < SHORTEST_STEP_S:
        found.append(
            f"--step {times.step_s:g}s: too short to measure anything; at least {SHORTEST_STEP_S:g}s"
        )
    if plan.start > plan.most:
        found.append(f"--from {plan.start:g}/s is above the highest rate to be tried, {plan.most:g}/s")
    if times.budget_s < FEWEST_STEPS * times.each_s:
        needed = math.ceil(FEWEST_STEPS * times.each_s)
        found.append(f"--budget {times.budget_s:g}s: {FEWEST_STEPS} steps take {needed} s; raise it")
    if found:
        return found
    first = step_scenario(scenario, plan.start, times, None)
    return [f"{'.'.join(map(str, where))}: {what}" for where, what in contradictions(first)]


def one_service_only(scenarios: Sequence[Scenario], image: str | None) -> Iterator[str]:
    """Yield why a search of several releases would measure the same service each time."""
    if len(scenarios) < 2:
        return
    target = scenarios[0].target
    releases = " and ".join(scenario.release for scenario in scenarios)
    if target.url:
        yield (
            f"--release {releases}: {target.url} answers with whatever runs there; search one after the other"
        )
    elif image:
        yield f"--image {image}: releases {releases} would be the same image; search one after the other"
    elif not target.compose:
        service = scenarios[0].service
        used = (target.command, service.arguments, target.setup, service.partner)
        variables = (*target.environment.values(), *service.environment.values())
        if not any("{release}" in text for text in (*used, *variables)):
            yield (
                f"--release {releases}: neither command, setup nor environment of {target.name} has "
                "{release}, so that both would be the same service"
            )


def find_capacity(
    scenarios: Sequence[Scenario],
    wanted: Wanted,
    stack: Stack,
    context: RunContext,
    *,
    make_screen: ScreenOf,
    say: Say,
) -> tuple[Path, list[Judged]]:
    """Search each scenario, which differ in their release, and return the page with what was found.

    After each step the folder holds what is known, so that an interrupted search keeps it.
    """
    folder = create_run_dir(context.runs, f"capacity-{scenarios[0].name}")
    done: list[Judged] = []
    page = write_all(folder, done)
    steps = folder.path / STEPS
    steps.mkdir()
    with Ladder(stack, context, steps, make_screen).standing() as ladder:
        for scenario in scenarios:
            say(f"capacity of {scenario.name}, release {scenario.release}")
            latest: Judged | None = None
            first = _first(scenario, wanted, stack.name)
            first = replace(first, earlier=latest_before(context.runs, first))
            for found in _searched(first, scenario, wanted, ladder, say):
                latest = (found, *judged(found, scenario.expect_capacity))
                page = write_all(folder, [*done, latest])
            if latest is not None:
                done.append(latest)
            if latest is not None and latest[0].interrupted:
                break
    return page, done


def _first(scenario: Scenario, wanted: Wanted, stack: str) -> Search:
    """Return a search that has made no step."""
    return Search(
        scenario.name,
        scenario.release,
        stack,
        (),
        Knee("unknown"),
        think_time_of(scenario, wanted.think_time_s),
        scenario.load.think_time,
        wanted.times.step_s,
    )


def _searched(
    first: Search, scenario: Scenario, wanted: Wanted, ladder: Ladder, say: Say
) -> Iterator[Search]:
    times, think_time_s = wanted.times, first.think_time_s
    return search(
        first,
        wanted.plan_of(scenario),
        times,
        lambda rate, step_s: ladder.run(step_scenario(scenario, rate, times, think_time_s, step_s)),
        seconds_of=lambda rate, steps: step_seconds(scenario, rate, steps, times),
        say=say,
    )
