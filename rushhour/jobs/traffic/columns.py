"""Logs whose `#Fields:` line names their columns: IIS, CloudFront, others of the W3C's format (pure)."""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote_plus

from rushhour.jobs.traffic.formats import Format, Found, Parse, cookie_in
from rushhour.jobs.traffic.options import SessionKey

W3C_NAMES: Final = ("CloudFront", "IIS (W3C)", "W3C extended")
_FIELDS: Final = "#fields:"
_DIRECTIVE: Final = re.compile(
    r"#(?:Version|Fields|Software|Start-Date|End-Date|Date|Remark)\b", re.IGNORECASE
)
_STAMPS: Final = ("timestamp(ms)", "timestamp")  # of CloudFront's real-time and v2 logs, since 1970
_TOKENS: Final = re.compile(r'"(?:[^"]|"")*"|[^ ]+')


def is_directive(line: str) -> bool:
    return _DIRECTIVE.match(line) is not None


def w3c_format(headers: Sequence[str], session: SessionKey) -> Format | None:
    """The format that the last header line begins; None if it does not name columns that make a request."""
    if not headers[-1].lower().startswith(_FIELDS):
        return None
    names = headers[-1][len(_FIELDS) :].split()
    tabs = "x-edge-location" in names
    iis = any("internet information" in header.lower() for header in headers) or "sc-win32-status" in names
    where = {name.lower(): at for at, name in reversed(list(enumerate(names)))}
    if not {"cs-method", "sc-status"} <= where.keys() or not where.keys() & {"cs-uri-stem", "cs-uri"}:
        return None
    dated = "date" in where or any(header.lower().startswith("#date:") for header in headers)
    stamped = where.keys() & set(_STAMPS)
    if stamped:
        tabs = True
    elif "time" not in where or not dated:
        return None
    notes = [] if "time-taken" in where else ["no durations"]
    if not where.keys() & {"cs(user-agent)", "cs-user-agent"}:
        notes.append("no agents: visitors behind one address look like one")
    date = next((_date_of(header) for header in reversed(headers) if header.lower().startswith("#date:")), "")
    return Format(
        name=W3C_NAMES[0 if tabs else 1 if iis else 2],
        parse=_parse(where, len(names), tabs, date, session),
        stamps="end",
        seconds_per_unit=1e-3 if iis and not tabs else 1.0,
        escapes="",
        notes=tuple(notes),
    )


def _date_of(header: str) -> str:
    return next(iter(header.partition(":")[2].split()), "")


def _parse(where: dict[str, int], columns: int, tabs: bool, date: str, session: SessionKey) -> Parse:
    def at(*names: str) -> int | None:
        return next((where[name] for name in names if name in where), None)

    day, time, moment = at("date"), at("time"), at(*_STAMPS)
    method, status = where["cs-method"], where["sc-status"]
    stem, query = at("cs-uri-stem", "cs-uri"), at("cs-uri-query")
    took, size = at("time-taken"), at("sc-bytes")
    address, forwarded = at("c-ip"), at("x-forwarded-for", "cs(x-forwarded-for)")
    user, agent, cookies = (
        at("cs-username"),
        at("cs(user-agent)", "cs-user-agent"),
        at("cs(cookie)", "cs-cookie"),
    )
    header = at(f"cs({session.name.lower()})") if session.kind == "header" else None

    def parse(line: str) -> Found | None:
        cells = line.split("\t") if tabs or "\t" in line else line.split(" ")
        if len(cells) != columns:
            cells = _TOKENS.findall(line)  # of servers that quote
            if len(cells) != columns:
                return None
        target = cells[stem] if stem is not None else ""
        if query is not None and cells[query] not in {"-", ""} and "?" not in target:
            target = f"{target}?{cells[query]}"
        named = unquote_plus(cells[agent]) if agent is not None else None
        key = cells[header] if header is not None else None
        if session.kind == "cookie" and cookies is not None:
            key = cookie_in(unquote_plus(cells[cookies]), session.name)
        if moment is not None:
            stamp = cells[moment]
        else:
            stamp = f"{cells[day] if day is not None else date} {cells[time or 0]}Z"
        return (
            stamp,
            cells[method],
            target,
            None,
            cells[status],
            cells[took] if took is not None else None,
            cells[size] if size is not None else None,
            cells[address] if address is not None else None,
            cells[forwarded] if forwarded is not None else None,
            cells[user] if user is not None else None,
            named,
            key,
        )

    return parse
