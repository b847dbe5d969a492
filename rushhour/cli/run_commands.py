"""Commands that make a run."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from rushhour.cli.annotated_runs import add_run, in_scenario_file
from rushhour.cli.annotating import annotate_options
from rushhour.cli.common import open_for, run_context, run_one, select
from rushhour.cli.console import console, say, say_aside, warn_of_not_saved
from rushhour.cli.options import (
    Options,
    exit_code,
    observability_option,
    run_options,
    scenario_option,
    set_option,
)
from rushhour.cli.param_types import Duration
from rushhour.cli.saved_run_commands import show_scenarios
from rushhour.cli.scenario_completion import scenario_and_suite_names
from rushhour.errors import NotWrittenError, RushhourError, UsageError
from rushhour.jobs.annotate.annotation import Outcome
from rushhour.jobs.annotate.collect import Annotations
from rushhour.jobs.annotate.of_runs import check_name, of_check
from rushhour.jobs.annotate.repository import repository
from rushhour.jobs.archive import NIGHTLY, remember
from rushhour.jobs.capacity.command import Wanted, find_capacity
from rushhour.jobs.capacity.page import summary
from rushhour.jobs.capacity.words import with_capacity
from rushhour.jobs.check.result import parse_request
from rushhour.jobs.check.send import run_check
from rushhour.jobs.check.summary import check_summary, headline
from rushhour.jobs.nightly.job import TREND, run_night
from rushhour.jobs.nightly.night import folder_of
from rushhour.jobs.nightly.soak import with_soak
from rushhour.judging.alarms import real_alerting
from rushhour.load.check import check_locustfiles
from rushhour.observe.watch import pool_watcher
from rushhour.process.guard import Guard
from rushhour.process.ports import HOST
from rushhour.report import lists, terminal
from rushhour.report.files import write_suite
from rushhour.run import RunContext
from rushhour.rundir import Recorder, RunDir, create_run_dir
from rushhour.scenario.arrivals import CapacityBound
from rushhour.scenario.model import Data, Scenario
from rushhour.scenario.settings import Setting, parse_setting
from rushhour.screen.make import make_screen
from rushhour.stack import Stack
from rushhour.stack.open import stack_of
from rushhour.verdict.judge import Outcome as RunOutcome
from rushhour.verdict.judge import Verdict


@click.command(short_help="Run scenarios or suites, and judge them.")
@click.argument("names", nargs=-1, shell_complete=scenario_and_suite_names)
@click.option("--users", metavar="N", help="Most customers at once, instead of the scenario's number: 2000.")
@click.option(
    "--duration", metavar="TIME", help="How long the load lasts, instead of the scenario's time: 90s, 3m."
)
@click.option(
    "--spawn-rate",
    metavar="N",
    help="How many customers arrive each second, instead of the scenario's number: 50.",
)
@set_option
@click.option(
    "--no-agent",
    is_flag=True,
    help="Do not put the pool agent into the service: judge by answers, servers and logs alone.",
)
@observability_option
@click.option(
    "--await-pages",
    type=Duration(zero=True),
    help="With --observability: how long to await pages after the load, instead of until the first: 5m.",
)
@annotate_options("rushhour run")
@run_options
def run(
    options: Options,
    names: tuple[str, ...],
    *,
    annotations: Annotations,
    users: str | None,
    duration: str | None,
    spawn_rate: str | None,
    assignments: tuple[str, ...],
    no_agent: bool,
    **alarms: Any,
) -> int:
    """Run scenarios or suites of the scenario file, and judge them: rushhour run smoke.

    The file names commands, which run as you: read a stranger's file first (docs/security.md). Without a
    name, list the scenarios there are.
    """
    load = {"--users": users, "--duration": duration, "--spawn-rate": spawn_rate}
    options = replace(options, settings=settings_of(load, assignments))
    if not names:
        show_scenarios(options.scenarios)
        raise UsageError(["no scenario named; choose some of these: rushhour run NAME..."])
    annotations.elsewhere = in_scenario_file(options.scenarios)
    return exit_code(_run(options, names, annotations, agent=not no_agent, **alarms))


def settings_of(load: dict[str, str | None], assignments: tuple[str, ...]) -> tuple[Setting, ...]:
    settings, problems = [], []
    for flag, text in load.items():
        if text is not None:
            settings.append(Setting(f"load.{flag[2:].replace('-', '_')}", text, f"{flag} {text}"))
    for assignment in assignments:
        try:
            settings.append(parse_setting(assignment))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise UsageError(problems)
    return tuple(settings)


@click.command(short_help="Run the suite `nightly`, and say what changed.")
@click.option(
    "--keep",
    metavar="N",
    type=click.IntRange(min=1),
    default=14,
    show_default=True,
    help="How many nights to keep; older ones are removed.",
)
@click.option(
    "--soak", type=Duration(), help="How long the scenario `soak` lasts, instead of its own time: 2h."
)
@annotate_options("rushhour nightly")
@run_options
def nightly(options: Options, keep: int, soak: float | None, *, annotations: Annotations) -> int:
    """Run the suite `nightly` with the release candidate, and say what changed since the last good night."""
    annotations.elsewhere = in_scenario_file(options.scenarios)
    return exit_code(_nightly(options, keep, soak, annotations))


@click.command(short_help="Ask each endpoint once: does every connection come back?")
@scenario_option("gate", "Scenario whose service and pool settings are used")
@annotate_options("rushhour check")
@run_options
def check(options: Options, scenario: str, *, annotations: Annotations) -> int:
    """Send one request to each endpoint, and say whether every connection came back to its pool.

    The endpoints are those that the scenario file lists under `check`.
    """
    annotations.elsewhere = in_scenario_file(options.scenarios)
    return exit_code([_check(options, scenario, annotations)])


def _run(
    options: Options,
    names: Sequence[str],
    annotations: Annotations,
    *,
    agent: bool = True,
    observability: bool = False,
    await_pages: float | None = None,
) -> list[str]:
    """Run each scenario, print its summary, and compare them if there are several; the verdicts in order.

    `observability` runs the policies that lie with the service for real too, and awaits pages after the load.
    """
    if await_pages is not None and not observability:
        raise UsageError(["--await-pages: without --observability nobody is paged"])
    chosen = [replace(item, agent=item.agent and agent) for item in select(options, names)]
    alerting = real_alerting(chosen[0]) if observability else None
    check_locustfiles(chosen, say_aside)
    results: list[tuple[Scenario, Verdict]] = []
    with Guard() as guard:
        stack = open_for(options, guard, chosen, alerting)
        context = replace(run_context(options, guard, chosen[0]), await_pages_s=await_pages)
        for number, scenario in enumerate(chosen, 1):
            console.print(lists.title(scenario, number, len(chosen)))
            run_dir, verdict = run_one(scenario, stack, context)
            for note in remember(run_dir, verdict):
                say(note)
            add_run(annotations, run_dir, scenario, verdict, Path(scenario.target.root))
            results.append((scenario, verdict))
    if len(results) > 1:
        try:
            write_suite(options.runs, results)
        except NotWrittenError as error:
            warn_of_not_saved(str(error), "the runs of the suite are compared only here")
        console.print(terminal.comparison(results))
        if any(scenario.cause for scenario, _ in results):
            console.print(lists.causes(results))
    return [verdict.verdict for _, verdict in results]


def _nightly(options: Options, keep: int, soak_s: float | None, annotations: Annotations) -> list[str]:
    """Run the suite `nightly`, compare with the last good night, prune old ones; the verdicts in order.

    `--release` names the candidate: scenarios that pin a release, as the tripwire does, keep theirs.
    """
    chosen = [with_soak(item, soak_s) for item in select(options, [NIGHTLY], pinned_stay=True)]
    check_locustfiles(chosen, say_aside)
    results: list[tuple[Scenario, Verdict]] = []
    with Guard() as guard:
        stack = open_for(options, guard, chosen)
        context = run_context(options, guard, chosen[0])

        def one_of_night(scenario: Scenario, folder: Path) -> tuple[RunDir, Verdict]:
            console.print(lists.title(scenario, len(results) + 1, len(chosen)))
            run_dir, verdict = run_one(scenario, stack, replace(context, runs=folder))
            if (bound := scenario.expect_capacity) is not None:
                found = _capacity(scenario, bound, stack, replace(context, runs=folder))
                verdict = with_capacity(verdict, *found)
            add_run(annotations, run_dir, scenario, verdict, Path(scenario.target.root))
            results.append((scenario, verdict))
            return run_dir, verdict

        release = options.release or chosen[0].target.releases[-1]
        night = run_night(options.runs, chosen, release, one_of_night, keep=keep, say=say)
    console.print(terminal.comparison(results))
    say(f"Night   {folder_of(options.runs, night) / 'summary.md'}")
    say(f"Trend   {options.runs / NIGHTLY / TREND}")
    return [row.verdict for row in night.runs]


def _capacity(
    scenario: Scenario, bound: CapacityBound, stack: Stack, context: RunContext
) -> tuple[RunOutcome, str]:
    """Search the capacity that a scenario expects, print it, and return its verdict and the reason.

    A search that could not be made is unknown, and the run before it stays in the night.
    """
    try:
        stack = stack_of(scenario, stack, context.guard, allow_host=context.allow_host, service_host=HOST)
        page, judged = find_capacity(
            [scenario], Wanted(), stack, context, make_screen=lambda step: make_screen(console, step), say=say
        )
    except (RushhourError, OSError) as error:
        say_aside(f"rushhour: the search for the capacity of {scenario.name}: {error}")
        what = str(error).splitlines()[0]
        return "unknown", f"expect_capacity {bound.expr} is undecided: {what}"
    [(search, verdict, why)] = judged
    console.print(summary(search, verdict, why, page))
    if search.interrupted:
        raise KeyboardInterrupt
    return verdict, why


def _check(options: Options, name: str, annotations: Annotations) -> str:
    """Bring the stack up with little data, send one request per endpoint, and print what stayed out."""
    scenario = replace(select(options, [name])[0], data=Data(size="tiny"))
    problems = []
    for line in scenario.target.check:
        try:
            parse_request(line)
        except ValueError as error:
            problems.append(f"{options.scenarios}: service.check: {error}")
    if problems or not scenario.target.check:
        raise UsageError(
            problems or [f"{options.scenarios}: service.check is empty: there is nothing to request"]
        )
    if (
        options.stack == "auto" and not options.image and not scenario.target.compose
    ):  # it answers in seconds; Compose takes longer to stand
        options = replace(options, stack="embedded")
    with Guard() as guard:
        stack = open_for(options, guard, [scenario])
        run_dir = create_run_dir(options.runs, "check")
        recorder = Recorder(run_dir)
        recorder.write_json("scenario.json", scenario)
        screen = make_screen(console, scenario)
        try:
            with stack.up(scenario, run_dir, screen.progress) as running:
                screen.done()
                watcher = pool_watcher(running, recorder)
                result = run_check(scenario.target.check, running, watcher, recorder)
        finally:
            screen.done()
            recorder.close()
    console.print(check_summary(result, scenario, run_dir.path))
    outcome = Outcome(check_name(scenario), result.verdict, headline(result))
    annotations.add(outcome, of_check(scenario, result, repository(Path(scenario.target.root))))
    return result.verdict
