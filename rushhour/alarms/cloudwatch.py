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
from rushhour.alarms.maths import Maths, MathsError, checked
from rushhour.alarms.points import Gaps, MetricStat, Points, Samples, Statistic
from rushhour.alarms.timeline import Metric, Timeline, spoken
from rushhour.scenario.durations import PositiveSeconds
from rushhour.scenario.model import STRICT

COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}
STANDARD_S: Final = 60.0  # periods from here on are evaluated once a minute, shorter ones every ten seconds
HIGH_RESOLUTION_S: Final = 10.0
HOUR_S: Final = 3600.0
DAY_S: Final = 86_400.0
WEEK_S: Final = 604_800.0
MOST_PERIODS: Final = 10_000  # a day has 8,640 of the shortest


def wrong_period(period_s: float) -> str | None:
    """Return what is wrong with a period, in words; None for a period that CloudWatch has."""
    if period_s in (10, 20, 30) or (period_s > 0 and not period_s % 60):
        return None
    return f"{period_s:g} s: CloudWatch has 10 s, 20 s, 30 s and whole minutes"


class State(StrEnum):
    """An alarm's state."""

    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


@dataclass(frozen=True, slots=True, config=STRICT)
class Actions:
    """Who is notified on entry into a state, from any other state."""

    alarm: tuple[str, ...] = ()
    ok: tuple[str, ...] = ()
    insufficient_data: tuple[str, ...] = ()

    def on(self, state: State, t_s: float) -> list[Notification]:
        """Return who is notified on entry into a state."""
        kind, to = {
            State.ALARM: (Kind.ALARM, self.alarm),
            State.OK: (Kind.RESOLVED, self.ok),
            State.INSUFFICIENT_DATA: (Kind.NO_DATA, self.insufficient_data),
        }[state]
        return [Notification(t_s, kind, to)] if to else []


