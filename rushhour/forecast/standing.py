"""Finds the connections that are out all the time, as of a consumer that listens (pure)."""

from collections import Counter, defaultdict
from collections.abc import Mapping

from rushhour.rundir import History


def standing_of(history: History, first_s: float, last_s: float) -> Mapping[str, int]:
    """Return how many connections of each pool a process has out from before `first_s` until `last_s`.

    Those that a request or another unit of work left behind are leaks, and none of them. Of several processes
    the one with the most counts.
    """
    out: dict[str, Counter[int]] = defaultdict(Counter)
    for own in history.checkouts:
        kept = own.request_ended_s is None and own.lost is None
        if kept and own.taken_s <= first_s and (own.returned_s is None or own.returned_s >= last_s):
            out[own.pool][own.pid] += 1
    return {pool: max(processes.values()) for pool, processes in out.items()}
