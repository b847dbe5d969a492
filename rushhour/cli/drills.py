"""`rushhour drill`."""

from typing import Any

import click

from rushhour.cli.options import exit_code, path_option, scenario_option, scenarios_option
from rushhour.cli.param_types import Duration
from rushhour.jobs.drill import command as drill_command
from rushhour.rundir.facts import BYS


@click.group()
def drill() -> None:
    """Practise under load what an incident asks for."""


@drill.command(name="hotfix", short_help="Roll a hotfix out under load, and prove what it touched.")
@click.option(
    "--by",
    type=click.Choice([*BYS, "all"]),
    multiple=True,
    default=["update"],
    show_default=True,
    help="How the hotfix is rolled out. May be given several times, or `all`: they are compared.",
)
@click.option(
    "--stack",
    type=click.Choice(["swarm", "embedded"]),
    default="swarm",
    show_default=True,
    help="In a Docker Swarm that is made for the drill on this machine, or as processes without Docker.",
)
@click.option(
    "--services",
    type=click.IntRange(1, 24),
    default=20,
    show_default=True,
    metavar="N",
    help="How many services run beside the one that is fixed.",
)
@scenario_option("rush-hour", "Scenario whose pool, data and load are used")
@click.option(
    "--release",
    metavar="NAME",
    default="1.1",
    show_default=True,
    help="Release that leaks, which runs at first.",
)
@click.option(
    "--hotfix",
    metavar="NAME",
    default="1.1.1",
    show_default=True,
    help="Release with the fix; a rollback goes to 1.0 instead.",
)
@click.option(
    "--hotfix-image",
    metavar="IMAGE",
    help="Image to roll out instead of --hotfix; one that never gets healthy is rolled back: shop:1.1.1.",
)
@click.option(
    "--image", metavar="IMAGE", help="Image of the release that leaks, instead of building it: referrals:1.1."
)
@click.option(
    "--users",
    type=click.IntRange(min=1),
    metavar="N",
    help="Most customers at once, instead of the scenario's number: 200.",
)
@click.option(
    "--duration",
    type=Duration(),
    default="6m",
    show_default=True,
    help="Longest time that the load lasts.",
)
@scenarios_option
@path_option("--runs", "runs", "Folder in which each drill gets a directory of its own.")
def drill_hotfix(**given: Any) -> int:
    """Roll the hotfix out to one of many services under load, and prove that no other was touched.

    Exit codes: 0 proven; 1 not, as when a bad hotfix was rolled back; 2 unknown, or the stack broke.
    """
    return exit_code(drill_command.hotfix(drill_command.DrillOptions(**given)))
