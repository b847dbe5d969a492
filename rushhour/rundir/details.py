"""Checks the details of events that something is computed from, once, as the events are read.

All keys are optional, as older runs lack some; what is there has to be of its kind.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter, ValidationError

from rushhour.errors import RunDataError
from rushhour.rundir import facts as f
from rushhour.rundir.reading import MOST, first_problem

LATEST_WALL_S: Final = 2e11  # in the year 8307; the calendar ends in 9999

_Count = Annotated[int, Field(ge=0, le=int(MOST))]
_WallSeconds = Annotated[float, Field(ge=0, le=LATEST_WALL_S)]
_Seconds = Annotated[float, Field(ge=-MOST, le=MOST)]


@dataclass(frozen=True, slots=True)
class _Anchor:
    wall_s: _WallSeconds | None = None
    monotonic_s: _Seconds | None = None


@dataclass(frozen=True, slots=True)
class _StackBroke:
    what: str | None = None
    log_tail: tuple[str, ...] = ()
    part: str | None = None
    how: str | None = None


@dataclass(frozen=True, slots=True)
class _LogErrors:
    source: str | None = None
    queuepool_timeouts: _Count = 0
    errors: _Count = 0
    kinds: Mapping[str, _Count] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _LocustfileError:
    error: str | None = None
    message: str | None = None
    where: str | None = None
    count: _Count = 1


@dataclass(frozen=True, slots=True)
class _ObserverFault:
    observer: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class _ServerFault:
    server: str | None = None
    do: str | None = None
    table: str | None = None


@dataclass(frozen=True, slots=True)
class _AlertingUp:
    policies: Mapping[str, str]
    pools: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Target:
    target: str
    of: str
    health: str
    error: str
    scraped_s: _Seconds


@dataclass(frozen=True, slots=True)
class _Rule:
    alert: str
    health: str
    error: str
    evaluated_s: _Seconds


@dataclass(frozen=True, slots=True)
class _AlertingEnded:
    targets: tuple[_Target, ...]
    rules: tuple[_Rule, ...]
    metrics: tuple[str, ...]
    lost: Mapping[str, _Seconds]


_DETAILS: Final[dict[str, TypeAdapter[Any]]] = {
    f.ANCHOR: TypeAdapter(_Anchor),
    f.STACK_BROKE: TypeAdapter(_StackBroke),
    f.LOG_ERRORS: TypeAdapter(_LogErrors),
    f.LOCUSTFILE_ERROR: TypeAdapter(_LocustfileError),
    f.OBSERVER_FAULT: TypeAdapter(_ObserverFault),
    f.FAULT: TypeAdapter(_ServerFault),
    f.ALERTING_UP: TypeAdapter(_AlertingUp),
    f.ALERTING_ENDED: TypeAdapter(_AlertingEnded),
}


def check_detail(path: Path, number: int, event: f.Event) -> None:
    """Check the details of the event in a line. Raises RunDataError."""
    adapter = _DETAILS.get(event.name)
    if adapter is None:
        return
    try:
        adapter.validate_json(json.dumps(event.detail), strict=True)
    except ValidationError as error:
        what = first_problem(error)
        raise RunDataError(f"{path}:{number}: the detail of {event.name}: {what}") from None


def check_anchor(path: Path, history: f.History) -> None:
    """Check that a run with notifications has the clocks that place them. Raises RunDataError."""
    if not history.notifications and history.event(f.ALERTING_UP) is None:
        return
    anchor = history.event(f.ANCHOR)
    missing = [name for name in ("wall_s", "monotonic_s") if anchor and anchor.detail.get(name) is None]
    if missing:
        raise RunDataError(
            f"{path}: the detail of {f.ANCHOR}: {' and '.join(missing)} missing, so nothing says when "
            "notifications came"
        )
