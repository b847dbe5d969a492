"""Renders how far the traffic of a run lies from its source (pure)."""

from dataclasses import dataclass
from typing import Final

from rushhour.rundir.traffic import Row, TrafficComparison

TONE: Final = {"near": "pass", "far": "fail", "unknown": "unknown"}
HEADS: Final = ("figure", "source", "run", "difference", "allowed", "")
_NAMED: Final = 3  # figures that are too far, named in the sentence


@dataclass(frozen=True, slots=True)
class TrafficSection:
    """The section of the page; `problem` says why the comparison could not be read."""

    found: TrafficComparison | None
    problem: str = ""


def figure(row: Row, value: float | None) -> str:
    """Return a figure in words."""
    if value is None:
        return "unknown"
    if row.kind == "mix":
        return f"{value:.1%}"
    return f"{value:.1f} s" if row.unit == "s" else f"{value:,.0f}"


def difference(row: Row) -> str:
    """Return the difference in words."""
    found = row.difference
    if found is None:
        return "unknown"
    return f"{found:+.1f} points" if row.kind == "mix" else f"{found:+.1%}"


def bound(row: Row) -> str:
    """Return the bound in words."""
    return f"{row.bound:g} points" if row.kind == "mix" else f"{row.bound:.0%}"


def judged(row: Row) -> str:
    """Return whether the figure is near, far, unknown, or off by no more than chance explains."""
    if row.ok is None:
        return "unknown" if row.difference is None else "may be chance"
    return "near" if row.ok else "far"


def cells(row: Row) -> tuple[str, ...]:
    """Return a row of the table: the figure of both, the difference, the bound, and what it means."""
    return (
        row.what,
        figure(row, row.source),
        figure(row, row.run),
        difference(row),
        bound(row),
        judged(row),
    )


def headline(found: TrafficComparison) -> str:
    """Summarise a comparison in a sentence."""
    if found.doubts:
        return "The run's verdict is unknown, so how near its traffic is to its source is unknown"
    if found.outcome == "near":
        return "The run's traffic is near its source"
    far = [row for row in found.rows if row.ok is False]
    if found.outcome == "far":
        named = ", ".join(f"{row.what} {difference(row)}" for row in far[:_NAMED])
        more = f" and {len(far) - _NAMED} more" if len(far) > _NAMED else ""
        return f"The run's traffic is far from its source: {named}{more}"
    if not found.rows:
        return "The run's log and its source have no figure in common"
    open_ = [row.what for row in found.rows if row.ok is None]
    more = f" and {len(open_) - _NAMED} more" if len(open_) > _NAMED else ""
    return f"How near the run's traffic is to its source is unknown: {', '.join(open_[:_NAMED])}{more}"


def notes(found: TrafficComparison) -> list[str]:
    """Return what a reader of the table has to know."""
    requests = f"{found.source_requests:,} requests of the source, {found.run_requests:,} of the run"
    said = [f"Compared with {found.source}: {requests}."]
    if found.scale is None:
        said.append("Nothing says by how much the scenario scales its source, so its rates are not compared.")
    elif found.scale != 1:
        said.append(f"The source's rates are multiplied by {found.scale:g}.")
    if any(judged(row) == "may be chance" for row in found.rows):
        said.append(
            "May be chance: beyond the bound, but by less than two standard deviations of a run this long. "
            "A longer run tells."
        )
    return said
