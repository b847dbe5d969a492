"""The command that replays saved runs through alarm policies."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from rushhour.alarms.events import Policy
from rushhour.alarms.exports import MAX_SECONDS, of_export
from rushhour.alarms.policies import load
from rushhour.alarms.study import Scale, Study, study
from rushhour.alarms.study import as_json as study_object
from rushhour.cli.as_json import json_option, print_json
from rushhour.cli.console import console, say, say_aside
from rushhour.cli.options import RUN_PATH, Exit, path_option, with_broken
from rushhour.cli.param_types import Duration, Moment, Number
from rushhour.errors import NotWrittenError, RunDataError
from rushhour.judging.alarms import audit_files, audit_run
from rushhour.judging.judge import read_scenario
from rushhour.report.alarms import terminal_alarms
from rushhour.rundir import load_history, run_at
from rushhour.rundir.directory import write_whole
from rushhour.verdict.lost import lost_everything, lost_of


@click.command(short_help="Say who would have been paged for a run's failures.")
@click.argument("runs", nargs=-1, type=RUN_PATH)
@path_option(
    "--timeline",
    None,
    "Audit a real incident as it was: a CSV of yours or of Grafana, or an export of CloudWatch (CSV, JSON).",
)
@click.option("--since", type=Moment(), help="Use the export from this moment on: 2026-11-24T18:00Z.")
@click.option("--until", type=Moment(), help="Use the export up to this moment: 2026-11-24T21:00Z.")
@click.option(
    "--policies",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    default=["infra/alerts"],
    show_default=True,
    help="File or folder with alarms (CloudWatch, Terraform, Prometheus, Grafana, ours): team/alerts. May "
    "be given several times.",
)
@click.option(
    "--over",
    type=Duration(),
    default="3h",
    show_default=True,
    help="How long the evening lasts that a short run is made into: 90m.",
)
@click.option(
    "--as",
    "how",
    type=click.Choice(["tiles", "stretched", "it-was"]),
    default="tiles",
    show_default=True,
    help="How a short run is made into an evening: repeat its failing part (tiles), draw it out "
    "(stretched), or leave it as it is (it-was).",
)
@click.option(
    "--failures",
    metavar="N",
    type=Number(min=0.1),
    default=25.0,
    show_default=True,
    help="With --as tiles: how many requests fail in each period of --per.",
)
@click.option(
    "--per",
    type=Duration(),
    default="5m",
    show_default=True,
    help="With --as tiles: how long the period of --failures is: 1m.",
)
@click.option(
    "--at",
    type=Moment(),
    help="When the evening begins, for routes by time of day, instead of when the run began: "
    "2026-11-24T18:00Z.",
)
@click.option(
    "--attention",
    type=Duration(),
    default="15m",
    show_default=True,
    help="How long a page counts as remembered; failures after it count as unannounced: 30m.",
)
@json_option
def alarms(runs: tuple[Path, ...], timeline: Path | None, *, as_json: bool, **given: Any) -> int:
    """Replay a run's failures through alarm policies: who would have been paged, and which failed unseen?

    Exit codes: 0 at least one policy pages for every failure; 1 none does; 2 a run without a load, or
    only a policy that could not be replayed might.
    """
    if not runs and timeline is None:
        raise click.UsageError("name a run directory, or --timeline FILE.csv")
    since, until = given["since"], given["until"]
    if timeline is None and (since is not None or until is not None):
        raise click.UsageError("--since and --until cut an export: name it with --timeline FILE.csv")
    if given["over"] > MAX_SECONDS:
        raise click.UsageError(f"--over: an evening of {MAX_SECONDS // 86_400} days is the longest")
    export = Export(timeline, since, until) if timeline is not None else None
    over = None if given["how"] == "it-was" else round(given["over"])
    scale = Scale(over, given["failures"], given["per"], stretch=given["how"] == "stretched", at=given["at"])
    audits = []
    tell = say_aside if as_json else say
    for alarm in _alarms(runs, export, given["policies"], scale, given["attention"], tell=tell):
        audits.append(alarm)
        if not as_json:
            _print(alarm)
    if as_json:
        print_json(_object(audit) for audit in audits)
    broken = sum(audit.error is not None for audit in audits)
    announced = [audit.announced for audit in audits if audit.error is None]
    code = Exit.NOT_MET if False in announced else Exit.UNKNOWN if None in announced else Exit.MET
    return with_broken(code, announced, broken)


@dataclass(frozen=True, slots=True)
class Export:
    """An incident's export, and which part of it counts (epoch seconds)."""

    path: Path
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class _Audited:
    """The audit of a run or of an export; without a study where nothing was sent, or with its error."""

    name: str  # as it was given
    title: str
    study: Study | None = None
    lost: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()
    error: str | None = None

    @property
    def announced(self) -> bool | None:
        """Whether some policy paged for every failure; None if unknown."""
        return None if self.study is None or self.lost else self.study.announced


def _alarms(
    runs: Sequence[Path],
    export: Export | None,
    policies: Sequence[Path],
    scale: Scale,
    attention_s: float,
    *,
    tell: Callable[[str], None],
) -> Iterator[_Audited]:
    """Audit saved runs and an incident's export, each as it is asked for; `tell` gets notes."""
    loaded = load(policies)
    for note in loaded.notes:
        tell(note)
    for path in runs:
        try:
            yield _alarms_of(path, loaded.policies, scale, attention_s)
        except RunDataError as error:
            yield _Audited(str(path), path.name, error=str(error))
    if export is not None:
        timeline = of_export(export.path, loaded.names, export.since, export.until)
        studied = study(loaded.policies, timeline, Scale(None, at=scale.at), attention_s)
        yield _Audited(str(export.path), export.path.name, studied)


def _alarms_of(path: Path, policies: Sequence[Policy], scale: Scale, attention_s: float) -> _Audited:
    run_dir = run_at(path)
    read_scenario(run_dir)
    history = load_history(run_dir)
    studied = audit_run(run_dir, history, policies, scale, attention_s)
    if studied is None:
        return _Audited(str(path), run_dir.path.name)
    try:
        write_whole(audit_files(run_dir, studied))
    except NotWrittenError as error:
        say_aside(f"rushhour: {error}; the audit is only printed")
    lost = (*lost_everything(history), *lost_of(history, ("requests", "pools")))
    return _Audited(str(path), run_dir.path.name, studied, lost, tuple(history.unchecked))


def _print(audited: _Audited) -> None:
    if audited.error is not None:
        say_aside(f"rushhour: {audited.error}")
        return
    if audited.study is None:
        say(f"{audited.title}: no load started, so there is nothing to audit")
        return
    console.print(terminal_alarms(audited.title, audited.study))
    for line in audited.lost:
        say(f"UNKNOWN  {audited.title}: {line}")
    for line in audited.unchecked:
        say(f"{audited.title}: {line}")


def _object(audited: _Audited) -> dict[str, object]:
    """Return the audit as alarms.json has it, with the run or export that it is of."""
    study_of = {} if audited.study is None else study_object(audited.study)
    known = {
        "announced": audited.announced,
        "lost": audited.lost,
        "unchecked": audited.unchecked,
        "error": audited.error,
    }
    return {"run": audited.name, **known, **study_of}
