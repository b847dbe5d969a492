"""Commands that bring a stack up, take it down, or say what there is."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rushhour.cli.common import open_for, select
from rushhour.cli.console import console, say
from rushhour.cli.run_options import Options
from rushhour.errors import UsageError
from rushhour.jobs.archive import remember
from rushhour.jobs.doctor import examine, render_findings
from rushhour.jobs.webui.locust import Address, require_free, web_locust
from rushhour.jobs.webui.login import address_problems, take_login
from rushhour.jobs.webui.messages import Welcome
from rushhour.jobs.webui.session import Session, choice, require_one_locustfile
from rushhour.judging.alarms import real_alerting
from rushhour.load.check import check_locustfiles, locustfile_problems
from rushhour.load.post import parse_address
from rushhour.load.worker import run_workers
from rushhour.process.guard import Guard
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


def worker(master: str, locustfile: Path, processes: int) -> bool:
    """Run customers for the master at `HOST:PORT` until it says that the load is over; whether it did."""
    try:
        host, port = parse_address(master)
    except ValueError as error:
        raise UsageError([str(error)]) from None
    if not locustfile.is_file():
        raise UsageError([f"{locustfile} does not exist"])
    if problems := locustfile_problems(locustfile.resolve(), Path.cwd()):
        raise UsageError(problems)
    with Guard() as guard:
        return run_workers(guard, host, port, locustfile.resolve(), processes)


def up(options: Options, name: str, *, observability: bool = False) -> None:
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


def ui(options: Options, name: str, page: Page) -> None:
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
    offered = {one.name: one for one in file.scenarios.values()} | {chosen.name: chosen}
    offered = require_one_locustfile(offered, chosen)
    check_locustfiles([chosen])
    folder = create_run_dir(options.runs, "ui")

    def judged(run_dir: RunDir, verdict: Verdict, scenario: Scenario) -> None:
        console.print(terminal.summary(verdict, scenario, run_dir.path))
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
                    tuple(choice(one) for one in offered.values()),
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


def down(templates: bool) -> None:
    """Stop what `up` started, and remove what dead runs left."""
    for bring in (bring_down, bring_down_compose):
        for line in bring(cache_dir(), templates=templates):
            say(line)
    for line in leave_dead_swarm():
        say(line)


def doctor(postgres_bin: Path | None) -> bool:
    """Print what was found; whether the embedded stack can run."""
    findings = examine(postgres_bin)
    console.print(render_findings(findings))
    return all(finding.ok for finding in findings)
