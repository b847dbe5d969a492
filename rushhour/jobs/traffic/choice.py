"""Which formats a reading tries: all that are known, or what the options name."""

from typing import Final

from rushhour.errors import UsageError
from rushhour.jobs.traffic.columns import w3c_format
from rushhour.jobs.traffic.formats import TEXT_FORMATS, Format
from rushhour.jobs.traffic.json_lines import json_format, known_json_formats, problems_of
from rushhour.jobs.traffic.options import ReadingOptions, SessionKey
from rushhour.jobs.traffic.templates import template_format

_COMBINED: Final = (
    "nginx main",
    "combined",
    "Apache vhost_combined",
    "combined and more",
    "combined, backslashes as they are",
)
NAMES: Final = {
    "common": ("common",),
    "combined": _COMBINED,
    "nginx": ("nginx main", "combined", "combined and more"),
    "apache": ("combined", "common", "Apache vhost_combined", "combined and more"),
    "gunicorn": ("combined", "combined, backslashes as they are"),
    "uvicorn": ("uvicorn",),
    "haproxy": ("HAProxy HTTP",),
    "alb": ("AWS ALB",),
    "caddy": ("Caddy JSON",),
    "traefik": ("Traefik JSON", "Traefik common"),
    "envoy": ("Envoy JSON", "Envoy"),
    "cloudfront": (),
    "iis": (),
    "w3c": (),
}
"""What `--format` takes, with the names of its formats; W3C logs name theirs in `#Fields:` lines."""


def chosen_formats(options: ReadingOptions) -> tuple[tuple[Format, ...], bool]:
    """Formats to try, and whether no other is; raises UsageError for a format that cannot be."""
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
        return (_described(options.log_format, options.session),), True
    if options.fields:
        if problems := problems_of(options.fields):
            raise UsageError(problems)
        return (json_format("JSON lines by --field", options.fields, options.session),), True
    known = (*TEXT_FORMATS, *known_json_formats(options.session))
    if options.format is None:
        return known, False
    if options.format not in NAMES:
        raise UsageError([f"--format {options.format}: unknown; known: {', '.join(NAMES)}"])
    return tuple(form for form in known if form.name in NAMES[options.format]), True


def _described(text: str, session: SessionKey) -> Format:
    if not text.lstrip().lower().startswith("#fields:"):
        return template_format(text, session)
    form = w3c_format([text.strip()], session)
    if form is None:
        raise UsageError(
            ["--log-format: #Fields: needs date, time, cs-method, cs-uri-stem (or cs-uri) and sc-status"]
        )
    return form
