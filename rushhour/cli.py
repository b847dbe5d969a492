"""Commands and exit codes: the only module that prints usage or exits."""

import errno
import functools
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from enum import IntEnum
from pathlib import Path
from types import FrameType
from typing import Any

import click

from rushhour import commands
from rushhour.agent.exporter import parse_address
from rushhour.alarms.study import Scale
from rushhour.commands import Options
from rushhour.compare.judging import TOLERANCE
from rushhour.drill import command as drill_command
from rushhour.drill.facts import BYS
from rushhour.errors import RunDataError, StackError, UnavailableError, UsageError
from rushhour.scenario.model import seconds_of

Command = Callable[..., Any]

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


class Exit(IntEnum):
    """Exit codes; docs/verdict.md explains them."""

    MET = 0
    NOT_MET = 1
    UNKNOWN = 2
    USAGE = 64
    FAULT = 70
    INTERRUPTED = 130


def exit_code(verdicts: Sequence[str]) -> Exit:
    """0 when all passed; 1 when one failed; else 2 when one is unknown."""
    if "fail" in verdicts:
        return Exit.NOT_MET
    return Exit.MET if verdicts and set(verdicts) == {"pass"} else Exit.UNKNOWN


class Duration(click.ParamType[float]):
    """`90s`, `3m`, as in the scenario file; in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return seconds_of(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _path(flag: str, default: str | None, text: str) -> Callable[[Command], Command]:
    return click.option(flag, type=click.Path(path_type=Path), default=default, show_default=True, help=text)


def run_options(command: Callable[..., int]) -> Command:
    """The options of every command that brings a stack up, handed over as one `Options`."""

    @functools.wraps(command)
    def with_options(**given: Any) -> int:
        options = Options(**{name: given.pop(name) for name in Options.__dataclass_fields__})
        return command(options, **given)

    decorated: Command = with_options
    for option in (
        _path("--postgres-bin", None, "PostgreSQL's bin folder, instead of the wheel's."),
        _path("--runs", "runs", "Where run directories are kept."),
        click.option("--release", help="Run with this release instead of the scenario's own."),
        click.option(
            "--stack",
            type=click.Choice(["auto", "embedded", "compose"]),
            default="auto",
            show_default=True,
            envvar="RUSHHOUR_STACK",
            show_envvar=True,
            help="What stands under test; auto takes Compose where it can be brought up, else embedded.",
        ),
        click.option(
            "--workers-at",
            metavar="HOST:PORT",
            help="Wait here for workers started by hand (`rushhour worker`), instead of starting them.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=0),
            help="Locust's workers beside its master, instead of the scenario's own number.",
        ),
        click.option("--image", help="The service's image, built by somebody else; runs on Compose."),
        click.option(
            "--allow-host",
            help="A host beyond loopback that may be used: the engine's, or that of --workers-at.",
        ),
        _path("--scenarios", "scenarios.yaml", "The scenario file."),
    ):
        decorated = option(decorated)
    return decorated


runs_argument = click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="rushhour")
def cli() -> None:
    """Brings rush hour to a release before its customers do.

    Exit codes: 0 every scenario met its expectation; 1 at least one did not; 2 none failed but at least one
    is unknown; 64 bad usage or a bad scenario file; 70 a fault of rushhour itself; 130 interrupted.
    """


@cli.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--no-agent", is_flag=True, help="As a black box: HTTP, the servers and logs alone tell.")
@run_options
def run(options: Options, names: tuple[str, ...], no_agent: bool) -> int:
    """Run scenarios or suites, and judge them."""
    return exit_code(commands.run(options, names, agent=not no_agent))


@cli.command()
@click.option(
    "--keep", type=click.IntRange(min=1), default=14, show_default=True, help="Nights to keep; older ones go."
)
@click.option("--soak", type=Duration(), help="How long the soak lasts, instead of its scenario's duration.")
@run_options
def nightly(options: Options, keep: int, soak: float | None) -> int:
    """Run the suite `nightly` with the release candidate, and say what changed since the last good night."""
    return exit_code(commands.nightly(options, keep, soak))


@cli.command()
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 10),
    default=TOLERANCE,
    show_default=True,
    help="A change of less than this share of the value before does not matter.",
)
def compare(before: Path, after: Path, tolerance: float) -> int:
    """Put two saved runs side by side: is AFTER worse than BEFORE?

    Exit codes: 0 not worse; 1 worse; 2 unknown, since a run says nothing or lacks data.
    """
    outcomes = {"not worse": Exit.MET, "worse": Exit.NOT_MET, "unknown": Exit.UNKNOWN}
    return outcomes[commands.compare(before, after, tolerance)]


@cli.command()
@_path("--runs", "runs", "Where run directories are kept.")
@click.option("--rebuild", is_flag=True, help="Read every run directory again first.")
@click.option("--scenario", help="Only runs of this scenario.")
@click.option("--last", type=click.IntRange(min=1), default=20, show_default=True, help="How many runs.")
def history(runs: Path, rebuild: bool, scenario: str | None, last: int) -> int:
    """List past runs, those included whose directories were pruned."""
    commands.history(runs, rebuild=rebuild, scenario=scenario, last=last)
    return Exit.MET


@cli.command()
@click.option("--scenario", default="gate", show_default=True, help="Whose pool and service settings to use.")
@run_options
def check(options: Options, scenario: str) -> int:
    """One request per endpoint: does every connection come back?"""
    return exit_code([commands.check(options, scenario)])


@cli.command()
@runs_argument
def judge(runs: tuple[Path, ...]) -> int:
    """Judge saved runs again, and write their reports anew."""
    return exit_code(commands.judge(runs))


@cli.command()
@runs_argument
def report(runs: tuple[Path, ...]) -> int:
    """Render the reports of saved runs again, and say where they are."""
    commands.report(runs)
    return Exit.MET


@cli.command()
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@_path("--timeline", None, "Audit an incident's export as it was (CSV: t_s, requests, http_5xx).")
@click.option(
    "--policies",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    default=["infra/alerts"],
    show_default=True,
    help="Files or folders of alarm policies.",
)
@click.option("--over", type=Duration(), default=10_800.0, show_default="3h", help="How long the evening is.")
@click.option(
    "--as",
    "how",
    type=click.Choice(["tiles", "stretched", "it-was"]),
    default="tiles",
    show_default=True,
    help="A short run as an evening: its failing part again and again, drawn out, or as it was.",
)
@click.option(
    "--failures", type=click.FloatRange(min=0.1), default=25.0, show_default=True, help="In tiles: so many,"
)
@click.option("--per", type=Duration(), default=300.0, show_default="5m", help="in this time.")
@click.option(
    "--attention", type=Duration(), default=900.0, show_default="15m", help="How long a page is remembered."
)
def alarms(runs: tuple[Path, ...], timeline: Path | None, **given: Any) -> int:
    """Whom would these alarms have told of a run's failures, and where was there silence?

    Exit codes: 0 at least one policy tells of every failure; 1 none does; 2 a run without a load.
    """
    if not runs and timeline is None:
        raise click.UsageError("name a run directory, or --timeline FILE.csv")
    over = None if given["how"] == "it-was" else round(given["over"])
    scale = Scale(over, given["failures"], given["per"], stretch=given["how"] == "stretched")
    told = commands.alarms(runs, timeline, given["policies"], scale, given["attention"])
    if False in told:
        return Exit.NOT_MET
    return Exit.UNKNOWN if None in told else Exit.MET


@cli.command(name="list")
@_path("--scenarios", "scenarios.yaml", "The scenario file.")
def list_scenarios(scenarios: Path) -> int:
    """List the scenarios and suites of the scenario file."""
    commands.list_scenarios(scenarios)
    return Exit.MET


@cli.command()
@click.argument("master", metavar="HOST:PORT")
@_path("--locustfile", "locustfiles/referrals.py", "The same file as the master's.")
@click.option("--processes", type=click.IntRange(min=1), default=1, show_default=True, help="Workers here.")
def worker(master: str, locustfile: Path, processes: int) -> int:
    """Run customers for a run that waits with --workers-at, on this machine or another.

    Exit codes: 0 when the master said that the load is over; 2 when there was none, or it went away.
    """
    return Exit.MET if commands.worker(master, locustfile, processes) else Exit.UNKNOWN


@cli.command()
@click.option("--scenario", default="gate", show_default=True, help="Whose settings to use.")
@run_options
def up(options: Options, scenario: str) -> int:
    """Start primary, replica and service, and hold them until Ctrl-C or `rushhour down`."""
    commands.up(options, scenario)
    return Exit.MET


@cli.command()
@click.argument("scenario", default="gate")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address that the page is bound to.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8089, show_default=True, help="The page's port."
)
@click.option(
    "--login", is_flag=True, help="Ask for RUSHHOUR_UI_USER and RUSHHOUR_UI_PASSWORD of the environment."
)
@_path("--login-file", None, "Ask for the USER:PASSWORD in this file's first line.")
@run_options
def ui(options: Options, scenario: str, **page: Any) -> int:
    """Locust's web UI over a standing stack: start and stop runs from the browser, each one judged.

    SCENARIO is what its form shows first. Ctrl-C ends all of it.
    """
    commands.ui(options, scenario, commands.Page(**page))
    return Exit.MET


@cli.command()
@click.option("--templates", is_flag=True, help="Also remove the kept database templates.")
def down(templates: bool) -> int:
    """Stop what `rushhour up` started, and remove what dead runs left."""
    commands.down(templates)
    return Exit.MET


@cli.command()
@_path("--postgres-bin", None, "PostgreSQL's bin folder, instead of the wheel's.")
def doctor(postgres_bin: Path | None) -> int:
    """Say what this machine can run, and what is missing."""
    return Exit.MET if commands.doctor(postgres_bin) else Exit.UNKNOWN


@cli.group()
def drill() -> None:
    """Practise under load what a bad evening asks for."""


@drill.command(name="hotfix")
@click.option(
    "--by",
    type=click.Choice([*BYS, "all"]),
    multiple=True,
    default=["update"],
    show_default=True,
    help="How the hotfix is brought; several are compared side by side.",
)
@click.option(
    "--stack",
    type=click.Choice(["swarm", "embedded"]),
    default="swarm",
    show_default=True,
    help="A Docker Swarm made for the drill on this machine, or processes without an engine.",
)
@click.option("--services", type=click.IntRange(1, 24), default=20, show_default=True, help="Siblings.")
@click.option("--scenario", default="rush-hour", show_default=True, help="Whose pool, data and load to use.")
@click.option("--release", default="1.1", show_default=True, help="What leaks.")
@click.option(
    "--hotfix", default="1.1.1", show_default=True, help="The release that cures; a rollback goes to 1.0."
)
@click.option(
    "--hotfix-image", help="An image to bring instead; one that never becomes healthy is rolled back."
)
@click.option("--image", help="An image of the release that leaks, built by somebody else.")
@click.option("--users", type=click.IntRange(min=1), help="Customers, instead of the scenario's own number.")
@click.option(
    "--duration",
    type=Duration(),
    default="6m",
    show_default=True,
    help="The load ends after this at the latest.",
)
@_path("--scenarios", "scenarios.yaml", "The scenario file.")
@_path("--runs", "runs", "Where run directories are kept.")
def drill_hotfix(**given: Any) -> int:
    """Bring the hotfix to one of many services under load, and prove that no other was touched.

    Exit codes: 0 proven; 1 not, as when a bad hotfix was rolled back; 2 unknown, or the stack broke.
    """
    verdicts = {"proven": "pass", "not proven": "fail", "unknown": "unknown"}
    return exit_code([verdicts[one] for one in drill_command.hotfix(drill_command.DrillOptions(**given))])


@cli.command()
@click.option("--app", metavar="MODULE:APP", help="A Flask application, whose URL map is read.")
@_path("--openapi", None, "An OpenAPI document, JSON or YAML, instead.")
@_path("--python", None, "The service's interpreter; .venv/bin/python where there is one.")
@_path("--into", ".", "The folder to write into.")
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
def init(app: str | None, *, openapi: Path | None, python: Path | None, into: Path, force: bool) -> int:
    """Write a starting scenarios.yaml and customers.py from the routes of your own service."""
    commands.init(app, openapi=openapi, python=python, into=into, force=force)
    return Exit.MET


def _place_of_metrics(_context: click.Context, _option: click.Parameter, given: str | None) -> str | None:
    try:
        if given is not None:
            parse_address(given)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return given


metrics_option = click.option(
    "--metrics",
    metavar="PLACE",
    callback=_place_of_metrics,
    help="Serve Prometheus metrics at PORT or HOST:PORT, or write them to a `file` in the agent's directory.",
)


@cli.group()
def agent() -> None:
    """The pool agent without a stack, in a service of your own."""


@agent.command(
    name="exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.option(
    "--long-hold",
    type=Duration(),
    default="5s",
    show_default=True,
    help="Tell a check-out that lasts longer, though its request goes on.",
)
@click.option("--fail-on-leak", is_flag=True, help="Exit 1 when a connection leaked and the command exits 0.")
@_path("--json", None, "Write the findings to this file.")
@_path("--keep", None, "Keep the agent's files in this directory.")
@metrics_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def agent_exec(
    command: tuple[str, ...],
    *,
    long_hold: float,
    fail_on_leak: bool,
    json: Path | None,
    keep: Path | None,
    metrics: str | None,
) -> int:
    """Run a Python service with the agent in it; findings go to stderr, live and at its end.

    Ends as the command does, with its exit code (127: no such command; 128 + n: ended by signal n).
    """
    return commands.agent_exec(
        command, long_s=long_hold, fail_on_leak=fail_on_leak, report=json, keep=keep, metrics=metrics
    )


@agent.command(name="env")
@click.argument("directory", type=click.Path(path_type=Path))
@metrics_option
def agent_env(directory: Path, metrics: str | None) -> int:
    """Print the environment that starts the agent in a service, which writes into DIRECTORY.

    With --metrics only those are written: what a service in production needs.
    """
    commands.agent_env(directory, metrics)
    return Exit.MET


def _interrupt(signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(signum).name)


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script: runs a command and exits with its code."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _interrupt)
    sys.exit(int(_exit_of(arguments)))


def _exit_of(arguments: Sequence[str] | None) -> int:
    try:
        return int(cli.main(args=arguments, standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except (KeyboardInterrupt, click.Abort):
        return _tell("interrupted; what was started has been stopped", Exit.INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the last resort: everything is told in words
        return _failed(error)


def _failed(error: Exception) -> Exit:
    match error:
        case UsageError() | RunDataError():
            return _tell(error, Exit.USAGE)
        case StackError() | UnavailableError():
            return _tell(error, Exit.UNKNOWN)
        case OSError() if error.errno in DISK_FULL:
            what = error.filename or "a file of the run"
            return _tell(f"{error.strerror}: {what}; free space and run again", Exit.UNKNOWN)
    with tempfile.NamedTemporaryFile("w", prefix="rushhour-fault-", suffix=".txt", delete=False) as file:
        file.write("".join(traceback.format_exception(error)))
    told = f"{type(error).__name__}: {error}\n  traceback in {file.name}"
    return _tell(f"a fault of rushhour itself, please report it: {told}", Exit.FAULT)


def _tell(what: object, code: Exit) -> Exit:
    click.echo(f"rushhour: {what}", err=True)
    return code
