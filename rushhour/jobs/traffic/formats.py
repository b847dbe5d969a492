"""What a format of access logs is, and the formats of servers that need no template (pure)."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Found = tuple[
    str | None,  # time
    str | None,  # method
    str | None,  # target: path with query, or a whole URL
    str | None,  # what stands in place of a request: the connection sent none
    str | None,  # status
    str | None,  # duration, in the format's unit
    str | None,  # bytes of the answer
    str | None,  # address
    str | None,  # addresses that a proxy before this server saw
    str | None,  # user
    str | None,  # agent
    str | None,  # session key
]
"""The fields of a line as it has them, "-" or None for what is missing."""

FIELDS: Final = (
    "time",
    "method",
    "target",
    "junk",
    "status",
    "seconds",
    "size",
    "address",
    "forwarded",
    "user",
    "agent",
    "key",
)
TIME: Final = 0
Parse = Callable[[str], Found | None]
Stamps = Literal["start", "end", "unknown"]
Escapes = Literal["\\", "#", ""]
"""How a server writes what a line cannot have: `\\x22`, `#22` (HAProxy), or not at all."""


@dataclass(frozen=True, slots=True)
class Format:
    """A format: what reads a line of it, and what its fields mean."""

    name: str
    parse: Parse  # None: not a line of this format
    stamps: Stamps = "end"
    seconds_per_unit: float = 1.0  # of its duration
    escapes: Escapes = "\\"
    time_pattern: str | None = None  # of strptime; None: told by its shape
    notes: tuple[str, ...] = ()


NONE: Final = Format("none", lambda _: None)
"""No line is of this format."""

QUOTED: Final = r'[^"\\]*(?:\\.[^"\\]*)*'
METHOD: Final = r"(?P<method>[A-Z][A-Z_-]*)"
PROTOCOL: Final = r"(?: HTTP/[0-9.]+| [123](?:\.[01])?)?"
REQUEST: Final = rf'(?:{METHOD} (?P<target>[^" \\]+(?:\\.[^" \\]*)*){PROTOCOL}|(?P<junk>{QUOTED}))'
CLF_TIME: Final = r"(?P<time>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d(?:[.,]\d+)?(?: [+-]\d{4})?)"
ISO_TIME: Final = r"(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)? ?(?:Z|UTC|[+-]\d\d:?\d\d)?)"
STATUS: Final = r"(?P<status>\d{3}|-)"
SIZE: Final = r"(?P<size>\d+|-)"
_AGENT: Final = rf"(?P<agent>{QUOTED})"
IP_ADDRESS: Final = (  # of version 6 with what it leaves out, or whole: times have colons too
    r"(?:\d{1,3}(?:\.\d{1,3}){3}"
    r"|(?:(?=[0-9A-Fa-f:]{0,40}::)|(?=(?:[0-9A-Fa-f]{1,4}:){7}))[0-9A-Fa-f:]{2,45}(?:\.[\d.]{1,12})?(?:%\w{1,16})?)"
)
IDENT: Final = r"(?![0-9.]+ |[0-9A-Fa-f]*:[0-9A-Fa-f:.]+ )\S+"  # not an address: a host would stand before it
USER: Final = (  # it may have spaces, and no other address with its user: a prefix would stand before that
    rf"(?P<user>(?!{IP_ADDRESS} )(?:\S{{0,256}}|(?:(?! (?:- |{IP_ADDRESS} ))[^\[]){{0,256}}?))"
)
# X-Forwarded-For has the client, then proxies; a Unix socket has none. A date or a logger's name is none.
ADDRESS: Final = (
    r"(?!\d{4}-\d\d-\d\d[ T]|[A-Za-z]{0,20}[g-zG-Z_][^\s,]{0,64}:\d+\.\d+\.\d+\.\d)"
    r"(?P<address>[^\s,]*)(?:, ?[^\s,]+)*"
)
_COMMON: Final = rf'{ADDRESS} {IDENT} {USER} \[{CLF_TIME}\] "{REQUEST}" {STATUS} {SIZE}'
_COMBINED: Final = rf'{_COMMON} "{QUOTED}" "{_AGENT}"'
_HOST: Final = r"\S+:\d+ (?!- )"
NO_SECONDS: Final = "no durations"
NO_AGENT: Final = "no agents: visitors behind one address look like one"


def pattern_parse(pattern: str) -> Parse:
    """Reads lines by a regular expression whose groups are named as FIELDS; a field without group is None."""
    return groups_parse(pattern, FIELDS)  # type: ignore[return-value]  # as many as FIELDS


def groups_parse(pattern: str, names: Sequence[str]) -> Callable[[str], tuple[str | None, ...] | None]:
    """Reads lines by a regular expression into its groups of these names."""
    known = re.compile(pattern, re.ASCII).groupindex
    absent = "".join(f"(?P<{name}>(?!))?" for name in names if name not in known)
    match = re.compile(f"(?:{pattern})\\Z{absent}", re.ASCII).match

    def parse(line: str) -> tuple[str | None, ...] | None:
        found = match(line)
        return found.group(*names) if found else None

    return parse


def text_format(
    name: str,
    pattern: str,
    stamps: Stamps = "end",
    seconds_per_unit: float = 1.0,
    *,
    notes: Sequence[str] = (),
    escapes: Escapes = "\\",
) -> Format:
    """A format that one regular expression reads."""
    return Format(name, pattern_parse(pattern), stamps, seconds_per_unit, escapes, notes=tuple(notes))


def cookie_in(header: str, name: str) -> str | None:
    """A cookie's value in a Cookie header."""
    for part in header.split(";"):
        given, equals, value = part.strip().partition("=")
        if equals and given == name:
            return value
    return None


