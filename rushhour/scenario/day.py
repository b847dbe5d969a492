"""The course of a day, as `production:` and `--day` write it (pure)."""

import math
import re
from bisect import bisect_right
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

from rushhour.scenario.durations import seconds_of
from rushhour.scenario.shapes import SHAPES, points_of, pushes

DAY_S: Final = 86_400.0
STEADY_S: Final = 86_400.0  # without a curve, the peak lasts for a day
SHORTEST_S: Final = 1.0
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2})")
_SHARE: Final = re.compile(r"(\d+(?:\.\d+)?)%")
EXAMPLES: Final = "'rush-hour over 75s' or '07:00 10%, 18:00 100%, 18:30 push 20%, 22:00 5%'"


@dataclass(frozen=True, slots=True)
class Push:
    """A push notification: `share` of the waiting customers act on it at once; None: as in the run."""

    at_s: float
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Day:
    """The course of a day: the share of the customers that are present, piecewise linear.

    Times are seconds since the first point. `starts_s` is the time of day of the first point, or None if the
    curve has no clock.
    """

    points: tuple[tuple[float, float], ...]
    pushes: tuple[Push, ...] = ()
    starts_s: float | None = None
    text: str = ""

    @property
    def length_s(self) -> float:
        return self.points[-1][0]

    def share_at(self, t_s: float) -> float:
        """Return the share of the customers that are present at `t_s`."""
        right = bisect_right(self.points, t_s, key=itemgetter(0))
        if right == 0:
            return self.points[0][1]
        if right == len(self.points):
            return self.points[-1][1]
        (t0, y0), (t1, y1) = self.points[right - 1], self.points[right]
        return y0 + (y1 - y0) * (t_s - t0) / (t1 - t0)

    def clock_at(self, t_s: float) -> str | None:
        """Return the time of day at `t_s`: `18:31`; None for a curve without a clock."""
        return None if self.starts_s is None else clock_of(self.starts_s + t_s)


def clock_of(time_s: float) -> str:
    """Return a time of day in seconds since midnight as `18:31`."""
    minutes = int(time_s % DAY_S // 60)
    return f"{minutes // 60:02}:{minutes % 60:02}"


def steady_day() -> Day:
    """Return the curve of a day on which all customers stay."""
    return Day(((0.0, 1.0), (STEADY_S, 1.0)))


def parse_day(text: str) -> Day:
    """Parse the curve of a day. Raises ValueError, which names the part that is wrong.

    `SHAPE over DURATION`, as in `rush-hour over 75s`, or points separated by commas or new lines: a time
    (`18:30`, or `90s` since the start) and a share of the customers (`40%`), or `push` and a share of the
    waiting customers, who all act then.
    """
    words = text.split()
    if words and words[0] in SHAPES:
        return _of_shape(words, text)
    parts = [part.strip() for part in re.split(r"[,\n]", text) if part.strip()]
    points: list[tuple[float, float]] = []
    sudden: list[Push] = []
    clocks: set[bool] = set()
    last_s = -math.inf
    for part in parts:
        found = re.fullmatch(r"(\S+)\s+(push\s+)?(\S+)", part)
        share = _SHARE.fullmatch(found[3]) if found else None
        if found is None or share is None:
            raise ValueError(f"{part!r} is not a time and a share; write {EXAMPLES}")
        at_s, clock = _time_of(found[1])
        clocks.add(clock)
        if points and at_s == points[-1][0] and not found[2]:
            raise ValueError(
                f"{part!r} stands at the time of the point before it; for a jump, write it a moment later"
            )
        if at_s < last_s:
            over = "; past midnight, write times since the start: 0s 10%, 4h 100%" if clock else ""
            raise ValueError(
                f"{part!r} does not come after the point before it; write them in order of time{over}"
            )
        last_s = at_s
        if float(share[1]) > 100:
            raise ValueError(f"{part!r}: a share is at most 100%")
        if found[2]:
            sudden.append(Push(at_s, float(share[1]) / 100))
        else:
            points.append((at_s, float(share[1]) / 100))
    if len(clocks) > 1:
        raise ValueError(f"{text!r} mixes times of day and durations; write either")
    if len(points) < 2:
        raise ValueError(f"{text!r} has fewer than two points; write {EXAMPLES}")
    if not any(share for _, share in points):
        raise ValueError(f"{text!r} has no customers at any time")
    first_s = points[0][0]
    _check_length(points[-1][0] - first_s, text)
    if outside := [push for push in sudden if not first_s <= push.at_s <= points[-1][0]]:
        at = clock_of(outside[0].at_s) if True in clocks else f"{outside[0].at_s:g} s"
        raise ValueError(
            f"{text!r}: the push at {at} is before the first point or after the last; write a point on "
            f"either side of it: {EXAMPLES}"
        )
    return Day(
        tuple((at_s - first_s, share) for at_s, share in points),
        tuple(Push(push.at_s - first_s, push.share) for push in sudden),
        first_s if clocks == {True} else None,
        text,
    )


def _of_shape(words: list[str], text: str) -> Day:
    if len(words) != 3 or words[1] != "over":
        raise ValueError(f"{text!r}: say how long the shape lasts: '{words[0]} over 75s'")
    length_s = seconds_of(words[2])
    _check_length(length_s, text)
    return day_of_shape(words[0], length_s, text)


def _check_length(length_s: float, text: str) -> None:
    """Raise ValueError for a day in which hardly anybody would ask for anything: it would always hold."""
    if length_s < SHORTEST_S:
        raise ValueError(f"{text!r}: a day of {length_s:g} s is too short; at least {SHORTEST_S:g} s")


def day_of_shape(shape: str, length_s: float, text: str = "") -> Day:
    """Return a shape of a load as the curve of a day. Raises KeyError for an unknown shape."""
    points: list[tuple[float, float]] = []
    for part, share in points_of(shape):
        at_s = part * length_s
        # A jump becomes a short slope, because a curve has one share at each time.
        points.append((at_s + length_s * 1e-6 if points and at_s <= points[-1][0] else at_s, share))
    return Day(tuple(points), tuple(Push(at_s) for at_s in pushes(shape, length_s)), None, text)


def _time_of(text: str) -> tuple[float, bool]:
    """Return seconds, and whether they are a time of day."""
    if clock := _CLOCK.fullmatch(text):
        hours, minutes = int(clock[1]), int(clock[2])
        if hours > 24 or minutes > 59 or hours * 60 + minutes > 1440:
            raise ValueError(f"{text!r} is not a time of day")
        return hours * 3600.0 + minutes * 60.0, True
    return seconds_of(text), False
