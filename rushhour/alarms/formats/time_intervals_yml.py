"""`time_intervals:` as Alertmanager and Grafana write them, and where a document is wrong (pure)."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rushhour.alarms.time_intervals import Range, TimeInterval
from rushhour.scenario.yaml_node import Node

DAYS: Final = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
MONTHS: Final = (
    *("", "january", "february", "march", "april", "may", "june", "july", "august"),
    *("september", "october", "november", "december"),
)
LONGEST_MONTH: Final = 31
_TIME: Final = re.compile(r"(?:([01]\d|2[0-3]):([0-5]\d)|24:00)$")
_KNOWN: Final = ("times", "weekdays", "days_of_month", "months", "years", "location")


class Places:
    """Gathers what is wrong with a document, with file and line."""

    def __init__(self, document: Node, path: str) -> None:
        self._document, self._path = document, path
        self._lines: dict[str, tuple[str | int, ...]] = {}
        self.problems: list[str] = []

    def wrong(self, at: Sequence[str | int], what: str) -> None:
        self.problems.append(f"{self._path}:{self._document.line(at)}: {what}")

    def mappings(self, given: Any, at: tuple[str | int, ...]) -> list[tuple[int, Mapping[str, Any]]]:
        """Return the items of a list of mappings, with their number."""
        if given is None:
            return []
        if not isinstance(given, list):
            self.wrong(at, f"{at[-1]} must be a list")
            return []
        for number, item in enumerate(given):
            if not isinstance(item, Mapping):
                self.wrong((*at, number), f"an item of {at[-1]} must be a mapping")
        return [(number, item) for number, item in enumerate(given) if isinstance(item, Mapping)]

    def items(self, plain: Mapping[str, Any], key: str, at: tuple[str | int, ...]) -> list[Any]:
        """Return a list that need not be there."""
        given = plain.get(key)
        if given is None or isinstance(given, list):
            return given or []
        self.wrong((*at, key), f"{key} must be a list")
        return []

    def texts(self, plain: Mapping[str, Any], key: str, at: tuple[str | int, ...]) -> tuple[str, ...]:
        """Return the items of a list that need not be there, as texts."""
        return tuple(map(str, self.items(plain, key, at)))


def read_intervals(
    places: Places,
    given: Any,
    at: tuple[str | int, ...],
    inner: str,
    found: dict[str, tuple[TimeInterval, ...]],
) -> None:
    """Add the intervals by name."""
    for number, named in places.mappings(given, at):
        here, name = (*at, number, inner), str(named.get("name") or "")
        if not name or name in found:
            what = f"time interval {name} stands there twice" if name else "a time interval has no name"
            places.wrong((*at, number), what)
        found[name] = tuple(
            _interval(places, plain, (*here, each)) for each, plain in places.mappings(named.get(inner), here)
        )


def _interval(places: Places, plain: Mapping[str, Any], at: tuple[str | int, ...]) -> TimeInterval:
    for key in plain:
        if key not in _KNOWN:
            places.wrong((*at, key), f"unknown key {key!r}; known: {', '.join(_KNOWN)}")
    zone_name = plain.get("location")
    zone: Any = UTC
    if zone_name:
        try:
            zone = ZoneInfo(str(zone_name))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            places.wrong(at, f"time zone {zone_name!r} is not known on this machine")
    times: list[Range] = []
    for number, span in places.mappings(plain.get("times"), (*at, "times")):
        ends = [_minutes(str(span.get(key))) for key in ("start_time", "end_time")]
        if span.keys() - {"start_time", "end_time"}:
            places.wrong((*at, "times", number), "has start_time and end_time, and nothing else")
        elif None in ends or ends[0] >= ends[1]:  # type: ignore[operator]  # neither is None then
            places.wrong((*at, "times", number), "needs start_time and a later end_time, as 09:00 and 17:00")
        else:
            times.append((ends[0], ends[1]))  # type: ignore[arg-type]  # as above
    return TimeInterval(
        tuple(times),
        _ranges(places, plain, "weekdays", at, DAYS),
        _ranges(places, plain, "days_of_month", at, ()),
        _ranges(places, plain, "months", at, MONTHS),
        _ranges(places, plain, "years", at, ()),
        zone,
    )


def _minutes(text: str) -> int | None:
    match = _TIME.match(text)
    if match is None:
        return None
    return 24 * 60 if match[1] is None else int(match[1]) * 60 + int(match[2])


def _ranges(
    places: Places, plain: Mapping[str, Any], key: str, at: tuple[str | int, ...], words: Sequence[str]
) -> tuple[Range, ...]:
    found: list[Range] = []
    for text in places.texts(plain, key, at):
        parts = [_member(part, key, words) for part in text.lower().split(":")]
        if None in parts or len(parts) > 2:
            places.wrong((*at, key), f"{key} {text!r} is neither a value nor a range as 1:5 or monday:friday")
            continue
        start, end = parts[0] or 0, parts[-1] or 0
        if _is_backwards(start, end, days=key == "days_of_month"):
            places.wrong((*at, key), f"{key} {text!r} ends before it begins: write two ranges")
        else:
            found.append((start, end))
    return tuple(found)


def _is_backwards(start: int, end: int, *, days: bool) -> bool:
    """Return whether a range never holds; days below 0 count from the end of the month."""
    if not days:
        return end < start
    if start < 0 < end:
        return True  # whether it holds depends on the month, which Alertmanager refuses
    from_start = [day if day > 0 else LONGEST_MONTH + 1 + day for day in (start, end)]
    return from_start[1] < from_start[0]


def _member(text: str, key: str, words: Sequence[str]) -> int | None:
    if text and text in words:
        return words.index(text)
    number = int(text) if re.fullmatch(r"-?\d{1,4}", text) and key != "weekdays" else None
    if key == "days_of_month" and number is not None and not 1 <= abs(number) <= LONGEST_MONTH:
        return None
    return number
