"""Times of Apache's `%{...}t`, which a format may write in several parts (pure)."""

import re
from collections.abc import Sequence
from typing import Final

from rushhour.errors import UsageError
from rushhour.jobs.traffic.variables import EPOCH, Part

_FRACTIONS: Final = {"msec_frac": r"\d{3}", "usec_frac": r"\d{6}"}
_LONG: Final = {"F": "%Y-%m-%d", "T": "%H:%M:%S", "R": "%H:%M", "D": "%m/%d/%y", "e": "%d", "h": "%b"}
_SHAPES: Final = {
    "a": r"[A-Z][a-z]{2}",
    "A": r"[A-Z][a-z]+",
    "b": r"[A-Z][a-z]{2}",
    "B": r"[A-Z][a-z]+",
    "d": r"[ \d]\d",
    "H": r"\d\d",
    "I": r"\d\d",
    "j": r"\d{3}",
    "m": r"\d\d",
    "M": r"\d\d",
    "p": r"[AP]M",
    "S": r"\d\d",
    "y": r"\d\d",
    "Y": r"\d{4}",
    "z": r"[+-]\d{4}",
    "%": "%",
}
_DIRECTIVE: Final = re.compile(r"%(.)")
MOST_PARTS: Final = 4  # a day, a time, an offset, and one more


def time_part(argument: str) -> Part:
    """What `%{argument}t` is; raises UsageError for a letter of strftime that is not read."""
    text = _plain(argument)
    if text in _FRACTIONS:
        return Part(None, _FRACTIONS[text])
    if text in {"sec", "msec", "usec", "%s"}:
        return Part("time", EPOCH)
    pattern = _DIRECTIVE.sub(lambda found: _LONG.get(found[1], found[0]), text)
    shape = ""
    for literal, letter in re.findall(r"([^%]+)|%(.)", pattern):
        if letter and letter not in _SHAPES:
            known = ", ".join(sorted({*_SHAPES, *_LONG, "s"} - {"%"}, key=str.lower))
            raise UsageError([f"--log-format: %{{{argument}}}t: %{letter} is not read (known: {known})"])
        shape += _SHAPES[letter] if letter else re.escape(literal)
    return Part("time", f"(?P<time>{shape})", time_pattern=pattern)


def is_end(argument: str) -> bool:
    """Whether it is the moment at which the answer ended."""
    return argument.startswith("end:")


def belonging(arguments: Sequence[str], first: int) -> tuple[tuple[int, ...], int | None]:
    """Which parts say more of the time that begins with part `first`: those to join to it, and its fraction.

    `arguments` has what is in the braces of each part, or nothing for a part that is no `%{...}t`. Parts that
    repeat what was said (the day, in another form), or are of the other end of the request, do not count.
    """
    said = _directives(arguments[first])
    parts: list[int] = []
    fraction = None
    for at, argument in enumerate(arguments):
        if not argument or at == first or is_end(argument) != is_end(arguments[first]):
            continue
        if _plain(argument) in _FRACTIONS:
            fraction = at if fraction is None else fraction
        elif (more := _directives(argument)) and said and not more & said and len(parts) < MOST_PARTS - 1:
            said |= more
            parts.append(at)
    return tuple(parts), fraction


def _plain(argument: str) -> str:
    return argument.removeprefix("begin:").removeprefix("end:")


def _directives(argument: str) -> frozenset[str]:
    text = _DIRECTIVE.sub(lambda found: _LONG.get(found[1], found[0]), _plain(argument))
    return frozenset(_DIRECTIVE.findall(text)) - {"%", "s"}
