"""Predictions beside what was measured: sizes (forecast_sizes.py)."""

from benchmarks import forecast_sizes
from benchmarks.table import Row


def run() -> list[Row]:
    """The rows of each part."""
    return [*forecast_sizes.run()]
