"""Commands that make a run."""

from typing import Any

import click

from rushhour.cli import run_actions as runs_commands
from rushhour.cli.options import Duration, exit_code, run_options
from rushhour.cli.run_options import Options


@click.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--no-agent", is_flag=True, help="As a black box: HTTP, the servers and logs alone tell.")
@click.option(
    "--observability",
    is_flag=True,
    help="On Compose: a real Prometheus and Alertmanager run the rules of infra/alerts beside it.",
)
@click.option(
    "--await-pages",
    type=Duration(),
    help="With --observability: wait for pages so long after the load, not just for a first one.",
)
@run_options
def run(options: Options, names: tuple[str, ...], no_agent: bool, **alarms: Any) -> int:
    """Run scenarios or suites, and judge them."""
    return exit_code(runs_commands.run(options, names, agent=not no_agent, **alarms))


@click.command()
@click.option(
    "--keep", type=click.IntRange(min=1), default=14, show_default=True, help="Nights to keep; older ones go."
)
@click.option("--soak", type=Duration(), help="How long the soak lasts, instead of its scenario's duration.")
@run_options
def nightly(options: Options, keep: int, soak: float | None) -> int:
    """Run the suite `nightly` with the release candidate, and say what changed since the last good night."""
    return exit_code(runs_commands.nightly(options, keep, soak))


@click.command()
@click.option("--scenario", default="gate", show_default=True, help="Whose pool and service settings to use.")
@run_options
def check(options: Options, scenario: str) -> int:
    """One request per endpoint: does every connection come back?"""
    return exit_code([runs_commands.check(options, scenario)])
