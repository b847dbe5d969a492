"""What each command does; `cli.py` parses and turns the results into exit codes."""

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from rushhour.agent.environment import JOURNAL_VARIABLE, agent_environment
from rushhour.alarms.policies import load_policies
from rushhour.alarms.sources import of_csv
from rushhour.alarms.study import Scale, study
from rushhour.archive import NIGHTLY, RunHistory, remember, runs_folder_of
from rushhour.attach.run import run_attached, write_findings
from rushhour.auditing import audit_run, unknown_alarms
from rushhour.check.result import parse_request
from rushhour.check.send import run_check
from rushhour.compare import compare_runs, read_measured
from rushhour.crew import ByHand, how_to_join
from rushhour.doctor import examine
from rushhour.drill.own_swarm import leave_dead_swarm
from rushhour.errors import UsageError
from rushhour.history import Recorder, RunDir, create_run_dir, load_history
from rushhour.judging import judge_run, read_scenario, render_run
from rushhour.load.hosts import check_host, is_loopback
from rushhour.load.post import listening_address, parse_address
from rushhour.load.worker import run_workers
from rushhour.nightly.job import TREND, run_night
from rushhour.nightly.night import folder_of
from rushhour.nightly.soak import with_soak
from rushhour.process.guard import Guard
from rushhour.report import lists, terminal
from rushhour.report.alarms import terminal_alarms
from rushhour.report.compare import terminal_comparison
from rushhour.report.files import write_suite
from rushhour.run import Means, pool_watcher, run_scenario
from rushhour.scenario.file import load_scenarios
from rushhour.scenario.model import Data, Scenario
from rushhour.stack import Stack
from rushhour.stack.at_url import UrlStack
from rushhour.stack.capacity import check_capacity
from rushhour.stack.choose import Asked
from rushhour.stack.compose.down import bring_down_compose
from rushhour.stack.open import StackOptions, open_stack
from rushhour.stack.paths import cache_dir
from rushhour.stack.ports import HOST
from rushhour.stack.standing import bring_down, stand
from rushhour.starter.files import locust_file, scenario_file
from rushhour.starter.routes import default_python, of_flask, of_openapi
from rushhour.ui import make_screen
from rushhour.verdict.judge import Verdict
from rushhour.webui.locust import Address, require_free, web_locust
from rushhour.webui.login import address_problems, take_login
from rushhour.webui.messages import Welcome
from rushhour.webui.session import Session, choice, require_one_locustfile

console = Console()
errors = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Options:
    """What every command that brings a stack up is given."""

    scenarios: Path
    stack: Asked
    image: str | None
    allow_host: str | None
    release: str | None
    runs: Path
    postgres_bin: Path | None
    workers: int | None
    workers_at: str | None

    def means(self) -> Means:
        """Raises UsageError for an address that is none, or that was not allowed."""
        if self.workers_at is None:
            return Means(allow_host=self.allow_host)
        try:
            host, port = listening_address(self.workers_at, self.allow_host)
        except ValueError as error:
            raise UsageError([f"--workers-at: {error}"]) from None
        return Means(ByHand(host, port), self.allow_host)


def run(options: Options, names: Sequence[str], *, agent: bool = True) -> list[str]:
    """Run each scenario, print its summary, and compare them if there are several; the verdicts in order."""
    chosen = [replace(one, agent=one.agent and agent) for one in _select(options, names)]
    means = options.means()
    results: list[tuple[Scenario, Verdict]] = []
    with Guard() as guard:
        stack = _open(options, guard, chosen)
        for number, scenario in enumerate(chosen, 1):
            console.print(lists.title(scenario, number, len(chosen)))
            run_dir, verdict = _run_one(scenario, stack, guard, options.runs, means)
            for note in remember(run_dir, verdict):
                _say(note)
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
    chosen = [with_soak(one, soak_s) for one in _select(options, [NIGHTLY], pinned_stay=True)]
    means = options.means()
    results: list[tuple[Scenario, Verdict]] = []
    with Guard() as guard:
        stack = _open(options, guard, chosen)

        def run_one(scenario: Scenario, folder: Path) -> tuple[RunDir, Verdict]:
            console.print(lists.title(scenario, len(results) + 1, len(chosen)))
            run_dir, verdict = _run_one(scenario, stack, guard, folder, means)
            results.append((scenario, verdict))
            return run_dir, verdict

        release = options.release or chosen[0].target.releases[-1]
        night = run_night(options.runs, chosen, release, run_one, keep=keep, say=_say)
    console.print(terminal.comparison(results))
    _say(f"Night   {folder_of(options.runs, night) / 'summary.md'}")
    _say(f"Trend   {options.runs / NIGHTLY / TREND}")
    return [row.verdict for row in night.runs]


def compare(before: Path, after: Path, tolerance: float) -> str:
    """Print what changed from one run to the other; "worse", "not worse" or "unknown"."""
    old, new = (read_measured(RunDir(path.resolve())) for path in (before, after))
    comparison = compare_runs(old, new, tolerance=tolerance)
    console.print(terminal_comparison(comparison))
    return comparison.outcome


