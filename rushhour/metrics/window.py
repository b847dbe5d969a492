"""Finds when the load of a run started, was measured and ended (pure)."""

import math
from dataclasses import dataclass

from rushhour.rundir import History
from rushhour.rundir import facts as f


@dataclass(frozen=True, slots=True)
class Window:
    """The phases of a run, in seconds since the run's anchor.

    The load runs from `load_started_s` to `load_ended_s`, when Locust stops the customers, and is measured
    from `measured_from_s`, when the warm-up ends. `end_s` ends the watch over connections that are still
    out. In a run that was cut short, the load ends at the last record of the load generator: later records
    are from stopping the service, which returns leaked connections.
    """

    load_started_s: float
    measured_from_s: float
    load_ended_s: float
    end_s: float
    of_start: bool = False  # the service did not start: no load, only the time in which pools were seen

    @property
    def first_second(self) -> int:
        """The first measured whole second."""
        return math.ceil(self.measured_from_s)

    @property
    def whole_seconds(self) -> int:
        """The number of measured whole seconds of the load, which rates are computed over."""
        return max(0, math.floor(self.load_ended_s) - self.first_second)

    def in_whole_second(self, second: int) -> bool:
        """Return whether the whole second is measured."""
        return self.first_second <= second < self.first_second + self.whole_seconds

    def measures(self, t_s: float) -> bool:
        """Return whether `t_s` is in the measured part of the load."""
        return self.measured_from_s <= t_s <= self.load_ended_s

    def after_warm_up(self, t_s: float) -> bool:
        """Return whether `t_s` is in the measured load or in the drain after it."""
        return self.measured_from_s <= t_s <= self.end_s


def find_window(history: History, warm_up_s: float) -> Window | None:
    """Find the phases of a run; None when the load never started and no pool was seen before it.

    For a service that did not start, the window is the time in which its pools were seen.
    """
    started_s = history.time_of(f.LOAD_STARTED)
    if started_s is None:
        return _of_start(history)
    series = (history.requests, history.generator, history.pools, history.servers, history.host)
    last_s = max((fact.t_s for facts in series for fact in facts), default=started_s)
    ended_s, end_s = history.time_of(f.LOAD_ENDED), history.time_of(f.DRAINED)
    if end_s is None:
        end_s = history.time_of(f.RUN_ENDED)
    if ended_s is None and end_s is None:
        # The rows of a second are written at its end.
        seconds = [row.t_s + 1.0 for row in history.requests]
        seconds += [sample.t_s + 1.0 for sample in history.generator]
        last_s = max(started_s, min(last_s, max(seconds, default=last_s)))
    if ended_s is None:
        ended_s = max(started_s, last_s)
    if end_s is None:
        end_s = max(ended_s, last_s)
    return Window(started_s, started_s + warm_up_s, ended_s, end_s)


def start_failed(history: History) -> bool:
    """Return whether the stack broke before it was up, after the agent saw pools of the service."""
    return (
        history.event(f.STACK_BROKE) is not None
        and history.time_of(f.STACK_UP) is None
        and history.time_of(f.LOAD_STARTED) is None
        and bool(history.pools)
    )


def _of_start(history: History) -> Window | None:
    if not start_failed(history):
        return None
    times_s = [sample.t_s for sample in history.pools]
    first_s = min([*times_s, *(process.t_s for process in history.processes)])
    last_s = max(times_s)
    return Window(first_s, first_s, last_s, last_s, of_start=True)
