"""Renders the table of past runs for the terminal."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from rushhour.jobs.archive.rows import RunRow
from rushhour.report.words import VERDICT_STYLE, clean


def run_list(rows: Sequence[RunRow]) -> RenderableType:
    """Render past runs, oldest first."""
    if not rows:
        return Text("no run is known here yet")
    table = Table(
        "start (UTC)", "scenario", "release", "verdict", "observed", "cause", "run", box=None, pad_edge=False
    )
    for row in rows:
        table.add_row(
            row.started_at.removesuffix("+00:00").replace("T", " "),
            Text(clean(row.scenario)),
            Text(clean(row.release)),
            Text(row.verdict, VERDICT_STYLE[row.verdict]),
            row.observed,
            Text("" if row.cause == "none" else clean(f"{row.cause} {row.site or ''}".rstrip())),
            Text(row.run, "dim", overflow="fold"),
        )
    return table