def history(runs: Path, *, rebuild: bool, scenario: str | None, last: int) -> None:
    """Print the last runs that the history of a runs folder holds."""
    kept = RunHistory(runs)
    if rebuild:
        _say(f"read again: {kept.rebuild()}")
    rows = kept.rows(scenario=scenario, limit=last)
    for note in kept.notes:
        _say(note)
    console.print(lists.run_list(rows))


def check(options: Options, name: str) -> str:
    """Bring the stack up with little data, send one request per endpoint, and print what stayed out."""
    scenario = replace(_select(options, [name])[0], data=Data(size="tiny"))
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
    if options.stack == "auto" and not options.image:  # it answers in seconds; Compose takes longer to stand
        options = replace(options, stack="embedded")
    with Guard() as guard:
        stack = _open(options, guard, [scenario])
        run_dir = create_run_dir(options.runs, "check")
        run_dir.write_json("scenario.json", scenario)
        recorder = Recorder(run_dir)
        screen = make_screen(console, scenario)
        try:
            with stack.up(scenario, run_dir, screen.progress) as running:
                screen.done()
                watcher = pool_watcher(running, recorder)
                result = run_check(scenario.target.check, running, watcher, recorder)
        finally:
            screen.done()
            recorder.close()
    console.print(lists.check_summary(result, scenario, run_dir.path))
    return result.verdict


def judge(runs: Sequence[Path]) -> list[str]:
    """Judge saved runs again; the verdicts in order."""
    results = []
    for path in runs:
        run_dir = RunDir(path.resolve())
        scenario, verdict = read_scenario(run_dir), judge_run(run_dir)
        if RunHistory(runs_folder_of(run_dir)).path.exists():
            for note in remember(run_dir, verdict):
                _say(note)
        console.print(terminal.summary(verdict, scenario, run_dir.path))
        results.append((scenario, verdict))
    if len(results) > 1:
        console.print(terminal.comparison(results))
    return [verdict.verdict for _, verdict in results]


def report(runs: Sequence[Path]) -> None:
    """Render saved runs again from what they hold."""
    for path in runs:
        for written in render_run(RunDir(path.resolve())):
            _say(str(written))


def alarms(
    runs: Sequence[Path], export: Path | None, policies: Sequence[Path], scale: Scale, attention_s: float
) -> list[bool | None]:
    """Audit saved runs and an incident's export; for each whether some policy told of every failure."""
    chosen = load_policies(policies)
    found: list[bool | None] = []
    for path in runs:
        run_dir = RunDir(path.resolve())
        read_scenario(run_dir)
        one = audit_run(run_dir, load_history(run_dir), chosen, scale, attention_s)
        if one is None:
            _say(f"{run_dir.path.name}: no load started, so there is nothing to audit")
            found.append(None)
            continue
        console.print(terminal_alarms(run_dir.path.name, one))
        found.append(one.announced)
    if export is not None:
        one = study(chosen, of_csv(export), Scale(None), attention_s)
        console.print(terminal_alarms(export.name, one))
        found.append(one.announced)
    return found


def list_scenarios(path: Path) -> None:
    """Print the scenarios and suites of a file."""
    console.print(lists.scenario_list(load_scenarios(path)))


def worker(master: str, locustfile: Path, processes: int) -> bool:
    """Run customers for the master at `HOST:PORT` until it says that the load is over; whether it did."""
    try:
        host, port = parse_address(master)
    except ValueError as error:
        raise UsageError([str(error)]) from None
    if not locustfile.is_file():
        raise UsageError([f"{locustfile} does not exist"])
    with Guard() as guard:
        return run_workers(guard, host, port, locustfile.resolve(), processes)


def up(options: Options, name: str) -> None:
    """Hold a stack up until it is interrupted."""
    scenario = _select(options, [name])[0]
    with Guard() as guard:
        stack = _open(options, guard, [scenario])
        run_dir = create_run_dir(options.runs, "up")
        screen = make_screen(console, scenario)
        try:
            stand(stack, scenario, run_dir, screen.progress, cache=cache_dir(), say=_say)
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
    if problems:
        raise UsageError(problems)
    chosen, address = _select(options, [name])[0], Address(page.host, page.port)
    require_free(address)
    file = load_scenarios(options.scenarios)
    offered = {one.name: one for one in file.scenarios.values()} | {chosen.name: chosen}
    offered = require_one_locustfile(offered, chosen)
    folder = create_run_dir(options.runs, "ui")

    def judged(run_dir: RunDir, verdict: Verdict, scenario: Scenario) -> None:
        console.print(terminal.summary(verdict, scenario, run_dir.path))
        for note in remember(run_dir, verdict):
            _say(note)

    with Guard() as guard:
        stack = _open(options, guard, [chosen])
        session = Session(stack, guard, offered, options.runs, folder, say=_say, judged=judged)
        with ExitStack() as exits:
            _say("the stack comes up")
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
            _say(f"Locust's page   {address.url}")
            _say(f"Live charts     {address.url}rushhour")
            _say(f"Logs            {folder.logs}")
            _say("Ctrl-C ends all of it.")
            session.serve(locust)


