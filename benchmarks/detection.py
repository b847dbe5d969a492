"""How soon the leak is named after the pool is full, in one run of rush-hour."""

import tempfile
from pathlib import Path

from benchmarks.harness import run_history
from benchmarks.table import Row
from rushhour.rundir import facts as f

BOUND_S = 2.0


def run() -> list[Row]:
    """Seconds from the pool being full to detection, and from detection to the first time-out."""
    with tempfile.TemporaryDirectory() as runs:
        history = run_history(Path(runs), "rush-hour")
    full_s = history.time_of(f.POOL_FULL)
    detected_s = history.time_of(f.LEAK_DETECTED)
    timeout_s = history.time_of(f.FIRST_TIMEOUT)
    if full_s is None or detected_s is None or timeout_s is None:
        raise RuntimeError(f"rush-hour: full {full_s}, detected {detected_s}, first time-out {timeout_s}")
    return [
        Row(
            "leak detected after the pool is full",
            f"{detected_s - full_s:+.1f} s",
            f"<= {BOUND_S:g} s",
            detected_s - full_s <= BOUND_S,
        ),
        Row(
            "leak detected before the first time-out",
            f"{timeout_s - detected_s:.1f} s before",
            "> 0 s",
            detected_s < timeout_s,
        ),
    ]
