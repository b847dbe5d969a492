"""A model and a comparison in the terminal."""

from collections.abc import Iterator
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rushhour.jobs.traffic.model import TrafficModel
from rushhour.jobs.traffic.record import ReadingReport
from rushhour.report.traffic import HEADS, cells, headline, notes
from rushhour.report.words import clean
from rushhour.rundir.traffic import TrafficComparison

_SHOWN = 12


def moment(t: float) -> str:
    """A time of the log, in UTC."""
    return datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def terminal_model(model: TrafficModel, report: ReadingReport) -> RenderableType:
    """What was read, the traffic, its endpoints, and what was left out."""
    return Group(
        *(Text(line) for line in _read(report)),
        Text(),
        _facts(model),
        Text(),
        _endpoints(model),
        *(Text(f"left out: {line}", "dim") for line in left_out_lines(model)),
    )


def _read(report: ReadingReport) -> Iterator[str]:
    formats = ", ".join(format_.name for format_ in report.formats)
    speed = f"{report.lines_per_second:,.0f} lines/s"
    yield f"{report.lines:,} lines of {formats}: {report.requests:,} requests, {speed}"
    for format_ in report.formats:
        yield from (f"  {format_.name}: {note}" for note in format_.notes)
    for skipped in report.skipped:
        yield f"  skipped {skipped.lines:,}: {skipped.reason} (first: {', '.join(map(clean, skipped.first))})"
    if report.late:
        first = ", ".join(map(clean, report.late_first))
        yield f"  {report.late:,} requests come after later ones (first: {first})"
    yield from (f"  {clean(problem)}" for problem in report.problems)


def facts(model: TrafficModel) -> Iterator[tuple[str, str]]:
    """Name and value of the figures of a log; what it does not show is unknown."""
    seen, peak = model.arrivals, model.arrivals.peak
    yield "from, to", f"{moment(seen.first_t)} to {moment(seen.last_t)}"
    yield "requests", f"{seen.requests:,}"
    yield "sessions", f"{seen.sessions:,}" if model.walks else "unknown"
    yield "sessions a minute", _number(peak.sessions_per_minute if model.walks else None, f" ({peak.level})")
    yield "a session lasts", _number(model.session_s, " s on average")
    yield (
        "customers present",
        _number(peak.concurrency if model.walks else None, " in the busiest ten seconds"),
    )
    yield "by Little's law", _number(model.users, " customers")
    at = f" at {moment(peak.minute_at)}" if peak.minute_at is not None else ""
    yield "busiest minute", _number(peak.minute_requests, f" requests{at}")
    yield "p99 of minutes", _number(peak.p99_minute_requests, " requests")
    yield "busiest second", f"{peak.second_requests:,} requests at {moment(peak.second_at)}"
    yield "burstiness", _burstiness(seen.dispersion, "requests")
    yield "", _burstiness(seen.session_dispersion if model.walks else None, "new sessions")


def _number(value: float | None, rest: str) -> str:
    if value is None:
        return "unknown"
    return f"{value:,.1f}{rest}" if value < 100 and value != int(value) else f"{value:,.0f}{rest}"


def _burstiness(value: float | None, what: str) -> str:
    if value is None:
        return f"of {what}: unknown"
    kind = (
        "more even than Poisson's"
        if value < 0.8
        else "as Poisson's"
        if value < 1.3
        else "burstier than Poisson's"
    )
    return f"of {what}: variance {value:.1f} times the mean, {kind}"


def _facts(model: TrafficModel) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in facts(model):
        table.add_row(Text(name, "dim"), Text(value))
    return table


def _endpoints(model: TrafficModel) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("endpoint")
    for head in ("requests", "share", "think", "leave"):
        table.add_column(head, justify="right")
    for endpoint in model.endpoints[:_SHOWN]:
        think = f"{endpoint.median_think_s:.1f} s" if endpoint.median_think_s is not None else "-"
        leave = f"{endpoint.after.end:.0%}" if endpoint.after and model.walks else "-"
        table.add_row(
            Text(clean(endpoint.name)), f"{endpoint.requests:,}", f"{endpoint.share:.1%}", think, leave
        )
    if (more := len(model.endpoints) - _SHOWN) > 0:
        table.add_row(Text(f"and {more} more", "dim"))
    return table


def left_out_lines(model: TrafficModel) -> Iterator[str]:
    """What was left out, and which words became values."""
    for note in model.left_out:
        count = f"{note.requests:,} " if note.requests is not None else ""
        yield f"{count}{note.what}: {note.why}"
    for merge in model.merges:
        yield f"{merge.words:,} words at {clean(merge.place)}, {merge.requests:,} requests: {merge.why}"


def terminal_comparison(found: TrafficComparison) -> RenderableType:
    """The outcome, then every figure."""
    styles = {"near": "bold green", "far": "bold red", "unknown": "bold yellow"}
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for at, head in enumerate(HEADS):
        table.add_column(head if at else "", justify="right" if 0 < at < len(HEADS) - 1 else "left")
    for row in found.rows:
        *figures, judged = cells(row)
        style = {"near": "", "far": "red"}.get(judged, "yellow")
        table.add_row(*(Text(clean(cell)) for cell in figures), Text("" if row.ok else judged, style))
    doubts = [Text(f"  {clean(doubt)}", "yellow") for doubt in found.doubts]
    return Group(
        Text(clean(headline(found)), styles[found.outcome]),
        *doubts,
        table,
        *(Text(clean(note), "dim") for note in notes(found)),
    )
