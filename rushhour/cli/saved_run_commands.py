"""Commands that read saved runs and scenario files."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from rushhour.alarms.events import Policy
from rushhour.alarms.policies import load_policies
from rushhour.alarms.sources import of_csv
from rushhour.alarms.study import Scale, study
from rushhour.cli.console import console, say, say_aside
from rushhour.cli.options import Duration, Exit, exit_code, path_option, runs_argument, with_broken
from rushhour.errors import RunDataError
from rushhour.jobs.archive import RunHistory, remember, runs_folder_of
from rushhour.jobs.archive.table import run_list
from rushhour.jobs.compare import compare_runs, read_measured
from rushhour.jobs.compare.judging import TOLERANCE
from rushhour.jobs.compare.render import terminal_comparison
from rushhour.judging.alarms import audit_run
from rushhour.judging.judge import judge_run, read_scenario, render_run
from rushhour.judging.saved import read_real
from rushhour.report import lists, terminal
from rushhour.report.alarms import terminal_alarms
from rushhour.report.real_pages import terminal_real
from rushhour.rundir import RunDir, load_history
from rushhour.scenario.file import load_scenarios
from rushhour.verdict.lost import lost_everything, lost_of
from rushhour.verdict.whole import RunCheck, check_of, in_lines


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
    return outcomes[_compare(before, after, tolerance)]


@click.command()
@path_option("--runs", "runs", "Where run directories are kept.")
@click.option("--rebuild", is_flag=True, help="Read every run directory again first.")
@click.option("--scenario", help="Only runs of this scenario.")
@click.option("--last", type=click.IntRange(min=1), default=20, show_default=True, help="How many runs.")
def history(runs: Path, rebuild: bool, scenario: str | None, last: int) -> int:
    """List past runs, those included whose directories were pruned."""
    _history(runs, rebuild=rebuild, scenario=scenario, last=last)
    return Exit.MET


@click.command()
@runs_argument
def judge(runs: tuple[Path, ...]) -> int:
    """Judge saved runs again, and write their reports anew."""
    verdicts, broken = _judge(runs)
    return with_broken(exit_code(verdicts), verdicts, broken)


@click.command()
@runs_argument
def report(runs: tuple[Path, ...]) -> int:
    """Render the reports of saved runs again, and say where they are."""
    return Exit.USAGE if _report(runs) else Exit.MET


@click.command()
@runs_argument
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array, an object for each run.")
def verify(runs: tuple[Path, ...], as_json: bool) -> int:
    """Do saved runs still hold what was written, and what do they lack?

    Exit codes: 0 whole; 2 a run lost rows, holds too many, or was cut short; 64 a file cannot be read.
    """
    whole, broken = _verify(runs, as_json=as_json)
    return with_broken(Exit.MET if all(whole) else Exit.UNKNOWN, whole, broken)


@click.command()
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@path_option("--timeline", None, "Audit an incident's export as it was (CSV: t_s, requests, http_5xx).")
@click.option(
    "--policies",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    default=["infra/alerts"],
    show_default=True,
    help="Files or folders of alarm policies.",
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
    "--attention", type=Duration(), default=900.0, show_default="15m", help="How long a page is remembered."
)
def alarms(runs: tuple[Path, ...], timeline: Path | None, **given: Any) -> int:
    """Whom would these alarms have told of a run's failures, and where was there silence?

    Exit codes: 0 at least one policy tells of every failure; 1 none does; 2 a run without a load, or
    only a policy that could not be replayed might.
    """
    if not runs and timeline is None:
        raise click.UsageError("name a run directory, or --timeline FILE.csv")
    over = None if given["how"] == "it-was" else round(given["over"])
    scale = Scale(over, given["failures"], given["per"], stretch=given["how"] == "stretched")
    announced, broken = _alarms(runs, timeline, given["policies"], scale, given["attention"])
    code = Exit.NOT_MET if False in announced else Exit.UNKNOWN if None in announced else Exit.MET
    return with_broken(code, announced, broken)


@click.command(name="list")
@path_option("--scenarios", "scenarios.yaml", "The scenario file.")
def list_scenarios(scenarios: Path) -> int:
    """List the scenarios and suites of the scenario file."""
    show_scenarios(scenarios)
    return Exit.MET


def _compare(before: Path, after: Path, tolerance: float) -> str:
    """Print what changed from one run to the other; "worse", "not worse" or "unknown"."""
    old, new = (read_measured(RunDir(path.resolve())) for path in (before, after))
    comparison = compare_runs(old, new, tolerance=tolerance)
    console.print(terminal_comparison(comparison))
    return comparison.outcome


def _history(runs: Path, *, rebuild: bool, scenario: str | None, last: int) -> None:
    """Print the last runs that the history of a runs folder holds."""
    kept = RunHistory(runs)
    if rebuild:
        say(f"read again: {kept.rebuild()}")
    rows = kept.rows(scenario=scenario, limit=last)
    for note in kept.notes:
        say(note)
    console.print(run_list(rows))


class Broken:
    """Counts runs among several that could not be read; each is said in words, and the others go on."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note a RunDataError within."""
        try:
            yield
        except RunDataError as error:
            self.count += 1
            say_aside(f"rushhour: {error}")


