"""Predictions beside what was measured: sizes (forecast_sizes.py), forecasts (forecast_runs.py).

`forecast:FOLDER` keeps the runs there, and predicts again from those that it holds already.
"""

from benchmarks import forecast_runs, forecast_sizes
from benchmarks.harness import folder_of_runs
from benchmarks.table import Row


def run(kept: str | None = None) -> list[Row]:
    """The rows of each part."""
    with folder_of_runs(kept) as folder:
        return [*forecast_sizes.run(folder), *forecast_runs.run(folder)]
