"""Renders the terminal summary of a judged run, and the table that compares the runs of a suite."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rushhour.diagnosis import Diagnosis, HeldSite
from rushhour.diagnosis.units import after_what
from rushhour.report import forecast
from rushhour.report.causes import where_it_is_explained
from rushhour.report.holders import suspects
from rushhour.report.source import Sources, sources_of, trusted_root
from rushhour.report.words import (
    VERDICT_STYLE,
    clean,
    compared,
    evidence_value,
    held,
    over_what,
    seconds,
    threshold_value,
)
from rushhour.scenario.model import Scenario
from rushhour.verdict.judge import Verdict

SITES_SHOWN: Final = 3
WIDE: Final = 150  # columns from which the comparison has one row per scenario
_MARK: Final = {
    True: Text("ok", "green"),
    False: Text("failed", "bold red"),
    None: Text("no data", "bold yellow"),
}


def summary(
    verdict: Verdict,
    scenario: Scenario,
    run_path: Path,
    source_root: Path | None = None,
    *,
    saved: bool = False,
    written: bool = True,
) -> RenderableType:
    """Render the summary of a run: headline, reasons, diagnosis with code, numbers, path of the report.

    Source lines are read from `source_root`, by default from the root of the scenario's service. That of a
    `saved` run is read only in the working folder. The path is left out where no report was `written`.
    """
    own = Path(scenario.target.root)
    root = source_root or (trusted_root(own, Path.cwd()) if saved else own)
    parts: list[RenderableType] = [
        Text.assemble(
            (verdict.verdict.upper(), VERDICT_STYLE[verdict.verdict]), "  ", (clean(verdict.headline), "bold")
        ),
        *_forecast(verdict),
        Text(
            f"{clean(verdict.scenario)}, release {clean(verdict.release)}, {clean(verdict.stack)} stack: "
            f"expected {clean(verdict.expected)}, observed {verdict.observed}",
            "dim",
        ),
    ]
    parts += _section("Why", [_bullet(reason) for reason in verdict.reasons])
    parts += _section("Diagnosis", _diagnosis(verdict.diagnosis, sources_of(scenario, root)))
    parts += _section("Evidence", [_Evidence(verdict.diagnosis)] if verdict.diagnosis.evidence else [])
    parts += _section("Thresholds", [_thresholds(verdict)] if verdict.thresholds else [])
    parts += [Text(), Text(over_what(scenario), "dim")] if verdict.metrics else []
    if verdict.forecast is not None:
        parts += _section("Production", [forecast.table(verdict.forecast)])
    parts += _section("Also seen", [_bullet(note) for note in verdict.notes])
    if not written:
        return Group(*parts)
    parts += [Text(), Text.assemble("Report  ", (str(run_path / "report.html"), "cyan"), overflow="fold")]
    return Group(*parts)


def _forecast(verdict: Verdict) -> list[RenderableType]:
    if verdict.forecast is not None:
        return [forecast.line(verdict.forecast)]
    return (
        [Text(f"No forecast for production: {clean(verdict.no_forecast)}", "dim")]
        if verdict.no_forecast
        else []
    )


def comparison(results: Sequence[tuple[Scenario, Verdict]]) -> RenderableType:
    """Render a suite as a table: a row per scenario on a wide console, else a column per scenario."""
    return _Comparison(results)


class _Comparison:
    def __init__(self, results: Sequence[tuple[Scenario, Verdict]]) -> None:
        self._heads, self._rows = compared(results)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width >= WIDE:
            yield self._wide()
            return
        room = options.max_width - 16  # the column of names
        each = max(1, room // 16)
        for start in range(0, len(self._rows), each):
            yield self._narrow(self._rows[start : start + each])

    def _wide(self) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for at, head in enumerate(self._heads):
            table.add_column(head, justify="right" if 2 <= at <= 11 else "left", no_wrap=True)
        for row in self._rows:
            table.add_row(*(_cell(head, value) for head, value in zip(self._heads, row, strict=True)))
        return table

    def _narrow(self, rows: Sequence[tuple[str, ...]]) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
        table.add_column("", no_wrap=True)
        for row in rows:
            table.add_column(_in_two_lines(row[0]), justify="right")
        for at, head in enumerate(self._heads[1:], 1):
            table.add_row(head, *(_cell(head, row[at]) for row in rows))
        return table


def _cell(head: str, value: str) -> Text:
    return Text(value, VERDICT_STYLE.get(value, "") if head == "verdict" else "")


def _in_two_lines(name: str, longest: int = 12) -> Text:
    """Break a long name at its last hyphen: `rush-hour-` and `hotfix`."""
    at = name.rfind("-")
    return Text(f"{name[: at + 1]}\n{name[at + 1 :]}" if len(name) > longest and at > 0 else name)


def _section(title: str, lines: Sequence[RenderableType]) -> list[RenderableType]:
    return [Text(), Text(title, "bold underline"), *lines] if lines else []


def _bullet(text: str) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_row(Text("•", "dim"), Text(clean(text)))
    return grid


def _diagnosis(diagnosis: Diagnosis, sources: Sources) -> list[RenderableType]:
    lines: list[RenderableType] = [
        Text.assemble((clean(diagnosis.cause), "bold"), f" ({diagnosis.confidence})"),
        Text(clean(diagnosis.summary)),
    ]
    sites = suspects(diagnosis)
    for site in sites[:SITES_SHOWN]:
        lines += _site(site, sources)
    hidden = len(sites) - SITES_SHOWN
    if hidden > 0:
        lines.append(Text(f"  and {hidden} more in the report", "dim"))
    if diagnosis.amplifiers:
        lines.append(Text.assemble(("Made worse by  ", "dim"), clean("; ".join(diagnosis.amplifiers))))
    if diagnosis.fix:
        lines.append(Text.assemble(("Fix  ", "bold green"), clean(diagnosis.fix)))
    if where := where_it_is_explained(diagnosis.cause):
        lines.append(Text.assemble(("More  ", "dim"), where))
    return lines


def _site(site: HeldSite, sources: Sources) -> list[RenderableType]:
    found = sources.excerpt(site.file, site.line)
    leaked = f" ({site.leaked} {after_what(site.unit, site.leaked)})" if site.leaked else ""
    collected = f", {site.collected} back by garbage collection alone" if site.collected else ""
    code = (
        Text(f"{site.line} │ {clean(found.hit)}", "cyan") if found.hit else Text(clean(found.problem), "dim")
    )
    figures = (
        f"pool {clean(site.pool)}: {site.held} still out when the watch ended{leaked}{collected}, "
        f"{held(site.held_s)} connection-seconds, longest {seconds(site.max_hold_s)}"
    )
    return [
        Text.assemble(
            "  ",
            (f"{clean(site.file)}:{site.line}", "bold"),
            f" {clean(site.function)}",
            (f"  {clean(site.endpoint)}" if site.endpoint else "", "dim"),
        ),
        Padding.indent(code, 4),
        Padding.indent(Text(figures), 4),
    ]


class _Evidence:
    """Renders a row per signal; wraps the name of a signal only when the line is too short for it."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        self._rows = [
            (
                Text(clean(evidence.signal)),
                Text.assemble(
                    (evidence_value(evidence), "bold"),
                    (f"  {clean(evidence.meaning)}" if evidence.meaning else "", "dim"),
                ),
            )
            for evidence in diagnosis.evidence
        ]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(max_width=40 if options.max_width < WIDE else None)
        table.add_column()
        for row in self._rows:
            table.add_row(*row)
        yield table


def _thresholds(verdict: Verdict) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column()
    table.add_column(justify="right", no_wrap=True)
    for result in verdict.thresholds:
        table.add_row(_MARK[result.ok], Text(clean(result.expr)), Text(threshold_value(result)))
    return table
