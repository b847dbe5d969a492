"""Two runs side by side: what changed, by how much, and whether that is more than chance."""

from rushhour.jobs.compare.comparison import Comparison, compare_runs
from rushhour.jobs.compare.judging import Judgement
from rushhour.jobs.compare.measured import MeasuredRun, read_measured
from rushhour.jobs.compare.rows import Change

__all__ = ["Change", "Comparison", "Judgement", "MeasuredRun", "compare_runs", "read_measured"]