def _judge(runs: Sequence[Path]) -> tuple[list[str], int]:
    """Judge saved runs again; the verdicts in order, and how many runs could not be read."""
    results, broken = [], Broken()
    for path in runs:
        with broken.noted():
            run_dir = RunDir(path.resolve())
            scenario, verdict = read_scenario(run_dir), judge_run(run_dir)
            if RunHistory(runs_folder_of(run_dir)).path.exists():
                for note in remember(run_dir, verdict):
                    say(note)
            console.print(terminal.summary(verdict, scenario, run_dir.path))
            if real := read_real(run_dir):
                console.print(terminal_real(real))
            results.append((scenario, verdict))
    if len(results) > 1:
        console.print(terminal.comparison(results))
    return [verdict.verdict for _, verdict in results], broken.count


def _verify(runs: Sequence[Path], *, as_json: bool) -> tuple[list[bool], int]:
    """Print what saved runs lack; for each whether it is whole, and how many could not be read."""
    broken, checks = Broken(), []
    for path in runs:
        run_dir = RunDir(path.resolve())
        try:
            read_scenario(run_dir)
            check = check_of(str(path), load_history(run_dir))
        except RunDataError as error:
            broken.count += 1
            check = RunCheck(str(path), error=str(error))
        checks.append(check)
        if not as_json:
            for line in in_lines(check):
                say(line)
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks], indent=2))
    return [check.whole for check in checks if check.error is None], broken.count


def _report(runs: Sequence[Path]) -> int:
    """Render saved runs again from what they hold; how many could not be read."""
    broken = Broken()
    for path in runs:
        with broken.noted():
            for written in render_run(RunDir(path.resolve())):
                say(str(written))
    return broken.count


def _alarms(
    runs: Sequence[Path], export: Path | None, policies: Sequence[Path], scale: Scale, attention_s: float
) -> tuple[list[bool | None], int]:
    """Audit saved runs and an incident's export; for each whether some policy told of every failure.

    None where that is not known; and how many runs could not be read.
    """
    chosen = load_policies(policies)
    found: list[bool | None] = []
    broken = Broken()
    for path in runs:
        with broken.noted():
            found.append(_alarms_of(RunDir(path.resolve()), chosen, scale, attention_s))
    if export is not None:
        one = study(chosen, of_csv(export), Scale(None), attention_s)
        console.print(terminal_alarms(export.name, one))
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


def show_scenarios(path: Path) -> None:
    """Print the scenarios and suites of a file."""
    console.print(lists.scenario_list(load_scenarios(path)))
