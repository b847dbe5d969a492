"""Access logs as JSON lines: Caddy, Traefik, Envoy, CloudFront, any other by a map of its fields (pure)."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_plus

import orjson

from rushhour.jobs.traffic.formats import Format, Found, Parse, Stamps, cookie_in
from rushhour.jobs.traffic.options import SessionKey

PER_UNIT: Final = {"seconds": 1.0, "milliseconds": 1e-3, "microseconds": 1e-6, "nanoseconds": 1e-9}
MAPPABLE: Final = (
    "time",
    "date",
    "method",
    "path",
    "query",
    "request",
    "status",
    *PER_UNIT,
    "size",
    "address",
    "forwarded",
    "user",
    "agent",
    "cookies",
    "session",
)
_BYTE: Final = re.compile(r"\\x([0-9a-f]{2})")
_LINE: Final = re.compile(r"([A-Za-z_-]+) (.+?)(?: HTTP/[0-9.]+)?", re.DOTALL)
_TAKES_HEADERS: Final = ("request.headers.", "request_", "headers.", "http_", "request_headers.", "")

_CADDY: Final = {
    "time": "ts",
    "method": "request.method",
    "path": "request.uri",
    "status": "status",
    "seconds": "duration",
    "size": "size",
    "address": "request.client_ip|request.remote_ip|request.remote_addr",
    "user": "user_id",
    "agent": "request.headers.User-Agent",
    "cookies": "request.headers.Cookie",
}
_TRAEFIK: Final = {
    "time": "StartUTC|StartLocal|time",
    "method": "RequestMethod",
    "path": "RequestPath",
    "status": "DownstreamStatus",
    "nanoseconds": "Duration",
    "size": "DownstreamContentSize",
    "address": "ClientHost|ClientAddr",
    "user": "ClientUsername",
    "agent": "request_User-Agent",
    "cookies": "request_Cookie",
}
_ENVOY: Final = {
    "time": "start_time|time|timestamp",
    "method": "method|:method",
    "path": "path|x-envoy-origin-path|:path",
    "status": "response_code",
    "milliseconds": "duration",
    "size": "bytes_sent",
    "address": "downstream_remote_address",
    "forwarded": "x_forwarded_for|x-forwarded-for",
    "agent": "user_agent|user-agent",
}
_CLOUDFRONT: Final = {  # standard logging v2; which of its fields are there is the user's choice
    "time": "timestamp(ms)|timestamp|time",
    "date": "date",
    "method": "cs-method",
    "path": "cs-uri-stem",
    "query": "cs-uri-query",
    "status": "sc-status",
    "seconds": "time-taken",
    "size": "sc-bytes",
    "address": "c-ip",
    "forwarded": "x-forwarded-for",
    "agent": "cs(User-Agent)|cs-user-agent",
    "cookies": "cs(Cookie)|cs-cookie",
}
_USUAL: Final = {  # names that say what they hold; "duration" alone does not say its unit
    "time": "time_iso8601|time_local|@timestamp|timestamp|start_time|time|ts|msec|datetime",
    "date": "date",
    "method": "request_method|method|http_method|verb|request.method|http.request.method"
    "|httpRequest.requestMethod|req.method",
    "path": "request_uri|uri|path|url|request_path|request.uri|request.url|request.path|target"
    "|url.original|url.path|http.target|httpRequest.requestUrl|req.url",
    "request": "request",
    "status": "status|status_code|response_status|response_code|http_status|http.response.status_code"
    "|httpRequest.status|res.statusCode|statusCode",
    "seconds": "request_time|duration_s|elapsed_s|duration_seconds|httpRequest.latency",
    "milliseconds": "duration_ms|latency_ms|response_time_ms|elapsed_ms|request_time_ms|responseTime",
    "size": "body_bytes_sent|bytes_sent|size|response_size|http.response.body.bytes|httpRequest.responseSize",
    "address": "remote_addr|remote_ip|client_ip|client|ip|clientip|client.ip|source.ip|httpRequest.remoteIp",
    "forwarded": "http_x_forwarded_for|x_forwarded_for",
    "user": "remote_user|user|user_id|user.name",
    "cookies": "http_cookie|cookie|request.headers.Cookie|request.headers.cookie",
    "session": "cookie_sessionid|cookie_session|session_id|sessionid",
    "agent": "http_user_agent|user_agent|agent|user_agent.original|httpRequest.userAgent",
}


_MAY_BE_MISSING: Final = ("size", "address", "forwarded", "user", "agent", "cookies", "session")  # at first


class _Field:
    """Where a field is: the first of some names that the line has, at its top or inside by dots."""

    def __init__(self, names: str) -> None:
        self._paths = [(name, tuple(name.split("."))) for name in names.split("|")]

    def named(self, line: Mapping[str, object]) -> bool:
        """Whether the line has the field, with null for a value too."""
        return any(name in line for name, _ in self._paths)

    def read(self, line: Mapping[str, object]) -> str | None:
        empty = None
        for name, path in self._paths:
            value: object = line.get(name)
            if value is None and len(path) > 1:
                value = line
                for key in path:
                    value = value.get(key) if isinstance(value, dict) else None
            if isinstance(value, list) and value:
                value = value[0]
            if isinstance(value, str):
                if value:
                    return value
                empty = ""
            elif isinstance(value, int | float) and not isinstance(value, bool):
                return repr(value)
        return empty


@lru_cache(maxsize=1)
def loaded(line: str) -> Mapping[str, object] | None:
    """The object that a line is, kept for the next format that is tried on it.

    Bytes that are not UTF-8, which are `\\xNN` by now, become `%NN`.
    """
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        repaired = _BYTE.sub(r"%\1", line)
        if repaired == line:
            return None
        try:
            found = orjson.loads(repaired)
        except orjson.JSONDecodeError:
            return None
    return found if isinstance(found, dict) else None


def json_format(
    name: str,
    fields: Mapping[str, str],
    session: SessionKey,
    stamps: Stamps = "end",
    *,
    as_w3c: bool = False,
) -> Format:
    """A format of JSON lines; `fields` maps names of MAPPABLE to names in the log, dotted, "|" for or.

    `as_w3c`: its values are as in W3C logs, with times in UTC, and agents and cookies percent-encoded.
    """
    unit = next((unit for unit in PER_UNIT if unit in fields), None)
    notes = [] if unit else ["no durations"]
    if "agent" not in fields:
        notes.append("no agents: visitors behind one address look like one")
    return Format(
        name=name,
        parse=_parse(fields, unit, session, as_w3c),
        stamps=stamps,
        seconds_per_unit=PER_UNIT[unit] if unit else 1.0,
        escapes="",
        notes=tuple(notes),
    )


def _parse(fields: Mapping[str, str], unit: str | None, session: SessionKey, as_w3c: bool) -> Parse:
    readers = {name: _Field(names) for name, names in fields.items()}
    nowhere = _Field("")

    def reader(name: str | None) -> _Field:
        return readers.get(name or "", nowhere)

    time, method, target, query = reader("time"), reader("method"), reader("path"), reader("query")
    request, status, took, size = reader("request"), reader("status"), reader(unit), reader("size")
    address, forwarded, user, agent = (reader(name) for name in ("address", "forwarded", "user", "agent"))
    key, cookies, date = readers.get("session"), readers.get("cookies"), readers.get("date")
    if key is None and session.kind == "header":
        key = _Field(
            "|".join(
                prefix + name
                for prefix in _TAKES_HEADERS
                for name in (session.name, session.name.title(), session.name.lower().replace("-", "_"))
            )
        )

    def parse(line: str) -> Found | None:
        if line[:1] != "{":
            return None
        found = loaded(line)
        if found is None:
            return None
        moment, code = time.read(found), status.read(found)
        verb, path = method.read(found), target.read(found)
        whole = request.read(found) if path is None or verb is None else None
        if code is None:
            return None
        if (
            whole is None
            and (verb is None or path is None)
            and not (method.named(found) and target.named(found))
        ):
            return None  # with both named and null it is a connection that sent no request
        if path is not None and (asked := query.read(found)) and asked != "-":
            path = f"{path}?{asked.removeprefix('?')}"
        junk = None
        if whole is not None:
            split = _LINE.fullmatch(whole)
            verb, path, junk = (split[1], split[2], None) if split else (None, None, whole)
        known_by = key.read(found) if key is not None else None
        if session.kind == "cookie" and known_by is None and cookies is not None:
            header = cookies.read(found) or ""
            known_by = cookie_in(unquote_plus(header) if as_w3c else header, session.name)
        if moment is not None and moment[2:3] == ":" and date is not None:  # the day stands apart
            moment = f"{date.read(found)} {moment}{'Z' if as_w3c else ''}"
        named = agent.read(found)
        return (
            moment.strip("[]") if moment is not None else None,
            verb,
            path,
            junk,
            code.removesuffix(".0"),
            took.read(found),
            size.read(found),
            address.read(found),
            forwarded.read(found),
            user.read(found),
            unquote_plus(named) if as_w3c and named else named,
            known_by,
        )

    return parse


def problems_of(fields: Mapping[str, str]) -> list[str]:
    """What is wrong with a map of fields; empty if nothing is."""
    problems = [
        f"--field {name}=...: unknown; known: {', '.join(MAPPABLE)}"
        for name in fields
        if name not in MAPPABLE
    ]
    missing = [name for name in ("time", "status") if name not in fields]
    if "request" not in fields:
        missing += [name for name in ("method", "path") if name not in fields]
    if missing:
        problems.append(
            f"--field: {', '.join(missing)} is missing; a request needs them (method and path or request)"
        )
    if len(units := [unit for unit in PER_UNIT if unit in fields]) > 1:
        problems.append(f"--field: {' and '.join(units)} are both its duration; give one of them")
    return problems


def known_json_formats(session: SessionKey) -> tuple[Format, ...]:
    """Those of servers that write JSON by themselves."""
    return (
        json_format("Caddy JSON", _CADDY, session),
        json_format("Traefik JSON", _TRAEFIK, session, "start"),
        json_format("Envoy JSON", _ENVOY, session, "start"),
        json_format("CloudFront JSON", _CLOUDFRONT, session, as_w3c=True),
    )


def guessed_format(line: str, session: SessionKey) -> Format | None:
    """A format from the usual names in a line; None if no time, request and status are among them."""
    if line[:1] != "{":
        return None
    found = loaded(line)
    if found is None:
        return None
    fields = {}
    for field, names in _USUAL.items():
        for name in names.split("|"):
            if _Field(name).read(found):
                fields[field] = name
                break
    if not {"time", "status"} <= fields.keys() or not (
        "request" in fields or {"method", "path"} <= fields.keys()
    ):
        return None
    if "method" in fields and "path" in fields:
        fields.pop("request", None)
    if "seconds" in fields:
        fields.pop("milliseconds", None)
    mapped = ", ".join(f"{field}={name}" for field, name in fields.items())
    whole = {field: _USUAL[field] for field in _MAY_BE_MISSING} | fields
    if session.kind != "auto":
        whole.pop("session")
    return json_format(f"JSON lines ({mapped})", whole, session)
