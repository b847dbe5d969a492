"""Finds the seconds of a run in which the service was well: they say what customers ask of it (pure)."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Final

from rushhour.errors import InsufficientDataError
from rushhour.metrics.window import find_window
from rushhour.metrics.wording import counted
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.scenario.model import Scenario

FEWEST_SECONDS: Final = 5
FEW_CROWDED: Final = 0.2  # of the seconds: as many may be a burst, more are how the service runs
_PERIOD_S: Final = 0.5  # call sites and histograms are written about once a second, of the second before


@dataclass(frozen=True, slots=True)
class HealthySeconds:
    """The healthy whole seconds of a run, in seconds since its anchor.

    In those of `full` a pool was full all the time, and nothing else was wrong: they say when customers act
    together, and no more.
    """

    seconds: frozenset[int]
    full: frozenset[int] = frozenset()

    def holds(self, t_s: float) -> bool:
        """Return whether the moment lies in a healthy second."""
        return int(t_s) in self.seconds

    def second_of_period(self, t_s: float) -> int:
        """Return the second that a record written at `t_s` is mostly of."""
        return int(t_s - _PERIOD_S)

    def holds_period(self, t_s: float) -> bool:
        return self.second_of_period(t_s) in self.seconds

    def customers(self, history: History) -> dict[int, int]:
        """Return the customers in each healthy or full second, over all workers of the generator."""
        found = Counter[int]()
        for sample in history.generator:
            if sample.t_s in self.seconds or sample.t_s in self.full:
                found[sample.t_s] += sample.users
        return dict(found)

    def sent(self, history: History) -> dict[int, int]:
        """Return the requests that were sent in each healthy or full second."""
        found = Counter[int]()
        for sample in history.generator:
            if sample.t_s in self.seconds or sample.t_s in self.full:
                found[sample.t_s] += sample.started
        return dict(found)


def healthy_seconds(run: str, scenario: Scenario, history: History) -> HealthySeconds:
    """Find the healthy seconds: after the warm-up and during the load, before any fault of a server.

    In a healthy second no pool time-out is raised, no request fails, and no pool is full all the time. Raises
    InsufficientDataError if the run had no agent, no load or fewer than `FEWEST_SECONDS` of them.
    """
    if not history.pools:
        raise InsufficientDataError(
            f"{run}: no pool was seen, because the run had no agent or the service no pool; "
            "run it without --no-agent"
        )
    window = find_window(history, scenario.load.warm_up)
    if window is None or window.of_start or not window.whole_seconds:
        raise InsufficientDataError(f"{run}: no load was measured after the warm-up; run it longer")
    if not history.requests or not any(sample.started for sample in history.generator):
        raise InsufficientDataError(f"{run}: no request of a customer was recorded; run it again")
    first_fault_s = min(
        (event.t_s for event in history.events if event.name == f.FAULT), default=window.load_ended_s
    )
    ill = {int(timeout.t_s) for timeout in history.pool_timeouts}
    ill |= {row.t_s for row in history.requests if row.count and row.outcome in f.FAILURES}
    measured = range(window.first_second, window.first_second + window.whole_seconds)
    well = frozenset(second for second in measured if second + 1 <= first_fault_s and second not in ill)
    full = well & _full_seconds(history)
    seconds = well - full
    if len(seconds) < FEWEST_SECONDS:
        raise InsufficientDataError(
            f"{run}: {counted(len(seconds), 'second')} of {len(measured)} measured were healthy (no pool "
            f"full all the time, no time-out, no failed request), and at least {FEWEST_SECONDS} are needed: "
            "run the scenario with fewer customers, or longer"
        )
    return HealthySeconds(seconds, full)


def without_crowded(healthy: HealthySeconds, history: History) -> HealthySeconds:
    """Count seconds in which a pool was full at a time, and those after them, as full if they are few.

    A burst fills a pool for a moment: then holds are longer than at other times, and check-outs wait.
    """
    at_times = {
        int(sample.t_s)
        for sample in history.pools
        if sample.capacity is not None and sample.checked_out >= sample.capacity
    }
    crowded = healthy.seconds & {second + after for second in at_times for after in (0, 1)}
    rest = healthy.seconds - crowded
    everything = len(healthy.seconds) + len(healthy.full)
    if len(rest) < FEWEST_SECONDS or len(crowded) + len(healthy.full) > FEW_CROWDED * everything:
        return healthy
    return HealthySeconds(rest, healthy.full | crowded)


def _full_seconds(history: History) -> set[int]:
    """Return the seconds in which a pool was full in all of its samples."""
    full: dict[tuple[int, int, str], bool] = defaultdict(lambda: True)
    for sample in history.pools:
        key = (int(sample.t_s), sample.pid, sample.pool)
        full[key] = full[key] and sample.capacity is not None and sample.checked_out >= sample.capacity
    return {second for (second, _, _), was_full in full.items() if was_full}
