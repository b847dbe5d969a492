"""Predictions beside what was measured: pools alone (forecast_pool.py), a service (forecast_sizes.py)."""

from benchmarks import forecast_pool, forecast_sizes
from benchmarks.table import Row


def run() -> list[Row]:
    """The rows of each part."""
    return [*forecast_pool.run(), *forecast_sizes.run()]
