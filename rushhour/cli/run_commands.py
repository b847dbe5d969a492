"""Commands that make a run."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from rushhour.cli.common import open_for, run_context, run_one, select
from rushhour.cli.console import console, say
from rushhour.cli.options import Duration, exit_code, run_options
from rushhour.cli.run_options import Options
from rushhour.cli.saved_run_commands import show_scenarios
from rushhour.errors import UsageError
from rushhour.jobs.archive import NIGHTLY, remember
from rushhour.jobs.capacity.command import Wanted, find_capacity
from rushhour.jobs.capacity.page import summary
from rushhour.jobs.capacity.words import with_capacity
from rushhour.jobs.check.result import parse_request
from rushhour.jobs.check.send import run_check
from rushhour.jobs.check.summary import check_summary
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
from rushhour.scenario.model import Data, Scenario
from rushhour.scenario.settings import Setting, parse_setting
from rushhour.screen.make import make_screen
from rushhour.stack import Stack
from rushhour.stack.open import stack_of
from rushhour.verdict.judge import Outcome, Verdict


@click.command()
@click.argument("names", nargs=-1)
@click.option("--users", metavar="N", help="Most customers at once, instead of the scenario's number: 2000.")
@click.option(
    "--duration", metavar="TIME", help="How long the load lasts, instead of the scenario's time: 90s, 3m."
)
@click.option(
    "--spawn-rate",
    metavar="N",
    help="How many customers arrive each second, instead of the scenario's number: 50.",
)
@click.option(
    "--set",
    "assignments",
    metavar="KEY=VALUE",
    multiple=True,
    help="Set any other key of the scenario: load.think_time=3s, pool.size=40. May be given several times.",
)
@click.option(
    "--no-agent",
    is_flag=True,
    help="Do not put the pool agent into the service: judge by answers, servers and logs alone.",
)
@click.option(
    "--observability",
    is_flag=True,
    help="On Compose: run a real Prometheus and Alertmanager with the rules of infra/alerts, and show who "
    "was paged.",
)
@click.option(
    "--await-pages",
    type=Duration(),
    help="With --observability: how long to wait for pages after the load, instead of for the first one: 5m.",
)
@run_options
def run(
    options: Options,
    names: tuple[str, ...],
    *,
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
    return exit_code(_run(options, names, agent=not no_agent, **alarms))


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


@click.command()
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    default=14,
    show_default=True,
    help="How many nights to keep; older ones are removed.",
)
@click.option(
    "--soak", type=Duration(), help="How long the scenario `soak` lasts, instead of its own time: 2h."
)
@run_options
def nightly(options: Options, keep: int, soak: float | None) -> int:
    """Run the suite `nightly` with the release candidate, and say what changed since the last good night."""
    return exit_code(_nightly(options, keep, soak))


@click.command()
@click.option(
    "--scenario", default="gate", show_default=True, help="Scenario whose service and pool settings are used."
)
@run_options
def check(options: Options, scenario: str) -> int:
    """Send one request to each endpoint, and say whether every connection came back to its pool.

    The endpoints are those that the scenario file lists under `check`.
    """
    return exit_code([_check(options, scenario)])


def _run(
    options: Options,
    names: Sequence[str],
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
    chosen = [replace(one, agent=one.agent and agent) for one in select(options, names)]
    alerting = real_alerting(chosen[0]) if observability else None
    check_locustfiles(chosen)
    results: list[tuple[Scenario, Verdict]] = []
    with Guard() as guard:
        stack = open_for(options, guard, chosen, alerting)
        context = replace(run_context(options, guard, chosen[0]), await_pages_s=await_pages)
        for number, scenario in enumerate(chosen, 1):
            console.print(lists.title(scenario, number, len(chosen)))
            run_dir, verdict = run_one(scenario, stack, context)
            for note in remember(run_dir, verdict):
                say(note)
            results.append((scenario, verdict))
    if len(results) > 1:
        write_suite(options.runs, results)
        console.print(terminal.comparison(results))
        if any(scenario.cause for scenario, _ in results):
            console.print(lists.causes(results))
    return [verdict.verdict for _, verdict in results]


def _nightly(options: Options, keep: int, soak_s: float | None) -> list[str]:
    """Run the suite `nightly`, compare with the last good night, prune old ones; the verdicts in order.

    `--release` names the candidate: scenarios that pin a release, as the tripwire does, keep theirs.
    """
    chosen = [with_soak(one, soak_s) for one in select(options, [NIGHTLY], pinned_stay=True)]
    check_locustfiles(chosen)
    results: list[tuple[Scenario, Verdict]] = []
    with Guard() as guard:
        stack = open_for(options, guard, chosen)
        context = run_context(options, guard, chosen[0])

        def one_of_night(scenario: Scenario, folder: Path) -> tuple[RunDir, Verdict]:
            console.print(lists.title(scenario, len(results) + 1, len(chosen)))
            run_dir, verdict = run_one(scenario, stack, replace(context, runs=folder))
            if scenario.expect_capacity is not None:
                verdict = with_capacity(verdict, *_capacity(scenario, stack, replace(context, runs=folder)))
            results.append((scenario, verdict))
            return run_dir, verdict

        release = options.release or chosen[0].target.releases[-1]
        night = run_night(options.runs, chosen, release, one_of_night, keep=keep, say=say)
    console.print(terminal.comparison(results))
    say(f"Night   {folder_of(options.runs, night) / 'summary.md'}")
    say(f"Trend   {options.runs / NIGHTLY / TREND}")
    return [row.verdict for row in night.runs]


def _capacity(scenario: Scenario, stack: Stack, context: RunContext) -> tuple[Outcome, str]:
    """Search the capacity that a scenario expects, print it, and return its verdict and the reason."""
    stack = stack_of(scenario, stack, context.guard, allow_host=context.allow_host, service_host=HOST)
    page, judged = find_capacity(
        [scenario], Wanted(), stack, context, make_screen=lambda step: make_screen(console, step), say=say
    )
    [(search, verdict, why)] = judged
    console.print(summary(search, verdict, why, page))
    if search.interrupted:
        raise KeyboardInterrupt
    return verdict, why


def _check(options: Options, name: str) -> str:
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
    return result.verdict
