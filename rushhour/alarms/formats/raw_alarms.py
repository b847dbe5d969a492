"""One CloudWatch alarm as its file has it, with the keys of `describe-alarms` (pure)."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rushhour.alarms.cloudwatch import Actions
from rushhour.alarms.formats.documents import flag

_SCALES: Final = re.compile(
    r"arn:[^:]*:(autoscaling|swf|automate|ec2|aiops)[:.]|(?!arn:).*scaling_?policy", re.IGNORECASE
)
# What only a deployment fills in: a part of a text, or a dynamic reference.
_OPEN: Final = re.compile(r"\$\{|\{\{resolve:")


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A value that its file leaves open: `what` is its text, and `why` says what is missing."""

    what: str
    why: str = "which its file leaves open"
    template: bool = False  # whether `what` is a text with expressions in it, and not an expression

    def __str__(self) -> str:
        return self.what if self.template else f"${{{self.what}}}"


@dataclass(frozen=True, slots=True)
class RawAlarm:
    """One alarm with the keys and values of `describe-alarms`; `place` is its file and line."""

    plain: Mapping[str, Any]
    place: str

    @property
    def name(self) -> str:
        return str(self.plain.get("AlarmName") or "")

    @property
    def composite(self) -> bool:
        return "AlarmRule" in self.plain


class WrongAlarmError(Exception):
    """The alarm contradicts its format; the text says what to change."""


class OpenAlarmError(Exception):
    """The alarm is whole and cannot be replayed; the text says what is missing."""


def text_of(raw: RawAlarm, key: str) -> str:
    return as_text(raw.plain.get(key), key)


def as_text(value: Any, what: str) -> str:
    if isinstance(value, Unresolved):
        raise OpenAlarmError(f"{what} is {value}, {value.why}")
    if not isinstance(value, str) or not value:
        raise WrongAlarmError(
            f"{what} is missing" if value in (None, "") else f"{what} {value!r} is not text"
        )
    return value


def choice_of(raw: RawAlarm, key: str, usual: str = "") -> str:
    """Return one of a few words, whose file must say it whole."""
    value = raw.plain.get(key) or usual
    _check_closed(value, key)
    return as_text(value, key)


def _check_closed(value: Any, what: str) -> None:
    if isinstance(value, str) and _OPEN.search(value):
        raise OpenAlarmError(f"{what} is {value}, which its file leaves open")


def number_of(raw: RawAlarm, key: str) -> float:
    return as_number(raw.plain.get(key), key)


def as_number(value: Any, what: str) -> float:
    if isinstance(value, Unresolved):
        raise OpenAlarmError(f"{what} is {value}, {value.why}")
    _check_closed(value, what)
    try:
        number = math.nan if isinstance(value, bool) or value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise WrongAlarmError(f"{what} is missing" if value is None else f"{what} {value!r} is not a number")
    return number


def unresolved_in(value: Any) -> Unresolved | None:
    """Return the first value that the file leaves open in this one; names of dimensions do not count."""
    if isinstance(value, Unresolved):
        return value
    if isinstance(value, Mapping):
        parts = [part for key, part in value.items() if key not in ("Dimensions", "Label")]
    else:
        parts = value if isinstance(value, list) else []
    return next((found for part in parts if (found := unresolved_in(part)) is not None), None)


def whole_of(raw: RawAlarm, key: str) -> int:
    number = number_of(raw, key)
    if number < 1 or number % 1:
        raise WrongAlarmError(f"{key} {raw.plain.get(key)!r} is not a whole number of 1 or more")
    return int(number)


def actions_of(raw: RawAlarm) -> Actions:
    """Return whom an alarm notifies; scaling policies and restarts notify nobody."""
    enabled = raw.plain.get("ActionsEnabled")
    if isinstance(enabled, Unresolved):
        raise OpenAlarmError(f"ActionsEnabled is {enabled}, {enabled.why}")
    if flag(enabled) is False:
        return Actions()
    notified = []
    for key in ("AlarmActions", "OKActions", "InsufficientDataActions"):
        given = raw.plain.get(key) or []
        if isinstance(given, Unresolved):
            raise OpenAlarmError(f"{key} is {given}, {given.why}")
        if not isinstance(given, list):
            raise WrongAlarmError(f"{key} must be a list")
        notified.append(tuple(_short(str(item)) for item in given if not _SCALES.match(str(item))))
    return Actions(*notified)


def _short(arn: str) -> str:
    return arn.rpartition(":")[2] if arn.startswith("arn:") else arn
