"""The night itself: what happens, in order."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rushhour.errors import NotWrittenError, RunDataError, UnavailableError
from rushhour.jobs.archive import NIGHTLY, RunHistory, remember, row_of
from rushhour.jobs.archive.directories import STAMP, kept, point_latest
from rushhour.jobs.archive.lock import held
from rushhour.jobs.archive.prune import prune_nights
from rushhour.jobs.nightly.night import Night, folder_of, last_good_night, write_night
from rushhour.jobs.nightly.since import since
from rushhour.jobs.nightly.summary import render_night
from rushhour.jobs.nightly.trend import render_trend
from rushhour.metrics.wording import counted
from rushhour.report.junit import render_junit
from rushhour.rundir import RunDir
from rushhour.rundir.directory import write_whole
from rushhour.scenario.model import Scenario
from rushhour.verdict.judge import Verdict

LOCK: Final = ".lock"
TREND: Final = "trend.html"
TREND_NIGHTS: Final = 60

Result = tuple[Scenario, RunDir, Verdict]
RunOne = Callable[[Scenario, Path], tuple[RunDir, Verdict]]  # runs a scenario into a folder, and judges it
Say = Callable[[str], None]


def run_night(
    runs: Path, scenarios: Sequence[Scenario], release: str, run_one: RunOne, *, keep: int, say: Say
) -> Night:
    """Run the scenarios one after the other, and write what came of them; the night as it ended.

    Raises UnavailableError when another nightly is under way. A night that is cut short keeps what it has. A
    summary that cannot be written, as on a full disk, changes no verdict: `say` gets the reason.
    """
    with held(runs / NIGHTLY / LOCK, "nightly"):
        night = _begin(runs, scenarios, release)
        results: list[Result] = []
        try:
            for scenario in scenarios:
                run, verdict = run_one(scenario, folder_of(runs, night))
                results.append((scenario, run, verdict))
                for note in remember(run, verdict):
                    say(note)
        except BaseException as first:
            try:
                _report(runs, night, results, say)
            except Exception as second:  # noqa: BLE001 - must not mask the first
                first.add_note(f"and the summary of the night could not be written: {second}")
            raise
        night = _report(runs, replace(night, ended_at=_now().isoformat(timespec="seconds")), results, say)
        _prune(runs, keep, night, say)
        _trend(runs, say)
        return night


def _begin(runs: Path, scenarios: Sequence[Scenario], release: str) -> Night:
    now = _now()
    stamp = now.strftime(STAMP)
    for attempt in range(100):
        night = Night(
            night=f"{stamp}-{attempt}" if attempt else stamp,
            started_at=now.isoformat(timespec="seconds"),
            release=release,
            planned=tuple(scenario.name for scenario in scenarios),
        )
        try:
            folder_of(runs, night).mkdir()
        except FileExistsError:
            continue
        write_night(runs, night)
        point_latest(folder_of(runs, night))
        return night
    raise RunDataError(f"{runs / NIGHTLY}: a hundred nights began in this second")


def _report(runs: Path, night: Night, results: Sequence[Result], say: Say) -> Night:
    """Write what is known of the night: night.json, summary.md, junit.xml."""
    night = replace(night, runs=tuple(row_of(run, verdict) for _, run, verdict in results))
    try:
        _write(runs, night, results)
    except NotWrittenError as error:
        say(f"the night was not saved: {error}; the verdicts of its runs stand")
    return night


def _write(runs: Path, night: Night, results: Sequence[Result]) -> None:
    write_night(runs, night)
    folder = folder_of(runs, night)
    good = last_good_night(runs, before=night.night)
    changes = [*since(runs, good, night)] if good else []
    judged = [(scenario, verdict) for scenario, _, verdict in results]
    reports = {
        folder / "summary.md": render_night(night, judged, good, changes),
        folder / "junit.xml": render_junit([verdict for _, verdict in judged]),
    }
    write_whole(reports)


def _prune(runs: Path, keep: int, night: Night, say: Say) -> None:
    good = last_good_night(runs)
    pruned = prune_nights(runs, keep, {night.night} | ({good.night} if good else set()))
    if pruned.removed:
        say(f"removed {counted(len(pruned.removed), 'old night')}: {', '.join(pruned.removed)}")
    for item in pruned.left:
        say(f"an old night stays: {item}")


def _trend(runs: Path, say: Say) -> None:
    try:
        rows = RunHistory(runs).nights(TREND_NIGHTS)
        write_whole({runs / NIGHTLY / TREND: render_trend(rows, kept(runs))})
    except (UnavailableError, NotWrittenError) as error:
        say(f"no trend page: {error}")


def _now() -> datetime:
    return datetime.now(UTC)
