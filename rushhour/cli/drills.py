"""`rushhour drill`."""

from typing import Any

import click

from rushhour.cli.options import Duration, exit_code, path_option
from rushhour.jobs.drill import command as drill_command
from rushhour.rundir.facts import BYS


@click.group()
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
@path_option("--scenarios", "scenarios.yaml", "The scenario file.")
@path_option("--runs", "runs", "Where run directories are kept.")
def drill_hotfix(**given: Any) -> int:
    """Bring the hotfix to one of many services under load, and prove that no other was touched.

    Exit codes: 0 proven; 1 not, as when a bad hotfix was rolled back; 2 unknown, or the stack broke.
    """
    return exit_code(drill_command.hotfix(drill_command.DrillOptions(**given)))
