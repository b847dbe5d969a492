"""Two runs side by side: what changed, by how much, and whether that is more than chance."""

from rushhour.compare.comparison import Comparison, compare_runs
from rushhour.compare.judging import Judgement
from rushhour.compare.measured import MeasuredRun, read_measured
from rushhour.compare.rows import Change

__all__ = ["Change", "Comparison", "Judgement", "MeasuredRun", "compare_runs", "read_measured"]
