"""Turns the fields of a line into a request, or says why it is none."""

import re
from typing import Final
from urllib.parse import quote

from rushhour.jobs.traffic.agents import Agents
from rushhour.jobs.traffic.formats import Escapes, Format, Found
from rushhour.jobs.traffic.record import Logged
from rushhour.jobs.traffic.times import Clock
from rushhour.jobs.traffic.visitors import Visitors

NO_REQUEST: Final = "no request in it (a connection that sent none, TLS on a plain port, a scan)"
NO_PATH: Final = "a request without a path (CONNECT, OPTIONS *)"
NO_TIME: Final = "no time stamp"
BAD_TIME: Final = "a time stamp that cannot be"
NO_STATUS: Final = "no status (the client went away before an answer)"

_UNSAFE: Final = re.compile(r"[^!$-;=?-\[\]^_a-~]", re.ASCII)
_REQUEST: Final = re.compile(
    r"([A-Za-z][A-Za-z_-]{0,31}) (.+?)(?: HTTP/[0-9.]+| [123](?:\.[01])?)?", re.DOTALL
)
_PORT: Final = re.compile(r"(?:(\d+\.\d+\.\d+\.\d+)|\[([0-9A-Fa-f:.]+)\]):\d+", re.ASCII)
_STATUS: Final = re.compile(r"[1-9][0-9]{2}")
_SIZE: Final = re.compile(r"[0-9]{1,18}")
_ESCAPE: Final = re.compile(r"\\(x[0-9A-Fa-f]{2}|.)", re.DOTALL)
_HASH_ESCAPE: Final = re.compile(r"#([0-9A-F]{2})")
_ESCAPES: Final = {
    "n": b"\n",
    "r": b"\r",
    "t": b"\t",
    "b": b"\b",
    "f": b"\f",
    "v": b"\v",
    '"': b'"',
    "\\": b"\\",
}


class Requests:
    """Makes requests of one file's lines."""

    def __init__(self, clock: Clock, visitors: Visitors, agents: Agents) -> None:
        self._clock = clock
        self._visitor = visitors.visitor
        self._agent_kind = agents.kind

    def request(self, found: Found, form: Format, line: int) -> Logged | str:
        """The request, or the reason why the line is none."""
        time, method, target, junk, status, seconds, size, address, forwarded, user, agent, key = found
        if not method or not target or method == "-":
            again = (
                _REQUEST.fullmatch(junk) if junk else None
            )  # a target with spaces, a method in small letters
            if again is None:
                return NO_REQUEST
            method, target = again.groups()
        path, query, _ = target.partition("?")
        if path[:1] != "/":
            path = _path_of(path)
            if path is None:
                return NO_PATH if method.isupper() else NO_REQUEST
        if _UNSAFE.search(path):
            path = _encoded(path, form.escapes)
        if time is None:
            return NO_TIME
        t = self._clock.read(time)
        if t is None:
            return BAD_TIME
        if status is None or _STATUS.fullmatch(status) is None:
            return NO_STATUS
        took = None
        if seconds is not None and seconds != "-":
            took = _seconds(seconds, form.seconds_per_unit)
            if took is not None and form.stamps == "end":
                t -= took
        if forwarded and forwarded != "-":
            address = forwarded.partition(",")[0].strip()
        if address and ":" in address and (port := _PORT.fullmatch(address)):
            address = port[1] or port[2]  # each connection has a port of its own
        return Logged(
            t,
            method,
            path,
            query != "",
            int(status),
            took,
            int(size) if size is not None and _SIZE.fullmatch(size) else None,
            self._visitor(address or "-", user, agent, key),
            self._agent_kind(agent),
            line,
        )


def _path_of(target: str) -> str | None:
    """The path of a whole URL, as a proxy is asked and a load balancer logs it; None if it is none."""
    scheme, separator, rest = target.replace("%3A//", "://", 1).partition("://")  # uvicorn encodes it
    if not separator or not scheme.isalpha():
        return None
    _, slash, path = rest.partition("/")
    return slash + path if slash else "/"


def _encoded(path: str, escapes: Escapes) -> str:
    """Percent-encodes what a URI may not have, after undoing the escapes that the server wrote."""
    raw = path.encode("utf-8", "replace")
    if escapes and escapes in path:
        raw = b"".join(_unescaped(path, _ESCAPE if escapes == "\\" else _HASH_ESCAPE))
    return quote(raw, safe="/!$%&'()*+,;:=@[]^_|{}~-.")


def _unescaped(path: str, escape: re.Pattern[str]) -> list[bytes]:
    parts, end = [], 0
    for found in escape.finditer(path):
        parts.append(path[end : found.start()].encode("utf-8", "replace"))
        code, end = found[1], found.end()
        if len(code) > 1:
            parts.append(bytes.fromhex(code[-2:]))
        else:
            parts.append(_ESCAPES.get(code) or found[0].encode("utf-8", "replace"))  # gunicorn has bare ones
    return [*parts, path[end:].encode("utf-8", "replace")]


_DURATION: Final = re.compile(r"(?:\d+(?:\.\d*)?(?:h|ms?|s|us|µs|μs|ns))+", re.ASCII)
_PART: Final = re.compile(r"(\d+(?:\.\d*)?)(h|ms|m|s|us|µs|μs|ns)", re.ASCII)
_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_LONGEST_S: Final = 7 * 86_400.0


def _seconds(text: str, per_unit: float) -> float | None:
    """A duration; None for what is none, a negative one (the server knows none) or more than a week."""
    try:
        seconds = float(text) * per_unit
    except ValueError:
        if _DURATION.fullmatch(text) is None:
            return None
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    return seconds if 0 <= seconds <= _LONGEST_S else None
