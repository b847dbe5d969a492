"""Several ways of bringing the same hotfix, side by side: in the terminal and as a page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.table import Table

from rushhour.jobs.drill.facts import Drill
from rushhour.jobs.drill.page import SIGN, TONE, headline, rows, times, took, touched
from rushhour.report.page import render_page

PAGE: Final = "drills.html"  # beside the drills' run directories
COLOURS: Final = ("blue", "orange", "purple")


def side_by_side(drills: Sequence[Drill]) -> Table:
    """Show a column for each way of bringing the hotfix."""
    table = Table(title="Side by side")
    table.add_column("")
    for drill in drills:
        table.add_column(f"{way(drill)}: {drill.outcome}")
    for name, *values in comparison(drills):
        table.add_row(name, *values)
    return table


def way(drill: Drill) -> str:
    """Return how the hotfix was brought; the hotfix itself where it never came to that."""
    return drill.rollout.by if drill.rollout else drill.hotfix


def comparison(drills: Sequence[Drill]) -> list[tuple[str, ...]]:
    """Return the same figures of several drills, one row each."""
    cells = [dict([*rows(drill), ("services", touched(drill))]) for drill in drills]
    names = list(dict.fromkeys(name for item in cells for name in item))
    return [(name, *(item.get(name, "-") for item in cells)) for name in names]


def bars(drills: Sequence[Drill]) -> list[tuple[str, list[tuple[str, str, float | None, float]]]]:
    """Return for each time: the way, its colour, seconds (None: never), and its share of the longest (%)."""
    found = [
        (way(drill), colour, {name: seconds for name, _, seconds in times(drill.figures)})
        for drill, colour in zip(drills, COLOURS, strict=False)
        if drill.figures and not drill.lost
    ]
    longest = max((value for _, _, of in found for value in of.values() if value is not None), default=0.0)
    names = list(dict.fromkeys(name for _, _, of in found for name in of))
    return [
        (
            name,
            [
                (cells, colour, of[name], 100 * (of[name] or 0.0) / longest if longest else 0.0)
                for cells, colour, of in found
            ],
        )
        for name in names
    ]


def page(drills: Sequence[Drill], reports: Sequence[Path]) -> str:
    """Return the page; `reports` are the drills' own, relative to it."""
    content: dict[str, object] = {
        "ways": [
            (
                way(item),
                TONE[item.outcome],
                f"{SIGN[item.outcome]} {item.outcome}",
                headline(item),
                report,
            )
            for item, report in zip(drills, reports, strict=True)
        ],
        "bars": bars(drills),
        "took": took,
        "rows": comparison(drills),
        "commands": [(way(drill), drill.rollout.command) for drill in drills if drill.rollout],
    }
    return render_page("drills.html.j2", content, package=__package__)
