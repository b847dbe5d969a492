"""Commands that make a run."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rushhour.cli.common import open_for, run_context, run_one, select
from rushhour.cli.console import console, say
from rushhour.cli.run_options import Options
from rushhour.errors import UsageError
from rushhour.jobs.archive import NIGHTLY, remember
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
from rushhour.report import lists, terminal
from rushhour.report.files import write_suite
from rushhour.rundir import Recorder, RunDir, create_run_dir
from rushhour.scenario.model import Data, Scenario
from rushhour.screen.make import make_screen
from rushhour.verdict.judge import Verdict


def run(
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


def nightly(options: Options, keep: int, soak_s: float | None) -> list[str]:
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
            results.append((scenario, verdict))
            return run_dir, verdict

        release = options.release or chosen[0].target.releases[-1]
        night = run_night(options.runs, chosen, release, one_of_night, keep=keep, say=say)
    console.print(terminal.comparison(results))
    say(f"Night   {folder_of(options.runs, night) / 'summary.md'}")
    say(f"Trend   {options.runs / NIGHTLY / TREND}")
    return [row.verdict for row in night.runs]


def check(options: Options, name: str) -> str:
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
