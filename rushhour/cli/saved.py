"""Commands that read saved runs and scenario files."""

from pathlib import Path
from typing import Any

import click

from rushhour.alarms.study import Scale
from rushhour.cli import saved_actions as saved_commands
from rushhour.cli.options import Duration, Exit, Moment, exit_code, path_option, runs_argument, with_broken
from rushhour.jobs.compare.judging import TOLERANCE


@click.command()
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
    return outcomes[saved_commands.compare(before, after, tolerance)]


@click.command()
@path_option("--runs", "runs", "Where run directories are kept.")
@click.option("--rebuild", is_flag=True, help="Read every run directory again first.")
@click.option("--scenario", help="Only runs of this scenario.")
@click.option("--last", type=click.IntRange(min=1), default=20, show_default=True, help="How many runs.")
def history(runs: Path, rebuild: bool, scenario: str | None, last: int) -> int:
    """List past runs, those included whose directories were pruned."""
    saved_commands.history(runs, rebuild=rebuild, scenario=scenario, last=last)
    return Exit.MET


@click.command()
@runs_argument
def judge(runs: tuple[Path, ...]) -> int:
    """Judge saved runs again, and write their reports anew."""
    verdicts, broken = saved_commands.judge(runs)
    return with_broken(exit_code(verdicts), verdicts, broken)


@click.command()
@runs_argument
def report(runs: tuple[Path, ...]) -> int:
    """Render the reports of saved runs again, and say where they are."""
    return Exit.USAGE if saved_commands.report(runs) else Exit.MET


@click.command()
@runs_argument
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array, an object for each run.")
def verify(runs: tuple[Path, ...], as_json: bool) -> int:
    """Do saved runs still hold what was written, and what do they lack?

    Exit codes: 0 whole; 2 a run lost rows, holds too many, or was cut short; 64 a file cannot be read.
    """
    whole, broken = saved_commands.verify(runs, as_json=as_json)
    return with_broken(Exit.MET if all(whole) else Exit.UNKNOWN, whole, broken)


@click.command()
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@path_option(
    "--timeline", None, "Audit an incident's export as it was (CSV of yours, CloudWatch's, Grafana's)."
)
@click.option("--since", type=Moment(), help="Of the export only what came from then on.")
@click.option("--until", type=Moment(), help="Of the export only what came before then.")
@click.option(
    "--policies",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    default=["infra/alerts"],
    show_default=True,
    help="Files or folders of alarms: of CloudWatch, Terraform, Prometheus, Grafana, or our own.",
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
    "--at",
    type=Moment(),
    help="When it begins (2026-11-24T18:00Z), for routes that depend on it.  [default: when the run began]",
)
@click.option(
    "--attention", type=Duration(), default=900.0, show_default="15m", help="How long a page is remembered."
)
def alarms(runs: tuple[Path, ...], timeline: Path | None, **given: Any) -> int:
    """Whom would these alarms have told of a run's failures, and where was there silence?

    Exit codes: 0 at least one policy tells of every failure; 1 none does; 2 a run without a load, or
    only a policy that could not be replayed might.
    """
    if not runs and timeline is None:
        raise click.UsageError("name a run directory, or --timeline FILE.csv")
    since, until = given["since"], given["until"]
    if timeline is None and (since is not None or until is not None):
        raise click.UsageError("--since and --until cut an export: name it with --timeline FILE.csv")
    export = saved_commands.Export(timeline, since, until) if timeline is not None else None
    over = None if given["how"] == "it-was" else round(given["over"])
    scale = Scale(over, given["failures"], given["per"], stretch=given["how"] == "stretched", at=given["at"])
    announced, broken = saved_commands.alarms(runs, export, given["policies"], scale, given["attention"])
    code = Exit.NOT_MET if False in announced else Exit.UNKNOWN if None in announced else Exit.MET
    return with_broken(code, announced, broken)


@click.command(name="list")
@path_option("--scenarios", "scenarios.yaml", "The scenario file.")
def list_scenarios(scenarios: Path) -> int:
    """List the scenarios and suites of the scenario file."""
    saved_commands.list_scenarios(scenarios)
    return Exit.MET
