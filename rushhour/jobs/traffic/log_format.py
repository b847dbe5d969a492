"""Formats that a server's own configuration describes: log_format, LogFormat, access_log_format (pure)."""

import re
from collections.abc import Iterator
from typing import Final, Literal

from rushhour.errors import UsageError
from rushhour.jobs.traffic.apache_times import MOST_PARTS, belonging, is_end, time_part
from rushhour.jobs.traffic.formats import (
    FIELDS,
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
from rushhour.jobs.traffic.variables import (
    APACHE,
    GUNICORN,
    HEADERS,
    IS_ARGS,
    LETTERS,
    NGINX,
    NUMBER,
    OTHER,
    SECOND_CHOICE,
    UPSTREAM,
    Part,
)

Server = Literal["nginx", "Apache", "gunicorn"]
_SESSION_NAME: Final = re.compile(r"sess|sid\b|visitor", re.IGNORECASE)
_TOKENS: Final = {
    "nginx": re.compile(r"\$(?:\{(\w+)\}|(\w+))"),
    "Apache": re.compile(r"%[!\d,<>]*(?:\{([^}]*)\})?(\^t[io]|[a-zA-Z%])"),
    "gunicorn": re.compile(r"%\((?:\{([^}]*)\})?(\w+)\)s"),
}
_TIMES: Final = tuple(f"time_{number}" for number in range(1, MOST_PARTS))
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
        self._taken: dict[str, Part] = {}
        self._keys: list[str] = []  # headers and cookies that could be asked for
        self._time_pattern: str | None = None
        self._parted = False  # the time is in several parts
        self._at_end = server != "Apache"

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
        stamps: Stamps = "end" if self._at_end else "start"
        return Format(
            name=f"{self.server} format as given",
            parse=parse,
            stamps=stamps,
            seconds_per_unit=fields["seconds"].per_unit if "seconds" in fields else 1.0,
            time_pattern=self._time_pattern,
            notes=tuple(notes),
        )

    def _pattern(self, lenient: bool = False) -> str:
        """The regular expression, with the groups that are needed; lenient: an agent's backslash is one."""
        pieces = list(self._pieces())
        parts = [self._part(name, argument) for _, name, argument, _ in pieces]
        chosen = self._chosen([name for _, name, _, _ in pieces], parts)
        named = self._parts_of_time([(name, argument) for _, name, argument, _ in pieces], parts, chosen)
        pattern, in_quotes = "", False
        for at, (before, _, _, after) in enumerate(pieces):
            pattern += re.escape(before)
            in_quotes ^= before.count('"') % 2 == 1
            part = parts[at]
            if not before and at and parts[at - 1].field == "target" and part in {IS_ARGS, LETTERS["q"]}:
                continue  # its target goes up to here
            if not before and at and part.field == "query" and parts[at - 1] == IS_ARGS:
                continue
            following = self._following(pieces, parts, at, after)
            if at in named:
                pattern += f"(?P<{named[at]}>{_without_groups(part.shape)})"
                continue
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
        self, pieces: list[tuple[str, str, str, str]], parts: list[Part], at: int, after: str
    ) -> str:
        """The character that ends a variable; "" at the end."""
        if after or at + 1 == len(pieces):
            return after[:1]
        if parts[at].field == "target":  # what is joined to it is a part of it
            return self._following(pieces, parts, at + 1, pieces[at + 1][3])
        if parts[at + 1].field == "target":
            return "/"  # a host before it
        return "" if parts[at + 1].shape is None else "["

    def _chosen(self, names: list[str], parts: list[Part]) -> dict[str, int]:
        """Which variable has each field, where several do."""
        chosen: dict[str, int] = {}
        for second in (False, True):
            for at, part in enumerate(parts):
                if part.field and (names[at] in SECOND_CHOICE) == second:
                    chosen.setdefault(part.field, at)
        if "request" in chosen:
            for field in ("target", "method", "query"):
                chosen.pop(field, None)
        return chosen

    def _parts_of_time(
        self, variables: list[tuple[str, str]], parts: list[Part], chosen: dict[str, int]
    ) -> dict[int, str]:
        """The groups of the parts that Apache's time has besides its first."""
        first = chosen.get("time")
        if first is None or self.server != "Apache":
            return {}
        arguments = [argument if name == "t" else "" for name, argument in variables]
        self._at_end = is_end(arguments[first])
        self._time_pattern = parts[first].time_pattern
        if not arguments[first]:
            return {}
        others, fraction = belonging(arguments, first)
        patterns = [self._time_pattern, *(parts[at].time_pattern for at in others)]
        if self._time_pattern is not None:
            patterns += ["%f"] if fraction is not None else []
            self._time_pattern = " ".join(pattern for pattern in patterns if pattern)
        self._parted = bool(others) or fraction is not None
        named = {at: f"time_{number}" for number, at in enumerate(others, start=1)}
        return named if fraction is None else {**named, fraction: "fraction"}

    def _part(self, name: str, argument: str) -> Part:
        if self.server == "nginx":
            return self._nginx_part(name)
        if name == "t" and argument:
            return time_part(argument)
        if name in {"i", "C"} and argument:
            return self._header_part(name, argument)
        if argument and name == "T":
            return Part("seconds", rf"(?P<seconds>{NUMBER})", {"ms": 1e-3, "us": 1e-6}.get(argument, 1.0))
        if argument and name != "a":
            return OTHER
        return (GUNICORN if self.server == "gunicorn" else APACHE).get(name, OTHER)

    def _nginx_part(self, name: str) -> Part:
        if name in NGINX:
            return NGINX[name]
        if name.startswith("cookie_"):
            return self._key_part("cookie", name.removeprefix("cookie_"))
        if name.startswith("http_"):
            return self._header_part("i", name.removeprefix("http_").replace("_", "-"))
        return Part(None, rf"(?:{NUMBER})(?:(?:, | : )(?:{NUMBER}))*") if name in UPSTREAM else OTHER

    def _header_part(self, kind: str, name: str) -> Part:
        if kind == "C":
            return self._key_part("cookie", name)
        field = HEADERS.get(name.lower())
        return Part(field) if field else self._key_part("header", name)

    def _key_part(self, kind: str, name: str) -> Part:
        self._keys.append(f"{kind} {name}")
        asked = self._session
        same = name.lower().replace("_", "-") == asked.name.lower().replace("_", "-")
        if (asked.kind == kind and same) or (asked.kind == "auto" and _SESSION_NAME.search(name)):
            return Part("key")
        return OTHER

    def _finished(self, pattern: str) -> Parse:
        """Joins what is apart: the path and its query, the parts of a time, a cookie and its header."""
        asked_for_cookie = "cookies" in self._taken and self._session.kind == "cookie"
        if "query" not in self._taken and not asked_for_cookie and not self._parted:
            return pattern_parse(pattern)
        parse, name = (
            groups_parse(pattern, (*FIELDS, "query", "cookies", "fraction", *_TIMES)),
            self._session.name,
        )
        before_fraction = "." if self._time_pattern is None else " "

        def finished(line: str) -> Found | None:
            found = parse(line)
            if found is None:
                return None
            time, method, target, *others = found[: len(FIELDS) - 1]
            key, query, cookies, fraction, *times = found[len(FIELDS) - 1 :]
            if target and query and query not in {"-", "?"}:
                target = f"{target}?{query.removeprefix('?')}"
            if cookies is not None and self._session.kind == "cookie":
                key = cookie_in(cookies, name)
            time = " ".join([time or "", *(part for part in times if part)])
            if fraction:
                time += before_fraction + fraction
            return (time, method, target, *others, key)  # type: ignore[return-value]  # as many as before

        return finished


def _either(first: Parse, second: Parse) -> Parse:
    return lambda line: first(line) or second(line)


def _up_to(end: str, in_quotes: bool, part: Part, lenient: bool) -> str:
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
