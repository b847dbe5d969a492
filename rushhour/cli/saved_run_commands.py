"""Commands that read saved runs and scenario files."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click

from rushhour.cli.annotated_runs import add_run
from rushhour.cli.annotating import annotate_options
from rushhour.cli.as_json import json_option, print_json
from rushhour.cli.console import console, say, say_aside, warn_of_not_saved
from rushhour.cli.options import (
    RUN_PATH,
    Exit,
    exit_code,
    path_option,
    runs_argument,
    scenarios_option,
    with_broken,
)
from rushhour.cli.param_types import Number
from rushhour.cli.scenario_completion import scenario_names
from rushhour.errors import RunDataError, UsageError
from rushhour.jobs.annotate.annotation import Outcome
from rushhour.jobs.annotate.collect import Annotations
from rushhour.jobs.annotate.of_runs import of_drill
from rushhour.jobs.archive import RunHistory, RunRow, remember, runs_folder_of
from rushhour.jobs.archive.table import run_list
from rushhour.jobs.compare import MeasuredRun, compare_runs, read_measured
from rushhour.jobs.compare.judging import TOLERANCE
from rushhour.jobs.compare.render import comparison_json, terminal_comparison
from rushhour.jobs.drill.facts import VERDICT_OF
from rushhour.jobs.drill.judging import is_drill, judge_drill_again, render_drill
from rushhour.jobs.drill.page import headline as drill_headline
from rushhour.jobs.drill.page import terminal as terminal_drill
from rushhour.judging.judge import judge_run, read_scenario, render_run, source_of
from rushhour.report import lists, terminal
from rushhour.report.real_pages import terminal_real
from rushhour.rundir import load_history, run_at
from rushhour.scenario.file import load_scenarios
from rushhour.verdict.whole import RunCheck, check_of, in_lines


@click.command(short_help="Say whether a saved run is worse than an earlier one.")
@click.argument("before", type=RUN_PATH)
@click.argument("after", type=RUN_PATH)
@click.option(
    "--tolerance",
    metavar="SHARE",
    type=Number(0, 10),
    default=TOLERANCE,
    show_default=True,
    help="Ignore changes of less than this share of the earlier value: 0.1 is 10 %.",
)
@json_option
def compare(before: Path, after: Path, tolerance: float, *, as_json: bool) -> int:
    """Compare two saved runs: is AFTER worse than BEFORE? Both are run directories.

    Each needs at least 20 measured seconds, warm-up left out: of shorter runs nothing is decided.

    Exit codes: 0 not worse; 1 worse; 2 unknown, since a run says nothing or lacks data.
    """
    outcomes = {"not worse": Exit.MET, "worse": Exit.NOT_MET, "unknown": Exit.UNKNOWN}
    if not as_json:
        comparison = compare_runs(*_measured(before, after), tolerance=tolerance)
        console.print(terminal_comparison(comparison))
        return outcomes[comparison.outcome]
    try:
        comparison = compare_runs(*_measured(before, after), tolerance=tolerance)
    except RunDataError as error:
        print_json([{"before": before, "after": after, "error": str(error)}])
        return Exit.USAGE
    print_json([{"before": before, "after": after, **comparison_json(comparison), "error": None}])
    return outcomes[comparison.outcome]


@click.command(short_help="List past runs, pruned ones included.")
@path_option("--runs", "runs", "Folder with the run directories.")
@click.option(
    "--rebuild", is_flag=True, help="Read every run directory again first, as after runs were copied here."
)
@click.option(
    "--scenario", metavar="NAME", shell_complete=scenario_names, help="List only runs of this scenario: gate."
)
@click.option(
    "--last",
    metavar="N",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="List the last N runs.",
)
@json_option
def history(runs: Path, rebuild: bool, scenario: str | None, last: int, *, as_json: bool) -> int:
    """List past runs, those included whose directories were pruned."""
    if not runs.is_dir():
        raise UsageError([f"--runs: {runs} is not a folder; name the one that holds the run directories"])
    rows = _history(runs, rebuild=rebuild, scenario=scenario, last=last, tell=say_aside if as_json else say)
    if as_json:
        print_json({**asdict(row), "site": row.site} for row in rows)
    else:
        console.print(run_list(rows))
    return Exit.MET


_source_option = click.option(
    "--source",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="FOLDER",
    help="Show lines of the service's source from this folder: ../shop. Without it, the folder that the run "
    "names is read only if it lies in the working folder.",
)


@click.command(short_help="Judge saved runs again, and write their reports anew.")
@runs_argument
@_source_option
@annotate_options("rushhour judge")
def judge(runs: tuple[Path, ...], source: Path | None, *, annotations: Annotations) -> int:
    """Judge saved runs again from what was recorded, and write their reports anew.

    RUNS are run directories: runs/latest.
    """
    verdicts, broken = _judge(runs, source, annotations)
    return with_broken(exit_code(verdicts), verdicts, broken)


@click.command()
@runs_argument
@_source_option
def report(runs: tuple[Path, ...], source: Path | None) -> int:
    """Write the reports of saved runs again, and print where they are.

    RUNS are run directories: runs/latest.
    """
    return Exit.USAGE if _report(runs, source) else Exit.MET


@click.command(short_help="Check whether saved runs still hold all that was written.")
@runs_argument
@json_option
def verify(runs: tuple[Path, ...], as_json: bool) -> int:
    """Check whether saved runs still hold all that was written, and say what they lack.

    Exit codes: 0 whole; 2 a run lost rows, holds too many, or was cut short; 64 a file cannot be read.
    """
    whole, broken = _verify(runs, as_json=as_json)
    return with_broken(Exit.MET if all(whole) else Exit.UNKNOWN, whole, broken)


@click.command(name="list")
@scenarios_option
@json_option
def list_scenarios(scenarios: Path, *, as_json: bool) -> int:
    """List the scenarios and suites of the scenario file."""
    if as_json:
        print_json(lists.scenario_objects(load_scenarios(scenarios)))
    else:
        show_scenarios(scenarios)
    return Exit.MET


def _measured(before: Path, after: Path) -> tuple[MeasuredRun, MeasuredRun]:
    return read_measured(run_at(before)), read_measured(run_at(after))


def _history(
    runs: Path, *, rebuild: bool, scenario: str | None, last: int, tell: Callable[[str], None]
) -> list[RunRow]:
    """Return the last runs that the history of a runs folder holds; `tell` gets what is worth a note."""
    kept = RunHistory(runs)
    if rebuild:
        tell(f"read again: {kept.rebuild()}")
    rows = kept.rows(scenario=scenario, limit=last)
    for note in kept.notes:
        tell(note)
    return rows


_ONLY_PRINTED = "the verdict is only printed, and files in the directory are of earlier ones"


class Broken:
    """Counts runs among several that could not be read; reports each, and the others go on."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def noted(self, also: Callable[[str], None] = lambda _: None) -> Iterator[None]:
        """Note a RunDataError within; `also` gets its text too."""
        try:
            yield
        except RunDataError as error:
            self.count += 1
            say_aside(f"rushhour: {error}")
            also(str(error))


