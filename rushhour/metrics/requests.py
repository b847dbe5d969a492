"""Computes the metrics of requests (pure)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hdrh.histogram import HdrHistogram

from rushhour.metrics.latencies import merge, percentile_ms
from rushhour.metrics.window import Window
from rushhour.rundir import facts as f

# Outcomes of requests that ended without an answer.
UNANSWERED: Final = frozenset({f.Outcome.CONNECT_ERROR, f.Outcome.CLIENT_TIMEOUT, f.Outcome.OTHER_ERROR})
# Outcomes that are left out of the latencies: their duration is not a customer's waiting time.
NO_WAIT: Final = frozenset({f.Outcome.CONNECT_ERROR, f.Outcome.OTHER_ERROR})


@dataclass(frozen=True, slots=True)
class RequestMetrics:
    """The metrics of one endpoint, or of all. `*_rps` are over the whole seconds of the measured load."""

    requests: int
    achieved_rps: float | None
    http_4xx: int
    http_5xx: int
    http_5xx_rate: float | None
    queuepool_timeouts: int  # answers that named the pool's time-out
    client_timeouts: int
    connect_errors: int
    unanswered_rate: float | None
    p50_ms: float | None
    p90_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    http_4xx_rate: float | None = None  # absent from the verdicts of older versions
    answered_ok: int | None = None  # answers 2xx or 3xx; absent from the verdicts of older versions
    p50_due_ms: float | None = None  # from when requests were due; absent from the verdicts of older versions
    p95_due_ms: float | None = None
    p99_due_ms: float | None = None


def request_metrics(rows: Sequence[f.RequestCount], window: Window | None) -> RequestMetrics:
    """Compute the metrics of these rows; without rows, counts are 0 and rates and latencies are None."""
    counts: Counter[f.Outcome] = Counter()
    for row in rows:
        counts[row.outcome] += row.count
    total = counts.total()
    http_5xx = sum(counts[outcome] for outcome in f.SERVER_ERRORS)
    unanswered = sum(counts[outcome] for outcome in UNANSWERED)
    ok_in_window = sum(
        row.count
        for row in rows
        if row.outcome is f.Outcome.OK and window and window.in_whole_second(row.t_s)
    )
    waited = [row for row in rows if row.outcome not in NO_WAIT]
    latency = merge(row.latency for row in waited)
    due = _since_due(waited, latency)
    return RequestMetrics(
        requests=total,
        achieved_rps=per_second(ok_in_window, window),
        http_4xx=counts[f.Outcome.HTTP_4XX],
        http_5xx=http_5xx,
        http_5xx_rate=http_5xx / total if total else None,
        queuepool_timeouts=counts[f.Outcome.QUEUEPOOL_TIMEOUT],
        client_timeouts=counts[f.Outcome.CLIENT_TIMEOUT],
        connect_errors=counts[f.Outcome.CONNECT_ERROR],
        unanswered_rate=unanswered / total if total else None,
        p50_ms=percentile_ms(latency, 50),
        p90_ms=percentile_ms(latency, 90),
        p95_ms=percentile_ms(latency, 95),
        p99_ms=percentile_ms(latency, 99),
        http_4xx_rate=counts[f.Outcome.HTTP_4XX] / total if total else None,
        answered_ok=counts[f.Outcome.OK],
        p50_due_ms=percentile_ms(due, 50) if due else None,
        p95_due_ms=percentile_ms(due, 95) if due else None,
        p99_due_ms=percentile_ms(due, 99) if due else None,
    )


def _since_due(rows: Sequence[f.RequestCount], latency: HdrHistogram) -> HdrHistogram | None:
    """Merge the latencies from when requests were due; None when a row does not have them."""
    if not all(row.latency_due for row in rows):
        return None
    if all(row.latency_due == f.SAME_LATENCY for row in rows):
        return latency
    return merge(row.latency if row.latency_due == f.SAME_LATENCY else row.latency_due for row in rows)


def per_second(count: int, window: Window | None) -> float | None:
    """Divide a count by the measured whole seconds; None when there is no whole second."""
    return count / window.whole_seconds if window and window.whole_seconds else None
