"""`rushhour check` from a warm start: the template is kept, files are cached."""

import tempfile
import time
from pathlib import Path

from benchmarks.harness import rushhour
from benchmarks.interval import median_of
from benchmarks.table import Row

BOUND_S = 5.0
ROUNDS = 6


def run() -> list[Row]:
    """The median of six checks after one that warms up."""
    taken_s = []
    with tempfile.TemporaryDirectory() as runs:
        for _ in range(ROUNDS + 1):
            began = time.monotonic()
            ended = rushhour("check", "--release", "1.1.1", "--runs", str(Path(runs)))
            taken_s.append(time.monotonic() - began)
            if ended.returncode:
                raise RuntimeError(f"rushhour check: exit {ended.returncode}\n{ended.stdout}{ended.stderr}")
    return [median_of(taken_s[1:]).in_seconds("rushhour check, warm", most_s=BOUND_S)]
