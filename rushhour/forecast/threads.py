"""Finds how many threads of a process a run shows, at least (pure)."""

import math
from collections import defaultdict
from collections.abc import Mapping

from rushhour.forecast.leaks import Leak
from rushhour.rundir import History
from rushhour.scenario.model import Scenario

NEARLY_WHOLE = 0.1  # check-outs and requests are not counted at the same moments


def threads_of(scenario: Scenario) -> int | None:
    """Return the threads of a process, if the scenario passes them to the service."""
    target, service = scenario.target, scenario.service
    given = f"{target.command} {service.arguments} {' '.join(target.environment.values())}"
    return service.threads if "{threads}" in given or target.app else None


def near_whole(per_request: float) -> float:
    """Round to a whole number that is near: check-outs and requests are not counted at the same moments."""
    nearest = round(per_request)
    close = nearest and abs(per_request - nearest) <= NEARLY_WHOLE * nearest
    return float(nearest) if close else per_request


def threads_seen(history: History, each: Mapping[str, int], leak: Leak | None = None) -> int:
    """Return how many threads a process had at work at the same time, at least; 0: the run does not say.

    A thread serves a request at a time. `each` is how many connections of a pool a request has at once, at
    most; a pool that not only requests take from is left out. Connections that are out all the time are none
    of requests, and those that a `leak` left with a thread are one of each.
    """
    out: dict[tuple[int, str], list[int]] = defaultdict(list)
    for sample in history.pools:
        if sample.pool in each:
            out[sample.pid, sample.pool].append(sample.checked_out - sample.leaked + sample.waiting)
    at_work = [math.ceil((max(own) - min(own)) / each[pool]) for (_, pool), own in out.items()]
    kept = 0 if leak is None or leak.kinds != ("thread",) else threads_keeping(history, leak)
    return max([*at_work, kept])


def threads_keeping(history: History, leak: Leak) -> int:
    """Return how many threads of a process kept a connection of the leak until the end, at most."""
    keeping: dict[int, set[str]] = defaultdict(set)
    for own in history.checkouts:
        alive = own.returned_s is None and own.lost != "owner-ended"
        if alive and own.endpoint is not None and (own.pool, own.site) == (leak.pool, leak.site):
            keeping[own.pid].add(own.thread)
    return max(map(len, keeping.values()), default=0)
