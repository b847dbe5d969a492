"""Commands that bring a stack up or take it down."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from rushhour.cli.common import open_for, say_traffic, select
from rushhour.cli.console import console, say, say_aside
from rushhour.cli.options import (
    Exit,
    Options,
    observability_option,
    path_option,
    run_options,
    scenario_option,
)
from rushhour.errors import UsageError
from rushhour.jobs.archive import remember
from rushhour.jobs.webui.asked import choice, require_one_locustfile
from rushhour.jobs.webui.locust import Address, require_free, web_locust
from rushhour.jobs.webui.login import address_problems, take_login
from rushhour.jobs.webui.messages import Welcome
from rushhour.jobs.webui.session import Session
from rushhour.judging.alarms import real_alerting
from rushhour.load.check import check_locustfiles, locustfile_problems
from rushhour.load.machine import processes_problems, this_machine
from rushhour.load.master_address import parse_address
from rushhour.load.worker import run_workers
from rushhour.process.guard import Guard
from rushhour.process.ports import HOST
from rushhour.report import terminal
from rushhour.rundir import RunDir, create_run_dir
from rushhour.scenario.file import load_scenarios
from rushhour.scenario.hosts import is_loopback
from rushhour.scenario.model import Scenario
from rushhour.screen.make import make_screen
from rushhour.stack.compose.down import bring_down_compose
from rushhour.stack.paths import cache_dir
from rushhour.stack.standing import bring_down, stand
from rushhour.stack.swarm.own_swarm import leave_dead_swarm
from rushhour.verdict.judge import Verdict


@click.command(short_help="Run customers for a `rushhour run` that waits for workers.")
@click.argument("master", metavar="HOST:PORT")
@path_option("--locustfile", "locustfiles/referrals.py", "Locustfile of the run that waits: the same file.")
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="How many workers to start here: one for each core.",
)
def worker(master: str, locustfile: Path, processes: int) -> int:
    """Run customers for a `rushhour run --workers-at HOST:PORT` that waits, here or on another machine.

    Exit codes: 0 when the master said that the load is over; 2 when there was none, or it went away.
    """
    return Exit.MET if _worker(master, locustfile, processes) else Exit.UNKNOWN


@click.command(short_help="Start servers and service, and hold them until Ctrl-C.")
@scenario_option("gate", "Scenario whose settings are used")
@observability_option
@run_options
def up(options: Options, scenario: str, observability: bool) -> int:
    """Start primary, replica and service, and hold them until Ctrl-C or `rushhour down`."""
    _up(options, scenario, observability=observability)
    return Exit.MET


@click.command(short_help="Serve Locust's web page over a running stack.")
@click.argument("scenario", default="gate")
@click.option(
    "--host",
    metavar="ADDRESS",
    default=HOST,
    show_default=True,
    help="Address of this machine at which the page is served; 0.0.0.0 for every network.",
)
@click.option(
    "--port",
    metavar="PORT",
    type=click.IntRange(1, 65535),
    default=8089,
    show_default=True,
    help="Port of the page.",
)
@click.option(
    "--login",
    is_flag=True,
    help="Ask visitors for the name and password in RUSHHOUR_UI_USER and RUSHHOUR_UI_PASSWORD.",
)
@path_option(
    "--login-file",
    None,
    "Ask visitors for the name and password in the first line of this file: USER:PASSWORD.",
)
@run_options
def ui(options: Options, scenario: str, **page: Any) -> int:
    """Serve Locust's web page over a running stack: start and stop runs in the browser; each is judged.

    SCENARIO is chosen first in the form. Ctrl-C ends page and stack.
    """
    _ui(options, scenario, Page(**page))
    return Exit.MET


@click.command()
@click.option(
    "--templates",
    is_flag=True,
    help="Also remove the kept database templates; the next run makes them again, which takes a while.",
)
def down(templates: bool) -> int:
    """Stop what `rushhour up` started, and remove what dead runs left."""
    _down(templates)
    return Exit.MET


def _worker(master: str, locustfile: Path, processes: int) -> bool:
    """Run customers for the master at `HOST:PORT` until it says that the load is over; whether it did."""
    try:
        host, port = parse_address(master)
    except ValueError as error:
        raise UsageError([str(error)]) from None
    if not locustfile.is_file():
        raise UsageError([f"{locustfile} does not exist"])
    if problems := processes_problems(processes, this_machine()):
        raise UsageError(problems)
    if problems := locustfile_problems(locustfile.resolve(), Path.cwd(), say_aside):
        raise UsageError(problems)
    with Guard() as guard:
        return run_workers(guard, host, port, locustfile.resolve(), processes)


def _up(options: Options, name: str, *, observability: bool = False) -> None:
    """Hold a stack up until it is interrupted."""
    scenario = select(options, [name])[0]
    alerting = real_alerting(scenario) if observability else None
    with Guard() as guard:
        stack = open_for(options, guard, [scenario], alerting)
        run_dir = create_run_dir(options.runs, "up")
        screen = make_screen(console, scenario)
        try:
            stand(stack, scenario, run_dir, screen.progress, cache=cache_dir(), say=say)
        finally:
            screen.done()


@dataclass(frozen=True, slots=True)
class Page:
    """How the web UI is served, and to whom."""

    host: str
    port: int
    login: bool
    login_file: Path | None


def _ui(options: Options, name: str, page: Page) -> None:
    """Serve Locust's web UI over a standing stack until Ctrl-C; each start of it is a run of its own."""
    login, problems = take_login(page.login, page.login_file)
    problems += address_problems(page.host, options.allow_host, login=login is not None)
    if options.workers or options.workers_at:
        problems.append("--workers: the web UI's customers run in one process; `rushhour run` has workers")
    if problems:
        raise UsageError(problems)
    chosen, address = select(options, [name])[0], Address(page.host, page.port)
    require_free(address)
    file = load_scenarios(options.scenarios)
    offered = {scenario.name: scenario for scenario in file.scenarios.values()} | {chosen.name: chosen}
    offered = require_one_locustfile(offered, chosen)
    check_locustfiles([chosen], say_aside)
    folder = create_run_dir(options.runs, "ui")

    def judged(run_dir: RunDir, verdict: Verdict, scenario: Scenario) -> None:
        console.print(terminal.summary(verdict, scenario, run_dir.path))
        say_traffic(run_dir, scenario)
        for note in remember(run_dir, verdict):
            say(note)

    with Guard() as guard:
        stack = open_for(options, guard, [chosen])
        session = Session(stack, guard, offered, options.runs, folder, say=say, judged=judged)
        with ExitStack() as exits:
            say("the stack comes up")
            exits.enter_context(session.opened(chosen))
            locust = exits.enter_context(web_locust(chosen, folder, address, guard, login=login is not None))
            locust.say(
                Welcome(
                    tuple(choice(item) for item in offered.values()),
                    chosen.name,
                    chosen.target.releases,
                    login,
                    str(options.runs.resolve()),
                    is_loopback(page.host),
                )
            )
            locust.wait_until_served(address)
            say(f"Locust's page   {address.url}")
            say(f"Live charts     {address.url}rushhour")
            say(f"Logs            {folder.logs}")
            say("Ctrl-C ends all of it.")
            session.serve(locust)


def _down(templates: bool) -> None:
    """Stop what `up` started, and remove what dead runs left."""
    for bring in (bring_down, bring_down_compose):
        for line in bring(cache_dir(), templates=templates):
            say(line)
    for line in leave_dead_swarm():
        say(line)