def _judge(runs: Sequence[Path], source: Path | None, annotations: Annotations) -> tuple[list[str], int]:
    """Judge saved runs again; the verdicts in order, and how many runs could not be read."""
    results, verdicts, broken = [], list[str](), Broken()
    for path in runs:
        with broken.noted(partial(annotations.add_unknown, path.name)):
            run_dir = run_at(path)
            if is_drill(run_dir):
                drill, not_saved = judge_drill_again(run_dir)
                warn_of_not_saved(not_saved, _ONLY_PRINTED)
                said = drill_headline(drill)
                outcome = Outcome(f"drill {drill.target}", VERDICT_OF[drill.outcome], said)
                annotations.add(outcome, of_drill(drill, said))
                console.print(terminal_drill(drill, run_dir.path))
                verdicts.append(VERDICT_OF[drill.outcome])
                continue
            scenario, verdict = read_scenario(run_dir), (judged := judge_run(run_dir, source)).verdict
            warn_of_not_saved(judged.not_saved, _ONLY_PRINTED)
            if not judged.not_saved and RunHistory(runs_folder_of(run_dir)).path.exists():
                for note in remember(run_dir, verdict):
                    say(note)
            written = not judged.not_saved
            console.print(
                terminal.summary(verdict, scenario, run_dir.path, source, saved=True, written=written)
            )
            if judged.real:
                console.print(terminal_real(judged.real))
            add_run(annotations, run_dir, scenario, verdict, source_of(scenario, source))
            results.append((scenario, verdict))
            verdicts.append(verdict.verdict)
    if len(results) > 1:
        console.print(terminal.comparison(results))
    return verdicts, broken.count


def _verify(runs: Sequence[Path], *, as_json: bool) -> tuple[list[bool], int]:
    """Print what saved runs lack; for each whether it is whole, and how many could not be read."""
    broken, checks = Broken(), []
    for path in runs:
        run_dir = run_at(path)
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
        print_json(checks)
    return [check.whole for check in checks if check.error is None], broken.count


def _report(runs: Sequence[Path], source: Path | None) -> int:
    """Render saved runs again from what they hold; how many could not be read."""
    broken = Broken()
    for path in runs:
        with broken.noted():
            run_dir = run_at(path)
            for written in render_drill(run_dir) if is_drill(run_dir) else render_run(run_dir, source):
                say(str(written))
    return broken.count


def show_scenarios(path: Path) -> None:
    """Print the scenarios and suites of a file."""
    console.print(lists.scenario_list(load_scenarios(path)))
