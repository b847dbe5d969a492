"""Renders a forecast for the terminal, and as rows that every report shows."""

from collections.abc import Iterator
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rushhour.forecast.words import duration_words
from rushhour.report.words import clean
from rushhour.verdict.forecast import Forecast, Range

STYLE: Final = {"yes": "bold red", "no": "bold green", "unsure": "bold yellow"}
ANSWER: Final = {"yes": "EXHAUSTS", "no": "HOLDS", "unsure": "UNSURE"}
Row = tuple[str, str, str]  # what, expected, 80 % interval


def rows(made: Forecast) -> list[Row]:
    """Return the figures of a forecast: name, expected value and interval."""
    return list(_rows(made))


def _rows(made: Forecast) -> Iterator[Row]:
    if (when := made.exhausted_after_s) is not None:
        if_at_all = "" if made.exhausts == "yes" else "if at all, "
        yield (
            f"{if_at_all}exhausted after",
            duration_words(when.expected),
            f"{duration_words(when.low)} to {duration_words(when.high)}",
        )
        if made.exhausted_at:
            expected, low, high = made.exhausted_at
            yield f"{if_at_all}exhausted at", expected, f"{low} to {high}"
    for pool in made.pools:
        of = "" if pool.capacity is None else f" of {pool.capacity}"
        yield (
            f"most in use, {clean(pool.pool)}",
            f"{pool.in_use_max.expected:.0f}{of}",
            _whole(pool.in_use_max),
        )
        if pool.wait_p99_ms is not None:
            wait = pool.wait_p99_ms
            yield (
                f"wait for a connection p99, {clean(pool.pool)}",
                duration_words(wait.expected / 1000),
                f"{duration_words(wait.low / 1000)} to {duration_words(wait.high / 1000)}",
            )
    if made.timeouts is not None:
        yield (
            f"time-outs in the replayed {duration_words(made.replayed_s)}",
            f"{made.timeouts.expected:.0f}",
            _whole(made.timeouts),
        )
    if made.threads_max is not None:
        yield "threads used, of a process", f"{made.threads_max.expected:.0f}", _whole(made.threads_max)
    if made.requests_per_s is not None:
        yield (
            "requests a second at the peak",
            f"{made.requests_per_s.expected:.0f}",
            _whole(made.requests_per_s),
        )


def _whole(range_: Range) -> str:
    return f"{range_.low:.0f} to {range_.high:.0f}"


def line(made: Forecast) -> Text:
    """Render the answer as a line: it comes second in the summary of a run."""
    return Text.assemble((ANSWER[made.exhausts], STYLE[made.exhausts]), "  ", clean(made.headline))


def table(made: Forecast) -> Table:
    """Render the figures of a forecast."""
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column("")
    grid.add_column("expected", justify="right")
    grid.add_column("80 % interval", justify="right")
    for row in rows(made):
        grid.add_row(*row)
    return grid


def terminal(made: Forecast) -> RenderableType:
    """Render a forecast: the answer, why, the figures with their intervals, the assumptions."""
    parts: list[RenderableType] = [line(made), Text()]
    parts += [Text(f"• {clean(reason)}") for reason in made.reasons]
    parts += [Text(), table(made), Text(), Text("Taken for granted", "bold underline")]
    parts += [Text(f"• {clean(assumption)}") for assumption in made.assumptions]
    return Group(*parts)
