"""The command that replays saved runs through alarm policies."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from rushhour.alarms.events import Policy
from rushhour.alarms.policies import load_policies
from rushhour.alarms.sources import of_csv
from rushhour.alarms.study import Scale, Study, study
from rushhour.alarms.study import as_json as study_object
from rushhour.cli.as_json import json_option, print_json
from rushhour.cli.console import console, say, say_aside
from rushhour.cli.options import Duration, Exit, path_option, with_broken
from rushhour.errors import RunDataError
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
    "Audit a real incident instead of a run: a CSV file with the columns t_s, requests, http_5xx.",
)
@click.option(
    "--policies",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    default=["infra/alerts"],
    show_default=True,
    help="File or folder with alarm policies. May be given several times.",
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
    "--attention",
    type=Duration(),
    default=900.0,
    show_default="15m",
    help="How long somebody who was paged keeps looking; later failures are unannounced again.",
)
@json_option
def alarms(runs: tuple[Path, ...], timeline: Path | None, *, as_json: bool, **given: Any) -> int:
    """Replay a run's failures through alarm policies: who would have been paged, and which failed unseen?

    Exit codes: 0 at least one policy tells of every failure; 1 none does; 2 a run without a load, or
    only a policy that could not be replayed might.
    """
    if not runs and timeline is None:
        raise click.UsageError("name a run directory, or --timeline FILE.csv")
    over = None if given["how"] == "it-was" else round(given["over"])
    scale = Scale(over, given["failures"], given["per"], stretch=given["how"] == "stretched")
    audits = []
    for one in _alarms(runs, timeline, given["policies"], scale, given["attention"]):
        audits.append(one)
        if not as_json:
            _print(one)
    if as_json:
        print_json(_object(one) for one in audits)
    broken = sum(one.error is not None for one in audits)
    announced = [one.announced for one in audits if one.error is None]
    code = Exit.NOT_MET if False in announced else Exit.UNKNOWN if None in announced else Exit.MET
    return with_broken(code, announced, broken)


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
        """Whether some policy told of every failure; None where that is not known."""
        return None if self.study is None or self.lost else self.study.announced


def _alarms(
    runs: Sequence[Path], export: Path | None, policies: Sequence[Path], scale: Scale, attention_s: float
) -> Iterator[_Audited]:
    """Audit saved runs and an incident's export, each as it is asked for."""
    chosen = load_policies(policies)
    for path in runs:
        try:
            yield _alarms_of(path, chosen, scale, attention_s)
        except RunDataError as error:
            yield _Audited(str(path), path.name, error=str(error))
    if export is not None:
        yield _Audited(str(export), export.name, study(chosen, of_csv(export), Scale(None), attention_s))


def _alarms_of(path: Path, policies: Sequence[Policy], scale: Scale, attention_s: float) -> _Audited:
    run_dir = RunDir(path.resolve())
    read_scenario(run_dir)
    history = load_history(run_dir)
    one = audit_run(run_dir, history, policies, scale, attention_s)
    if one is None:
        return _Audited(str(path), run_dir.path.name)
    lost = (*lost_everything(history), *lost_of(history, ("requests", "pools")))
    return _Audited(str(path), run_dir.path.name, one, lost, tuple(history.unchecked))


def _print(one: _Audited) -> None:
    if one.error is not None:
        say_aside(f"rushhour: {one.error}")
        return
    if one.study is None:
        say(f"{one.title}: no load started, so there is nothing to audit")
        return
    console.print(terminal_alarms(one.title, one.study))
    for line in one.lost:
        say(f"UNKNOWN  {one.title}: {line}")
    for line in one.unchecked:
        say(f"{one.title}: {line}")


def _object(one: _Audited) -> dict[str, object]:
    """The audit as alarms.json has it, with the run or export that it is of."""
    study_of = {} if one.study is None else study_object(one.study)
    known = {"announced": one.announced, "lost": one.lost, "unchecked": one.unchecked, "error": one.error}
    return {"run": one.name, **known, **study_of}
