"""Pool figures as OpenTelemetry's `db.client.connection.*` metrics, in Prometheus's text format.

Names, units and attributes: OpenTelemetry's semantic conventions for database client connection pools, turned
into Prometheus's by its naming rules (dots to underscores, the unit and `_total` as suffixes, no unit for
counts). What a process knows is a Snapshot; those of several processes add up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .readings import checked_out_and_waiting, outlived

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .book import Book, PoolState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FIRST_BUCKET, LAST_BUCKET = 6, 26  # 64 us to 67 s, in powers of two: what is counted is exact at these bounds

GAUGES = ("used", "idle", "idle_max", "max", "pending", "leaked")
HISTOGRAMS = ("create", "wait", "use")
COUNTERS = ("timeouts",)

Figures = dict[str, Any]  # of one pool: the gauges, the counters, and [counts, sum in seconds] per histogram
Snapshot = dict[str, Figures]  # by the pool's name; plain data, for it is a JSON file too


def pool_name(state: PoolState) -> str:
    """Return `server.address:server.port/db.namespace` (the convention's name), or the file's name."""
    host, port, database = state.address
    if host is None:
        return (database or f"pool {state.id}").rpartition("/")[2] or f"pool {state.id}"
    return f"{host}:{port}/{database}" if port is not None else f"{host}/{database}"


class Ledger:
    """Takes snapshots of a process; the counters of dropped pools are kept."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._known: set[PoolState] = set()
        self._past: Snapshot = {}

    def snapshot(self, now: float) -> Snapshot:
        """Return the snapshot at `now` (monotonic seconds)."""
        present = list(self._book.pools)
        for state in self._known.difference(present):
            add(self._past, {pool_name(state): counters_of(state)})
        self._known = set(present)
        leaked: dict[PoolState, int] = {}
        live: dict[PoolState, int] = {}
        for hold in self._book.live.copy():
            if hold.returned is None:
                pool = hold.slot.pool
                live[pool] = live.get(pool, 0) + 1
                leaked[pool] = leaked.get(pool, 0) + outlived(hold, now)
        found: Snapshot = {}
        add(found, self._past)
        for state in present:
            figures = counters_of(state) | gauges_of(state, live.get(state, 0), leaked.get(state, 0))
            add(found, {pool_name(state): figures})
        return found


def counters_of(state: PoolState) -> Figures:
    """Return the counters of a pool."""
    return {
        "timeouts": state.timeouts,
        "create": [_shortened(state.creates), state.opened_s],
        "wait": [_shortened(state.waits), state.waited_s],
        "use": [_shortened(state.holds), state.held_s],
    }


def _shortened(counts: list[int]) -> list[int]:
    """Return the counts up to the last bucket, and a sum of those beyond it."""
    return [*counts[: LAST_BUCKET + 1], sum(counts[LAST_BUCKET + 1 :])]


def gauges_of(state: PoolState, live: int, leaked: int) -> Figures:
    """Return the gauges of a pool; empty if it is gone, without bounds if it has none."""
    pool = state.pool()
    if pool is None:
        return {}
    used, pending = checked_out_and_waiting(pool, live)
    figures: Figures = {"used": used, "idle": 0, "pending": pending, "leaked": leaked}
    size, overflow, _ = state.shape
    if hasattr(pool, "_max_overflow"):
        figures["idle"] = max(0, size + pool._overflow - used)
        figures["idle_max"] = size
        if overflow >= 0:
            figures["max"] = size + overflow
    return figures


def add(total: Snapshot, more: Snapshot, *, gauges: bool = True) -> None:
    """Add `more` to `total`; without `gauges`, for ended processes, only the counters."""
    for name, figures in more.items():
        into = total.setdefault(name, {})
        for key in (*GAUGES, *COUNTERS) if gauges else COUNTERS:
            if key in figures:
                into[key] = into.get(key, 0) + figures[key]
        for key in HISTOGRAMS:
            if key in figures:
                counts, seconds = figures[key]
                old, old_seconds = into.get(key, [[0] * len(counts), 0.0])
                into[key] = [[a + b for a, b in zip(old, counts, strict=True)], old_seconds + seconds]


def render(total: Snapshot, processes: int) -> str:
    """Render the text that Prometheus scrapes."""
    return "\n".join(_lines(total, processes)) + "\n"


def _lines(total: Snapshot, processes: int) -> Iterator[str]:
    pools = sorted(total.items())
    count = "db_client_connection_count"
    yield from _head(count, "gauge", "Connections that are currently in the state of the label.")
    for name, figures in pools:
        for state in ("idle", "used"):
            if state in figures:
                yield f'{count}{{{_label(name)},db_client_connection_state="{state}"}} {figures[state]}'
    for metric, key, text in (
        ("db_client_connection_idle_max", "idle_max", "The most idle connections that are allowed."),
        ("db_client_connection_max", "max", "The most open connections that are allowed."),
        ("db_client_connection_pending_requests", "pending", "Requests that wait for a connection."),
        (
            "rushhour_pool_leaked_connections",
            "leaked",
            "Connections still out although their unit of work ended.",
        ),
    ):
        yield from _head(metric, "gauge", text)
        yield from (f"{metric}{{{_label(name)}}} {pool[key]}" for name, pool in pools if key in pool)
    metric = "db_client_connection_timeouts_total"
    yield from _head(metric, "counter", "Time-outs of requests for a connection.")
    yield from (f"{metric}{{{_label(name)}}} {pool['timeouts']}" for name, pool in pools)
    for key, text in (
        ("create", "Time it took to open a connection."),
        ("wait", "Time it took to obtain an open connection from the pool."),
        ("use", "Time between borrowing a connection and returning it."),
    ):
        metric = f"db_client_connection_{key}_time_seconds"
        yield from _head(metric, "histogram", text)
        for name, figures in pools:
            yield from _histogram(metric, _label(name), *figures[key])
    yield from _head("rushhour_agent_processes", "gauge", "Processes of the service that report.")
    yield f"rushhour_agent_processes {processes}"


def _histogram(metric: str, label: str, counts: Iterable[int], seconds: float) -> Iterator[str]:
    """A count at place n is of values below 2**n microseconds."""
    seen = 0
    for place, count in enumerate(counts):
        seen += count
        if FIRST_BUCKET <= place <= LAST_BUCKET:
            yield f'{metric}_bucket{{{label},le="{2**place / 1e6:g}"}} {seen}'
    yield f'{metric}_bucket{{{label},le="+Inf"}} {seen}'
    yield f"{metric}_sum{{{label}}} {seconds:.6f}"
    yield f"{metric}_count{{{label}}} {seen}"


def _head(metric: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {metric} {text}", f"# TYPE {metric} {kind}"


def _label(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'db_client_connection_pool_name="{escaped}"'
