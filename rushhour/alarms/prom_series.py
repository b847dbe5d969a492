"""A timeline as Prometheus would have scraped it, in promtool's notation of series (pure)."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Final, Literal

from rushhour.alarms.promtool import Series
from rushhour.alarms.timeline import METRICS, Metric, Timeline

Source = Literal[Metric, "http_ok", "pool_used", "pool_max", "up"]

_JOB: Final = 'job="service",instance="service:8000"'
_POOL_LABEL: Final = "db_client_connection_pool_name"
_POOL: Final = f'{_POOL_LABEL}="replica"'
_OF_POOL: Final = f"{_JOB},{_POOL}"

# The pool's metrics are named as the agent serves them, see docs/agent.md.
SERIES: Final[dict[str, Source]] = {
    f'http_requests_total{{{_JOB},code="200"}}': "http_ok",
    f'http_requests_total{{{_JOB},code="500"}}': "http_5xx",
    f"http_requests_5xx_total{{{_JOB}}}": "http_5xx",
    f"db_client_connection_timeouts_total{{{_OF_POOL}}}": "queuepool_timeouts",
    f"db_client_connection_pending_requests{{{_OF_POOL}}}": "pool_waiters",
    f'db_client_connection_count{{{_OF_POOL},db_client_connection_state="used"}}': "pool_used",
    f"db_client_connection_max{{{_OF_POOL}}}": "pool_max",
    f"up{{{_JOB}}}": "up",
}
NEEDS: Final[dict[Source, tuple[Metric, ...]]] = {
    "http_ok": ("requests", "http_5xx"),
    "pool_used": ("pool_in_use",),
    "pool_max": (),
    "up": (),
    **{metric: (metric,) for metric in METRICS},
}
_RARE: Final = ("http_5xx", "queuepool_timeouts")  # counters that may begin with their first event
_COUNTERS: Final = (*_RARE, "requests", "http_ok")


def input_series(
    timeline: Timeline,
    extra: dict[str, Source],
    *,
    scrape_s: float,
    healthy: int,
    capacity: int,
    gaps: str,
    pools: Mapping[str, Timeline] | None = None,
    shipped: Mapping[str, Source] | None = None,
) -> tuple[Series, ...]:
    """Return series of `shipped` (SERIES) and `extra`: `healthy` scrapes, then the timeline from its start.

    Healthy traffic has as many requests a second as the timeline has on average, and an empty pool. With
    `gaps` "missing" the counters of failures and time-outs begin with their first event. `pools` are by their
    label; without them there is one pool, as full as the fullest.
    """
    scrapes = int(timeline.seconds / scrape_s)
    ends = [int(scrape_s * scrape) for scrape in range(scrapes + 1)]
    found = []
    for name, source, line in [
        *_named(timeline, pools, SERIES if shipped is None else shipped),
        *((*item, timeline) for item in extra.items()),
    ]:
        values = _per_second(line, source, capacity)
        if source in _COUNTERS:
            late = gaps == "missing" and source in _RARE
            usual = 0.0 if source in _RARE else sum(value or 0 for value in values) / len(values) * scrape_s
            text = _counter(values, ends, healthy, usual, late)
        else:
            steady = source in ("pool_max", "up")
            text = _gauge(values, ends, healthy, (values[0] or 0.0) if steady else 0.0)
        if line is not timeline and line.series["queuepool_timeouts"][0] is None:  # a pool that came later
            text = f"_x{healthy + 1} {text.partition(' ')[2]}"
        found.append(Series(name, text))
    return tuple(found)


def _named(
    timeline: Timeline, pools: Mapping[str, Timeline] | None, shipped: Mapping[str, Source]
) -> Iterator[tuple[str, Source, Timeline]]:
    """Yield the names of SERIES, those of pools once for each, and whose figures each holds."""
    for name, source in shipped.items():
        if pools is None or _POOL not in name:
            yield name, source, timeline
            continue
        for label, line in pools.items():
            yield name.replace(_POOL, f"{_POOL_LABEL}={json.dumps(label)}"), source, line


def _per_second(timeline: Timeline, source: Source, capacity: int) -> Sequence[float | None]:
    series = timeline.series
    match source:
        case "http_ok":
            pairs = zip(series["requests"], timeline.failures, strict=True)
            return [None if asked is None else max(0.0, asked - (failed or 0)) for asked, failed in pairs]
        case "pool_used":
            return [None if share is None else share * capacity for share in series["pool_in_use"]]
        case "pool_max":
            return [float(capacity)] * timeline.seconds
        case "up":
            return [1.0] * timeline.seconds
        case _:
            return series[source]


def _counter(
    values: Sequence[float | None], ends: Sequence[int], healthy: int, usual: float, late: bool
) -> str:
    """Count `usual` more in each healthy scrape; scrapes of which nothing is known are left out."""
    totals = [0.0, *accumulate(value or 0.0 for value in values)]
    known = [0, *accumulate(value is not None for value in values)]
    samples = [f"_x{healthy + 1}" if late else f"0+{usual:.12g}x{healthy}"]
    for before, end in pairwise(ends):
        missing = known[end] == known[before] or (late and not totals[end])
        samples.append("_" if missing else f"{usual * healthy + totals[end]:.12g}")
    return " ".join(samples)


def _gauge(values: Sequence[float | None], ends: Sequence[int], healthy: int, usual: float) -> str:
    samples = [f"{usual:.12g}x{healthy}"]
    for end in ends[1:]:
        value = values[end - 1]
        samples.append("_" if value is None else f"{value:.12g}")
    return " ".join(samples)
