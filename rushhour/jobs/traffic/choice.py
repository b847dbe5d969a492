"""Which formats a reading tries: all that are known, or what the options name."""

from dataclasses import dataclass
from typing import Final

from rushhour.errors import UsageError
from rushhour.jobs.traffic.columns import W3C_NAMES, w3c_format
from rushhour.jobs.traffic.formats import TEXT_FORMATS, Format
from rushhour.jobs.traffic.json_lines import json_format, known_json_formats, problems_of
from rushhour.jobs.traffic.log_format import template_format
from rushhour.jobs.traffic.options import ReadingOptions, SessionKey
from rushhour.jobs.traffic.python_servers import PYTHON_FORMATS

_COMBINED: Final = (
    "nginx main",
    "combined",
    "Apache vhost_combined",
    "combined and more",
    "combined, backslashes as they are",
)
_BARE: Final = ("combined, quotes as they are", "common, quotes as they are")
NAMES: Final = {
    "common": ("common",),
    "combined": _COMBINED,
    "nginx": ("nginx main", "ingress-nginx", "combined", "combined and more"),
    "apache": ("combined", "common", "Apache vhost_combined", "combined and more"),
    "gunicorn": ("combined", "combined, backslashes as they are"),
    "uvicorn": ("uvicorn",),
    "uwsgi": ("uWSGI",),
    "granian": ("Granian",),
    "hypercorn": ("combined", "common", *_BARE),
    "daphne": ("common", "common, quotes as they are"),
    "aiohttp": ("aiohttp",),
    "django": ("Django runserver",),
    "werkzeug": ("Werkzeug, wsgiref",),
    "eventlet": ("eventlet",),
    "gevent": ("gevent",),
    "tornado": ("Tornado", "Tornado's messages"),
    "sanic": ("Sanic",),
    "translogger": ("combined", *_BARE),
    "twisted": ("combined",),
    "haproxy": ("HAProxy HTTP",),
    "alb": ("AWS ALB", "AWS ELB (classic)"),
    "caddy": ("Caddy JSON",),
    "traefik": ("Traefik JSON", "Traefik common"),
    "envoy": ("Envoy JSON", "Envoy", "Envoy, quotes as they are"),
    "cloudfront": ("CloudFront JSON",),
    "iis": (),
    "w3c": (),
}
"""What `--format` takes, with the names of its formats."""
_BY_COLUMNS: Final = ("cloudfront", "iis", "w3c")  # a `#Fields:` line names theirs


@dataclass(frozen=True, slots=True)
class Choice:
    """The formats to try."""

    formats: tuple[Format, ...]
    fixed: bool = True  # no others
    columns: bool = False  # those that `#Fields:` lines name, too


def chosen_formats(options: ReadingOptions) -> Choice:
    """What the options name, or all that is known; raises UsageError for a format that cannot be."""
    given = [
        name
        for name, value in (
            ("--format", options.format),
            ("--log-format", options.log_format),
            ("--field", options.fields),
        )
        if value
    ]
    if len(given) > 1:
        raise UsageError([f"{' and '.join(given)} each name the format; give one of them"])
    if options.log_format is not None:
        form = _described(options.log_format, options.session)
        return Choice((form,), columns=form.name in W3C_NAMES)
    if options.fields:
        if problems := problems_of(options.fields):
            raise UsageError(problems)
        return Choice((json_format("JSON lines by --field", options.fields, options.session),))
    known = (*TEXT_FORMATS, *PYTHON_FORMATS, *known_json_formats(options.session))
    if options.format is None:
        return Choice(known, fixed=False, columns=True)
    if options.format not in NAMES:
        raise UsageError([f"--format {options.format}: unknown; known: {', '.join(NAMES)}"])
    named = NAMES[options.format]
    return Choice(tuple(form for form in known if form.name in named), columns=options.format in _BY_COLUMNS)


def _described(text: str, session: SessionKey) -> Format:
    if not text.lstrip().lower().startswith("#fields:"):
        return template_format(text, session)
    form = w3c_format([text.strip()], session)
    if form is None:
        raise UsageError(
            ["--log-format: #Fields: needs date, time, cs-method, cs-uri-stem (or cs-uri) and sc-status"]
        )
    return form
