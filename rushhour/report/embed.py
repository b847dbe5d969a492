"""Embeds scripts, their hashes and data in a page that fetches nothing."""

import base64
import functools
import gzip
import hashlib
import importlib.resources
import json
from dataclasses import dataclass

from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from rushhour.report import words


@dataclass(frozen=True, slots=True)
class Plotly:
    """plotly.js for a page: gzip in base64, and the hash for the Content-Security-Policy."""

    packed: str
    sha256: str


def script_json(value: object) -> str:
    """Return JSON that is safe inside a script element: it cannot end the element or open another."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def prose(text: object) -> Markup:
    """Return text as HTML, with the parts between backticks as code."""
    parts = words.clean(text).split("`")
    if len(parts) % 2 == 0:
        return escape(words.clean(text))  # an unpaired backtick stays a backtick
    wrap = Markup("<code>{}</code>")
    return Markup().join(wrap.format(part) if at % 2 else escape(part) for at, part in enumerate(parts))


def asset(name: str, package: str = "rushhour.report") -> str:
    """Read a file of the `templates` folder of a package."""
    return (importlib.resources.files(package) / "templates" / name).read_text(encoding="utf-8")


@functools.cache
def plotly() -> Plotly:
    """Return plotly.js from the plotly package."""
    script: str = get_plotlyjs()
    packed = gzip.compress(script.encode("utf-8"), 9, mtime=0)
    return Plotly(base64.b64encode(packed).decode("ascii"), sha256(script))


def sha256(script: str) -> str:
    """Return the SHA-256 hash of a script in base64, as a Content-Security-Policy needs it."""
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
