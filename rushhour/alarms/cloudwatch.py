"""CloudWatch metric alarms in virtual time.

Sources: AWS, "Evaluating an alarm" (sliding windows, M out of N, evaluation range) and "Configuring how
CloudWatch alarms treat missing data" (tests/unit/test_alarms_cloudwatch.py holds every row of its tables).
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import field
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from rushhour.alarms.events import Firing, Kind, Notification, Replay
from rushhour.alarms.timeline import Metric, Timeline, spoken, sums
from rushhour.scenario.model import STRICT, PositiveSeconds

COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}
STANDARD_S: Final = 60.0  # periods from here on are evaluated once a minute, shorter ones every ten seconds
HIGH_RESOLUTION_S: Final = 10.0


class State(StrEnum):
    """An alarm's state."""

    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


@dataclass(frozen=True, slots=True, config=STRICT)
class Actions:
    """Who is told on entry into a state, from any other state."""

    alarm: tuple[str, ...] = ()
    ok: tuple[str, ...] = ()
    insufficient_data: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, config=STRICT)
class CloudWatchAlarm:
    """One metric alarm, named and valued as in `put-metric-alarm`.

    `gaps: missing` is a metric that is reported only where it is not zero, as load balancers report 5xx.
    `evaluation_range` is how many periods are looked at when some are missing; AWS does not tell the number,
    its example has two more than `evaluation_periods`. `renotify` is not CloudWatch's: it stands for a
    schedule that tells again while the alarm lasts.
    """

    name: str
    metric: Metric
    period: PositiveSeconds
    threshold: float
    statistic: Literal["sum", "average", "minimum", "maximum", "sample_count"] = "sum"
    comparison: Literal[">=", ">", "<=", "<"] = ">="
    evaluation_periods: Annotated[int, Field(ge=1)] = 1
    datapoints_to_alarm: Annotated[int, Field(ge=1)] | None = None  # None: all of them
    treat_missing_data: Literal["missing", "ignore", "breaching", "notBreaching"] = "missing"
    evaluation_range: Annotated[int, Field(ge=1)] | None = None  # None: evaluation_periods + 2
    windows: Literal["sliding", "wall-clock"] = "sliding"
    gaps: Literal["zero", "missing"] = "zero"
    renotify: PositiveSeconds | None = None
    actions: Actions = field(default_factory=Actions)
    description: str = ""
    system: Literal["cloudwatch"] = "cloudwatch"

    @property
    def needed(self) -> int:
        """M of `M out of N`."""
        return self.datapoints_to_alarm or self.evaluation_periods

    @property
    def range(self) -> int:
        """Periods in the evaluation range."""
        return max(self.evaluation_range or self.evaluation_periods + 2, self.evaluation_periods)

    @property
    def rule(self) -> str:
        many = f"{self.needed} of {self.evaluation_periods} " if self.evaluation_periods > 1 else ""
        again = f", again every {spoken(self.renotify)}" if self.renotify else ""
        return (
            f"{self.statistic} of {self.metric} {self.comparison} {self.threshold:g} in {many}"
            f"{spoken(self.period)}, missing data {self.treat_missing_data}{again}"
        )

    @property
    def settles_s(self) -> float:
        return self.period * self.range + self.every_s + (self.renotify or 0.0)

    @property
    def every_s(self) -> float:
        """Time between evaluations."""
        if self.windows == "wall-clock":
            return self.period
        return STANDARD_S if self.period >= STANDARD_S else HIGH_RESOLUTION_S

    def replay(self, timeline: Timeline) -> Replay:
        """From INSUFFICIENT_DATA, evaluated until all of the timeline has left the evaluation range."""
        points = _Points(self, timeline)
        state, told_s = State.INSUFFICIENT_DATA, 0.0
        notifications: list[Notification] = []
        firing = Firing()
        t_s = self.every_s
        while t_s <= timeline.seconds:
            window = [points.at(t_s - k * self.period) for k in range(self.range)]
            new = next_state(window, state, self.needed, self.evaluation_periods, self.treat_missing_data)
            if new is not state:
                state, told_s = new, t_s
                notifications += self._told(new, t_s)
            elif state is State.ALARM and self.renotify and t_s - told_s >= self.renotify:
                told_s = t_s
                notifications.append(Notification(t_s, Kind.REPEAT, self.actions.alarm))
            firing.at(t_s, state is State.ALARM)
            t_s += self.every_s
        return Replay(tuple(notifications), firing.ended(timeline.seconds))

    def _told(self, state: State, t_s: float) -> list[Notification]:
        kind, to = {
            State.ALARM: (Kind.ALARM, self.actions.alarm),
            State.OK: (Kind.RESOLVED, self.actions.ok),
            State.INSUFFICIENT_DATA: (Kind.NO_DATA, self.actions.insufficient_data),
        }[state]
        return [Notification(t_s, kind, to)] if to else []


class _Points:
    """Whether the period that ends at a moment breaches; None where the metric has no data."""

    def __init__(self, alarm: CloudWatchAlarm, timeline: Timeline) -> None:
        self._alarm = alarm
        self._values = timeline.series[alarm.metric]
        self._sums = sums(self._values)
        known = [value is not None and (value != 0 or alarm.gaps == "zero") for value in self._values]
        self._known = sums([float(one) for one in known])

    def at(self, end_s: float) -> bool | None:
        end, start = round(end_s), round(end_s - self._alarm.period)
        if end <= 0:
            return None  # before there was a service
        start = max(0, start)
        samples = self._known[end] - self._known[start]
        if not samples:
            return None
        return COMPARE[self._alarm.comparison](self._statistic(start, end, samples), self._alarm.threshold)

    def _statistic(self, start: int, end: int, samples: float) -> float:
        total = self._sums[end] - self._sums[start]
        match self._alarm.statistic:
            case "sum":
                return total
            case "average":
                return total / samples
            case "sample_count":
                return samples
        real = [value for value in self._values[start:end] if value is not None]
        if self._alarm.gaps == "missing":
            real = [value for value in real if value]
        return min(real) if self._alarm.statistic == "minimum" else max(real)


def next_state(
    newest_first: Sequence[bool | None], state: State, needed: int, periods: int, missing: str
) -> State:
    """The state after an evaluation. Each point says whether it breaches; None is missing."""
    real = [point for point in newest_first if point is not None]
    if not real:
        return {
            "missing": State.INSUFFICIENT_DATA,
            "ignore": state,
            "breaching": State.ALARM,
            "notBreaching": State.OK,
        }[missing]
    if len(real) >= periods:
        return State.ALARM if sum(real[:periods]) >= needed else State.OK
    breaching, filled = sum(real), periods - len(real)
    if breaching >= needed or (missing == "breaching" and breaching + filled >= needed):
        return State.ALARM
    if missing in ("breaching", "notBreaching") or breaching < len(real):
        return State.OK
    if missing == "ignore":
        return state
    # All real points breach, and they are too few. The oldest one decides: younger than M it may be the first
    # of a healthy row ("avoiding premature transitions to alarm state").
    oldest = max(age for age, point in enumerate(newest_first, 1) if point)
    return State.ALARM if oldest >= needed else state
