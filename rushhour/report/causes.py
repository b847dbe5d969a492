"""Embeds the documentation page of a cause (docs/causes) in reports, which may be mailed without it."""

import re
from typing import Final
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from rushhour.report.cause_pages import FOLDERS, page_of

SECTION: Final = "About this cause"  # heading in report.html, which the terminal and summary.md refer to
_TITLE: Final = re.compile(r"\A# .*\n")


def about(cause: str) -> Markup | None:
    """Return the page of a cause as HTML; None for `none` and for a cause without a page."""
    text = page_of(cause, FOLDERS)
    return None if text is None else as_html(_TITLE.sub("", text))


def where_it_is_explained(cause: str) -> str:
    """Say where report.html explains the cause; empty for a cause without a page."""
    return "" if page_of(cause, FOLDERS) is None else f'report.html, "{SECTION}"'


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
