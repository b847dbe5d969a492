"""Predictions beside what was measured: sizes (forecast_sizes.py), forecasts (forecast_runs.py).

`forecast:FOLDER` keeps the runs there, and predicts again from those that it holds already.
"""

from pathlib import Path

from benchmarks import forecast_runs, forecast_sizes
from benchmarks.forecast_cases import all_inside
from benchmarks.harness import folder_of_runs
from benchmarks.table import Row


def arguments(text: str) -> tuple[str]:
    """Read the folder. Raises ValueError if it can be none."""
    if not text or (Path(text).exists() and not Path(text).is_dir()):
        raise ValueError(f"{text!r} is no folder")
    return (text,)


def run(kept: str | None = None) -> list[Row]:
    """The rows of each part, and one for all figures."""
    with folder_of_runs(kept) as folder:
        sizes, of_sizes = forecast_sizes.run(folder)
        forecasts, of_forecasts = forecast_runs.run(folder)
    return [*sizes, *forecasts, all_inside([*of_sizes, of_forecasts])]
