"""What was observed in a run: facts, and the run directory that keeps them."""

from rushhour.history.facts import History
from rushhour.history.rundir import FactWriter, Recorder, RunDir, create_run_dir, load_history

__all__ = ["FactWriter", "History", "Recorder", "RunDir", "create_run_dir", "load_history"]
