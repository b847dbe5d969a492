"""Log lines inside of other lines: of syslog, of container runtimes, of shippers (pure)."""

import re
from typing import Final, NamedTuple

from rushhour.jobs.traffic.formats import IP_ADDRESS, TIME, Format, Found
from rushhour.jobs.traffic.json_lines import loaded
from rushhour.jobs.traffic.lines import COLOURS

_ISO: Final = r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?)"
_PATTERNS: Final = {
    "a container runtime's lines": re.compile(rf"{_ISO} (?:stdout|stderr) [FP] (.*)", re.ASCII),
    "syslog lines": re.compile(
        rf"(?:<\d+>)?(?:1 )?{_ISO} \S+ (?:[\w./-]+(?:\[\d+\])?:|\S+ \S+ \S+ (?:-|\[[^\]]*\])) (.*)", re.ASCII
    ),
    "syslog lines of the old form": re.compile(
        r"(?:<\d+>)?[A-Z][a-z]{2} [ \d]\d (\d\d):\d\d:\d\d(?:\.\d+)? (?:\S+ )?[\w./-]+(?:\[\d+\])?: (.*)",
        re.ASCII,
    ),
    "lines with a time stamp before them": re.compile(rf"{_ISO} (.*)", re.ASCII),
    "a Python logger's lines": re.compile(
        r"\[?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?: ?[+-]\d\d:?\d\d)?)\]?"
        r"(?: \[[\w. -]{1,64}\]){1,3}:? (.*)",
        re.ASCII,
    ),
    "lines of a logger": re.compile(  # whatever it writes before an address, or before Tornado's status
        rf'(?:[^"]{{0,128}}?(?<![\w.:-]){_ISO})?[^"]{{0,256}}?[]) |:\t]'
        rf"((?:{IP_ADDRESS}(?:[ ,]|:\d+ )|\d{{3}} [A-Z]+ [/h*]).*)",
        re.ASCII,
    ),
    "kubectl's lines": re.compile(r"\[pod(/)[\w.-]+/[\w.-]+\] (.*)", re.ASCII),
    "stern's lines": re.compile(r"(?:\+ )?[a-z][a-z\d.-]*-[a-z\d.-]+( )[a-z][a-z\d.-]* (.*)", re.ASCII),
    "docker compose's lines": re.compile(r"[\w.-]+( +)\| (.*)", re.ASCII),
}
_TIMELESS: Final = {
    "syslog lines of the old form",
    "docker compose's lines",
    "kubectl's lines",
    "stern's lines",
}
_MESSAGES: Final = ("log", "message", "MESSAGE", "msg", "event", "textPayload", "body", "line", "@message")
_TIMES: Final = (
    *("time", "@timestamp", "timestamp", "asctime", "ts", "date", "datetime"),
    *("__REALTIME_TIMESTAMP", "_SOURCE_REALTIME_TIMESTAMP"),
)


class Inner(NamedTuple):
    """The line inside, and the time stamp of the line around it."""

    line: str
    time: str | None


def _by_pattern(name: str, line: str) -> Inner | None:
    found = _PATTERNS[name].fullmatch(line)
    return Inner(found[2], None if name in _TIMELESS else found[1]) if found else None


def _json(line: str) -> Inner | None:
    if line[:1] != "{":
        return None
    around = loaded(line)
    if around is None:
        return None
    message = next((text for name in _MESSAGES if isinstance(text := around.get(name), str)), None)
    if message is None:
        return None
    time = next(filter(None, (_time_of(around.get(name)) for name in _TIMES)), None)
    return Inner(COLOURS.sub("", message.rstrip("\r\n")), time)


def _time_of(value: object) -> str | None:
    if isinstance(value, bool):
        return None
    return value if isinstance(value, str) else repr(value) if isinstance(value, int | float) else None


WRAPPERS: Final = (*_PATTERNS, "JSON lines")


def inner(wrapper: str, line: str) -> Inner | None:
    """The line inside; None if the line is not of this wrapper."""
    return _json(line) if wrapper == "JSON lines" else _by_pattern(wrapper, line)


def wrapped(form: Format, wrapper: str) -> Format:
    """A format whose lines come inside of others; the time outside counts where there is none inside."""

    def parse(line: str) -> Found | None:
        inside = inner(wrapper, line)
        if inside is None:
            return None
        found = form.parse(inside.line)
        if found is None or found[TIME] is not None:
            return found
        return (inside.time, *found[1:])

    return Format(
        name=f"{form.name} in {wrapper}",
        parse=parse,
        stamps=form.stamps,
        seconds_per_unit=form.seconds_per_unit,
        escapes=form.escapes,
        time_pattern=form.time_pattern,
        notes=form.notes,
    )