def _summed(parse: Parse) -> Parse:
    """Adds up the durations of a format that has several, as "0.001 0.020 0.000"; -1: it failed before."""

    def summed(line: str) -> Found | None:
        found = parse(line)
        if found is None or found[5] is None:
            return found
        parts = [float(part) for part in found[5].split(" ")]
        total = None if -1 in parts else f"{sum(parts):.6f}"
        return (*found[:5], total, *found[6:])

    return summed


_ALB: Final = (
    r"(?:https?|h2|grpcs|wss?) (?P<logged>\S+) \S+ (?P<address>\S+?)(?::\d+)? \S+ "
    r"(?P<seconds>-?\d[\d.]* -?\d[\d.]* -?\d[\d.]*) "
    rf'(?P<status>\d{{3}}|-) \S+ \S+ {SIZE} "{REQUEST}" "{_AGENT}" '
    rf'\S+ \S+ \S+ "{QUOTED}" "{QUOTED}" "{QUOTED}" '
    rf"\S+ {ISO_TIME} .*"
)
_HAPROXY: Final = (
    rf"(?P<address>\S+):\d+ \[{CLF_TIME}\] \S+ \S+ "
    r"-?\d+/-?\d+/-?\d+/-?\d+/\+?(?P<seconds>-?\d+) (?P<status>-?\d+) \+?(?P<size>\d+) \S+ \S+ \S{4} "
    rf'[\d+/]+ \d+/\d+ (?:\{{[^}}]*\}} ){{0,2}}"(?:<BADREQ>|{REQUEST})"(?: .*)?'
)
_ENVOY: Final = (
    rf'\[{ISO_TIME}\] "{REQUEST}" {STATUS} \S+ (?:\S+ )*?\d+ (?P<size>\d+) (?P<seconds>\d+) \S+ '
    rf'"(?P<forwarded>{QUOTED})" "{_AGENT}" "{QUOTED}" "{QUOTED}" "(?P<address>{QUOTED})"(?: .*)?'
)
_ENVOY_BARE: Final = (  # Envoy escapes nothing, so that paths and agents may have quotes in them
    rf'\[{ISO_TIME}\] "{METHOD} (?P<target>\S{{1,8192}}) HTTP/[0-9.]+" {STATUS} \S+ (?:\S+ )*?\d+ '
    rf'(?P<size>\d+) (?P<seconds>\d+) \S+ "(?P<forwarded>[^"]*)" "(?P<agent>.{{0,2048}}?)" '
    r'"[0-9A-Za-z-]{1,64}" "\S{1,512}" "(?P<address>[^"]*)"(?: .*)?'
)
_INGRESS: Final = (  # of Kubernetes
    rf"{_COMBINED} \d+ (?P<seconds>\d+\.\d+) \[[^\]]*\] \[[^\]]*\] .*"
)
_ELB: Final = (
    rf"{ISO_TIME} \S+ (?P<address>\S+?)(?::\d+)? \S+ (?P<seconds>-?\d[\d.]* -?\d[\d.]* -?\d[\d.]*) "
    rf'(?P<status>\d{{3}}|-) \S+ \S+ {SIZE} "{REQUEST}" "{_AGENT}" \S+ \S+'
)
_TRAEFIK: Final = (
    rf'(?P<address>\S+) - {USER} \[{CLF_TIME}\] "{REQUEST}" {STATUS} {SIZE} "{QUOTED}" "{_AGENT}" '
    rf'\d+ "{QUOTED}" "{QUOTED}" (?P<seconds>\d+)ms'
)
# gunicorn escapes quotes and not backslashes, so that an agent may end in what looks like an escaped quote.
LENIENT: Final = r'(?:[^"]|(?<=\\)"){0,2048}'
_GUNICORN: Final = rf'{_COMMON} "{QUOTED}" "(?P<agent>{LENIENT})"'

TEXT_FORMATS: Final = (
    text_format("Apache vhost_combined", rf"{_HOST}{_COMBINED}", "start", notes=[NO_SECONDS]),
    text_format("nginx main", rf'{_COMBINED} "(?P<forwarded>{QUOTED})"', "end", notes=[NO_SECONDS]),
    text_format("combined", _COMBINED, "unknown", notes=[NO_SECONDS]),
    text_format("common", _COMMON, "unknown", notes=[NO_SECONDS, NO_AGENT]),
    text_format("Traefik common", _TRAEFIK, "start", 1e-3),
    text_format("Envoy", _ENVOY, "start", 1e-3),
    Format("Envoy, quotes as they are", pattern_parse(_ENVOY_BARE), "start", 1e-3, escapes=""),
    Format("HAProxy HTTP", pattern_parse(_HAPROXY), "start", 1e-3, escapes="#", notes=(NO_AGENT,)),
    Format("AWS ALB", _summed(pattern_parse(_ALB)), "start"),
    Format("AWS ELB (classic)", _summed(pattern_parse(_ELB)), "start"),
    text_format("ingress-nginx", _INGRESS, "end"),
    text_format(
        "combined and more",
        rf"(?:{_HOST})?{_COMBINED} .*",
        "unknown",
        notes=["fields after the agent were not read: give the whole format with --log-format"],
    ),
    text_format("combined, backslashes as they are", _GUNICORN, "end", notes=[NO_SECONDS]),
)
