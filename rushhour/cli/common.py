"""What the commands that make runs share: how a run is chosen, brought up and shown."""

from collections.abc import Sequence
from dataclasses import replace

from rushhour.alarms.real_config import RealAlerting
from rushhour.cli.console import console, errors, say, say_aside, warn_of_not_saved
from rushhour.cli.options import Options
from rushhour.errors import UsageError
from rushhour.jobs.traffic.after_run import compare_with_source
from rushhour.jobs.traffic.progress import ReadingProgress
from rushhour.judging.alarms import unknown_alarms
from rushhour.load.machine import machine_problems, make_room, this_machine
from rushhour.load.master_address import listening_address
from rushhour.load.placement import ByHand, how_to_join
from rushhour.process.guard import Guard
from rushhour.process.ports import HOST
from rushhour.report import terminal
from rushhour.report.real_pages import terminal_real
from rushhour.run import RunContext, run_scenario
from rushhour.rundir import RunDir
from rushhour.scenario.file import load_scenarios
from rushhour.scenario.hosts import check_host
from rushhour.scenario.model import Scenario
from rushhour.scenario.settings import with_settings
from rushhour.screen.make import make_screen
from rushhour.stack import Stack
from rushhour.stack.capacity import check_capacity
from rushhour.stack.open import StackOptions, open_stack, stack_of
from rushhour.verdict.judge import Verdict


def run_context(options: Options, guard: Guard, scenario: Scenario) -> RunContext:
    """Return what the runs of a command share. Raises UsageError for a wrong --workers-at."""
    return RunContext(
        guard,
        options.runs,
        make_screen(console, scenario),
        by_hand=by_hand_of(options),
        allow_host=options.allow_host,
    )


def by_hand_of(options: Options) -> ByHand | None:
    """Raises UsageError for an address that is none, or that was not allowed."""
    if options.workers_at is None:
        return None
    try:
        host, port = listening_address(options.workers_at, options.allow_host)
    except ValueError as error:
        raise UsageError([f"--workers-at: {error}"]) from None
    return ByHand(host, port)


def run_one(scenario: Scenario, stack: Stack, context: RunContext) -> tuple[RunDir, Verdict]:
    """Run one scenario, and print what came of it, also where its report cannot be saved."""
    context = replace(context, screen=make_screen(console, scenario))
    host = context.by_hand.host if context.by_hand else HOST
    stack = stack_of(scenario, stack, context.guard, allow_host=context.allow_host, service_host=host)
    if context.by_hand is not None:
        say(how_to_join(scenario, context.by_hand))
    run_dir, judged = run_scenario(scenario, stack, context)
    warn_of_not_saved(judged.not_saved, "the verdict is only printed; rushhour judge saves it later")
    written = not judged.not_saved
    console.print(terminal.summary(judged.verdict, scenario, run_dir.path, written=written))
    if written:
        say_traffic(run_dir, scenario)
    if judged.real:
        console.print(terminal_real(judged.real))
    return run_dir, judged.verdict


def say_traffic(run_dir: RunDir, scenario: Scenario) -> None:
    """Compare a run with the log that its customers were made of, and print how near it came."""
    progress = ReadingProgress(errors)
    try:
        notes = compare_with_source(run_dir, scenario, progress)
    finally:
        progress.done()
    for note in notes:
        say(note)


def select(options: Options, names: Sequence[str], *, pinned_stay: bool = False) -> list[Scenario]:
    file = load_scenarios(options.scenarios)
    chosen = file.select(names, options.release, pinned_stay=pinned_stay)
    chosen = [with_settings(scenario, options.settings) for scenario in chosen]
    if options.workers is not None:
        chosen = [
            replace(scenario, load=replace(scenario.load, workers=options.workers)) for scenario in chosen
        ]
    problems = [
        f"{options.scenarios}: {problem}" for scenario in chosen for problem in check_capacity(scenario)
    ]
    problems += [
        f"{options.scenarios}: {problem}" for scenario in chosen for problem in unknown_alarms(scenario)
    ]
    problems += [
        f"{options.scenarios}: scenario {scenario.name}: target.url: {problem}"
        for scenario in chosen
        if scenario.target.url
        for problem in check_host(scenario.target.url, options.allow_host)
    ]
    machine, workers_here = this_machine(), options.workers_at is None
    in_containers = options.stack == "compose" or options.image is not None
    problems += [
        problem
        for scenario in chosen
        for problem in machine_problems(
            scenario, machine, workers_here=workers_here, in_containers=in_containers
        )
    ]
    if options.workers_at and (
        without := [scenario.name for scenario in chosen if not scenario.load.workers]
    ):
        problems.append(f"--workers-at: say how many for {', '.join(without)}: --workers N")
    if problems:
        raise UsageError(problems)
    make_room(chosen)
    return chosen


def open_for(
    options: Options,
    guard: Guard,
    scenarios: Sequence[Scenario],
    alerting: RealAlerting | None = None,
    *,
    aside: bool = False,
) -> Stack:
    """Open the stack that the options ask for; with `aside`, what is said meanwhile goes to stderr."""
    by_hand = by_hand_of(options)
    asked = StackOptions(
        options.stack,
        options.image,
        options.allow_host,
        options.postgres_bin,
        alerting,
        by_hand.host if by_hand else HOST,
    )
    screen = make_screen(errors if aside else console, scenarios[0])
    try:
        return open_stack(asked, guard, scenarios, screen.progress, say_aside if aside else say)
    finally:
        screen.done()
