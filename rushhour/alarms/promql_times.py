"""What a PromQL expression asks of time: how far back it looks, and what a replay has not (pure).

A replay counts from second 0: it has no time of day, no fixed moments and no future.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from rushhour.alarms.promtool import milliseconds

_TEXT: Final = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|`[^`]*`|#[^\n]*", re.DOTALL)
_LABELS: Final = re.compile(r"\{[^{}]*\}")
_DURATION: Final = r"((?:[0-9]{1,12}(?:ms|[ywdhms])){1,7})"
_RANGE: Final = re.compile(rf"\[\s*{_DURATION}", re.IGNORECASE)
_OFFSET: Final = re.compile(rf"\boffset\s*(-?)\s*{_DURATION}", re.IGNORECASE)
_TEXT_OR_OFFSET: Final = re.compile(
    rf"(?:{_TEXT.pattern})|\boffset\s*(?P<long>{_DURATION[1:-1]})", re.IGNORECASE | re.DOTALL
)
_MOMENT: Final = re.compile(r"@\s*[-+]?[0-9.]+")
_CALENDAR: Final = re.compile(
    r"\b(hour|minute|day_of_week|day_of_month|day_of_year|days_in_month|month|year)\s*\(", re.IGNORECASE
)
_TIME: Final = re.compile(r"\btime\s*\(\s*\)")
_TIMESTAMP: Final = re.compile(r"\btimestamp\s*\(")


def looks_back_s(expression: str) -> float:
    """Return how far back it looks at most: its ranges and offsets one after the other."""
    bare = _bare(expression)
    found = [*_RANGE.findall(bare), *(text for sign, text in _OFFSET.findall(bare) if not sign)]
    return sum(milliseconds(text) for text in found) / 1000


def range_s(expression: str) -> float:
    """Return how far back its ranges look at most."""
    return sum(milliseconds(text) for text in _RANGE.findall(_bare(expression))) / 1000


def with_offsets_of_at_most(expression: str, most_s: int) -> str:
    """Return it with longer offsets shortened to this.

    Traffic before a timeline is even, so an offset of the timeline's length reads what a longer one does.
    """

    def shorter(match: re.Match[str]) -> str:
        if match["long"] is None or milliseconds(match["long"]) <= most_s * 1000:
            return match[0]
        return f"offset {most_s}s"

    return _TEXT_OR_OFFSET.sub(shorter, expression)


def all_look_back_s(expressions: Sequence[tuple[str, str, Sequence[str]]]) -> float:
    """Return how far back the longest chain of rules looks: (name it records, expression, names it reads)."""
    own: dict[str, float] = {}
    for name, expression, _ in expressions:
        own[name] = max(own.get(name, 0.0), looks_back_s(expression))
    reads: Mapping[str, set[str]] = {
        name: {read for other, _, names in expressions if other == name for read in names if read in own}
        for name in own
    }
    longest = dict(own)
    for _ in range(min(len(own), 20)):  # recording rules of recording rules; those in a circle end here, too
        longest = {
            name: own[name] + max((longest[read] for read in reads[name]), default=0.0) for name in own
        }
    return max(longest.values(), default=0.0)


def cannot_be_replayed(expression: str) -> str:
    """Say which time it asks for that a replay has not; empty for none."""
    bare = _bare(expression)
    if found := _CALENDAR.search(bare):
        return f"asks for the time of day or the date by {found[1].lower()}(), which the replay does not have"
    if _TIME.search(bare) and not _TIMESTAMP.search(bare):
        return "asks for the time by time(), which the replay does not have"
    if found := _MOMENT.search(bare):
        return f"reads a fixed moment ({found[0]}), of which the timeline says nothing"
    if any(sign for sign, _ in _OFFSET.findall(bare)):
        return "looks ahead by a negative offset, and nothing is known of that time yet"
    return ""


def _bare(expression: str) -> str:
    return _LABELS.sub("{}", _TEXT.sub('""', expression))
