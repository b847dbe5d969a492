"""Finds the access log of a run, its format, and the part of it that was measured."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rushhour.errors import RunDataError, UsageError
from rushhour.judging.saved import read_verdict
from rushhour.metrics.window import find_window
from rushhour.rundir import RunDir
from rushhour.rundir import facts as f
from rushhour.rundir.loading import load_history
from rushhour.rundir.reading import read_object
from rushhour.scenario.model import SCENARIO, Scenario
from rushhour.verdict.judge import Verdict
from rushhour.verdict.lost import lost_everything, lost_of

_FORMAT = "--access-logformat"
_MISSING = 0.05  # share of the answers: a service may be stopped before its last lines are written
_BLOCK = 1 << 20
_ANSWERED = frozenset({f.Outcome.OK, f.Outcome.HTTP_4XX, f.Outcome.HTTP_5XX, f.Outcome.QUEUEPOOL_TIMEOUT})


@dataclass(frozen=True, slots=True)
class RunLog:
    """The access log of a run."""

    path: Path
    log_format: str | None  # gunicorn's, where the command sets it
    since: float  # unix seconds: the load was measured from here
    until: float
    scenario: Scenario
    doubts: tuple[str, ...]  # why the run's verdict is unknown, where it is


def run_log(path: Path) -> RunLog:
    """Raises UsageError where the run has no access log, or no load was measured; RunDataError for no run."""
    run = RunDir(path)
    if not path.is_dir():
        raise RunDataError(f"{path}: no such run directory")
    history = load_history(run)
    scenario: Scenario | None = read_object(run.file("scenario.json"), SCENARIO)
    if scenario is None:
        raise RunDataError(f"{path}: no scenario.json; this is not a run directory")
    log = run.logs / "access.log"
    if not log.is_file():
        raise UsageError(
            [
                f"{log}: the run has no access log, so how far it lies from the source is unknown",
                "let the service write one, in its command: --access-logfile {logs}/access.log",
            ]
        )
    anchor, window = history.event(f.ANCHOR), find_window(history, scenario.load.warm_up)
    if anchor is None or window is None or window.of_start or window.load_ended_s <= window.measured_from_s:
        raise UsageError([f"{path}: no load was measured in this run"])
    verdict = read_verdict(run)
    wall_s = anchor.detail.get("wall_s")
    if not isinstance(wall_s, int | float):
        raise RunDataError(
            f"{run.file('events.jsonl')}: the anchor has no wall_s, so the log has no beginning"
        )
    return RunLog(
        log,
        _format_in(f"{scenario.target.command} {scenario.service.arguments}"),
        wall_s + window.measured_from_s,
        wall_s + window.load_ended_s,
        scenario,
        (
            *_doubts_of(verdict),
            *lost_everything(history),
            *lost_of(history, ("requests",)),
            *_lines_missing(log, history),
        ),
    )


def _doubts_of(verdict: Verdict | None) -> tuple[str, ...]:
    """Return why the run says nothing; one without verdict.json may be unknown (its machine busy, say)."""
    if verdict is None:
        return ("the run has no verdict.json: `rushhour judge` writes it",)
    return tuple(verdict.reasons) if verdict.verdict == "unknown" else ()


def _lines_missing(log: Path, history: f.History) -> Iterator[str]:
    """Say that the log holds fewer requests than the customers got answers to: a part of it is gone."""
    answers = sum(row.count for row in history.requests if row.outcome in _ANSWERED)
    with log.open("rb") as file:
        lines = sum(block.count(b"\n") for block in iter(lambda: file.read(_BLOCK), b""))
    if lines < (1 - _MISSING) * answers:
        yield f"{log.name} has {lines:,} lines, and the customers got {answers:,} answers: a part is gone"


def _format_in(command: str) -> str | None:
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    for at, word in enumerate(words):
        if word == _FORMAT and at + 1 < len(words):
            return words[at + 1]
        if word.startswith(f"{_FORMAT}="):
            return word.partition("=")[2]
    return None
