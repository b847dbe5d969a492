"""Alertmanager's time intervals: whether a moment lies within them (pure).

Source: Alertmanager's timeinterval.go. Ranges are inclusive; a time of day ends before its end.
"""

import calendar
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class TimeInterval:
    """All that is given must hold; of each kind one range is enough. Empty: any.

    `times` are minutes of the day, `weekdays` count from Sunday, 0; negative days count from the month's end.
    """

    times: tuple[Range, ...] = ()
    weekdays: tuple[Range, ...] = ()
    days_of_month: tuple[Range, ...] = ()
    months: tuple[Range, ...] = ()
    years: tuple[Range, ...] = ()
    zone: tzinfo = UTC

    def holds(self, epoch_s: float) -> bool:
        """Return whether it contains a moment."""
        at = datetime.fromtimestamp(epoch_s, self.zone)
        minute = at.hour * 60 + at.minute
        return (
            (not self.times or any(start <= minute < end for start, end in self.times))
            and _within(self.weekdays, (at.weekday() + 1) % 7)
            and (not self.days_of_month or any(_on_day(item, at) for item in self.days_of_month))
            and _within(self.months, at.month)
            and _within(self.years, at.year)
        )


def _within(ranges: tuple[Range, ...], value: int) -> bool:
    return not ranges or any(start <= value <= end for start, end in ranges)


def _on_day(days: Range, at: datetime) -> bool:
    length = calendar.monthrange(at.year, at.month)[1]
    start, end = (length + day + 1 if day < 0 else day for day in days)
    return start <= length and max(1, start) <= at.day <= min(end, length)
