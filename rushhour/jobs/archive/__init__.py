"""What is kept of past runs: their directories, and one row each in a database beside them."""

from rushhour.jobs.archive.directories import NIGHTLY, find_runs, night_of, runs_folder_of
from rushhour.jobs.archive.rows import RunRow, read_row, row_of
from rushhour.jobs.archive.store import RunHistory, remember

__all__ = [
    "NIGHTLY",
    "RunHistory",
    "RunRow",
    "find_runs",
    "night_of",
    "read_row",
    "remember",
    "row_of",
    "runs_folder_of",
]
