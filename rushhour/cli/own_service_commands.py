"""Commands for services other than the one of this repository."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from rushhour.agent.environment import JOURNAL_VARIABLE, agent_environment
from rushhour.agent.exporter import parse_address
from rushhour.cli.annotating import annotate_options
from rushhour.cli.console import say, say_aside
from rushhour.cli.options import Exit, path_option
from rushhour.cli.param_types import Duration
from rushhour.cli.routes_options import routes_options
from rushhour.errors import UsageError
from rushhour.jobs.annotate.collect import Annotations
from rushhour.jobs.annotate.of_findings import of_findings, outcome_of
from rushhour.jobs.annotate.repository import repository
from rushhour.jobs.attach.run import UNKNOWN, check_report, run_attached, write_findings
from rushhour.jobs.init.document import described
from rushhour.jobs.init.files import locust_file, scenario_file
from rushhour.jobs.init.routes import (
    default_python,
    driver_of,
    left_out,
    of_app,
    of_openapi,
    read_openapi,
    setup_of,
)


@click.command(short_help="Write a first scenarios.yaml and customers.py for a service.")
@routes_options
@path_option("--into", ".", "Folder to write the two files into.")
@click.option("--force", is_flag=True, help="Overwrite the two files where they exist.")
def init(app: str | None, *, openapi: Path | None, python: Path | None, into: Path, force: bool) -> int:
    """Write a starting scenarios.yaml and customers.py from the routes of your own service."""
    write_starter(app, openapi=openapi, python=python, into=into, force=force)
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
    help="Serve Prometheus metrics at PORT or HOST:PORT (9187), or write them to files in the agent's "
    "directory: the word `file`.",
)


@click.group(short_help="Put the pool agent into a service of your own.")
def agent() -> None:
    """Put the pool agent into a service of your own, without a stack and without load."""


@agent.command(
    name="exec",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    short_help="Run a Python service with the agent in it.",
)
@click.option(
    "--long-hold",
    type=Duration(zero=True),
    default="5s",
    show_default=True,
    help="Report a connection that is held for longer than this by a request that still runs.",
)
@click.option(
    "--fail-on-leak",
    is_flag=True,
    help="Exit 1 when a connection leaked and the command ended with 0 or by a signal; "
    "exit 2 when it ended with 0 and leaks are unknown: no check-out was seen, or one was out at the end.",
)
@path_option("--json", None, "Also write the findings to this file, in a folder that exists: leaks.json.")
@path_option(
    "--keep", None, "Keep the agent's files in this directory; where it is not empty, in a new one below it."
)
@metrics_option
@annotate_options("rushhour agent exec", stderr=True)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def agent_exec(
    command: tuple[str, ...],
    *,
    long_hold: float,
    fail_on_leak: bool,
    json: Path | None,
    keep: Path | None,
    metrics: str | None,
    annotations: Annotations,
) -> int:
    """Run a Python service with the agent in it: rushhour agent exec -- gunicorn shop:app.

    Findings go to stderr, as they happen and at the end.

    Ends as the command does, with its exit code (127: no such command; 128 + n: ended by signal n).
    """
    return _agent_exec(
        command,
        annotations,
        long_s=long_hold,
        fail_on_leak=fail_on_leak,
        report=json,
        keep=keep,
        metrics=metrics,
    )


@agent.command(name="env", short_help="Print the environment variables that start the agent.")
@click.argument("directory", type=click.Path(path_type=Path))
@metrics_option
def agent_env(directory: Path, metrics: str | None) -> int:
    """Print the environment variables that start the agent in a service; it writes into DIRECTORY.

    With --metrics it writes metrics alone: what a service in production needs.
    """
    _agent_env(directory, metrics)
    return Exit.MET


def _agent_exec(
    command: Sequence[str],
    annotations: Annotations,
    *,
    long_s: float,
    fail_on_leak: bool,
    report: Path | None,
    keep: Path | None,
    metrics: str | None,
) -> int:
    """Run a command with the agent in it; returns the exit code."""
    if report is not None:
        check_report(report)
    attached = run_attached(command, long_s=long_s, say=say_aside, keep=keep, metrics=metrics)
    findings = attached.findings
    annotations.add(
        outcome_of(Path(command[0]).name, findings), of_findings(findings, repository(Path.cwd()))
    )
    if report is not None:
        write_findings(report, attached)
    code = attached.leak_code if fail_on_leak else attached.exit_code
    if code == UNKNOWN != attached.exit_code:
        say_aside(f"rushhour: --fail-on-leak: {attached.doubt}: exit code 2")
    return code


def write_starter(
    app: str | None, *, openapi: Path | None, python: Path | None, into: Path, force: bool
) -> None:
    """Write a scenario file and a locustfile for a service, and say what to do next."""
    if (app is None) == (openapi is None):
        both = "give one of --app and --openapi, not both"
        raise UsageError([both if app else "give --app MODULE:APP, or --openapi PATH"])
    interpreter = str(python) if python else default_python(into)
    if openapi:
        routes, service = of_openapi(openapi), described(read_openapi(openapi))
    else:
        routes, service = of_app(app or "", interpreter, into)
    own = interpreter if interpreter != sys.executable else None
    name = (app or into.resolve().name).partition(":")[0].rpartition(".")[2]
    files = {
        into / "scenarios.yaml": scenario_file(
            name,
            app,
            own,
            routes,
            asgi=service.asgi,
            driver=driver_of(interpreter) if own else None,
            setup=setup_of(into, app),
        ),
        into / "customers.py": locust_file(routes, service.login, service.needed),
    }
    if there := [str(path) for path in files if path.exists() and not force]:
        raise UsageError([f"{path} is there already; --force overwrites it" for path in there])
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
        say(f"wrote {path}")
    skipped = left_out(routes)
    say(f"{len(routes)} routes: {len(routes) - len(skipped)} have a task, {len(skipped)} are left out:")
    for route, why in skipped:
        say(f"  {route.method} {route.path}: {why}")
    if service.login:
        say(f"customers.py: fill in the log-in ({service.login.what})")
    if openapi:
        server = "FastAPI's uvicorn" if service.asgi else "gunicorn"
        say(f"scenarios.yaml: `command` is a guess ({server}, {name}:app): write how you start your service")
    if not setup_of(into, app):
        say("scenarios.yaml: fill in `setup`, the command that makes the tables: the database is empty")
    say("Look through both files, then: rushhour run evening")


def _agent_env(out: Path, metrics: str | None) -> None:
    """Print the variables that start the agent, one a line, as systemd and Compose read them from a file."""
    found = agent_environment(out, os.environ, metrics=metrics) | {
        JOURNAL_VARIABLE: "off" if metrics else "on"
    }
    for name, value in found.items():
        say(f"{name}={value}")
