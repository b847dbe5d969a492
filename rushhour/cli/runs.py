"""Commands that make a run."""

from dataclasses import replace
from typing import Any

import click

from rushhour.cli import run_actions as runs_commands
from rushhour.cli.options import Duration, exit_code, run_options
from rushhour.cli.run_options import Options
from rushhour.cli.saved_actions import list_scenarios
from rushhour.errors import UsageError
from rushhour.scenario.settings import Setting, parse_setting


@click.command()
@click.argument("names", nargs=-1)
@click.option("--users", metavar="N", help="Customers at the peak, instead of the scenario's: 2000.")
@click.option("--duration", metavar="TIME", help="How long the load lasts, instead of the scenario's: 3m.")
@click.option("--spawn-rate", metavar="N", help="Customers who come a second, not the scenario's: 50.")
@click.option(
    "--set",
    "assignments",
    metavar="KEY=VALUE",
    multiple=True,
    help="Set any key of the scenario: load.think_time=3s, pool.size=40. May be repeated.",
)
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
def run(
    options: Options,
    names: tuple[str, ...],
    *,
    users: str | None,
    duration: str | None,
    spawn_rate: str | None,
    assignments: tuple[str, ...],
    no_agent: bool,
    **alarms: Any,
) -> int:
    """Run scenarios or suites, and judge them. Without a name, list what there is."""
    load = {"--users": users, "--duration": duration, "--spawn-rate": spawn_rate}
    options = replace(options, settings=_settings(load, assignments))
    if not names:
        list_scenarios(options.scenarios)
        raise UsageError(["no scenario named; choose some of these: rushhour run NAME..."])
    return exit_code(runs_commands.run(options, names, agent=not no_agent, **alarms))


def _settings(load: dict[str, str | None], assignments: tuple[str, ...]) -> tuple[Setting, ...]:
    settings, problems = [], []
    for flag, text in load.items():
        if text is not None:
            settings.append(Setting(f"load.{flag[2:].replace('-', '_')}", text, f"{flag} {text}"))
    for assignment in assignments:
        try:
            settings.append(parse_setting(assignment))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise UsageError(problems)
    return tuple(settings)


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
