"""The rows of a comparison: metrics that resamples are asked for, and facts that have no interval (pure)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from rushhour.jobs.compare.judging import BEYOND, Judgement
from rushhour.jobs.compare.lanes import Layout, Reader
from rushhour.jobs.compare.measured import MeasuredRun
from rushhour.verdict.judge import Verdict

COMPONENTS: Final = ("primary", "replica", "service")
PERCENTILES: Final = (50, 95, 99)
_WORSE_IF_ANY: Final = ("queuepool_timeouts", "leaked_connections")
_ONLY_SHOWN: Final = (
    *("pool_in_use_max", "pool_waiters_max", "pool_wait_p99_ms"),
    *("time_to_exhaustion_s", "replica_lag_s_max"),
)
_RANK: Final = {"healthy": 0, "degraded": 1, "exhausted": 2}


@dataclass(frozen=True, slots=True)
class Change:
    """One metric of both runs; `low` to `high` holds `after - before`, None where chance is unknown."""

    metric: str  # as verdict.json calls it
    endpoint: str | None  # None: all requests
    before: float | str | None
    after: float | str | None
    judgement: Judgement
    decides: bool = True
    low: float | None = None
    high: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Sampled:
    """A metric that resamples are asked for."""

    metric: str
    endpoint: str | None
    read: Reader
    value: Callable[[Verdict | None], float | None]  # as the run was judged
    needs: float = 0  # answers in each run


def sampled(layout: Layout, before: MeasuredRun, after: MeasuredRun) -> Iterator[Sampled]:
    """Yield all metrics that both runs have."""
    yield Sampled("achieved_rps", None, layout.answered_per_second(None), _of("achieved_rps"))
    yield Sampled("unanswered_rate", None, layout.unanswered_rate(None), _of("unanswered_rate"))
    for endpoint in layout.endpoints:
        if endpoint is None or _fails(before, endpoint) or _fails(after, endpoint):
            read = layout.server_error_rate(endpoint)
            yield Sampled("http_5xx_rate", endpoint, read, _of("http_5xx_rate", endpoint))
        for percentile in PERCENTILES:
            read = layout.percentile_ms(endpoint, percentile)
            name = f"p{percentile}_ms"
            yield Sampled(name, endpoint, read, _of(name, endpoint), BEYOND * 100 / (100 - percentile))
    for component in layout.components:
        name = f"{component}_cpu_cores_mean"
        yield Sampled(name, None, layout.cores(component), _of(name))


def facts(before: MeasuredRun, after: MeasuredRun) -> Iterator[Change]:
    """Yield what happened at all: no chance makes a release leak."""
    if before.verdict is None or after.verdict is None:
        return
    old, new = before.verdict, after.verdict
    yield Change("observed", None, old.observed, new.observed, _ranked(old.observed, new.observed))
    for name in _WORSE_IF_ANY:
        yield _appeared(name, old.metrics.get(name), new.metrics.get(name))
    for name in _ONLY_SHOWN:
        was, now = old.metrics.get(name), new.metrics.get(name)
        if was is not None or now is not None:
            yield Change(name, None, was, now, Judgement.FACT, decides=False)


def _ranked(old: str, new: str) -> Judgement:
    if old not in _RANK or new not in _RANK:
        return Judgement.NO_DATA
    if old == new:
        return Judgement.SAME
    return Judgement.WORSE if _RANK[new] > _RANK[old] else Judgement.BETTER


def _appeared(name: str, old: float | None, new: float | None) -> Change:
    if old is None or new is None:
        return Change(name, None, old, new, Judgement.NO_DATA, decides=(old is None) != (new is None))
    if bool(old) != bool(new):
        return Change(name, None, old, new, Judgement.WORSE if new else Judgement.BETTER)
    why = "how many depends on the load and the capacity" if old != new else ""
    return Change(name, None, old, new, Judgement.SAME if old == new else Judgement.FACT, why=why)


def _fails(run: MeasuredRun, endpoint: str) -> bool:
    return any(item.server_errors for item in run.endpoints[endpoint])


def _of(metric: str, endpoint: str | None = None) -> Callable[[Verdict | None], float | None]:
    """Return a metric as the run was judged."""

    def value(verdict: Verdict | None) -> float | None:
        if verdict is None or endpoint is None:
            return None if verdict is None else verdict.metrics.get(metric)
        found: float | None = getattr(verdict.endpoints.get(endpoint), metric, None)
        return found

    return value
