"""Renders searches as a page that fetches nothing, and as a table for the terminal."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rushhour.jobs.capacity import picture
from rushhour.jobs.capacity.facts import Search
from rushhour.jobs.capacity.words import HEADS, Verdict, first_limit, meaning, rows, sentence
from rushhour.report.embed import asset
from rushhour.report.page import render_page
from rushhour.report.words import VERDICT_STYLE, clean

_NUMBERS = len(HEADS) - 2  # columns from "sure" on are numbers


def render_search(searches: Sequence[Search], judged: Sequence[tuple[Verdict, str]]) -> str:
    """Render the page of one release, or of several side by side."""
    content = {
        "found": [_part(search, *result) for search, result in zip(searches, judged, strict=True)],
        "heads": HEADS,
        "panels": picture.panels(searches),
        "size": (picture.WIDTH, picture.HEIGHT, picture.LEFT, picture.RIGHT, picture.TOP, picture.BOTTOM),
        "beside": beside(searches) if len(searches) > 1 else None,
    }
    css = asset("capacity.css", "rushhour.jobs.capacity")
    return render_page("capacity.html.j2", content, package="rushhour.jobs.capacity", css=css)


def _part(search: Search, verdict: Verdict, why: str) -> dict[str, object]:
    ordered = sorted(enumerate(search.steps), key=lambda entry: (entry[1].rate, entry[0]))
    return {
        "search": search,
        "verdict": verdict,
        "why": why if why != sentence(search) else "",
        "sentence": sentence(search),
        "meaning": meaning(search),
        "first": first_limit(search),
        "rows": list(zip(rows(search), [step.run for _, step in ordered], strict=True)),
    }


def beside(searches: Sequence[Search]) -> list[tuple[str, ...]]:
    """Return a row for each release, under BESIDE_HEADS."""
    found: list[tuple[str, ...]] = []
    for search in searches:
        knee, limit = search.knee, first_limit(search)
        low = "-" if knee.low is None or knee.kind == "leak" else f"{knee.low:g}/s"
        high = "-" if knee.high is None or knee.kind == "leak" else f"{knee.high:g}/s"
        first = limit.sentence if limit else sentence(search)
        found.append((search.release, low, high, "yes" if knee.confirmed else "no", first))
    return found


BESIDE_HEADS = ("release", "holds at", "gives way at", "confirmed", "what gives first")


def summary(search: Search, verdict: Verdict, why: str, path: object) -> RenderableType:
    """Render a search for the terminal: sentence, what it means, what gave first, the table, the page."""
    parts: list[RenderableType] = [
        Text(),
        Text.assemble((verdict.upper(), VERDICT_STYLE[verdict]), f"  {clean(sentence(search))}"),
    ]
    limit = first_limit(search)
    lines = [why if why != sentence(search) else None, meaning(search)]
    lines += [limit.sentence, *(f"  • {each}" for each in limit.evidence), limit.behind] if limit else []
    parts += [Text(clean(line)) for line in lines if line]
    return Group(*parts, Text(), _table(HEADS, rows(search)), Text(), Text(f"Page  {path}"))


def comparison(searches: Sequence[Search]) -> RenderableType:
    """Render the releases side by side."""
    return Group(Text(), _table(BESIDE_HEADS, beside(searches)))


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, head in enumerate(heads):
        right = heads is HEADS and (number < 2 or number >= len(heads) - _NUMBERS + 1)
        table.add_column(head, justify="right" if right else "left")
    for line in lines:
        table.add_row(*(Text(clean(cell)) for cell in line))
    return table
