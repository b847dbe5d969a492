"""Commands for services other than the one of this repository."""

from pathlib import Path

import click

from rushhour.agent.exporter import parse_address
from rushhour.cli import service_actions as services_commands
from rushhour.cli.options import Duration, Exit, path_option


@click.command()
@click.option(
    "--app", metavar="MODULE:APP", help="A Flask, FastAPI or Starlette application: its routes are read."
)
@path_option("--openapi", None, "An OpenAPI document, JSON or YAML, instead.")
@path_option("--python", None, "The service's interpreter; .venv/bin/python where there is one.")
@path_option("--into", ".", "The folder to write into.")
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
def init(app: str | None, *, openapi: Path | None, python: Path | None, into: Path, force: bool) -> int:
    """Write a starting scenarios.yaml and customers.py from the routes of your own service."""
    services_commands.init(app, openapi=openapi, python=python, into=into, force=force)
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


@click.group()
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
@click.option(
    "--fail-on-leak",
    is_flag=True,
    help="Exit 1 when a connection leaked and the command ended with 0 or by a signal; "
    "exit 2 when it ended with 0 and no check-out was seen.",
)
@path_option("--json", None, "Write the findings to this file, in a folder that exists.")
@path_option(
    "--keep", None, "Keep the agent's files in this directory, or in a new one in it if it is not empty."
)
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
    return services_commands.agent_exec(
        command, long_s=long_hold, fail_on_leak=fail_on_leak, report=json, keep=keep, metrics=metrics
    )


@agent.command(name="env")
@click.argument("directory", type=click.Path(path_type=Path))
@metrics_option
def agent_env(directory: Path, metrics: str | None) -> int:
    """Print the environment that starts the agent in a service, which writes into DIRECTORY.

    With --metrics only those are written: what a service in production needs.
    """
    services_commands.agent_env(directory, metrics)
    return Exit.MET
