"""trend.html: the last nights side by side; one file that opens offline and fetches nothing."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, Final

from rushhour.jobs.archive.rows import RunRow
from rushhour.report import words
from rushhour.report.embed import asset
from rushhour.report.page import Chart, render_page

TONES: Final = ("blue", "orange", "green", "purple", "sky", "grey")
SYMBOLS: Final = ("circle", "square", "diamond", "triangle-up", "cross", "star")  # colour alone is not enough


@dataclass(frozen=True, slots=True)
class Cell:
    """One scenario in one night; `href` is None where its run was pruned."""

    row: RunRow
    href: str | None


@dataclass(frozen=True, slots=True)
class NightRow:
    """One night: a cell per scenario, None where it did not run."""

    night: str
    label: str
    release: str
    cells: tuple[Cell | None, ...]
    href: str | None


@dataclass(frozen=True, slots=True)
class Measure:
    """One panel."""

    title: str
    unit: str
    value: Callable[[RunRow], float | None]


MEASURES: Final = (
    Measure("p95 latency", "ms", lambda row: row.p95_ms),
    Measure("HTTP 5xx", "% of requests", lambda row: _percent(row.http_5xx_rate)),
    Measure(
        "pool at its fullest", "% of capacity", lambda row: _share(row.pool_in_use_max, row.pool_capacity)
    ),
    Measure("leaked connections", "", lambda row: row.leaked_connections),
    Measure("requests answered", "per second", lambda row: row.achieved_rps),
    Measure("CPU primary", "cores, mean", lambda row: row.primary_cpu_cores_mean),
    Measure("CPU replica", "cores, mean", lambda row: row.replica_cpu_cores_mean),
)


def render_trend(rows: Sequence[RunRow], kept: Collection[str] = ()) -> str:
    """Return the page; `kept` are the directories of runs and nights that can still be opened."""
    scenarios = tuple(dict.fromkeys(row.scenario for row in rows))
    nights = night_rows(rows, scenarios, kept)
    chart = Chart("trend-data", trend_data(nights, scenarios), asset("trend.js", __package__))
    content: dict[str, object] = {"scenarios": scenarios, "nights": nights[::-1]}
    return render_page(
        "trend.html.j2",
        content,
        package=__package__,
        css=asset("trend.css", __package__),
        chart=chart if nights else None,
    )


def night_rows(
    rows: Sequence[RunRow], scenarios: Sequence[str], kept: Collection[str] = ()
) -> list[NightRow]:
    """Return the nights of these runs, oldest first."""
    found: dict[str, dict[str, RunRow]] = {}
    for row in rows:
        if row.night is not None:
            found.setdefault(row.night, {})[row.scenario] = row
    return [
        NightRow(
            night=night,
            label=label(night),
            release=", ".join(dict.fromkeys(row.release for row in runs.values())),
            cells=tuple(_cell(runs.get(name), kept) for name in scenarios),
            href=f"{night}/summary.md" if night in kept else None,
        )
        for night, runs in sorted(found.items())
    ]


def trend_data(nights: Sequence[NightRow], scenarios: Sequence[str]) -> dict[str, Any]:
    """Return the charts as the page's script reads them; gaps as null."""
    styles = [*islice(zip(cycle(TONES), cycle(SYMBOLS), strict=False), len(scenarios))]
    return {
        "nights": [night.label for night in nights],
        "scenarios": [
            {"name": words.clean(name), "tone": tone, "symbol": symbol}
            for name, (tone, symbol) in zip(scenarios, styles, strict=True)
        ],
        "verdicts": [
            [None if (cell := night.cells[at]) is None else cell.row.verdict for night in nights]
            for at in range(len(scenarios))
        ],
        "panels": [_panel(measure, nights, len(scenarios)) for measure in MEASURES],
    }


def label(night: str) -> str:
    """Return `2025-07-02 03:00` for a night's name."""
    return f"{night[:4]}-{night[4:6]}-{night[6:8]} {night[9:11]}:{night[11:13]}" + night[16:]


def _panel(measure: Measure, nights: Sequence[NightRow], scenarios: int) -> dict[str, Any]:
    values = [[_value(measure, night.cells[at]) for night in nights] for at in range(scenarios)]
    return {"title": measure.title, "unit": measure.unit, "values": values}


def _value(measure: Measure, cell: Cell | None) -> float | None:
    value = None if cell is None else measure.value(cell.row)
    return None if value is None else float(f"{value:.5g}")


def _cell(row: RunRow | None, kept: Collection[str]) -> Cell | None:
    if row is None:
        return None
    below = row.run.partition("/")[2]
    return Cell(row, f"{below}/report.html" if below in kept else None)


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _share(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else 100 * part / whole
