"""The command that replays saved runs through alarm policies."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from rushhour.alarms.events import Policy
from rushhour.alarms.exports import of_export
from rushhour.alarms.policies import load
from rushhour.alarms.study import Scale, study
from rushhour.cli.console import console, say
from rushhour.cli.options import Duration, Exit, Moment, path_option, with_broken
from rushhour.cli.saved_run_commands import Broken
from rushhour.judging.alarms import audit_run
from rushhour.judging.judge import read_scenario
from rushhour.report.alarms import terminal_alarms
from rushhour.rundir import RunDir, load_history
from rushhour.verdict.lost import lost_everything, lost_of


@click.command()
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@path_option(
    "--timeline",
    None,
    "Audit a real incident as it was: a CSV file of yours, of CloudWatch, or of Grafana.",
)
@click.option("--since", type=Moment(), help="Of the export only what came from then on.")
@click.option("--until", type=Moment(), help="Of the export only what came before then.")
@click.option(
    "--policies",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    default=["infra/alerts"],
    show_default=True,
    help="File or folder with alarms (CloudWatch, Terraform, Prometheus, Grafana, ours). May be given "
    "several times.",
)
@click.option(
    "--over",
    type=Duration(),
    default=10_800.0,
    show_default="3h",
    help="How long the evening is that the run is made into.",
)
@click.option(
    "--as",
    "how",
    type=click.Choice(["tiles", "stretched", "it-was"]),
    default="tiles",
    show_default=True,
    help="How a short run is made into an evening: its failing part repeated (tiles), drawn out "
    "(stretched), or not "
    "at all (it-was).",
)
@click.option(
    "--failures",
    type=click.FloatRange(min=0.1),
    default=25.0,
    show_default=True,
    help="With --as tiles: failures in each period.",
)
@click.option(
    "--per", type=Duration(), default=300.0, show_default="5m", help="With --as tiles: how long a period is."
)
@click.option(
    "--at",
    type=Moment(),
    help="When it begins, for routes that depend on it: 2026-11-24T18:00Z; else when the run began.",
)
@click.option(
    "--attention",
    type=Duration(),
    default=900.0,
    show_default="15m",
    help="How long somebody who was paged keeps looking; later failures are unannounced again.",
)
def alarms(runs: tuple[Path, ...], timeline: Path | None, **given: Any) -> int:
    """Replay a run's failures through alarm policies: who would have been paged, and which failed unseen?

    Exit codes: 0 at least one policy tells of every failure; 1 none does; 2 a run without a load, or
    only a policy that could not be replayed might.
    """
    if not runs and timeline is None:
        raise click.UsageError("name a run directory, or --timeline FILE.csv")
    since, until = given["since"], given["until"]
    if timeline is None and (since is not None or until is not None):
        raise click.UsageError("--since and --until cut an export: name it with --timeline FILE.csv")
    export = Export(timeline, since, until) if timeline is not None else None
    over = None if given["how"] == "it-was" else round(given["over"])
    scale = Scale(over, given["failures"], given["per"], stretch=given["how"] == "stretched", at=given["at"])
    announced, broken = _alarms(runs, export, given["policies"], scale, given["attention"])
    code = Exit.NOT_MET if False in announced else Exit.UNKNOWN if None in announced else Exit.MET
    return with_broken(code, announced, broken)


@dataclass(frozen=True, slots=True)
class Export:
    """An incident's export, and which part of it counts (epoch seconds)."""

    path: Path
    since: float | None = None
    until: float | None = None


def _alarms(
    runs: Sequence[Path], export: Export | None, policies: Sequence[Path], scale: Scale, attention_s: float
) -> tuple[list[bool | None], int]:
    """Audit saved runs and an incident's export; for each whether some policy told of every failure.

    None where that is not known; and how many runs could not be read.
    """
    loaded = load(policies)
    for note in loaded.notes:
        say(note)
    chosen = loaded.policies
    found: list[bool | None] = []
    broken = Broken()
    for path in runs:
        with broken.noted():
            found.append(_alarms_of(RunDir(path.resolve()), chosen, scale, attention_s))
    if export is not None:
        timeline = of_export(export.path, loaded.names, export.since, export.until)
        one = study(chosen, timeline, Scale(None, at=scale.at), attention_s)
        console.print(terminal_alarms(export.path.name, one))
        found.append(one.announced)
    return found, broken.count


def _alarms_of(run_dir: RunDir, policies: Sequence[Policy], scale: Scale, attention_s: float) -> bool | None:
    read_scenario(run_dir)
    history = load_history(run_dir)
    one = audit_run(run_dir, history, policies, scale, attention_s)
    if one is None:
        say(f"{run_dir.path.name}: no load started, so there is nothing to audit")
        return None
    console.print(terminal_alarms(run_dir.path.name, one))
    lost = [*lost_everything(history), *lost_of(history, ("requests", "pools"))]
    for line in lost:
        say(f"UNKNOWN  {run_dir.path.name}: {line}")
    for line in history.unchecked:
        say(f"{run_dir.path.name}: {line}")
    return None if lost else one.announced
