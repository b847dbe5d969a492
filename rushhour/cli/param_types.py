"""The types of values that options take."""

import math
from collections.abc import Callable
from typing import Any

import click

from rushhour.alarms.moments import epoch_of
from rushhour.scenario.arrivals import rate_of
from rushhour.scenario.durations import seconds_of


class _Read(click.ParamType[float]):
    """A number that a function reads from text; its ValueError says what is wrong with the text."""

    def __init__(self, name: str, read: Callable[[str], float], *, zero: str | None) -> None:
        self.name = name
        self._read = read
        self._zero = zero  # why the number has to be above 0; None: it may be 0

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            number = self._read(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if self._zero is not None and number <= 0:
            self.fail(f"{value!r} is not above 0; {self._zero}", param, ctx)
        return number


class Duration(_Read):
    """A duration as in the scenario file, `90s` or `3m`, in seconds; 0 only where it makes sense."""

    def __init__(self, *, zero: bool = False) -> None:
        super().__init__("time", seconds_of, zero=None if zero else "write 500ms, 30s, 2m or 1h, say")


class Moment(_Read):
    """A time with its date, `2026-11-24T18:00Z`, in seconds since 1970."""

    def __init__(self) -> None:
        super().__init__("moment", epoch_of, zero=None)


class Rate(_Read):
    """A rate of arrivals as in the scenario file, `40/s`, in customers a second."""

    def __init__(self) -> None:
        super().__init__("rate", rate_of, zero="nobody would arrive")


class Number(click.FloatRange):
    """A number within bounds; `nan`, which is within all bounds, is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number
