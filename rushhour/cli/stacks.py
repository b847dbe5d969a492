"""Commands that bring a stack up, take it down, or say what there is."""

from pathlib import Path
from typing import Any

import click

from rushhour.cli import stack_actions as stacks_commands
from rushhour.cli.options import Exit, path_option, run_options
from rushhour.cli.run_options import Options


@click.command()
@click.argument("master", metavar="HOST:PORT")
@path_option("--locustfile", "locustfiles/referrals.py", "The same file as the master's.")
@click.option("--processes", type=click.IntRange(min=1), default=1, show_default=True, help="Workers here.")
def worker(master: str, locustfile: Path, processes: int) -> int:
    """Run customers for a run that waits with --workers-at, on this machine or another.

    Exit codes: 0 when the master said that the load is over; 2 when there was none, or it went away.
    """
    return Exit.MET if stacks_commands.worker(master, locustfile, processes) else Exit.UNKNOWN


@click.command()
@click.option("--scenario", default="gate", show_default=True, help="Whose settings to use.")
@click.option(
    "--observability",
    is_flag=True,
    help="On Compose: a real Prometheus and Alertmanager with the rules of infra/alerts, too.",
)
@run_options
def up(options: Options, scenario: str, observability: bool) -> int:
    """Start primary, replica and service, and hold them until Ctrl-C or `rushhour down`."""
    stacks_commands.up(options, scenario, observability=observability)
    return Exit.MET


@click.command()
@click.argument("scenario", default="gate")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address that the page is bound to.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8089, show_default=True, help="The page's port."
)
@click.option(
    "--login", is_flag=True, help="Ask for RUSHHOUR_UI_USER and RUSHHOUR_UI_PASSWORD of the environment."
)
@path_option("--login-file", None, "Ask for the USER:PASSWORD in this file's first line.")
@run_options
def ui(options: Options, scenario: str, **page: Any) -> int:
    """Locust's web UI over a standing stack: start and stop runs from the browser, each one judged.

    SCENARIO is what its form shows first. Ctrl-C ends all of it.
    """
    stacks_commands.ui(options, scenario, stacks_commands.Page(**page))
    return Exit.MET


@click.command()
@click.option("--templates", is_flag=True, help="Also remove the kept database templates.")
def down(templates: bool) -> int:
    """Stop what `rushhour up` started, and remove what dead runs left."""
    stacks_commands.down(templates)
    return Exit.MET


@click.command()
@path_option("--postgres-bin", None, "PostgreSQL's bin folder, instead of the wheel's.")
def doctor(postgres_bin: Path | None) -> int:
    """Say what this machine can run, and what is missing."""
    return Exit.MET if stacks_commands.doctor(postgres_bin) else Exit.UNKNOWN
