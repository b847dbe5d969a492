"""What the agent saw of a service that did not get as far as its first request."""

from pathlib import Path

from rushhour.observe.moments import Moments
from rushhour.observe.pools import PoolWatcher
from rushhour.rundir import Recorder


def keep_pools_of_start(recorder: Recorder, root: Path) -> None:
    """Read the agent's files to their ends, and write the facts; nothing where no agent wrote.

    The servers' addresses are not known any more: a pool is named by its own.
    """
    watcher = PoolWatcher(recorder.run.agent, recorder.anchor_monotonic_s, {}, root)
    facts = watcher.finish()
    recorder.write(facts)
    recorder.write(Moments().feed(facts))
