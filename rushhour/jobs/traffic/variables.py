"""Variables of log formats of nginx, Apache and gunicorn (pure)."""

from dataclasses import dataclass
from typing import Final

from rushhour.jobs.traffic.formats import CLF_TIME, ISO_TIME

EPOCH: Final = r"(?P<time>\d{9,19}(?:\.\d+)?)"
METHOD: Final = r"(?P<method>[A-Z][A-Z_-]*|-|)"
NUMBER: Final = r"\d+(?:\.\d+)?|-"


@dataclass(frozen=True, slots=True)
class Part:
    """A variable of a template: which field it is and what it looks like; None: nothing that is needed."""

    field: str | None
    shape: str | None = None  # None: up to what follows it
    per_unit: float = 1.0
    time_pattern: str | None = None


OTHER: Final = Part(None)
IS_ARGS: Final = Part(None, r"\??")
UPSTREAM: Final = {
    "upstream_response_time",
    "upstream_connect_time",
    "upstream_header_time",
    "upstream_status",
}
NGINX: Final = {
    "remote_addr": Part("address"),
    "realip_remote_addr": OTHER,
    "proxy_add_x_forwarded_for": Part("forwarded"),
    "remote_user": Part("user"),
    "time_local": Part("time", CLF_TIME),
    "time_iso8601": Part("time", ISO_TIME),
    "msec": Part("time", EPOCH),
    "request": Part("request"),
    "request_method": Part("method", METHOD),
    "request_uri": Part("target"),
    "uri": Part("target"),
    "document_uri": Part("target"),
    "args": Part("query"),
    "query_string": Part("query"),
    "status": Part("status", r"(?P<status>\d{3}|-)"),
    "body_bytes_sent": Part("size"),
    "bytes_sent": Part("size"),
    "request_time": Part("seconds", rf"(?P<seconds>{NUMBER})"),
    "uid_got": Part("key"),
    "is_args": IS_ARGS,
}
HEADERS: Final = {
    "user-agent": "agent",
    "cookie": "cookies",
    "x-forwarded-for": "forwarded",
    "x-real-ip": "forwarded",
    "true-client-ip": "forwarded",
    "cf-connecting-ip": "forwarded",
}
LETTERS: Final = {  # Apache's and gunicorn's
    "h": Part("address"),
    "u": Part("user"),
    "t": Part("time", rf"\[{CLF_TIME}\]"),
    "r": Part("request"),
    "m": Part("method", METHOD),
    "U": Part("target"),
    "q": Part("query"),
    "s": Part("status", r"(?P<status>\d{3}|-)"),
    "b": Part("size"),
    "B": Part("size"),
}
APACHE: Final = LETTERS | {
    "a": Part("address"),
    "O": Part("size"),
    "D": Part("seconds", rf"(?P<seconds>{NUMBER})", 1e-6),
    "T": Part("seconds", rf"(?P<seconds>{NUMBER})"),
}
GUNICORN: Final = LETTERS | {
    "a": Part("agent"),
    "D": Part("seconds", rf"(?P<seconds>{NUMBER})", 1e-6),
    "M": Part("seconds", rf"(?P<seconds>{NUMBER})", 1e-3),
    "L": Part("seconds", rf"(?P<seconds>{NUMBER})"),
    "T": Part("seconds", rf"(?P<seconds>{NUMBER})"),
}
SECOND_CHOICE: Final = {"T", "bytes_sent", "O", "uri", "document_uri"}  # if nothing else has their field
