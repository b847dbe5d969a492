"""Keeps the pool facts of a service that ended before its first request."""

from pathlib import Path

from rushhour.observe.moments import Moments
from rushhour.observe.pools import PoolWatcher
from rushhour.rundir import Recorder


def keep_pools_of_start(recorder: Recorder, root: Path) -> None:
    """Read the agent's files to their ends, if there are any, and write the facts.

    The servers' addresses are not known any more, so each pool is named by its own address.
    """
    watcher = PoolWatcher(recorder.run.agent, recorder.anchor_monotonic_s, {}, root)
    facts = watcher.finish()
    recorder.write(facts)
    recorder.write(Moments().feed(facts))
