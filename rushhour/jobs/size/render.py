"""Renders the sizes of pools: for the terminal, and as objects for programs."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rushhour.forecast.interval import CONFIDENCE, Estimate
from rushhour.jobs.size.sizes import PoolSize, Row, Sizing
from rushhour.jobs.size.words import processes_in_words
from rushhour.report.words import clean, count, ms


def terminal_sizing(sizing: Sizing) -> RenderableType:
    """Render the recommendation for each pool with its reasons, and the table behind it."""
    parts: list[RenderableType] = [Text(clean(conditions(sizing)), "dim")]
    for size in sizing.pools:
        style = "bold yellow" if size.pool_size is None else "bold green"
        parts += [
            Text(),
            Text.assemble((clean(size.pool), "bold"), "  ", (clean(size.in_words), style)),
            *(Text(f"  • {clean(reason)}") for reason in size.reasons),
            _sites(size),
            *([_table(size)] if size.rows else []),
        ]
    few = ", ".join(f"{name} ({count(found)})" for name, found in sorted(sizing.demand.few.items()))
    if few:
        parts.append(Text(f"\nnot sized, because too few check-outs came back: {clean(few)}", "yellow"))
    parts.append(Text(f"\n{method()}", "dim"))
    return Group(*parts)


def conditions(sizing: Sizing) -> str:
    """Say what the sizes are for."""
    setting, demand = sizing.setting, sizing.demand
    threads = "an unknown number of" if setting.threads is None else str(setting.threads)
    who = (
        f"{setting.customers:,} customers"
        if demand.seconds
        else f"{demand.requests_per_s:.1f} check-outs a second"
    )
    return (
        f"for {who}, {processes_in_words(setting)} with {threads} threads each, from "
        f"{demand.run}; enough: no time-out, and at most {ms(sizing.wait_s * 1e3)} for the slowest hundredth"
    )


def method() -> str:
    return (
        f"Simulated from the requests and hold times that were measured. Brackets hold {CONFIDENCE:.0%} of "
        "the outcomes; docs/capacity.md says when not to believe them."
    )


def _sites(size: PoolSize) -> RenderableType:
    lines = [
        f"    {site.share:4.0%}  {site.site.file}:{site.site.line} {site.site.function}  "
        f"{site.checkouts_per_s:.1f}/s x {ms(site.hold_s * 1e3)}"
        for site in size.demand.sites[:3]
    ]
    return Text(clean("\n".join(["  who holds its connections", *lines])) if lines else "", "dim")


def _table(size: PoolSize) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 1))
    for head, _ in COLUMNS:
        # What the table is for comes first and whole; on a narrow screen intervals go below their figures.
        longest = max(map(len, head.split()), default=0)
        table.add_column(
            head, justify="right" if head else "left", no_wrap=not head, min_width=longest or None
        )
    for row in size.rows:
        table.add_row(*(cell(size, row) for _, cell in COLUMNS))
    return table


def mark(size: PoolSize, row: Row) -> str:
    """Say whether a size is enough."""
    if not row.enough:
        return "too small"
    return "the smallest" if row.capacity == size.enough else "enough"


def connections(size: PoolSize, row: Row) -> str:
    """Return a size, and whether the run had it."""
    return f"{row.capacity} (as run)" if row.capacity == size.demand.capacity else str(row.capacity)


COLUMNS: Final[tuple[tuple[str, Callable[[PoolSize, Row], str]], ...]] = (
    ("size", connections),
    ("", mark),
    ("wait", lambda _, row: bracket(row.figures.waits_share, lambda value: f"{value:.1%}")),
    ("p99 of the wait", lambda _, row: bracket(row.figures.wait_p99_s, lambda value: ms(value * 1e3))),
    ("time-outs an hour", lambda _, row: bracket(row.figures.timeouts_per_hour, count)),
    ("in use", lambda _, row: bracket(row.figures.in_use_max, count)),
    ("at the server", lambda _, row: count(row.server_connections)),
)


def bracket(found: Estimate, words: Callable[[float], str]) -> str:
    """Format an estimate with its interval: `3.1% [2.0% to 4.4%]`."""
    value, low, high = words(found.value), words(found.low), words(found.high)
    return value if low == high else f"{value} [{low} to {high}]"


def sizing_objects(sizing: Sizing) -> Iterator[dict[str, Any]]:
    """Yield an object for each pool."""
    for size in sizing.pools:
        yield {
            "run": sizing.demand.run,
            "pool": size.pool,
            "customers": sizing.setting.customers if sizing.demand.seconds else None,
            "threads": sizing.setting.threads,
            "processes": sizing.setting.processes,
            "instances": sizing.setting.instances,
            "pool_size": size.pool_size,
            "max_overflow": size.max_overflow,
            "enough": size.enough,
            "together": size.together,
            "reasons": size.reasons,
            "beyond": size.beyond,
            "rows": [
                {
                    "capacity": row.capacity,
                    "enough": row.enough,
                    "server_connections": row.server_connections,
                    **{name: value for name, value in asdict(row.figures).items() if name != "pool"},
                }
                for row in size.rows
            ],
            "error": None,
        }
