"""The page of a cause (docs/causes) as a report carries it: a file that was mailed cannot open a path."""

import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from rushhour.scenario.model import CAUSES

SECTION: Final = "About this cause"  # of report.html; the terminal and summary.md name it
_PACKAGE: Final = Path(__file__).resolve().parents[1]
FOLDERS: Final = (_PACKAGE.parent / "docs" / "causes", _PACKAGE / "docs" / "causes")  # checkout, or wheel
# Its commands need a checkout of rushhour, which the reader of a report may not have.
_SEE_IT: Final = re.compile(r"^## See it\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_TITLE: Final = re.compile(r"\A# .*\n")


def about(cause: str) -> Markup | None:
    """The cause's page as HTML; None for `none`, and for a cause that has no page."""
    text = _page(cause)
    return None if text is None else as_html(_SEE_IT.sub("", _TITLE.sub("", text)))


def where_it_is_explained(cause: str) -> str:
    """How a reader of the terminal or of summary.md finds that page; empty where there is none."""
    return "" if _page(cause) is None else f'report.html, "{SECTION}"'


def as_html(markdown: str) -> Markup:
    """Markdown of ours as HTML below a report's own headings; links to other pages become their text."""
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
    if cause not in CAUSES:  # it came out of a file
        return None
    for folder in FOLDERS:
        path = folder / f"{cause}.md"
        if path.is_file():
            return path.read_text(encoding="utf-8")
    return None
