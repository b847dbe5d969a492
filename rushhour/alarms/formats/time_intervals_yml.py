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
_TIME: Final = re.compile(r"(?:([01]\d|2[0-3]):([0-5]\d)|24:00)$")
_KNOWN: Final = ("times", "weekdays", "days_of_month", "months", "years", "location", "time_zone")


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
    places: Places, given: Any, at: tuple[str | int, ...], inner: str
) -> dict[str, tuple[TimeInterval, ...]]:
    """Return the intervals by name."""
    found: dict[str, tuple[TimeInterval, ...]] = {}
    for number, named in places.mappings(given, at):
        here = (*at, number, inner)
        found[str(named.get("name"))] = tuple(
            _interval(places, plain, (*here, each)) for each, plain in places.mappings(named.get(inner), here)
        )
    return found


def _interval(places: Places, plain: Mapping[str, Any], at: tuple[str | int, ...]) -> TimeInterval:
    for key in plain:
        if key not in _KNOWN:
            places.wrong((*at, key), f"unknown key {key!r}; known: {', '.join(_KNOWN)}")
    zone_name = plain.get("location") or plain.get("time_zone")
    zone: Any = UTC
    if zone_name:
        try:
            zone = ZoneInfo(str(zone_name))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            places.wrong(at, f"time zone {zone_name!r} is not known on this machine")
    times: list[Range] = []
    for number, span in places.mappings(plain.get("times"), (*at, "times")):
        ends = [_minutes(str(span.get(key))) for key in ("start_time", "end_time")]
        if None in ends or ends[0] >= ends[1]:  # type: ignore[operator]  # neither is None then
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
        parts = [_member(part, words) for part in text.lower().split(":")]
        if None in parts or len(parts) > 2:
            places.wrong((*at, key), f"{key} {text!r} is neither a value nor a range as 1:5 or monday:friday")
        else:
            found.append((parts[0], parts[-1]))  # type: ignore[arg-type]  # None was sorted out
    return tuple(found)


def _member(text: str, words: Sequence[str]) -> int | None:
    if text and text in words:
        return words.index(text)
    return int(text) if re.fullmatch(r"-?\d{1,4}", text) else None
