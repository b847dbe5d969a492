"""What a page that fetches nothing must carry: its scripts, their hashes, its data."""

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
    """plotly.js as the page carries it: gzip in base64, and the hash by which the page's policy allows it."""

    packed: str
    sha256: str


def script_json(value: object) -> str:
    """JSON that may stand inside a script element: nothing in it can end the element or open another."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def prose(text: object) -> Markup:
    """Text as HTML, with what stands between backticks as code."""
    parts = words.clean(text).split("`")
    if len(parts) % 2 == 0:
        return escape(words.clean(text))  # an odd backtick is only a backtick
    wrap = Markup("<code>{}</code>")
    return Markup().join(wrap.format(part) if at % 2 else escape(part) for at, part in enumerate(parts))


def asset(name: str, package: str = "rushhour.report") -> str:
    """The text of a file of a package's `templates`."""
    return (importlib.resources.files(package) / "templates" / name).read_text(encoding="utf-8")


@functools.cache
def plotly() -> Plotly:
    """plotly.js out of its wheel."""
    script: str = get_plotlyjs()
    packed = gzip.compress(script.encode("utf-8"), 9, mtime=0)
    return Plotly(base64.b64encode(packed).decode("ascii"), sha256(script))


def sha256(script: str) -> str:
    """As a Content-Security-Policy names a script."""
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
