"""How a release leaks, from the diagnosis of a run; and when steady demand has used more threads (pure).

A leak per thread is bounded: a session that is kept for each thread keeps at most one connection for each
thread that ever served the endpoint, so the pool is gone once more threads than connections have. A leak per
path is not: each request of the endpoint loses a connection with the same chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Literal

from rushhour.diagnosis import Diagnosis, scope_never_removed, unclosed_path
from rushhour.diagnosis.leaks import LeakSignals
from rushhour.diagnosis.sites import plain_endpoint
from rushhour.rundir import facts as f

LEAKS: Final = (scope_never_removed.CAUSE, unclosed_path.CAUSE)

NOT_FROM_CUSTOMERS: Final = (
    "slow-or-dead-backend",
    "server-limit",
    "fork-shared",
    "abandoned-stream",
    "blocked-worker",
)
MOST_AT_WORK: Final = 2_000
_NEGLIGIBLE: Final = 1e-12

Kind = Literal["thread", "path", "dropped"]


@dataclass(frozen=True, slots=True)
class Leak:
    """A leak that a run showed."""

    cause: str
    pool: str
    site: f.CallSite
    endpoint: str | None
    kinds: tuple[Kind, ...]  # more than one: the run cannot tell which
    leaked: int  # connections that were still out, or came back by garbage collection alone
    requests: int  # of the endpoint that took a connection there and have ended
    per_s: float = 0.0  # of one process, where units of work other than requests leak
    eager: bool = False  # the process starts all its threads beforehand: they are used in turn from the start

    def is_of(self, endpoint: str) -> bool:
        """Whether requests of this endpoint, as the customers spell it, leak."""
        return self.endpoint is not None and plain_endpoint(self.endpoint) == plain_endpoint(endpoint)

    def lost_after_s(self, capacity: int, dice: Random) -> float:
        """Draw when a process has lost so many connections, at the rate of the run."""
        per_s = dice.gammavariate(self.leaked + 0.5, 1.0) / (self.leaked + 0.5) * self.per_s
        return dice.gammavariate(capacity, 1.0) / per_s

    def chance(self, dice: Random) -> float:
        """Draw the chance that a check-out there leaks, as it may be after so many that did.

        A draw of the Beta distribution of Jeffreys' prior.
        """
        lost = min(self.leaked, self.requests)
        return dice.betavariate(lost + 0.5, self.requests - lost + 0.5)


def leak_of(diagnosis: Diagnosis, signals: LeakSignals | None) -> Leak | None:
    """Return the leak that the diagnosis names; None if it names none."""
    if signals is None or diagnosis.cause not in LEAKS or not (signals.leaked or signals.collected):
        return None
    kinds: tuple[Kind, ...] = ("path",)
    if not signals.leaked or signals.dropped:
        kinds = ("dropped",)
    elif signals.one_per_thread and signals.spans_requests:
        kinds = ("thread",)
    elif signals.one_per_thread and signals.spans_requests is None:
        kinds = ("thread", "path")
    return Leak(
        cause=diagnosis.cause,
        pool=signals.pool,
        site=signals.site,
        endpoint=signals.endpoint,
        kinds=kinds,
        leaked=signals.leaked + signals.collected,
        requests=max(signals.checkouts or 0, signals.outlived, signals.leaked),
    )


def hazard_per_s(rate_per_s: float, busy_s: float, cores: float, cpu_share: float, level: int) -> float:
    """Return how often so many requests come to be at work in a process at the same time, per second.

    Requests arrive by a Poisson process, and share the CPU evenly. The number at work is then a birth-death
    process whose equilibrium depends on the mean time of a request alone (Kelly, Reversibility and Stochastic
    Networks, 1979, on symmetric queues): pi(n) is proportional to the product of rate / completions(i). The
    level is reached as often as an arrival finds one request less (arrivals see time averages).
    """
    if rate_per_s <= 0 or busy_s <= 0:
        return 0.0
    load = rate_per_s * busy_s
    weight, total, before = 1.0, 1.0, 0.0
    for at_work in range(1, MOST_AT_WORK):
        if at_work == level:
            before = weight
        stretched = cpu_share * max(1.0, at_work * cpu_share / cores) + (1 - cpu_share)
        weight *= load * stretched / at_work
        total += weight
        if at_work >= level and (weight < total * _NEGLIGIBLE or weight > 1 / _NEGLIGIBLE):
            break
        if at_work < level and weight < _NEGLIGIBLE * _NEGLIGIBLE:
            return 0.0
    return rate_per_s * before / total


def first_reached_s(hazards: Sequence[tuple[float, float, float]], dice: Random) -> float | None:
    """Draw when a level is first reached, from (start, end, hazard) of successive times; None: never."""
    left = dice.expovariate(1.0)
    for start_s, end_s, hazard in hazards:
        gone = hazard * (end_s - start_s)
        if gone >= left and hazard > 0:
            return start_s + left / hazard
        left -= gone
    return None
