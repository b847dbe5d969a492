"""History and scenario -> the numbers of a run (pure).

Warm-up is left out. Requests that ended after the load, while it drained, count: they began before. A number
is None where nothing was seen, never 0.
"""

from collections import Counter
from collections.abc import Iterable
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
    """The numbers of a run; None where there is no data. Times are in seconds since the load started."""

    window: Window | None
    all: RequestMetrics
    endpoints: dict[str, RequestMetrics]
    pool: PoolMetrics
    offered_rps: float | None
    retries: int | None
    redirected: int | None
    users_max: int | None
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
        """All numbers by name, as verdict.json holds them."""
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
            **own,
        }

    def value_of(self, threshold: Threshold) -> float | None:
        """The metric that a threshold bounds, in the unit of its bound; None without data."""
        metric = METRICS[threshold.metric]
        if metric.name == "pool_in_use_max":
            return self.pool.in_use_share
        if metric.source == "requests":
            rows = self.all if threshold.endpoint is None else self.endpoints.get(threshold.endpoint)
            # Without a single request even a count of failures says nothing.
            values = asdict(rows) if rows and rows.requests else {}
        else:
            values = self.flat()
        return values.get(metric.field or metric.name)


def measure(scenario: Scenario, history: History) -> Metrics:
    """The numbers of a run."""
    window = find_window(history, scenario.load.warm_up)
    measured = [row for row in history.requests if window and row.t_s >= window.first_second]
    by_endpoint: dict[str, list[f.RequestCount]] = {}
    for row in measured:
        by_endpoint.setdefault(row.endpoint, []).append(row)
    http_timeouts = sum(row.count for row in measured if row.outcome is f.Outcome.QUEUEPOOL_TIMEOUT)
    generator = [one for one in history.generator if window and window.in_whole_second(one.t_s)]
    return Metrics(
        window=window,
        all=request_metrics(measured, window),
        endpoints={name: request_metrics(rows, window) for name, rows in sorted(by_endpoint.items())},
        pool=pool_metrics(history, window, http_timeouts if measured else None),
        offered_rps=per_second(sum(one.started for one in generator), window) if generator else None,
        retries=sum(one.retries for one in generator) if generator else None,
        redirected=sum(one.redirected for one in generator) if generator else None,
        users_max=_users_max(history.generator),
        time_to_exhaustion_s=_time_to_exhaustion_s(history, window),
        time_to_first_timeout_s=_since_start(window, [fact.t_s for fact in history.pool_timeouts]),
        time_to_detection_s=_time_to_detection_s(history, window),
        primary_cpu_cores_mean=_cpu_mean(history, window, "primary"),
        replica_cpu_cores_mean=_cpu_mean(history, window, "replica"),
        service_cpu_cores_mean=_cpu_mean(history, window, "service"),
        replica_lag_s_max=_lag_max(history, window),
        generator_lateness_p99_ms=_usual_worst([one.lateness_p99_ms for one in generator]),
        generator_lateness_max_ms=max((one.lateness_max_ms for one in generator), default=None),
        generator_cpu_cores_max=max((one.cpu_cores for one in generator), default=None),
        locustfile_errors=count_of_errors(history),
    )


def _users_max(samples: Iterable[f.GeneratorSample]) -> int | None:
    """Most customers at once, over all workers."""
    per_second: Counter[int] = Counter()
    for one in samples:
        per_second[one.t_s] += one.users
    return max(per_second.values(), default=None)


def _usual_worst(per_second_ms: list[float]) -> float | None:
    """The worst of the best 95 % of the seconds (nearest rank).

    Percentiles of seconds cannot be merged into one exactly, and their maximum would let a single slow
    second of the machine void a run; how long the worst stall was is judged by itself.
    """
    if not per_second_ms:
        return None
    return sorted(per_second_ms)[max(0, -(-len(per_second_ms) * 95 // 100) - 1)]


def _since_start(window: Window | None, times_s: Iterable[float]) -> float | None:
    first_s = min((t_s for t_s in times_s if window and t_s >= window.load_started_s), default=None)
    return None if first_s is None or window is None else first_s - window.load_started_s


def _time_to_exhaustion_s(history: History, window: Window | None) -> float | None:
    """When the first pool was full, whether or not a request had to wait or timed out."""
    full = [
        sample.t_s for sample in history.pools if sample.capacity and sample.checked_out >= sample.capacity
    ]
    seen_live = [event.t_s for event in history.events if event.name == f.POOL_FULL]
    return _since_start(window, full + seen_live)


def _time_to_detection_s(history: History, window: Window | None) -> float | None:
    """When the harness, while the run went on, first named what was wrong."""
    names = (f.LEAK_DETECTED, f.SATURATION_DETECTED, f.FIRST_TIMEOUT)
    return _since_start(window, [event.t_s for event in history.events if event.name in names])


def _cpu_mean(history: History, window: Window | None, component: str) -> float | None:
    cores = [
        one.cpu_cores
        for one in history.host
        if one.component == component and window and window.measures(one.t_s)
    ]
    return sum(cores) / len(cores) if cores else None


def _lag_max(history: History, window: Window | None) -> float | None:
    lags = [
        one.lag_s
        for one in history.servers
        if one.server == "replica" and one.lag_s is not None and window and window.after_warm_up(one.t_s)
    ]
    return max(lags, default=None)
