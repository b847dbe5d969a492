"""The facts of a run, and the run directory that stores them."""

from rushhour.rundir.directory import FactWriter, Recorder, RunDir, create_run_dir, load_history, run_at
from rushhour.rundir.facts import History

__all__ = ["FactWriter", "History", "Recorder", "RunDir", "create_run_dir", "load_history", "run_at"]
