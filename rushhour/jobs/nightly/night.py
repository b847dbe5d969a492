"""One night, as night.json keeps it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from rushhour.errors import RunDataError
from rushhour.jobs.archive import NIGHTLY, RunRow
from rushhour.jobs.archive.directories import nights
from rushhour.rundir import RunDir

FILE: Final = "night.json"


@dataclass(frozen=True, slots=True)
class Night:
    """What a night ran, and what came of it so far."""

    night: str  # the name of its directory: its start, UTC
    started_at: str  # ISO 8601, UTC
    release: str  # of the candidate
    planned: tuple[str, ...]  # scenarios
    ended_at: str | None = None  # None: under way, interrupted or cut short
    runs: tuple[RunRow, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every scenario ran to its verdict."""
        return self.ended_at is not None and [row.scenario for row in self.runs] == [*self.planned]

    @property
    def good(self) -> bool:
        """Whether every scenario met its expectation."""
        return self.complete and all(row.verdict == "pass" for row in self.runs)

    @property
    def failed(self) -> tuple[RunRow, ...]:
        return tuple(row for row in self.runs if row.verdict == "fail")

    @property
    def unknown(self) -> tuple[RunRow, ...]:
        return tuple(row for row in self.runs if row.verdict == "unknown")

    def of(self, scenario: str) -> RunRow | None:
        """Return what this night has of a scenario."""
        return next((row for row in self.runs if row.scenario == scenario), None)


_NIGHT: Final = TypeAdapter(Night)


def read_night(folder: Path) -> Night:
    """Raises RunDataError when the directory is not of a night, or its night.json is broken."""
    try:
        return _NIGHT.validate_python(RunDir(folder).read_json(FILE))
    except ValidationError as error:
        raise RunDataError(f"{folder / FILE}: {error.errors()[0]['msg']}") from None


def write_night(runs: Path, night: Night) -> None:
    """Keep a night as it is now."""
    RunDir(folder_of(runs, night)).write_json(FILE, night)


def folder_of(runs: Path, night: Night) -> Path:
    """Return the directory of a night."""
    return runs / NIGHTLY / night.night


def last_good_night(runs: Path, before: str | None = None) -> Night | None:
    """Return the newest night in which every scenario met its expectation, among those that can be read."""
    for folder in reversed(nights(runs)):
        if before is not None and folder.name >= before:
            continue
        try:
            night = read_night(folder)
        except RunDataError:
            continue
        if night.good:
            return night
    return None
