"""Lines of servers that are written in Python, or run Python, by their default formats (pure).

Most of them escape neither quotes nor backslashes, so that a path or an agent may hold what
ends it elsewhere.
"""

from typing import Final

from rushhour.jobs.traffic.formats import (
    ADDRESS,
    CLF_TIME,
    IDENT,
    ISO_TIME,
    METHOD,
    NO_AGENT,
    NO_SECONDS,
    PROTOCOL,
    REQUEST,
    SIZE,
    STATUS,
    USER,
    Format,
    pattern_parse,
    text_format,
)

_NO_ADDRESS: Final = "no addresses: all visitors look like one"
_BARE: Final = rf'"(?:{METHOD} (?P<target>\S{{1,8192}}?){PROTOCOL}|(?P<junk>[^"]{{0,8192}}))" {STATUS} {SIZE}'
_BARE_AGENT: Final = r'".{0,2048}?" "(?P<agent>.{0,2048}?)"'
_DAY_TIME: Final = r"(?P<time>\d\d/[A-Z][a-z]{2}/\d{4} \d\d:\d\d:\d\d)"
_FEW_SECONDS: Final = r"(?P<seconds>\d+\.\d+|-)"
_LOGGED_TIME: Final = (
    r"(?<![\w.:-])(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)? ?(?:Z|UTC|[+-]\d\d:?\d\d)?"
    r"|\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d(?: [+-]\d{4})?)(?![\w.:-])"
)
_UVICORN: Final = (  # before the address: what a logging configuration writes, with a time or without
    rf'(?:(?:[^"]{{0,128}}?{_LOGGED_TIME})?[^"]{{0,256}}?[]) |:\t])??'
    rf'(?P<address>[\w.:]*):\d+ - "{REQUEST}" (?P<status>\d{{3}})(?: [\w \'-]*)?'
)
_UWSGI: Final = (
    r"\[pid: \d+\|app: \S+\|req: \S+\] (?P<address>\S+) \((?P<user>[^)]*)\) \{[^}]*\} "
    rf"\[(?P<time>[A-Z][a-z]{{2}} [A-Z][a-z]{{2}} [ \d]\d \d\d:\d\d:\d\d \d{{4}})\] {METHOD} (?P<target>\S+) "
    r"=> generated (?P<size>\d+) bytes in (?P<seconds>\d+) msecs .*?\(\S+ (?P<status>\d{3})\) .*"
)
_GRANIAN: Final = (
    rf'\[{ISO_TIME}\] (?P<address>\S+) - "{REQUEST}" (?P<status>\d{{3}}) (?P<seconds>\d+(?:\.\d+)?)'
)
_TORNADO: Final = (
    rf"(?P<status>\d{{3}}) {METHOD} (?P<target>\S{{1,8192}}) \((?P<address>[^()\s]+)\) "
    r"(?P<seconds>\d+\.\d+)ms"
)
_SANIC: Final = (  # its host, which has the address, stands before the request
    rf'[^"]{{0,64}}?{_LOGGED_TIME}[^"]{{0,64}}?[\[ ]'
    r"(?P<address>[0-9A-Fa-f.:]+|\[[0-9A-Fa-f.:]+\]):\d+(?:\]:)? "
    rf"{METHOD} (?P<target>\S{{1,8192}}) +{STATUS} (?P<size>-?\d+)(?: +(?P<seconds>\d+\.\d+)ms)?"
)


PYTHON_FORMATS: Final = (
    text_format("uvicorn", _UVICORN, "end", notes=[NO_SECONDS, NO_AGENT]),
    Format(
        "uWSGI",
        pattern_parse(_UWSGI),
        "start",
        1e-3,
        escapes="",
        time_pattern="%a %b %d %H:%M:%S %Y",
        notes=(NO_AGENT,),
    ),
    text_format("Granian", _GRANIAN, "start", 1e-3, notes=[NO_AGENT]),
    text_format(
        "aiohttp",
        rf"{ADDRESS} \[{CLF_TIME}\] {_BARE} {_BARE_AGENT}",
        "start",
        notes=[NO_SECONDS],
        escapes="",
    ),
    text_format(
        "Django runserver",
        rf"\[{_DAY_TIME}\] {_BARE}",
        "end",
        notes=[NO_SECONDS, _NO_ADDRESS],
        escapes="",
    ),
    text_format(
        "Werkzeug, wsgiref",
        rf"{ADDRESS} - - \[{_DAY_TIME}\] {_BARE}",
        "end",
        notes=[NO_SECONDS, NO_AGENT],
        escapes="",
    ),
    text_format(
        "eventlet",
        rf"{ADDRESS} - - \[{_DAY_TIME}\] {_BARE} {_FEW_SECONDS}",
        "end",
        notes=[NO_AGENT],
        escapes="",
    ),
    text_format(
        "gevent",
        rf"{ADDRESS} - - \[{ISO_TIME}\] {_BARE} {_FEW_SECONDS}",
        "end",
        notes=[NO_AGENT],
        escapes="",
    ),
    Format(
        "Tornado",
        pattern_parse(rf"\[[A-Z] (?P<time>\d{{6}} \d\d:\d\d:\d\d) [\w.]+:\d+\] {_TORNADO}"),
        "end",
        1e-3,
        escapes="",
        time_pattern="%y%m%d %H:%M:%S",
        notes=(NO_AGENT,),
    ),
    text_format("Tornado's messages", _TORNADO, "end", 1e-3, notes=[NO_AGENT], escapes=""),
    text_format("Sanic", _SANIC, "end", 1e-3, notes=[NO_AGENT], escapes=""),
    text_format(
        "combined, quotes as they are",
        rf"{ADDRESS} {IDENT} {USER} \[{CLF_TIME}\] {_BARE} {_BARE_AGENT}",
        "unknown",
        notes=[NO_SECONDS],
        escapes="",
    ),
    text_format(
        "common, quotes as they are",
        rf"{ADDRESS} {IDENT} {USER} \[{CLF_TIME}\] {_BARE}",
        "unknown",
        notes=[NO_SECONDS, NO_AGENT],
        escapes="",
    ),
)
