"""When a run's load began, was measured, and ended (pure)."""

import math
from dataclasses import dataclass

from rushhour.rundir import History
from rushhour.rundir import facts as f


@dataclass(frozen=True, slots=True)
class Window:
    """Times of a run, in seconds since its anchor.

    The load runs from `load_started_s` to `load_ended_s` (when customers were told to stop) and is measured
    from `measured_from_s`, when the warm-up is over. `end_s` is the end of the watch over what is still held.
    In a run that was cut short the load ended when its generator was last seen; stopping the service, which
    gives back what had leaked, came later.
    """

    load_started_s: float
    measured_from_s: float
    load_ended_s: float
    end_s: float
    of_start: bool = (
        False  # there was no load: the service did not start, and this is when its pools were seen
    )

    @property
    def first_second(self) -> int:
        """The first whole second that is measured."""
        return math.ceil(self.measured_from_s)

    @property
    def whole_seconds(self) -> int:
        """How many whole seconds of the load are measured; rates are counts over these."""
        return max(0, math.floor(self.load_ended_s) - self.first_second)

    def in_whole_second(self, second: int) -> bool:
        """Whether a whole second is measured."""
        return self.first_second <= second < self.first_second + self.whole_seconds

    def measures(self, t_s: float) -> bool:
        """Whether a moment is in the measured part of the load."""
        return self.measured_from_s <= t_s <= self.load_ended_s

    def after_warm_up(self, t_s: float) -> bool:
        """Whether a moment is measured, or in the drain after the load: its requests began before."""
        return self.measured_from_s <= t_s <= self.end_s


def find_window(history: History, warm_up_s: float) -> Window | None:
    """None when the load never started; of a service that did not start, while its pools were seen."""
    started_s = history.time_of(f.LOAD_STARTED)
    if started_s is None:
        return _of_start(history)
    series = (history.requests, history.generator, history.pools, history.servers, history.host)
    last_s = max((fact.t_s for facts in series for fact in facts), default=started_s)
    ended_s, end_s = history.time_of(f.LOAD_ENDED), history.time_of(f.DRAINED)
    if end_s is None:
        end_s = history.time_of(f.RUN_ENDED)
    if ended_s is None and end_s is None:
        # Rows of a second are written at its end.
        seconds = [row.t_s + 1.0 for row in history.requests]
        seconds += [sample.t_s + 1.0 for sample in history.generator]
        last_s = max(started_s, min(last_s, max(seconds, default=last_s)))
    if ended_s is None:
        ended_s = max(started_s, last_s)
    if end_s is None:
        end_s = max(ended_s, last_s)
    return Window(started_s, started_s + warm_up_s, ended_s, end_s)


def start_failed(history: History) -> bool:
    """Whether the stack broke before it was up, and the agent saw pools of the service until then."""
    return (
        history.event(f.STACK_BROKE) is not None
        and history.time_of(f.STACK_UP) is None
        and history.time_of(f.LOAD_STARTED) is None
        and bool(history.pools)
    )


def _of_start(history: History) -> Window | None:
    if not start_failed(history):
        return None
    first_s, last_s = (of(one.t_s for one in history.pools) for of in (min, max))
    first_s = min([first_s, *(one.t_s for one in history.processes)])
    return Window(first_s, first_s, last_s, last_s, of_start=True)
