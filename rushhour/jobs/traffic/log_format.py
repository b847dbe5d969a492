"""Formats that a server's own configuration describes: log_format, LogFormat, access_log_format (pure)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from rushhour.errors import UsageError
from rushhour.jobs.traffic.formats import (
    CLF_TIME,
    FIELDS,
    ISO_TIME,
    LENIENT,
    REQUEST,
    Format,
    Found,
    Parse,
    Stamps,
    cookie_in,
    groups_parse,
    pattern_parse,
)
from rushhour.jobs.traffic.options import SessionKey

Server = Literal["nginx", "Apache", "gunicorn"]
_SESSION_NAME: Final = re.compile(r"sess|sid\b|visitor", re.IGNORECASE)
_TOKENS: Final = {
    "nginx": re.compile(r"\$(?:\{(\w+)\}|(\w+))"),
    "Apache": re.compile(r"%[!\d,<>]*(?:\{([^}]*)\})?(\^t[io]|[a-zA-Z%])"),
    "gunicorn": re.compile(r"%\((?:\{([^}]*)\})?(\w+)\)s"),
}
_EPOCH: Final = r"(?P<time>\d{9,19}(?:\.\d+)?)"
_METHOD: Final = r"(?P<method>[A-Z][A-Z_-]*|-|)"
_NUMBER: Final = r"\d+(?:\.\d+)?|-"


@dataclass(frozen=True, slots=True)
class _Part:
    """A variable of a template: which field it is and what it looks like; None: nothing that is needed."""

    field: str | None
    shape: str | None = None  # None: up to what follows it
    per_unit: float = 1.0
    time_pattern: str | None = None


_OTHER: Final = _Part(None)
_IS_ARGS: Final = _Part(None, r"\??")
_UPSTREAM: Final = {
    "upstream_response_time",
    "upstream_connect_time",
    "upstream_header_time",
    "upstream_status",
}
_NGINX: Final = {
    "remote_addr": _Part("address"),
    "realip_remote_addr": _OTHER,
    "proxy_add_x_forwarded_for": _Part("forwarded"),
    "remote_user": _Part("user"),
    "time_local": _Part("time", CLF_TIME),
    "time_iso8601": _Part("time", ISO_TIME),
    "msec": _Part("time", _EPOCH),
    "request": _Part("request"),
    "request_method": _Part("method", _METHOD),
    "request_uri": _Part("target"),
    "uri": _Part("target"),
    "document_uri": _Part("target"),
    "args": _Part("query"),
    "query_string": _Part("query"),
    "status": _Part("status", r"(?P<status>\d{3}|-)"),
    "body_bytes_sent": _Part("size"),
    "bytes_sent": _Part("size"),
    "request_time": _Part("seconds", rf"(?P<seconds>{_NUMBER})"),
    "uid_got": _Part("key"),
    "is_args": _IS_ARGS,
}
_HEADERS: Final = {
    "user-agent": "agent",
    "cookie": "cookies",
    "x-forwarded-for": "forwarded",
    "x-real-ip": "forwarded",
    "true-client-ip": "forwarded",
    "cf-connecting-ip": "forwarded",
}
_LETTERS: Final = {  # Apache's and gunicorn's
    "h": _Part("address"),
    "u": _Part("user"),
    "t": _Part("time", rf"\[{CLF_TIME}\]"),
    "r": _Part("request"),
    "m": _Part("method", _METHOD),
    "U": _Part("target"),
    "q": _Part("query"),
    "s": _Part("status", r"(?P<status>\d{3}|-)"),
    "b": _Part("size"),
    "B": _Part("size"),
}
_APACHE: Final = _LETTERS | {
    "a": _Part("address"),
    "O": _Part("size"),
    "D": _Part("seconds", rf"(?P<seconds>{_NUMBER})", 1e-6),
    "T": _Part("seconds", rf"(?P<seconds>{_NUMBER})"),
}
_GUNICORN: Final = _LETTERS | {
    "a": _Part("agent"),
    "D": _Part("seconds", rf"(?P<seconds>{_NUMBER})", 1e-6),
    "M": _Part("seconds", rf"(?P<seconds>{_NUMBER})", 1e-3),
    "L": _Part("seconds", rf"(?P<seconds>{_NUMBER})"),
    "T": _Part("seconds", rf"(?P<seconds>{_NUMBER})"),
}
_SECOND_CHOICE: Final = {"T", "bytes_sent", "O", "uri", "document_uri"}  # if nothing else has their field
_STRFTIME: Final = {
    "d": r"\d\d",
    "e": r"[ \d]\d",
    "m": r"\d\d",
    "b": r"[A-Z][a-z]{2}",
    "Y": r"\d{4}",
    "y": r"\d\d",
    "H": r"\d\d",
    "M": r"\d\d",
    "S": r"\d\d",
    "z": r"[+-]\d{4}",
    "F": r"\d{4}-\d\d-\d\d",
    "T": r"\d\d:\d\d:\d\d",
    "s": r"\d{9,11}",
    "%": "%",
}


_DIRECTIVES: Final = (
    re.compile(r"log_format\s+\S+\s+(?:escape=\w+\s+)?(.*)", re.DOTALL),
    re.compile(r"(?:LogFormat|access_log_format\s*=)\s*(\"(?:[^\"\\]|\\.)*\"|'[^']*')(?:\s+\S+)?"),
)


def server_of(template: str) -> Server | None:
    """Whose language a template is in, by its variables."""
    if re.search(r"%\([^)]+\)s", template):
        return "gunicorn"
    if re.search(r"\$\{?\w", template):
        return "nginx"
    return "Apache" if re.search(r"%[>{a-zA-Z]", template) else None


def template_of(given: str) -> str:
    """A template as a user copies it: with its directive and name, in quotes, in several parts."""
    text = given.strip().removesuffix(";").strip()
    for directive in _DIRECTIVES:
        if found := directive.fullmatch(text):
            text = found[1]
    if re.fullmatch(r"(?:'[^']*'\s*)+", text):
        return "".join(re.findall(r"'([^']*)'", text))
    if len(text) > 1 and re.fullmatch(r'"(?:[^"\\]|\\.)*"', text):
        text = text[1:-1]
    return text.replace('\\"', '"')


def template_format(given: str, session: SessionKey) -> Format:
    """The format that a template describes; raises UsageError if it has no time, request or status."""
    template = template_of(given)
    server = server_of(template)
    if server is None:
        known = "nginx's log_format ($remote_addr ...), Apache's LogFormat (%h ...)"
        known += ", gunicorn's access_log_format (%(h)s ...) or a #Fields: line"
        raise UsageError([f"--log-format: no variable in it; give {known}"])
    return _Template(server, template, session).format()


class _Template:
    """Turns one template into a regular expression, part by part."""

    def __init__(self, server: Server, template: str, session: SessionKey) -> None:
        self.server: Server = server
        self._session = session
        self._template = template
        self._taken: dict[str, _Part] = {}
        self._keys: list[str] = []  # headers and cookies that could be asked for

    def format(self) -> Format:
        parse = self._finished(self._pattern())
        if self.server == "gunicorn":  # an agent may end in what looks like an escaped quote
            parse = _either(parse, self._finished(self._pattern(lenient=True)))
        fields = self._taken
        missing = [
            words
            for names, words in (
                ({"time"}, "the time"),
                ({"request", "target"}, "the request"),
                ({"status"}, "the status"),
            )
            if not names & fields.keys()
        ]
        if "target" in fields and "request" not in fields and "method" not in fields:
            missing.append("the method")
        if missing:
            raise UsageError([f"--log-format: {' and '.join(missing)} is missing in {self._template!r}"])
        if self._session.kind in {"header", "cookie"} and not {"key", "cookies"} & fields.keys():
            has = ", ".join(self._keys) or "none"
            asked = f"{self._session.kind} {self._session.name}"
            raise UsageError(
                [f"--session: the format does not log the {asked} (headers and cookies in it: {has})"]
            )
        notes = [] if "seconds" in fields else ["no durations"]
        if "agent" not in fields:
            notes.append("no agents: visitors behind one address look like one")
        stamps: Stamps = "start" if self.server == "Apache" and "{end:" not in self._template else "end"
        return Format(
            name=f"{self.server} format as given",
            parse=parse,
            stamps=stamps,
            seconds_per_unit=fields["seconds"].per_unit if "seconds" in fields else 1.0,
            time_pattern=fields["time"].time_pattern,
            notes=tuple(notes),
        )

    def _pattern(self, lenient: bool = False) -> str:
        """The regular expression, with the groups that are needed; lenient: an agent's backslash is one."""
        pieces = list(self._pieces())
        parts = [self._part(name, argument) for _, name, argument, _ in pieces]
        chosen = self._chosen([name for _, name, _, _ in pieces], parts)
        pattern, in_quotes = "", False
        for at, (before, _, _, after) in enumerate(pieces):
            pattern += re.escape(before)
            in_quotes ^= before.count('"') % 2 == 1
            part = parts[at]
            if not before and at and parts[at - 1].field == "target" and part in {_IS_ARGS, _LETTERS["q"]}:
                continue  # its target goes up to here
            if not before and at and part.field == "query" and parts[at - 1] == _IS_ARGS:
                continue
            following = self._following(pieces, parts, at, after)
            if part.field is None or chosen.get(part.field) != at:
                pattern += _without_groups(part.shape) or _up_to(following, in_quotes, part, lenient)
                continue
            self._taken[part.field] = part
            if part.field == "request":
                pattern += (
                    REQUEST
                    if in_quotes and following == '"'
                    else f"(?P<junk>{_up_to(following, in_quotes, part, lenient)})"
                )
            else:
                pattern += part.shape or f"(?P<{part.field}>{_up_to(following, in_quotes, part, lenient)})"
        return pattern + re.escape(pieces[-1][3] if pieces else "")

    def _pieces(self) -> Iterator[tuple[str, str, str, str]]:
        """The text before a variable, its name, its argument, and the text up to the next one."""
        found = list(_TOKENS[self.server].finditer(self._template))
        texts = _TOKENS[self.server].sub("\0", self._template).replace("\\t", "\t").split("\0")
        for at, variable in enumerate(found):
            name = next(text for text in reversed(variable.groups()) if text)
            argument = variable[1] or "" if self.server != "nginx" else ""
            yield (
                texts[at],
                name if self.server != "nginx" else variable[1] or variable[2],
                argument,
                texts[at + 1],
            )

    def _following(
        self, pieces: list[tuple[str, str, str, str]], parts: list[_Part], at: int, after: str
    ) -> str:
        """The character that ends a variable; "" at the end."""
        if after or at + 1 == len(pieces):
            return after[:1]
        if parts[at].field == "target":  # what is joined to it is a part of it
            return self._following(pieces, parts, at + 1, pieces[at + 1][3])
        if parts[at + 1].field == "target":
            return "/"  # a host before it
        return "" if parts[at + 1].shape is None else "["

    def _chosen(self, names: list[str], parts: list[_Part]) -> dict[str, int]:
        """Which variable has each field, where several do."""
        chosen: dict[str, int] = {}
        for second in (False, True):
            for at, part in enumerate(parts):
                if part.field and (names[at] in _SECOND_CHOICE) == second:
                    chosen.setdefault(part.field, at)
        if "request" in chosen:
            for field in ("target", "method", "query"):
                chosen.pop(field, None)
        return chosen

    def _part(self, name: str, argument: str) -> _Part:
        if self.server == "nginx":
            return self._nginx_part(name)
        if name == "t" and argument:
            return self._time_part(argument)
        if name in {"i", "C"} and argument:
            return self._header_part(name, argument)
        if argument and name == "T":
            return _Part("seconds", rf"(?P<seconds>{_NUMBER})", {"ms": 1e-3, "us": 1e-6}.get(argument, 1.0))
        if argument and name != "a":
            return _OTHER
        return (_GUNICORN if self.server == "gunicorn" else _APACHE).get(name, _OTHER)

    def _nginx_part(self, name: str) -> _Part:
        if name in _NGINX:
            return _NGINX[name]
        if name.startswith("cookie_"):
            return self._key_part("cookie", name.removeprefix("cookie_"))
        if name.startswith("http_"):
            return self._header_part("i", name.removeprefix("http_").replace("_", "-"))
        return _Part(None, rf"(?:{_NUMBER})(?:(?:, | : )(?:{_NUMBER}))*") if name in _UPSTREAM else _OTHER

    def _header_part(self, kind: str, name: str) -> _Part:
        if kind == "C":
            return self._key_part("cookie", name)
        field = _HEADERS.get(name.lower())
        return _Part(field) if field else self._key_part("header", name)

    def _key_part(self, kind: str, name: str) -> _Part:
        self._keys.append(f"{kind} {name}")
        asked = self._session
        same = name.lower().replace("_", "-") == asked.name.lower().replace("_", "-")
        if (asked.kind == kind and same) or (asked.kind == "auto" and _SESSION_NAME.search(name)):
            return _Part("key")
        return _OTHER

    def _time_part(self, argument: str) -> _Part:
        """Apache's `%{...}t`."""
        text = argument.removeprefix("begin:")
        if text in {"sec", "msec", "usec"}:
            return _Part("time", _EPOCH)
        if text in {"msec_frac", "usec_frac"}:
            return _Part(None, r"\d{3,6}")
        shape = ""
        for literal, letter in re.findall(r"([^%]+)|%(.)", text.removeprefix("end:")):
            if letter and letter not in _STRFTIME:
                raise UsageError(
                    [f"--log-format: %{{{argument}}}t: %{letter} is not read (known: {', '.join(_STRFTIME)})"]
                )
            shape += _STRFTIME[letter] if letter else re.escape(literal)
        pattern = text.replace("%F", "%Y-%m-%d").replace("%T", "%H:%M:%S").replace("%e", "%d")
        if pattern == "%s":
            return _Part("time", _EPOCH)
        return _Part("time", f"(?P<time>{shape})", time_pattern=pattern)

    def _finished(self, pattern: str) -> Parse:
        """Puts the query to its path, and takes the session's cookie out of a whole Cookie header."""
        if "query" not in self._taken and not ("cookies" in self._taken and self._session.kind == "cookie"):
            return pattern_parse(pattern)
        parse, name = groups_parse(pattern, (*FIELDS, "query", "cookies")), self._session.name

        def finished(line: str) -> Found | None:
            found = parse(line)
            if found is None:
                return None
            time, method, target, *others, key, query, cookies = found
            if target and query and query not in {"-", "?"}:
                target = f"{target}?{query.removeprefix('?')}"
            if cookies is not None and self._session.kind == "cookie":
                key = cookie_in(cookies, name)
            return (time, method, target, *others, key)  # type: ignore[return-value]  # as many as before

        return finished


def _either(first: Parse, second: Parse) -> Parse:
    return lambda line: first(line) or second(line)


def _up_to(end: str, in_quotes: bool, part: _Part, lenient: bool) -> str:
    """What a variable without a shape of its own may hold, by the character after it."""
    if in_quotes and lenient and part.field == "agent":
        return LENIENT
    if in_quotes:
        stop = re.escape("" if end == '"' else end)
        return rf'[^"\\{stop}]*(?:\\.[^"\\{stop}]*)*'
    if part.field == "forwarded":
        return "[^, ]*(?:, ?[^, ]+)*"
    if not end:
        return ".*"
    if part.field == "request" and end == " ":
        return r"(?:\S+ \S+ HTTP/[0-9.]+|\S+ \S+|-)"
    return ".{0,256}?" if part.field == "user" else rf"[^{re.escape(end)}]*"


def _without_groups(shape: str | None) -> str:
    return re.sub(r"\(\?P<\w+>", "(?:", shape or "")
