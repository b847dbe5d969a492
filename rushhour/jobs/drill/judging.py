"""A drill's run directory -> drill.json and reports; the same for a drill that just ended and a saved one."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from rushhour.errors import NotWrittenError, RunDataError
from rushhour.jobs.drill.facts import Drill
from rushhour.jobs.drill.judge import judge_history
from rushhour.jobs.drill.page import drill_files
from rushhour.judging.judge import read_scenario
from rushhour.rundir import History, RunDir, load_history
from rushhour.rundir import facts as f
from rushhour.rundir.directory import json_text, write_whole
from rushhour.rundir.reading import read_object
from rushhour.verdict.lost import SERVICES

FILE: Final = "drill.json"
_DRILL: Final = TypeAdapter(Drill)


def is_drill(run: RunDir) -> bool:
    """Return whether the directory is a drill's."""
    return any(run.file(name).exists() for name in (FILE, SERVICES))


def judge_drill(run: RunDir) -> Drill:
    """Judge what the directory holds; write drill.json and the reports. Raises RunDataError."""
    drill, history = _judged(run)
    _save(run, drill, history)
    return drill


def judge_drill_again(run: RunDir) -> tuple[Drill, str]:
    """Judge a saved drill as `judge_drill` does; with it why nothing could be saved, or an empty text."""
    drill, history = _judged(run)
    try:
        _save(run, drill, history)
    except NotWrittenError as error:
        return drill, str(error)
    return drill, ""


def render_drill(run: RunDir) -> list[Path]:
    """Write the reports of a saved drill anew, and leave drill.json as it is; the files written."""
    drill, history = _judged(run)
    files = drill_files(run, drill, history)
    write_whole(files)
    return [*files]


def _save(run: RunDir, drill: Drill, history: History) -> None:
    write_whole({run.file(FILE): json_text(drill), **drill_files(run, drill, history)})


def _judged(run: RunDir) -> tuple[Drill, History]:
    scenario, history = read_scenario(run), _load(run)
    try:
        return judge_history(scenario, history), history
    except RunDataError as error:
        raise RunDataError(f"{run.path}: {error}") from None


def _load(run: RunDir) -> History:
    """Return what was observed; an older rushhour kept some of it in drill.json alone."""
    history = load_history(run)
    if history.event(f.DRILL) or history.losses or (old := read_object(run.file(FILE), _DRILL)) is None:
        return history
    return replace(history, services=tuple(_services(old)), events=(*history.events, *_events(old, history)))


def _services(old: Drill) -> Iterator[f.ServiceSeen]:
    if old.rollout is not None:
        yield from (f.ServiceSeen(old.rollout.began_s, "before", state) for state in old.before)
        yield from (f.ServiceSeen(old.rollout.ended_s, "after", state) for state in old.after)


def _events(old: Drill, history: History) -> Iterator[f.Event]:
    yield f.Event(0.0, f.DRILL, {"target": old.target, "hotfix": old.hotfix})
    ended_s = history.time_of(f.LOAD_ENDED)
    if old.rollout is not None and ended_s is not None:
        yield f.Event(old.rollout.ended_s, f.ROLLOUT, asdict(old.rollout))
        yield f.Event(ended_s, f.DRILL_ENDED)
