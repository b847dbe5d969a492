"""Time stamps of access logs as unix seconds (pure)."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final

_NAMES: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MONTHS: Final = {name: number for number, name in enumerate(_NAMES, start=1)}
EARLIEST_T: Final = 631_152_000.0  # 1990: no access log is older, so such a stamp is garbage
LATEST_T: Final = 4_102_444_800.0  # 2100
_CACHED_MINUTES: Final = 4096
_AGAIN_S: Final = 1800  # so far back, an hour that the clock has twice is its second pass

_CLF: Final = re.compile(r"(\d\d)/([A-Z][a-z]{2})/(\d{4})[: ](\d\d):(\d\d)", re.ASCII)
_ISO: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)", re.ASCII)
_TAIL: Final = re.compile(r"([.,]\d{1,9})? ?(Z|UTC|[+-]\d\d:?\d\d)?", re.ASCII)
_NUMBER: Final = re.compile(r"(\d{9,19})(\.\d{1,9})?", re.ASCII)


class Clock:
    """Reads the time stamps of a log, fast where many of them lie in the same minute.

    Stamps are `29/Nov/2026:10:57:00 +0000` (or with a space before the hour), ISO 8601, or a number of
    seconds, milli-, micro- or nanoseconds since 1970, told apart by their shape. One without an offset is in
    `zone`. In the hour that a zone has twice in autumn, the second pass is known by the clock having gone
    back.
    """

    def __init__(self, zone: tzinfo | None, pattern: str | None = None) -> None:
        self.no_offset = False  # a stamp without an offset was read
        self.fractions = "%f" in (pattern or "")  # a stamp had more than whole seconds
        self._zone = zone or UTC
        self._pattern = pattern
        self._minutes: dict[str, float] = {}
        self._patterned: dict[str, float] = {}
        self._last_text = ""
        self._last_t: float | None = None
        self._latest = 0.0  # of the stamps without an offset

    def read(self, text: str) -> float | None:
        """Unix seconds; None for what is no time stamp, or one outside of 1990 to 2100."""
        if text != self._last_text:
            self._last_text = text
            self._last_t = self._read(text) if self._pattern is None else self._by_pattern(text)
        return self._last_t

    def _read(self, text: str) -> float | None:
        if text[2:3] == "/":
            second = 18
        elif text[4:5] == "-":
            second = 17
        else:
            return self._number(text)
        digits = text[second : second + 2]
        tail = text[second + 2 :]
        fraction = 0.0
        if tail[:1] in {".", ","}:
            found = _TAIL.fullmatch(tail)
            if found is None:
                return None
            self.fractions = True
            fraction = float("0." + found[1][1:])
            tail = found[2] or ""
        key = text[: second - 1] + tail
        base = self._minutes.get(key)
        if base is None:
            base = self._minute(text[: second - 1], text[second - 1 : second], tail, key)
            if base is None:
                return None
        if not (len(digits) == 2 and digits.isdecimal() and digits.isascii()) or digits > "60":
            return None
        t = base + int(digits) + fraction
        if self.no_offset:
            self._latest = max(self._latest, t)
        return t

    def _minute(self, text: str, colon: str, tail: str, key: str) -> float | None:
        """The start of a minute; kept for the next stamp unless the zone has that minute twice."""
        offset = _TAIL.fullmatch(tail)
        if colon != ":" or offset is None:
            return None
        try:
            if found := _CLF.fullmatch(text):
                day, month, year, hour, minute = found.groups()
                naive = datetime(int(year), MONTHS[month], int(day), int(hour), int(minute))  # noqa: DTZ001
            elif found := _ISO.fullmatch(text):
                naive = datetime(*map(int, found.groups()))  # type: ignore[arg-type] # noqa: DTZ001
            else:
                return None
            base, ambiguous = self._placed(naive, offset[2])
        except (ValueError, KeyError, OverflowError):
            return None
        if not EARLIEST_T <= base < LATEST_T:
            return None
        if not ambiguous:
            if len(self._minutes) >= _CACHED_MINUTES:
                self._minutes.clear()
            self._minutes[key] = base
        return base

    def _placed(self, naive: datetime, offset: str | None) -> tuple[float, bool]:
        if offset is not None:
            return naive.replace(tzinfo=zone_of(offset)).timestamp(), False
        self.no_offset = True
        first = naive.replace(tzinfo=self._zone).timestamp()
        second = naive.replace(tzinfo=self._zone, fold=1).timestamp()
        if second <= first:  # the usual minute, or one that spring leaves out
            return first, False
        return (second if first < self._latest - _AGAIN_S else first), True

    def _number(self, text: str) -> float | None:
        found = _NUMBER.fullmatch(text)
        if found is None:
            return None
        value = float(text)
        self.fractions = self.fractions or len(found[1]) > 10 or found[2] is not None
        while value >= LATEST_T:
            value /= 1000
        return value if value >= EARLIEST_T else None

    def _by_pattern(self, text: str) -> float | None:
        if text in self._patterned:
            return self._patterned[text]
        ambiguous = False
        try:
            moment = datetime.strptime(text, self._pattern or "")  # noqa: DTZ007
            if moment.tzinfo is None:
                t, ambiguous = self._placed(moment, None)
                self._latest = max(self._latest, t)
            else:
                t = moment.timestamp()
        except (ValueError, OverflowError):
            t = 0.0
        if not EARLIEST_T <= t < LATEST_T:
            return None
        if not ambiguous:
            if len(self._patterned) >= _CACHED_MINUTES:
                self._patterned.clear()
            self._patterned[text] = t
        return t


def zone_of(offset: str) -> timezone:
    """`Z`, `UTC`, `+0100` or `-03:30`; ValueError for an offset of a day and more."""
    if offset in {"Z", "UTC"}:
        return UTC
    minutes = int(offset[1:3]) * 60 + int(offset[-2:])
    return timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))
