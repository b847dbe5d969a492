"""Builds the panels of the timeline from a history; a panel without data is left out."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from rushhour.metrics.latencies import merge
from rushhour.report.moments import moments, shaded
from rushhour.report.series import GAP_S, Panel, Point, Series, Timeline, Tone, bars, carried_sum, line, thin
from rushhour.rundir import History
from rushhour.rundir import facts as f

LATENCY_WINDOWS: Final = 600  # at most; percentiles are computed over windows of whole seconds
_CLASSES: Final[tuple[tuple[f.Outcome, str, Tone], ...]] = (
    (f.Outcome.QUEUEPOOL_TIMEOUT, "QueuePool time-out", "red"),
    (f.Outcome.HTTP_5XX, "other 5xx", "orange"),
    (f.Outcome.HTTP_4XX, "4xx", "blue"),
    (f.Outcome.CONNECT_ERROR, "connect error", "purple"),
    (f.Outcome.CLIENT_TIMEOUT, "client gave up", "sky"),
    (f.Outcome.OTHER_ERROR, "other error", "grey"),
)
# Left out of latencies, as in the metrics: their duration is not a customer's waiting time.
_NO_WAIT: Final = frozenset({f.Outcome.CONNECT_ERROR, f.Outcome.OTHER_ERROR})
_SERVER_TONES: Final[dict[str, Tone]] = {"primary": "blue", "replica": "orange"}
_SPARE_TONES: Final[tuple[Tone, ...]] = ("blue", "orange", "green", "purple", "sky")


def timeline(history: History) -> Timeline:
    """Build the timeline of a run; time zero is the start of the load, or else the anchor."""
    zero = zero_of(history)
    end = max(end_of(history) - zero, 1.0)
    seconds = range(math.floor(zero), math.ceil(zero + end))
    candidates = [
        _users(history, zero),
        _rate(history, zero, seconds),
        _errors(history, zero, seconds),
        _latency(history, zero, seconds),
        *_pools(history, zero),
        _waiters(history, zero),
        _cpu(history, zero),
        _lag(history, zero),
    ]
    shown = [_since_zero(panel) for panel in candidates if panel is not None]
    return Timeline(end, thin(shown), moments(history, zero), shaded(history, zero, end))


def zero_of(history: History) -> float:
    """Return when the load started, in seconds since the anchor; 0 when it never started."""
    return history.time_of(f.LOAD_STARTED) or 0.0


def end_of(history: History) -> float:
    """Return the time of the last record, in seconds since the anchor."""
    last: list[float] = [event.t_s for event in history.events]
    last += [row.t_s + 1.0 for row in history.requests[-1:]] + [s.t_s + 1.0 for s in history.generator[-1:]]
    last += [s.t_s for s in history.pools[-1:]] + [s.t_s for s in history.servers[-1:]]
    last += [s.t_s for s in history.host[-1:]]
    return max(last, default=0.0)


def _since_zero(panel: Panel) -> Panel:
    """Cut off what was recorded before the load, while the stack came up."""

    def cut(series: Series) -> Series:
        kept = [(t, v) for t, v in zip(series.t_s, series.values, strict=True) if t >= 0]
        return replace(series, t_s=tuple(t for t, _ in kept), values=tuple(v for _, v in kept))

    return replace(panel, series=tuple(cut(series) for series in panel.series))


def _shift(points: Iterable[Point], zero: float) -> list[Point]:
    return [(round(t - zero, 3), value) for t, value in points]


def _users(history: History, zero: float) -> Panel | None:
    if not history.generator:
        return None
    total: Counter[int] = Counter()
    for sample in history.generator:
        total[sample.t_s] += sample.users
    points = _shift(((t + 0.5, float(users)) for t, users in sorted(total.items())), zero)
    series = [line("active", "line", "blue", points)]
    arrived: Counter[int] = Counter()
    for sample in history.generator:
        arrived[sample.t_s] += sample.arrived
    if any(arrived.values()):
        came = _shift(((t + 0.5, float(count)) for t, count in sorted(arrived.items())), zero)
        series.append(line("arrived in a second", "line", "grey", came))
    return Panel("users", "Load", "customers", tuple(series))


def _per_second(counts: Counter[int], seconds: range, zero: float) -> list[Point]:
    """Return the rate of each second; a second without rows had no requests, so its rate is 0."""
    return _shift(((t + 0.5, float(counts[t])) for t in seconds), zero)


def _seen(history: History, seconds: range) -> range:
    """Return these seconds up to the last one with a record of the load generator."""
    rows = [row.t_s for row in history.requests] + [sample.t_s for sample in history.generator]
    return range(seconds.start, min(seconds.stop, max(rows, default=seconds.start - 1) + 1))


def _rate(history: History, zero: float, seconds: range) -> Panel | None:
    if not history.requests and not history.generator:
        return None
    ended: Counter[int] = Counter()
    started: Counter[int] = Counter()
    for row in history.requests:
        ended[row.t_s] += row.count
    for sample in history.generator:
        started[sample.t_s] += sample.started
    seen = _seen(history, seconds)
    series = [line("answered", "line", "blue", _per_second(ended, seen, zero))]
    if history.generator:
        series.append(line("sent", "line", "grey", _per_second(started, seen, zero)))
    return Panel("rate", "Requests", "requests/s", tuple(series))


def _errors(history: History, zero: float, seconds: range) -> Panel | None:
    if not history.requests:
        return None
    by_class: dict[f.Outcome, Counter[int]] = defaultdict(Counter)
    for row in history.requests:
        if row.outcome is not f.Outcome.OK:
            by_class[row.outcome][row.t_s] += row.count
    seen = _seen(history, seconds)
    series = [
        bars(name, tone, _per_second(by_class[outcome], seen, zero))
        for outcome, name, tone in _CLASSES
        if outcome in f.SERVER_ERRORS or outcome in by_class
    ]
    title = "Failures by class" + (", and 4xx" if f.Outcome.HTTP_4XX in by_class else "")
    return Panel("errors", title, "failures/s", tuple(series))


def _latency(history: History, zero: float, seconds: range) -> Panel | None:
    if not history.requests:
        return None
    window_s = max(1, math.ceil(len(seconds) / LATENCY_WINDOWS))
    windows: dict[int, list[str]] = defaultdict(list)
    for row in history.requests:
        if row.outcome not in _NO_WAIT:
            windows[(row.t_s - seconds.start) // window_s].append(row.latency)
    quantiles: dict[float, list[Point]] = {50.0: [], 95.0: [], 99.0: []}
    for at, encoded in sorted(windows.items()):
        middle = seconds.start + (at + 0.5) * window_s
        for percentile, micros in merge(encoded).get_percentile_to_value_dict(list(quantiles)).items():
            quantiles[percentile].append((middle, micros / 1000))
    tones: tuple[Tone, ...] = ("sky", "blue", "purple")
    return Panel(
        "latency",
        "Latency" + (f", windows of {window_s} s" if window_s > 1 else ""),
        "ms",
        tuple(
            line(f"p{percentile:g}", "line", tone, _shift(points, zero), max(GAP_S, 1.5 * window_s))
            for (percentile, points), tone in zip(quantiles.items(), tones, strict=True)
        ),
        log=True,
    )


def _by_pool(history: History) -> dict[str, list[f.PoolSample]]:
    """Group samples by pool; the pool with the highest mean share in use comes first."""
    grouped: dict[str, list[f.PoolSample]] = defaultdict(list)
    for sample in history.pools:
        grouped[sample.pool].append(sample)

    def fullness(samples: Sequence[f.PoolSample]) -> float:
        return sum(s.checked_out / s.capacity if s.capacity else 0.0 for s in samples) / len(samples)

    return dict(sorted(grouped.items(), key=lambda item: (-fullness(item[1]), item[0])))


def _pool_line(samples: Sequence[f.PoolSample], field: str, zero: float) -> list[Point]:
    points = carried_sum(samples, lambda s: s.t_s, lambda s: s.pid, lambda s: float(getattr(s, field) or 0))
    return _shift(points, zero)


def _pools(history: History, zero: float) -> list[Panel]:
    panels = []
    for pool, samples in _by_pool(history).items():
        capacity = _pool_line(samples, "capacity", zero)
        series = [
            line("leaked", "area", "red", _pool_line(samples, "leaked", zero)),
            line("in use", "step", "blue", _pool_line(samples, "checked_out", zero)),
        ]
        if any(sample.capacity is not None for sample in samples):
            series.append(line("capacity", "limit", "grey", capacity))
        panels.append(Panel(f"pool-{pool}", f"Pool {pool}", "connections", tuple(series)))
    return panels


def _waiters(history: History, zero: float) -> Panel | None:
    pools = _by_pool(history)
    if not pools:
        return None
    return Panel(
        "waiters",
        "Waiting for a connection",
        "threads",
        tuple(
            line(pool, "step", _tone_of(pool, at), _pool_line(samples, "waiting", zero))
            for at, (pool, samples) in enumerate(pools.items())
        ),
        floor_top=4,
    )


def _tone_of(name: str, at: int) -> Tone:
    return _SERVER_TONES.get(name, _SPARE_TONES[at % len(_SPARE_TONES)])


def _cpu(history: History, zero: float) -> Panel | None:
    series: list[Series] = []
    tones: tuple[tuple[str, Tone], ...] = (("primary", "blue"), ("replica", "orange"), ("service", "grey"))
    own = sorted({sample.component for sample in history.host if sample.component.startswith(f.OWN)})
    spare = ((name, _SPARE_TONES[(at + 2) % len(_SPARE_TONES)]) for at, name in enumerate(own))
    for component, tone in (*tones, *spare):
        samples = [sample for sample in history.host if sample.component == component]
        if not samples:
            continue
        series.append(line(component, "line", tone, _shift(((s.t_s, s.cpu_cores) for s in samples), zero)))
        limited = [(s.t_s, s.limit_cores) for s in samples if s.limit_cores is not None]
        if limited:
            series.append(line(f"{component} limit", "limit", tone, _shift(limited, zero)))
    return Panel("cpu", "CPU", "cores", tuple(series), floor_top=0.2) if series else None


def _lag(history: History, zero: float) -> Panel | None:
    lagging = [(s.t_s, s.lag_s) for s in history.servers if s.server == "replica"]
    if not any(lag is not None for _, lag in lagging):
        return None
    return Panel(
        "lag",
        "Replica lag",
        "s",
        (line("lag", "line", "orange", _shift(lagging, zero)),),
        floor_top=0.1,
    )
