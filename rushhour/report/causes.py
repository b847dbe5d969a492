"""Embeds the documentation page of a cause (docs/causes) in reports, which may be mailed without it."""

import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from rushhour.scenario.model import CAUSES

SECTION: Final = "About this cause"  # heading in report.html, which the terminal and summary.md refer to
_PACKAGE: Final = Path(__file__).resolve().parents[1]
# The first folder is that of a checkout, the second that of an installed wheel.
FOLDERS: Final = (_PACKAGE.parent / "docs" / "causes", _PACKAGE / "docs" / "causes")
# This section is left out: its commands need a checkout of rushhour.
_SEE_IT: Final = re.compile(r"^## See it\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_TITLE: Final = re.compile(r"\A# .*\n")


def about(cause: str) -> Markup | None:
    """Return the page of a cause as HTML; None for `none` and for a cause without a page."""
    text = _page(cause)
    return None if text is None else as_html(_SEE_IT.sub("", _TITLE.sub("", text)))


def where_it_is_explained(cause: str) -> str:
    """Say where report.html explains the cause; empty for a cause without a page."""
    return "" if _page(cause) is None else f'report.html, "{SECTION}"'


def as_html(markdown: str) -> Markup:
    """Render Markdown as HTML with all headings as h3; links to local files become their text."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    for token in tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = "h3"
        if token.children:
            token.children = _without_local_links(token.children)
    html: str = parser.renderer.render(tokens, parser.options, {})
    return Markup(html)  # noqa: S704  # rendered with HTML switched off


def _without_local_links(tokens: list[Token]) -> list[Token]:
    kept, dropped = [], False
    for token in tokens:
        if token.type == "link_open":
            dropped = not urlsplit(str(token.attrs.get("href", ""))).scheme
        if not (dropped and token.type in {"link_open", "link_close"}):
            kept.append(token)
    return kept


def _page(cause: str) -> str | None:
    if cause not in CAUSES:  # read from a file, and used in a path below
        return None
    for folder in FOLDERS:
        path = folder / f"{cause}.md"
        if path.is_file():
            return path.read_text(encoding="utf-8")
    return None
