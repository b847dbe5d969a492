"""`rushhour capacity`."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click

from rushhour.cli.as_json import json_option, print_json
from rushhour.cli.common import open_for, run_context, select
from rushhour.cli.console import console, errors, say, say_aside
from rushhour.cli.options import Options, exit_code, run_options_of_releases, set_option, think_time_option
from rushhour.cli.param_types import Duration, Rate
from rushhour.cli.run_commands import settings_of
from rushhour.errors import UsageError
from rushhour.jobs.capacity.climb import BUDGET_S, STEP_S, WARM_UP_S, Times
from rushhour.jobs.capacity.command import Wanted, find_capacity, one_service_only, problems_of
from rushhour.jobs.capacity.page import comparison, summary
from rushhour.jobs.capacity.search import Plan
from rushhour.jobs.capacity.store import Judged, as_objects
from rushhour.load.check import check_locustfiles
from rushhour.process.guard import Guard
from rushhour.process.ports import HOST
from rushhour.scenario.file import load_scenarios
from rushhour.scenario.model import Scenario
from rushhour.screen.make import make_screen
from rushhour.stack.open import stack_of


@click.command(short_help="Find the highest rate of arrivals that a release carries.")
@click.argument("name")
@click.option(
    "--from",
    "start",
    type=Rate(),
    default="5/s",
    show_default=True,
    metavar="RATE",
    help="Rate of arrivals of the first step, in customers a second: 20/s.",
)
@click.option(
    "--up-to",
    type=Rate(),
    metavar="RATE",
    help="Highest rate of arrivals that is tried: 200/s. Without it, what the load generator can do.",
)
@click.option(
    "--precision",
    type=click.IntRange(2, 100),
    default=10,
    show_default=True,
    metavar="PERCENT",
    help="How far apart the rates that hold and give way may be at the end.",
)
@click.option(
    "--step",
    "step_s",
    type=Duration(),
    default=f"{STEP_S:g}s",
    show_default=True,
    help="How long each step is measured.",
)
@click.option(
    "--warm-up",
    "warm_up_s",
    type=Duration(zero=True),
    default=f"{WARM_UP_S:g}s",
    show_default=True,
    help="How long each step's load lasts before that, until as many customers leave as arrive.",
)
@click.option(
    "--budget",
    "budget_s",
    type=Duration(),
    default=f"{BUDGET_S / 60:g}m",
    show_default=True,
    help="How long the search of a release may take; it then keeps what it found.",
)
@think_time_option("where the locustfile reads it, instead of at most 1 s")
@set_option
@json_option
@run_options_of_releases
def capacity(
    options: Options, name: str, *, releases: tuple[str, ...], assignments: tuple[str, ...], **given: Any
) -> int:
    """Find the highest rate of arrivals at which every threshold holds, and what gives first.

    NAME is a scenario of the scenario file: gate.

    Exit codes: 0 found, or enough for `expect_capacity`; 1 a leak, or less than `expect_capacity`; 2 unknown.
    """
    options = replace(options, settings=settings_of({}, assignments))
    judged = _search(options, name, releases, **given)
    if any(search.interrupted for search, _, _ in judged):
        raise KeyboardInterrupt
    return exit_code([verdict for _, verdict, _ in judged])


def _search(
    options: Options, name: str, releases: Sequence[str], *, as_json: bool, **given: Any
) -> list[Judged]:
    scenarios = _scenarios(options, name, releases)
    wanted = _wanted(given)
    problems = [problem for scenario in scenarios for problem in problems_of(scenario, wanted)]
    problems += one_service_only(scenarios, options.image)
    if options.workers_at:
        problems.append("--workers-at: a search starts its own workers; write --workers N")
    if problems:
        raise UsageError(list(dict.fromkeys(problems)))
    check_locustfiles(scenarios, say_aside)
    show = errors if as_json else console
    with Guard() as guard:
        stack = open_for(options, guard, scenarios, aside=as_json)
        stack = stack_of(scenarios[0], stack, guard, allow_host=options.allow_host, service_host=HOST)
        context = run_context(options, guard, scenarios[0])
        folder, judged = find_capacity(
            scenarios,
            wanted,
            stack,
            context,
            make_screen=lambda scenario: make_screen(show, scenario),
            say=say_aside if as_json else say,
        )
    if as_json:
        print_json(as_objects(judged))
        return judged
    for search, verdict, why in judged:
        console.print(summary(search, verdict, why, folder))
    if len(judged) > 1:
        console.print(comparison([search for search, _, _ in judged]))
    return judged


def _scenarios(options: Options, name: str, releases: Sequence[str]) -> list[Scenario]:
    if name in load_scenarios(options.scenarios).suites:
        raise UsageError([f"{name} is a suite; a search takes one scenario: rushhour capacity gate"])
    asked: list[str | None] = [*dict.fromkeys(releases)] or [None]
    return [scenario for release in asked for scenario in select(replace(options, release=release), [name])]


def _wanted(given: dict[str, Any]) -> Wanted:
    times = Times(given["step_s"], given["warm_up_s"], given["budget_s"])
    plan = Plan(start=given["start"], precision=given["precision"] / 100)
    if given["up_to"] is not None:
        plan = replace(plan, most=given["up_to"])
    return Wanted(plan, times, given["think_time_s"])
