"""The facts of a run, and the run directory that stores them."""

from rushhour.rundir.directory import RunDir, create_run_dir, run_at
from rushhour.rundir.facts import History
from rushhour.rundir.loading import load_history
from rushhour.rundir.recorder import FactWriter, Recorder

__all__ = ["FactWriter", "History", "Recorder", "RunDir", "create_run_dir", "load_history", "run_at"]
