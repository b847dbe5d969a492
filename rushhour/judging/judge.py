"""Judges a run directory and writes its verdict and reports, directly after the run or later."""

from dataclasses import dataclass, replace
from pathlib import Path

from rushhour.alarms.real_pages import BesideReal
from rushhour.errors import InsufficientDataError, NotWrittenError, RunDataError
from rushhour.forecast.answer import forecast
from rushhour.judging.alarms import alarm_section, alarms_not_replayed, audit_files, silent_alarms
from rushhour.judging.saved import read_real, traffic_section
from rushhour.report.alarms import AlarmSection
from rushhour.report.files import report_files
from rushhour.report.source import trusted_root
from rushhour.rundir import History, RunDir, load_history
from rushhour.rundir.directory import json_text, write_whole
from rushhour.rundir.reading import read_object
from rushhour.scenario.model import SCENARIO, Scenario
from rushhour.verdict.judge import Verdict, judge, verdict_json, with_alarms

_Judged = tuple[Scenario, History, Verdict, AlarmSection | None]


@dataclass(frozen=True, slots=True)
class JudgedRun:
    """A run that was judged; `not_saved` says why its directory has no verdict and no report of it, if so."""

    verdict: Verdict
    real: tuple[BesideReal, ...]  # pages of a real Alertmanager, beside the replay's
    not_saved: str = ""


def read_scenario(run: RunDir) -> Scenario:
    """Read the scenario of a run. Raises RunDataError when it is missing or broken."""
    if run.path.exists() and not run.path.is_dir():
        raise RunDataError(f"{run.path}: a file; a run is a directory")
    scenario: Scenario | None = read_object(run.file("scenario.json"), SCENARIO)
    if scenario is None:
        raise RunDataError(f"{run.path}: no scenario.json; this is not a run directory")
    return scenario


def judge_history(run: RunDir, scenario: Scenario, history: History, stack: str) -> Verdict:
    """Judge the history of a run. Raises RunDataError, with the file, for a latency that is no histogram."""
    try:
        return judge(scenario, history, stack)
    except RunDataError as error:
        raise RunDataError(f"{run.file('requests.jsonl')}: {error}") from None


def judge_run(run: RunDir, source_root: Path | None = None) -> JudgedRun:
    """Judge a run directory, and write verdict.json, the reports and, where it has alarms, alarms.json.

    Where these cannot be written, as on a full disk, nothing is saved, and the verdict stands all the same.
    Source lines are read below `source_root`; without one below the folder that the run itself names, if that
    lies in the working folder.
    """
    judged = _judged(run)
    study = judged[3].study if judged[3] else None
    result = JudgedRun(judged[2], study.real if study else read_real(run))
    verdict = {run.file("verdict.json"): json_text(verdict_json(judged[2]))}
    try:
        _save_with_reports(run, judged, source_root, verdict)
    except NotWrittenError as error:
        return replace(result, not_saved=str(error))
    return result


def render_run(run: RunDir, source_root: Path | None = None) -> list[Path]:
    """Write the reports of a saved run again, but not verdict.json; return the written files."""
    return _save_with_reports(run, _judged(run), source_root, {})


def _save_with_reports(
    run: RunDir, judged: _Judged, source_root: Path | None, others: dict[Path, str]
) -> list[Path]:
    scenario, history, verdict, alarms = judged
    source, traffic = source_of(scenario, source_root), traffic_section(run, verdict)
    if alarms and alarms.study:
        others = {**others, **audit_files(run, alarms.study)}
    beside = [path.name for path in others]
    reports = report_files(
        run, scenario, history, verdict, source, alarms=alarms, traffic=traffic, beside=beside
    )
    write_whole({**others, **reports})
    return [*reports]


def with_forecast(name: str, scenario: Scenario, history: History, verdict: Verdict) -> Verdict:
    """Add the forecast for the scenario's production, or why the run allows none."""
    if scenario.production is None:
        return verdict
    try:
        made = forecast(name, scenario, history, verdict, scenario.production)
    except InsufficientDataError as error:
        return replace(verdict, no_forecast=str(error))
    return replace(verdict, forecast=made)


def source_of(scenario: Scenario, source_root: Path | None) -> Path | None:
    """Return the folder whose source may be shown with a saved run; None if there is none."""
    return source_root or trusted_root(Path(scenario.target.root), Path.cwd())


def _judged(run: RunDir) -> _Judged:
    scenario, history = read_scenario(run), load_history(run)
    stack = history.environment.stack if history.environment else "unknown"
    alarms = alarm_section(run, history, scenario)
    audited = alarms.study if alarms else None
    verdict = with_alarms(
        judge_history(run, scenario, history, stack),
        silent_alarms(scenario.expect_alarms, audited),
        alarms_not_replayed(scenario.expect_alarms, audited),
    )
    return scenario, history, with_forecast(run.path.name, scenario, history, verdict), alarms
