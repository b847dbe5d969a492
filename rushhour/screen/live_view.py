"""Renders the live figures of a run: a view for terminals, lines for logs."""

import time
from collections.abc import Callable
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rushhour.observe.live_state import LiveState, PoolGauge
from rushhour.report.words import UNKNOWN, clean, cores, count
from rushhour.scenario.arrivals import peak, rate_at
from rushhour.scenario.model import Scenario

LINE_EVERY_S: Final = 5.0  # in a log, where the view cannot be redrawn
MOMENTS_SHOWN: Final = 6
_BAR: Final = 16  # columns; keeps a line with its name and figures within 80
_COMPONENTS: Final = ("primary", "replica", "service")


def _customers(state: LiveState, scenario: Scenario) -> tuple[RenderableType, Text]:
    """Show the customers of a peak, or how many are present of those that arrive."""
    load = scenario.load
    if load.arrivals is None:
        most = load.users or 0
        return bar(state.users or 0, most, "cyan"), Text(f"{count(state.users)} of {count(most)}")
    per_s, highest = rate_at(load.arrivals, state.elapsed_s), peak(load.arrivals)
    return bar(per_s, highest, "cyan"), Text(f"{count(state.users)} present, {per_s:.3g}/s come")


def render_live(state: LiveState, scenario: Scenario) -> RenderableType:
    """Render the newest figures of a run, at most 80 columns wide; the height changes only with moments."""
    rows = Table.grid(padding=(0, 2))
    rows.add_column(width=16, no_wrap=True)
    rows.add_column(width=_BAR, no_wrap=True)
    rows.add_column(no_wrap=True, overflow="ellipsis")
    duration_s = scenario.load.duration
    rows.add_row(
        "time",
        bar(state.elapsed_s, duration_s, "cyan"),
        Text(f"{_clock(state.elapsed_s)} of {_clock(duration_s)}{_remaining(state, duration_s)}"),
    )
    rows.add_row(
        "customers",
        *_customers(state, scenario),
    )
    for pool in state.pools:
        rows.add_row(f"pool {clean(pool.pool)}", pool_bar(pool), _pool_words(pool))
    for component in _COMPONENTS:
        if component in state.cpu_cores:
            used, limit = state.cpu_cores[component], state.cpu_limits.get(component)
            hot = limit is not None and used >= 0.9 * limit
            ceiling = f" of {cores(limit)} cores" if limit is not None else " cores"
            rows.add_row(
                f"CPU {component}",
                bar(used, limit or 1.0, "yellow" if hot else "blue"),
                Text(cores(used) + ceiling, style="bold yellow" if hot else ""),
            )
    moments = [Text(f"  {clean(moment)}", style="bold") for moment in state.moments[-MOMENTS_SHOWN:]]
    return Group(_figures(state, scenario), rows, *moments)


def plain_line(state: LiveState, scenario: Scenario) -> str:
    """Render the newest figures of a run as one line, for a log."""
    parts = [
        f"{_clock(state.elapsed_s)}/{_clock(scenario.load.duration)}",
        f"{count(state.users)} customers",
        f"{UNKNOWN if state.rps is None else f'{state.rps:.0f}'} req/s",
        f"5xx {count(state.server_errors)}",
    ]
    parts += [f"pool {clean(pool.pool)} {_pool_words(pool).plain}" for pool in state.pools]
    cpu = [
        f"{name} {cores(state.cpu_cores[name])}"
        + (f"/{cores(state.cpu_limits[name])}" if name in state.cpu_limits else "")
        for name in _COMPONENTS
        if name in state.cpu_cores
    ]
    if cpu:
        parts.append("CPU " + ", ".join(cpu))
    return " | ".join(parts)


class PlainLive:
    """Writes a line for each new moment, and a line of figures every `every_s` seconds."""

    def __init__(
        self,
        scenario: Scenario,
        write: Callable[[str], object],
        every_s: float = LINE_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._scenario = scenario
        self._write = write
        self._every_s = every_s
        self._clock = clock
        self._moments_written = 0
        self._last_s: float | None = None

    def __call__(self, state: LiveState) -> None:
        for moment in state.moments[self._moments_written :]:
            self._write(f"** {clean(moment)}")
        self._moments_written = len(state.moments)
        now = self._clock()
        if self._last_s is None or now - self._last_s >= self._every_s:
            self._last_s = now
            self._write(plain_line(state, self._scenario))


def pool_bar(pool: PoolGauge, width: int = _BAR) -> Text:
    """Draw the gauge of a pool: leaked connections, then those in use, then those free."""
    if not pool.capacity:
        return Text("no limit".ljust(width), style="dim")
    used = _cells(pool.checked_out, pool.capacity, width)
    leaked = min(used, _cells(pool.leaked, pool.capacity, width))
    full = pool.checked_out >= pool.capacity
    return Text.assemble(
        ("█" * leaked, "red"),
        ("█" * (used - leaked), "yellow" if full else "green"),
        ("░" * (width - used), "dim"),
    )


def bar(value: float, top: float, style: str, width: int = _BAR) -> Text:
    """Draw a bar of `value` on a scale from 0 to `top`."""
    filled = _cells(value, top, width)
    return Text.assemble(("█" * filled, style), ("░" * (width - filled), "dim"))


def _cells(value: float, top: float, width: int) -> int:
    """Round to cells, but draw 0 cells only for 0 and all cells only for `top` or more."""
    if value <= 0 or top <= 0:
        return 0
    if value >= top:
        return width
    return min(max(round(width * value / top), 1), width - 1)


def _pool_words(pool: PoolGauge) -> Text:
    full = pool.capacity is not None and pool.checked_out >= pool.capacity
    words = Text(
        f"{pool.checked_out}/{'∞' if pool.capacity is None else pool.capacity}",
        style="bold red" if full else "",
    )
    if pool.leaked:
        words.append(f" ({pool.leaked} leaked)", style="red")
    if pool.waiting:
        words.append(f" +{pool.waiting} waiting", style="yellow")
    if pool.timeouts:
        words.append(f", {pool.timeouts} timed out", style="bold red")
    return words


def _figures(state: LiveState, scenario: Scenario) -> Text:
    failing = bool(state.server_errors)
    rate = UNKNOWN if state.rps is None else f"{state.rps:.0f}"
    failures = f"{count(state.server_errors)} 5xx"
    if state.server_errors_per_s:
        failures += f" ({state.server_errors_per_s:.1f}/s)"
    lag = "" if state.lag_s is None else f"   replica lag {state.lag_s:.1f} s"
    return Text.assemble(
        (clean(scenario.name), "bold"),
        f" {clean(scenario.release)}   ",
        f"{rate} req/s   {count(state.requests)} requests   ",
        (failures, "bold red" if failing else ""),
        lag,
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    return f"{minutes}:{rest:02d}"


def _remaining(state: LiveState, duration_s: float) -> str:
    left = duration_s - state.elapsed_s
    return f", {_clock(left)} left" if left > 0 else ", watching what is still held"
