"""What changed since the last good night: each scenario's run against that night's run of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rushhour.errors import RunDataError
from rushhour.jobs.archive import RunRow
from rushhour.jobs.compare import Comparison, compare_runs, read_measured
from rushhour.jobs.nightly.night import Night
from rushhour.rundir import RunDir


@dataclass(frozen=True, slots=True)
class Since:
    """One scenario, then and now; without a comparison, `why` says what is missing."""

    scenario: str
    then: RunRow | None
    now: RunRow
    comparison: Comparison | None
    why: str = ""


def since(runs: Path, good: Night, now: Night) -> Iterator[Since]:
    """Compare every run of this night that the good one has too."""
    for row in now.runs:
        then = good.of(row.scenario)
        if then is None:
            yield Since(row.scenario, None, row, None, f"{good.night} did not run it")
            continue
        try:
            old, new = (read_measured(RunDir(runs / item.run)) for item in (then, row))
            yield Since(row.scenario, then, row, compare_runs(old, new))
        except RunDataError as error:
            yield Since(row.scenario, then, row, None, str(error))
