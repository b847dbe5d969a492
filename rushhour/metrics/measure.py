"""Computes the metrics of a run from its scenario and history (pure).

The warm-up is left out. Requests that ended in the drain after the load count, because they started during
the load. A metric without data is None, never 0.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, fields

from rushhour.metrics.locustfile import count_of_errors
from rushhour.metrics.pools import PoolMetrics, pool_metrics
from rushhour.metrics.requests import RequestMetrics, per_second, request_metrics
from rushhour.metrics.window import Window, find_window
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.scenario.model import Scenario
from rushhour.scenario.thresholds import METRICS, Threshold


@dataclass(frozen=True, slots=True)
class Metrics:
    """The metrics of a run; None where there is no data. Times are in seconds since the load started."""

    window: Window | None
    all: RequestMetrics
    endpoints: dict[str, RequestMetrics]
    pool: PoolMetrics
    offered_rps: float | None
    retries: int | None
    redirected: int | None
    users_max: int | None
    users_mean: float | None
    arrivals: int | None  # customers who arrived, in the whole load; None without open arrivals
    arrivals_per_s: float | None  # while the load was measured
    turned_away: int | None
    due_late_p99_ms: float | None
    due_late_max_ms: float | None
    time_to_exhaustion_s: float | None
    time_to_first_timeout_s: float | None
    time_to_detection_s: float | None
    primary_cpu_cores_mean: float | None
    replica_cpu_cores_mean: float | None
    service_cpu_cores_mean: float | None
    replica_lag_s_max: float | None
    generator_lateness_p99_ms: float | None
    generator_lateness_max_ms: float | None
    generator_cpu_cores_max: float | None
    locustfile_errors: int | None

    def flat(self) -> dict[str, float | int | None]:
        """Return all metrics by name, as verdict.json stores them."""
        request = {field.name: getattr(self.all, field.name) for field in fields(RequestMetrics)}
        request["queuepool_timeouts_http"] = request.pop("queuepool_timeouts")
        pool = self.pool
        own = {
            field.name: getattr(self, field.name)
            for field in fields(Metrics)
            if field.name not in ("window", "all", "endpoints", "pool")
        }
        return {
            **request,
            "queuepool_timeouts": pool.timeouts,
            "queuepool_timeouts_agent": pool.timeouts_agent,
            "queuepool_timeouts_logged": pool.timeouts_logged,
            "leaked_connections": pool.leaked,
            "collected_connections": pool.collected,
            "pool_in_use_max": pool.in_use_max,
            "pool_capacity": pool.capacity,
            "pool_waiters_max": pool.waiters_max,
            "pool_wait_p99_ms": pool.wait_p99_ms,
            **own,
        }

    def value_of(self, threshold: Threshold) -> float | None:
        """Return the metric that a threshold bounds, in the unit of the bound; None without data."""
        metric = METRICS[threshold.metric]
        if metric.name == "pool_in_use_max":
            return self.pool.in_use_share
        if metric.source == "requests":
            rows = self.all if threshold.endpoint is None else self.endpoints.get(threshold.endpoint)
            # Without requests, a count of 0 failures would be no evidence.
            values = asdict(rows) if rows and rows.requests else {}
        else:
            values = self.flat()
        return values.get(metric.field or metric.name)


def measure(scenario: Scenario, history: History) -> Metrics:
    """Compute the metrics of a run."""
    window = find_window(history, scenario.load.warm_up)
    measured = [row for row in history.requests if window and row.t_s >= window.first_second]
    by_endpoint: dict[str, list[f.RequestCount]] = {}
    for row in measured:
        by_endpoint.setdefault(row.endpoint, []).append(row)
    http_timeouts = sum(row.count for row in measured if row.outcome is f.Outcome.QUEUEPOOL_TIMEOUT)
    open_arrivals = bool(history.generator) and scenario.load.arrivals is not None
    generator = [sample for sample in history.generator if window and window.in_whole_second(sample.t_s)]
    return Metrics(
        window=window,
        all=request_metrics(measured, window),
        endpoints={name: request_metrics(rows, window) for name, rows in sorted(by_endpoint.items())},
        pool=pool_metrics(history, window, http_timeouts if measured else None),
        offered_rps=per_second(sum(sample.started for sample in generator), window) if generator else None,
        retries=sum(sample.retries for sample in generator) if generator else None,
        redirected=sum(sample.redirected for sample in generator) if generator else None,
        users_max=max(_users(history.generator).values(), default=None),
        users_mean=_mean(_users(generator).values()),
        arrivals=sum(sample.arrived for sample in history.generator) if open_arrivals else None,
        arrivals_per_s=per_second(sum(each.arrived for each in generator), window) if open_arrivals else None,
        turned_away=sum(sample.turned_away for sample in history.generator) if open_arrivals else None,
        due_late_p99_ms=p95_of_seconds([sample.due_late_p99_ms for sample in generator]),
        due_late_max_ms=max((sample.due_late_max_ms for sample in generator), default=None),
        time_to_exhaustion_s=_time_to_exhaustion_s(history, window),
        time_to_first_timeout_s=_since_start(window, [fact.t_s for fact in history.pool_timeouts]),
        time_to_detection_s=_time_to_detection_s(history, window),
        primary_cpu_cores_mean=_cpu_mean(history, window, "primary"),
        replica_cpu_cores_mean=_cpu_mean(history, window, "replica"),
        service_cpu_cores_mean=_cpu_mean(history, window, "service"),
        replica_lag_s_max=_lag_max(history, window),
        generator_lateness_p99_ms=p95_of_seconds([sample.lateness_p99_ms for sample in generator]),
        generator_lateness_max_ms=max((sample.lateness_max_ms for sample in generator), default=None),
        generator_cpu_cores_max=max((sample.cpu_cores for sample in generator), default=None),
        locustfile_errors=count_of_errors(history),
    )


def _users(samples: Iterable[f.GeneratorSample]) -> Counter[int]:
    """Return the number of customers who were present in each second, summed over all workers."""
    present: Counter[int] = Counter()
    for sample in samples:
        present[sample.t_s] += sample.users
    return present


def _mean(values: Collection[float]) -> float | None:
    return sum(values) / len(values) if values else None


def p95_of_seconds(per_second_ms: list[float]) -> float | None:
    """Return the 95th percentile (nearest rank) of values that were measured once per second.

    Percentiles of single seconds cannot be merged exactly, and their maximum would let one slow second of
    the machine void a run. The longest stall is judged separately (`generator_lateness_max_ms`).
    """
    if not per_second_ms:
        return None
    return sorted(per_second_ms)[max(0, -(-len(per_second_ms) * 95 // 100) - 1)]


def _since_start(window: Window | None, times_s: Iterable[float]) -> float | None:
    first_s = min((t_s for t_s in times_s if window and t_s >= window.load_started_s), default=None)
    return None if first_s is None or window is None else first_s - window.load_started_s


def _time_to_exhaustion_s(history: History, window: Window | None) -> float | None:
    """Return when the first pool was full, whether or not a request had to wait for a connection."""
    full = [
        sample.t_s for sample in history.pools if sample.capacity and sample.checked_out >= sample.capacity
    ]
    seen_live = [event.t_s for event in history.events if event.name == f.POOL_FULL]
    return _since_start(window, full + seen_live)


def _time_to_detection_s(history: History, window: Window | None) -> float | None:
    """Return when the harness first reported a leak, saturation or a time-out during the run."""
    names = (f.LEAK_DETECTED, f.SATURATION_DETECTED, f.FIRST_TIMEOUT)
    return _since_start(window, [event.t_s for event in history.events if event.name in names])


def _cpu_mean(history: History, window: Window | None, component: str) -> float | None:
    cores = [
        sample.cpu_cores
        for sample in history.host
        if sample.component == component and window and window.measures(sample.t_s)
    ]
    return _mean(cores)


def _lag_max(history: History, window: Window | None) -> float | None:
    lags = [
        sample.lag_s
        for sample in history.servers
        if sample.server == "replica"
        and sample.lag_s is not None
        and window
        and window.after_warm_up(sample.t_s)
    ]
    return max(lags, default=None)