def down(templates: bool) -> None:
    """Stop what `up` started, and remove what dead runs left."""
    for bring in (bring_down, bring_down_compose):
        for line in bring(cache_dir(), templates=templates):
            _say(line)
    for line in leave_dead_swarm():
        _say(line)


def agent_exec(
    command: Sequence[str],
    *,
    long_s: float,
    fail_on_leak: bool,
    report: Path | None,
    keep: Path | None,
    metrics: str | None,
) -> int:
    """Run a command with the agent in it; the exit code, the command's own where that is not 0."""
    attached = run_attached(command, long_s=long_s, say=_say_aside, keep=keep, metrics=metrics)
    if report is not None:
        write_findings(report, attached)
    return 1 if fail_on_leak and attached.findings.leaks and not attached.exit_code else attached.exit_code


def init(app: str | None, *, openapi: Path | None, python: Path | None, into: Path, force: bool) -> None:
    """Write a scenario file and a locustfile for a service, and say what to do next."""
    if (app is None) == (openapi is None):
        raise UsageError(["give --app MODULE:APP, or --openapi FILE"])
    interpreter = str(python) if python else default_python(into)
    routes = of_openapi(openapi) if openapi else of_flask(app or "", interpreter, into)
    own = interpreter if interpreter != sys.executable else None
    name = (app or into.resolve().name).partition(":")[0].rpartition(".")[2]
    files = {
        into / "scenarios.yaml": scenario_file(name, app, own, routes),
        into / "customers.py": locust_file(routes),
    }
    if there := [str(path) for path in files if path.exists() and not force]:
        raise UsageError([f"{path} is there already; --force overwrites it" for path in there])
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
        _say(f"wrote {path}")
    _say(f"{len(routes)} routes. Look through both files, then: rushhour run evening")


def agent_env(out: Path, metrics: str | None) -> None:
    """Print the variables that start the agent, one a line, as systemd and Compose read them from a file."""
    found = agent_environment(out, os.environ, metrics=metrics) | {
        JOURNAL_VARIABLE: "off" if metrics else "on"
    }
    for name, value in found.items():
        _say(f"{name}={value}")


def doctor(postgres_bin: Path | None) -> bool:
    """Print what was found; whether the embedded stack can run."""
    findings = examine(postgres_bin)
    console.print(lists.doctor(findings))
    return all(finding.ok for finding in findings)


def _run_one(
    scenario: Scenario, stack: Stack, guard: Guard, runs: Path, means: Means
) -> tuple[RunDir, Verdict]:
    if scenario.target.url:
        stack = UrlStack(means.allow_host)
    if means.by_hand is not None:
        _say(how_to_join(scenario, means.by_hand))
    run_dir, verdict = run_scenario(scenario, stack, guard, runs, make_screen(console, scenario), means=means)
    console.print(terminal.summary(verdict, scenario, run_dir.path))
    return run_dir, verdict


def _select(options: Options, names: Sequence[str], *, pinned_stay: bool = False) -> list[Scenario]:
    file = load_scenarios(options.scenarios)
    chosen = file.select(names, options.release, pinned_stay=pinned_stay)
    if options.workers is not None:
        chosen = [replace(one, load=replace(one.load, workers=options.workers)) for one in chosen]
    problems = [f"{options.scenarios}: {problem}" for one in chosen for problem in check_capacity(one)]
    problems += [f"{options.scenarios}: {problem}" for one in chosen for problem in unknown_alarms(one)]
    problems += [
        f"{options.scenarios}: scenario {one.name}: target.url: {problem}"
        for one in chosen
        if one.target.url
        for problem in check_host(one.target.url, options.allow_host)
    ]
    if options.workers_at and (without := [one.name for one in chosen if not one.load.workers]):
        problems.append(f"--workers-at: say how many for {', '.join(without)}: --workers N")
    if problems:
        raise UsageError(problems)
    return chosen


def _say_aside(line: str) -> None:
    """On stderr, beside the output of a command that goes on."""
    errors.print(line, soft_wrap=True, markup=False, highlight=False)


def _say(line: str) -> None:
    console.print(line, soft_wrap=True, markup=False)


def _open(options: Options, guard: Guard, scenarios: Sequence[Scenario]) -> Stack:
    by_hand = options.means().by_hand
    asked = StackOptions(
        options.stack,
        options.image,
        options.allow_host,
        options.postgres_bin,
        by_hand.host if by_hand else HOST,
    )
    screen = make_screen(console, scenarios[0])
    try:
        return open_stack(asked, guard, scenarios, screen.progress, _say)
    finally:
        screen.done()
