"""What a step of the search is, and what the search found (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import TypeAdapter

# holds: every threshold held; gives: one was violated; leaks: connections did not come back; generator: the
# load generator could not keep the rate; unknown: the run says nothing.
Outcome = Literal["holds", "gives", "leaks", "generator", "unknown"]


@dataclass(frozen=True, slots=True)
class Resource:
    """A part that can give way, and the share of it that was used (1.0: all of it)."""

    name: str  # "CPU of the replica"
    share: float
    evidence: str  # "0.69 of 0.70 cores"
    level: int = 0  # among parts that are used up, the highest is the root: a server makes its callers wait


@dataclass(frozen=True, slots=True)
class Step:
    """A run at one rate of arrivals, as its run directory shows it. Rates are customers a second."""

    rate: float
    outcome: Outcome
    run: str  # the name of the run directory
    reasons: tuple[str, ...]  # of its verdict
    sure: float | None = None  # probability that another run has the same outcome; None: not known
    requests_per_s: float | None = None
    arrived_per_s: float | None = None
    present: float | None = None  # customers at once, on average
    p95_ms: float | None = None
    tightest: str = ""  # the threshold with the smallest margin, as "p95 < 1s: 412 ms"
    used: float | None = None  # of that threshold's bound: 0.41; above 1 it is violated
    pool: str | None = None  # the fullest pool
    pool_in_use: int | None = None
    pool_capacity: int | None = None
    wait_p99_ms: float | None = None
    timeouts: int | None = None
    resources: tuple[Resource, ...] = ()  # the most used first
    cause: str = "none"  # of the diagnosis
    site: str | None = None  # the line that the diagnosis names: "app/referrals.py:88 list_referrals"
    steady: bool | None = None  # whether as many customers left as arrived
    cpu_ms: float | None = None  # of the service, per request that it answered


@dataclass(frozen=True, slots=True)
class Knee:
    """What the search found. `low` and `high` bracket the knee: `low` holds, and `high` gives."""

    kind: Literal["knee", "at least", "below", "leak", "unknown"]
    low: float | None = None
    high: float | None = None
    low_votes: tuple[int, int] = (0, 0)  # steps at `low` that held, of all
    high_votes: tuple[int, int] = (0, 0)  # steps at `high` that gave way, of all
    why: str = ""  # why it ended without a knee
    cut_short: bool = False  # more steps were to come

    @property
    def confirmed(self) -> bool:
        """Whether repeats agreed: on both sides of a knee, and below a limit of something else."""
        if self.kind == "at least":
            return self.low_votes[0] >= CONFIRMED
        return self.kind == "knee" and min(self.low_votes[0], self.high_votes[0]) >= CONFIRMED

    @property
    def rate(self) -> float | None:
        """The highest rate at which every threshold was seen to hold."""
        return self.low


@dataclass(frozen=True, slots=True)
class Earlier:
    """The knee that the search before found, of the same release under the same conditions."""

    run: str  # the name of its folder
    low: float
    high: float
    cpu_ms: float | None  # of the service, per request, at `low`


CONFIRMED = 2  # steps with the same outcome on each side


@dataclass(frozen=True, slots=True)
class Search:
    """capacity.json: the steps of a release, in order, and what they show."""

    scenario: str
    release: str
    stack: str
    steps: tuple[Step, ...]
    knee: Knee
    think_time_s: float | None  # that was used; None: the locustfile does not read it
    scenario_think_time_s: float
    step_s: float
    interrupted: bool = False
    earlier: Earlier | None = None


SEARCHES: Final = TypeAdapter(tuple[Search, ...])  # capacity.json


def at(steps: Sequence[Step], rate: float | None) -> tuple[Step, ...]:
    """Return the steps at a rate."""
    return tuple(step for step in steps if step.rate == rate)


def held(search: Search) -> tuple[Step, ...]:
    """Return the steps that held at the highest rate that did."""
    return tuple(step for step in at(search.steps, search.knee.low) if step.outcome == "holds")
