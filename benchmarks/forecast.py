"""Predictions beside what was measured: sizes (forecast_sizes.py), forecasts (forecast_runs.py)."""

from benchmarks import forecast_runs, forecast_sizes
from benchmarks.table import Row


def run() -> list[Row]:
    """The rows of each part."""
    return [*forecast_sizes.run(), *forecast_runs.run()]
