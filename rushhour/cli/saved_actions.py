"""Commands that read saved runs and scenario files."""

from collections.abc import Sequence
from pathlib import Path

from rushhour.alarms.policies import load_policies
from rushhour.alarms.sources import of_csv
from rushhour.alarms.study import Scale, study
from rushhour.cli.console import console, say
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


def judge(runs: Sequence[Path]) -> list[str]:
    """Judge saved runs again; the verdicts in order."""
    results = []
    for path in runs:
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
    return [verdict.verdict for _, verdict in results]


def report(runs: Sequence[Path]) -> None:
    """Render saved runs again from what they hold."""
    for path in runs:
        for written in render_run(RunDir(path.resolve())):
            say(str(written))


def alarms(
    runs: Sequence[Path], export: Path | None, policies: Sequence[Path], scale: Scale, attention_s: float
) -> list[bool | None]:
    """Audit saved runs and an incident's export; for each whether some policy told of every failure."""
    chosen = load_policies(policies)
    found: list[bool | None] = []
    for path in runs:
        run_dir = RunDir(path.resolve())
        read_scenario(run_dir)
        one = audit_run(run_dir, load_history(run_dir), chosen, scale, attention_s)
        if one is None:
            say(f"{run_dir.path.name}: no load started, so there is nothing to audit")
            found.append(None)
            continue
        console.print(terminal_alarms(run_dir.path.name, one))
        found.append(one.announced)
    if export is not None:
        one = study(chosen, of_csv(export), Scale(None), attention_s)
        console.print(terminal_alarms(export.name, one))
        found.append(one.announced)
    return found


def list_scenarios(path: Path) -> None:
    """Print the scenarios and suites of a file."""
    console.print(lists.scenario_list(load_scenarios(path)))
