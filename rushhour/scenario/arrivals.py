"""The rate at which customers arrive: a constant such as `40/s`, or a curve of rates (pure)."""

import math
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import pairwise
from typing import Any, Final

from pydantic.dataclasses import dataclass

from rushhour.scenario.durations import seconds_of

MOST_PER_S: Final = 2000.0  # customers a second that one process of Locust may be asked to start
_PER_S: Final = {"s": 1.0, "min": 60.0, "h": 3600.0}
_RATE: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*/\s*(?P<unit>s|min|h)")


@dataclass(frozen=True, slots=True)
class RatePoint:
    """A point of the curve: from `at_s` seconds after the load's start, `per_s` customers a second arrive."""

    at_s: float
    per_s: float


Rates = tuple[RatePoint, ...]  # linear between two points, constant after the last


def parse_arrivals(value: Any) -> Rates | None:
    """Parse `40/s`, `[[0s, 10/s], [60s, 40/s]]`, or the points of a scenario.json.

    Raises ValueError with the value and what is allowed.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return _checked((RatePoint(0.0, rate_of(value)),))
    if not isinstance(value, Sequence) or not value:
        raise ValueError(f"{value!r} is not a rate; {_HOW}")
    return _checked(tuple(_point(part) for part in value))


_HOW: Final = "write `40/s`, or a curve of rates as in `[[0s, 10/s], [60s, 40/s]]`"


def rate_of(value: object) -> float:
    """Return the customers a second of a rate such as `40/s`, `90/min` or `7200/h`. Raises ValueError."""
    parts = _RATE.fullmatch(str(value).strip())
    if parts is None:
        raise ValueError(
            f"{value!r} is not a rate; write a number above 0 a second, as in 40/s (or /min, /h)"
        )
    return float(parts["number"]) / _PER_S[parts["unit"]]


@dataclass(frozen=True, slots=True)
class CapacityBound:
    """The rate that a scenario's service has to carry, as in `>= 60/s`."""

    expr: str
    per_s: float


_BOUND: Final = re.compile(r">=\s*(?P<rate>\S.*)")


def parse_capacity(value: Any) -> CapacityBound | None:
    """Parse `>= 60/s`, or a bound read back from scenario.json. Raises ValueError otherwise."""
    if value is None or isinstance(value, CapacityBound):
        return value
    if isinstance(value, Mapping) and set(value) == {field.name for field in fields(CapacityBound)}:
        value = value["expr"]
    parts = _BOUND.fullmatch(value.strip()) if isinstance(value, str) else None
    if parts is None:
        raise ValueError(f"{value!r} is not a capacity; write the least rate that is enough, as in `>= 60/s`")
    per_s = rate_of(parts["rate"])
    if not 0 < per_s < math.inf:
        raise ValueError(
            f"{value!r} always holds, so it checks nothing; write a rate above 0, as in `>= 60/s`"
        )
    return CapacityBound(value.strip(), per_s)


def _point(part: Any) -> RatePoint:
    if isinstance(part, RatePoint):
        return part
    if isinstance(part, Mapping):  # read back
        if set(part) != {field.name for field in fields(RatePoint)}:
            raise ValueError(f"{dict(part)!r} is not a point of a curve; {_HOW}")
        return RatePoint(**part)
    if isinstance(part, str) or not isinstance(part, Sequence) or len(part) != 2:
        raise ValueError(f"{part!r} is not a point of a curve; {_HOW}")
    at, rate = part
    return RatePoint(0.0 if at == 0 and not isinstance(at, bool) else seconds_of(at), rate_of(rate))


def _checked(points: Rates) -> Rates:
    if not all(math.isfinite(point.at_s) and 0 <= point.per_s < math.inf for point in points):
        raise ValueError("the points of the curve must be finite, and no rate below 0")
    if points[0].at_s != 0:
        raise ValueError(f"the curve begins at {points[0].at_s:g} s; its first point must be at 0s")
    for before, after in pairwise(points):
        if after.at_s < before.at_s:
            raise ValueError(
                f"{after.at_s:g} s stands after {before.at_s:g} s; write the points in order of time"
            )
    if not any(point.per_s for point in points):
        raise ValueError("nobody would ever arrive: every rate is 0; write a rate above 0, as in 40/s")
    return points


def rate_at(points: Rates, t_s: float) -> float:
    """Return the customers a second that arrive `t_s` seconds after the load's start."""
    right = bisect_right([point.at_s for point in points], t_s)
    if right == len(points):
        return points[-1].per_s
    before, after = points[max(right - 1, 0)], points[right]
    if after.at_s == before.at_s:
        return after.per_s
    return before.per_s + (after.per_s - before.per_s) * (t_s - before.at_s) / (after.at_s - before.at_s)


def peak(points: Rates) -> float:
    """Return the highest rate of the curve, in customers a second."""
    return max(point.per_s for point in points)


def with_peak(points: Rates, per_s: float) -> Rates:
    """Return the curve with every rate scaled, so that its highest is `per_s`."""
    factor = per_s / peak(points)
    return tuple(RatePoint(point.at_s, point.per_s * factor) for point in points)


def stretched(points: Rates, factor: float) -> Rates:
    """Return the curve with its times multiplied by a factor, for a load of another duration."""
    return tuple(RatePoint(point.at_s * factor, point.per_s) for point in points)


def expected(points: Rates, until_s: float, from_s: float = 0.0) -> float:
    """Return the mean number of customers who arrive between two moments: the area under the curve."""
    marks = sorted({from_s, until_s, *(p.at_s for p in points if from_s < p.at_s < until_s)})
    return math.fsum(
        (_just_after(points, before) + _just_before(points, after)) / 2 * (after - before)
        for before, after in pairwise(marks)
    )


def _just_after(points: Rates, t_s: float) -> float:
    return rate_at(points, t_s)


def _just_before(points: Rates, t_s: float) -> float:
    """Return the rate that leads up to `t_s`, which differs from the rate at `t_s` where the curve jumps."""
    reached = [point for point in points if point.at_s == t_s]
    return reached[0].per_s if reached else rate_at(points, t_s)


def in_words(points: Rates) -> str:
    """Describe a curve, as in "40 a second" or "10 to 40 a second"."""
    lowest, highest = min(point.per_s for point in points), peak(points)
    return f"{highest:g} a second" if lowest == highest else f"{lowest:g} to {highest:g} a second"


def as_text(points: Rates) -> str:
    """Write a curve as text for an environment variable: `0:10,60:40`."""
    return ",".join(f"{point.at_s!r}:{point.per_s!r}" for point in points)


def from_text(text: str) -> Rates:
    """Read a curve that `as_text` wrote; an empty text has no points. Raises ValueError."""
    pairs = [part.partition(":") for part in text.split(",") if part]
    return tuple(RatePoint(float(at), float(rate)) for at, _, rate in pairs)
