"""Reads logs and makes their model: `rushhour traffic` without its files."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC
from pathlib import Path

from rushhour.errors import UsageError
from rushhour.jobs.traffic.build import Asked, Fold, build
from rushhour.jobs.traffic.compare import compare
from rushhour.jobs.traffic.model import TrafficModel, read_model
from rushhour.jobs.traffic.options import ReadingOptions
from rushhour.jobs.traffic.reading import read
from rushhour.jobs.traffic.record import Progress, ReadingReport
from rushhour.jobs.traffic.run_log import run_log
from rushhour.jobs.traffic.service import routes_of_model
from rushhour.rundir.traffic import TrafficComparison

OnProgress = Callable[[Progress], None]


def study(
    paths: Sequence[str], reading: ReadingOptions, asked: Asked, on_progress: OnProgress | None = None
) -> tuple[TrafficModel, ReadingReport]:
    """The model of some logs. Raises UsageError where nothing in them is usable."""
    requests = read(paths, reading, on_progress)
    fold = Fold(replace(asked, zone=reading.timezone or UTC))
    fold.take(requests)
    return build(fold, requests.report, requests.is_user), requests.report


def compare_run(
    paths: Sequence[str],
    run: Path,
    reading: ReadingOptions,
    asked: Asked,
    *,
    scale: float | None = None,
    unrecorded: float | None = 1.0,
    on_progress: OnProgress | None = None,
) -> tuple[TrafficComparison, TrafficModel, TrafficModel]:
    """How far the access log of a run lies from the source: logs, or a traffic.json.

    Without a `scale` it is the one that traffic.json has for the run's scenario, or `unrecorded`.
    Raises UsageError where one of the two cannot be read.
    """
    if asked.since is not None and asked.until is not None and asked.until <= asked.since:
        raise UsageError(["--until is not later than --from"])
    log = run_log(run)  # before the source, which may take minutes to read
    if len(paths) == 1 and paths[0].endswith(".json") and Path(paths[0]).name == "traffic.json":
        source, what = read_model(Path(paths[0])), "traffic.json"
    else:
        source, _ = study(paths, reading, asked, on_progress)
        what = f"an access log ({', '.join(source.source.formats)})"
    own = ReadingOptions(log_format=log.log_format)
    part = Asked(
        routes=routes_of_model(source),
        gap_s=source.source.gap_s,
        at_once_s=source.source.at_once_s,
        since=log.since,
        until=log.until,
    )
    if scale is None:
        scale = source.scales.get(log.scenario.name, unrecorded)
    ran, _ = study([str(log.path)], own, part, on_progress)
    return compare(source, ran, scale, log.doubts, what), source, ran
