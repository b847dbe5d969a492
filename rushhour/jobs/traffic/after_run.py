"""Compares a run with the traffic.json beside its locustfile, as `rushhour traffic` leaves it there."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from rushhour.errors import RunDataError, UsageError
from rushhour.jobs.traffic.build import Asked
from rushhour.jobs.traffic.options import ReadingOptions
from rushhour.jobs.traffic.outputs import MODEL, write_into_run
from rushhour.jobs.traffic.record import Progress
from rushhour.jobs.traffic.study import compare_run
from rushhour.report.traffic import headline
from rushhour.rundir import RunDir
from rushhour.scenario.model import Scenario

_UNKNOWN: Final = "how near the run's traffic is to its source is unknown"


def compare_with_source(
    run: RunDir, scenario: Scenario, on_progress: Callable[[Progress], None] | None = None
) -> list[str]:
    """Write the comparison and the reports of a run whose customers were made of a log; what came of it.

    Empty for other runs. A comparison that cannot be made is no fault of the run: the lines say why.
    """
    if not scenario.load.locustfile:
        return []
    source = (Path(scenario.target.root) / scenario.load.locustfile).parent / MODEL
    if not source.is_file():
        return []
    try:
        found, _, _ = compare_run(
            [str(source)], run.path, ReadingOptions(), Asked(), unrecorded=None, on_progress=on_progress
        )
    except UsageError as error:
        first, *rest = error.problems
        return [f"Traffic  {_UNKNOWN}: {first}", *(f"         {line}" for line in rest)]
    except RunDataError as error:
        return [f"Traffic  {_UNKNOWN}: {error}"]
    unwritten = [line for line in write_into_run(found, run.path) if not line.startswith("wrote ")]
    return [f"Traffic  {headline(found)}", *unwritten]
