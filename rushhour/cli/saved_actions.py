"""Commands that read saved runs and scenario files."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from rushhour.alarms.events import Policy
from rushhour.alarms.exports import of_export
from rushhour.alarms.policies import load
from rushhour.alarms.study import Scale, study
from rushhour.cli.console import console, say, say_aside
from rushhour.errors import RunDataError
from rushhour.jobs.archive import RunHistory, remember, runs_folder_of
from rushhour.jobs.archive.table import run_list
from rushhour.jobs.compare import compare_runs, read_measured
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


def compare(before: Path, after: Path, tolerance: float) -> str:
    """Print what changed from one run to the other; "worse", "not worse" or "unknown"."""
    old, new = (read_measured(RunDir(path.resolve())) for path in (before, after))
    comparison = compare_runs(old, new, tolerance=tolerance)
    console.print(terminal_comparison(comparison))
    return comparison.outcome


def history(runs: Path, *, rebuild: bool, scenario: str | None, last: int) -> None:
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


def judge(runs: Sequence[Path]) -> tuple[list[str], int]:
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


def verify(runs: Sequence[Path], *, as_json: bool) -> tuple[list[bool], int]:
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


def report(runs: Sequence[Path]) -> int:
    """Render saved runs again from what they hold; how many could not be read."""
    broken = Broken()
    for path in runs:
        with broken.noted():
            for written in render_run(RunDir(path.resolve())):
                say(str(written))
    return broken.count


@dataclass(frozen=True, slots=True)
class Export:
    """An incident's export, and which part of it counts (epoch seconds)."""

    path: Path
    since: float | None = None
    until: float | None = None


def alarms(
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


def list_scenarios(path: Path) -> None:
    """Print the scenarios and suites of a file."""
    console.print(lists.scenario_list(load_scenarios(path)))