@dataclass(frozen=True, slots=True, config=STRICT)
class CloudWatchAlarm:
    """One metric alarm, named and valued as in `put-metric-alarm`.

    It watches a `metric`, or an `expression` of plain arithmetic over `metrics` and `expressions` by id.
    `gaps: missing` is a metric that is reported only where it is not zero, as load balancers report 5xx.
    `evaluation_range` is how many periods are looked at when some are missing; AWS does not publish it;
    its example has two more than `evaluation_periods`. `renotify` is not CloudWatch's: it stands for a
    schedule that notifies again while the alarm lasts.
    """

    name: str
    period: PositiveSeconds
    threshold: float
    metric: Metric | None = None
    expression: str = ""
    expressions: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, MetricStat] = field(default_factory=dict)
    statistic: Statistic = "sum"
    comparison: Literal[">=", ">", "<=", "<"] = ">="
    evaluation_periods: Annotated[int, Field(ge=1)] = 1
    datapoints_to_alarm: Annotated[int, Field(ge=1)] | None = None  # None: all of them
    treat_missing_data: Literal["missing", "ignore", "breaching", "notBreaching"] = "missing"
    evaluation_range: Annotated[int, Field(ge=1, le=MOST_PERIODS)] | None = (
        None  # None: evaluation_periods + 2
    )
    windows: Literal["sliding", "wall-clock"] = "sliding"
    gaps: Gaps = "zero"
    samples: Samples = "seconds"
    times: float = 1.0
    part_of: Metric | None = None
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
        what = self.expression or f"{self.statistic} of {self.metric}"
        return (
            f"{what} {self.comparison} {self.threshold:g} in {many}"
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

    def lacking(self, timeline: Timeline) -> str:
        """Return why the timeline cannot show what it would do; empty if it can."""
        missing = sorted({name for stat in self._stats().values() for name in stat.lacking(timeline)})
        return f"the timeline holds no {', no '.join(missing)}" if missing else ""

    def states(self, timeline: Timeline) -> list[tuple[float, State]]:
        """Return its state at each evaluation, from INSUFFICIENT_DATA on, while the timeline lasts."""
        point = self._point(timeline)
        known: dict[float, bool | None] = {}
        state, found, t_s = State.INSUFFICIENT_DATA, [], self.every_s
        while t_s <= timeline.seconds:
            ends = [t_s - k * self.period for k in range(self.range)]
            for end_s in ends:
                if end_s not in known:
                    known[end_s] = self._breaches(point(end_s))
            window = [known[end_s] for end_s in ends]
            state = next_state(window, state, self.needed, self.evaluation_periods, self.treat_missing_data)
            found.append((t_s, state))
            t_s += self.every_s
        return found

    def replay(self, timeline: Timeline) -> Replay:
        """Replay the alarm: whom it notifies and when; unknown if the timeline lacks what it watches."""
        if why := self.lacking(timeline):
            return Replay((), (), unknown=why)
        state, told_s = State.INSUFFICIENT_DATA, 0.0
        notifications: list[Notification] = []
        firing = Firing()
        for t_s, new in self.states(timeline):
            if new is not state:
                state, told_s = new, t_s
                notifications += self.actions.on(new, t_s)
            elif state is State.ALARM and self._tells_again(t_s - told_s):
                told_s = t_s
                notifications.append(Notification(t_s, Kind.REPEAT, self.actions.alarm))
            firing.at(t_s, state is State.ALARM)
        return Replay(tuple(notifications), firing.ended(timeline.seconds))

    def _tells_again(self, since_s: float) -> bool:
        return bool(self.renotify and self.actions.alarm and since_s >= self.renotify)

    def wrong(self) -> list[str]:
        """Return the contradictions between its fields."""
        if (self.metric is None) == (not self.expression):
            return ["needs `metric`, or `expression` with `metrics`, and not both"]
        if why := looks_back_too_far(self.period, self.evaluation_periods):
            return [why]
        try:
            self._maths()
        except MathsError as error:
            return [str(error)]
        return []

    def _maths(self) -> dict[str, Maths]:
        return checked(self.expression, self.expressions, frozenset(self.metrics)) if self.expression else {}

    def _stats(self) -> dict[str, MetricStat]:
        """Return the metrics that it reads, by id; "" is that of an alarm without maths."""
        if self.metric is not None:
            stat = MetricStat(self.metric, self.statistic, self.gaps, self.samples, self.times, self.part_of)
            return {"": stat}
        read = {name for maths in self._maths().values() for name in maths.names}
        return {name: stat for name, stat in self.metrics.items() if name in read}

    def _point(self, timeline: Timeline) -> Callable[[float], float | None]:
        points = {name: Points(stat, timeline, self.period) for name, stat in self._stats().items()}
        if self.metric is not None:
            return points[""].at
        maths = self._maths()

        def point(end_s: float) -> float | None:
            known: dict[str, float | None] = {}  # what several expressions read is evaluated once

            def value(name: str) -> float | None:
                if name not in known:
                    known[name] = points[name].at(end_s) if name in points else maths[name].value(value)
                return known[name]

            return value("") if end_s > 0 else None

        return point

    def _breaches(self, value: float | None) -> bool | None:
        return None if value is None else COMPARE[self.comparison](value, self.threshold)


def looks_back_too_far(period_s: float, periods: float) -> str:
    """Return why CloudWatch refuses so many periods; empty if it takes them."""
    most_s, words = (WEEK_S, "a week") if period_s >= HOUR_S else (DAY_S, "a day")
    if period_s * periods <= most_s:
        return ""
    return (
        f"{periods:,.0f} periods of {period_s:g} s are more than {words}, the most that CloudWatch looks back"
    )


def next_state(
    newest_first: Sequence[bool | None], state: State, needed: int, periods: int, missing: str
) -> State:
    """Return the state after an evaluation. Each point says whether it breaches; None is missing."""
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
