"""Whether the harness's and the recorder's memory stays flat over a ten-minute run."""

import statistics
import tempfile
from pathlib import Path

from benchmarks.harness import NotMeasuredError, run_history
from benchmarks.table import Row
from rushhour.rundir.facts import History

GROWTH_BOUND = 1.05  # the last minute over the fourth: caches are warm by then
MINUTE_S = 60.0
LEAST_SAMPLES = 30  # of a minute, in which there is one a second


def run() -> list[Row]:
    """Median RSS of the tenth minute over that of the fourth, for both processes."""
    with tempfile.TemporaryDirectory() as runs:
        history = run_history(Path(runs), "soak")
    return [growth(history, "harness"), growth(history, "generator")]


def growth(history: History, component: str) -> Row:
    """One component's growth, as a ratio. Raises NotMeasuredError where a minute has few samples."""
    started_s = history.time_of("load_started") or 0.0

    def minute(number: int) -> float:
        begin_s = started_s + (number - 1) * MINUTE_S
        seen_mb = [
            row.rss_mb
            for row in history.host
            if row.component == component and begin_s <= row.t_s < begin_s + MINUTE_S
        ]
        if len(seen_mb) < LEAST_SAMPLES:
            raise NotMeasuredError(f"{len(seen_mb)} samples of {component} in minute {number}")
        return statistics.median(seen_mb)

    early_mb, late_mb = minute(4), minute(10)
    ratio = late_mb / early_mb
    return Row(
        f"memory of {component}, ten minutes",
        f"x {ratio:.3f} ({early_mb:.0f} -> {late_mb:.0f} MB)",
        f"<= x {GROWTH_BOUND:g}",
        ratio <= GROWTH_BOUND,
    )
