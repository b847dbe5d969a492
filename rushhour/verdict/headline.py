"""Writes the headline of a verdict: what happened, in one sentence with numbers (pure)."""

from rushhour.diagnosis import Diagnosis, HeldSite
from rushhour.diagnosis.sites import at
from rushhour.diagnosis.units import held_by, most_of
from rushhour.metrics.measure import Metrics
from rushhour.metrics.wording import counted
from rushhour.scenario.model import Scenario
from rushhour.scenario.thresholds import in_words

LEAKS = ("scope-never-removed", "unclosed-path")


def headline(
    scenario: Scenario,
    metrics: Metrics,
    diagnosis: Diagnosis,
    *,
    observed: str,
    verdict: str,
    reasons: tuple[str, ...],
) -> str:
    """Write the headline: `gate (release 1.1): replica pool exhausted 41 s into the load: ...`."""
    sees_pools = scenario.judge == "all"  # else only HTTP is judged, as testers see it
    who = f"{scenario.name} (release {scenario.release})"
    if verdict == "unknown":
        return f"{who}: {reasons[0].removesuffix(':')}"  # the lines of a log may follow as reasons
    if metrics.window is not None and metrics.window.of_start:
        return f"{who}: {reasons[0]}"
    if observed == "exhausted":
        text = _exhausted(metrics, diagnosis)
    elif observed == "degraded" and sees_pools and metrics.pool.leaked:
        text = f"{_leaked(metrics, diagnosis)}, and no request has timed out yet"
    else:
        text = _served(metrics, sees_pools)
    if verdict == "fail" and scenario.expect != "healthy":
        return f"{who}: {reasons[0]}"
    if verdict == "fail" and observed != "exhausted" and not (sees_pools and metrics.pool.leaked):
        return f"{who}: {reasons[0]}; {text}"
    return f"{who}: {text}"


def leaking_site(diagnosis: Diagnosis) -> HeldSite | None:
    """Return the call site with the most leaks, including garbage-collected connections; None without any."""
    return max(
        (site for site in diagnosis.call_sites if site.leaked or site.collected),
        key=lambda site: (site.leaked, site.collected),
        default=None,
    )


def _exhausted(metrics: Metrics, diagnosis: Diagnosis) -> str:
    pool = metrics.pool
    text = f"{pool.name} pool exhausted" if pool.name else "connection pool exhausted"
    if metrics.time_to_exhaustion_s is not None:
        text += f" {metrics.time_to_exhaustion_s:.0f} s into the load"
    if diagnosis.cause in LEAKS and leaking_site(diagnosis) is not None:
        text += f": {_held(metrics, diagnosis)}"
    elif diagnosis.cause == "saturation":
        text += f": all {'' if pool.capacity is None else f'{pool.capacity} '}connections at work"
        if pool.waiters_max is not None:
            text += f", up to {counted(pool.waiters_max, 'thread')} waiting"
    elif diagnosis.cause != "none":
        text += f": {diagnosis.cause}"
    timeouts, requests = pool.timeouts or 0, counted(metrics.all.requests, "request")
    if timeouts == pool.timeouts_http:
        return f"{text}; {timeouts:,} of {requests} timed out"
    # HTTP answers show fewer: a request may have retried the check-out, or been answered without it.
    return f"{text}; {counted(timeouts, 'pool time-out')} in {requests}"


def _leaked(metrics: Metrics, diagnosis: Diagnosis) -> str:
    site = leaking_site(diagnosis)
    where = f"{site.pool} pool leaks: " if site is not None else "connections leak: "
    return where + _held(metrics, diagnosis)


def _held(metrics: Metrics, diagnosis: Diagnosis) -> str:
    collected = metrics.pool.collected or 0
    leaked = (metrics.pool.leaked or 0) - collected
    worst = leaking_site(diagnosis)
    where = "" if worst is None else f", taken at {at(worst)}"
    if not leaked:
        return f"{counted(collected, 'connection')} came back by garbage collection alone{where}"
    pools = {site.pool for site in diagnosis.call_sites if site.leaked}
    # Leaks are counted over all pools of all processes; a capacity belongs to one pool of one process.
    capacity = metrics.pool.capacity_of.get(pools.pop()) if len(pools) == 1 else None
    of = f" of {capacity}" if capacity and leaked <= capacity else ""
    noun = "connection" if leaked == 1 and not of else "connections"
    unit = most_of(site.unit for site in diagnosis.call_sites for _ in range(site.leaked))
    held = held_by(unit, leaked)
    also = f"; {collected} more came back by garbage collection alone" if collected else ""
    return f"{leaked}{of} {noun} {held}{where}{also}"


def _served(metrics: Metrics, sees_pools: bool) -> str:
    everything, pool = metrics.all, metrics.pool
    text = f"{counted(everything.requests, 'request')}, {everything.http_5xx:,} answered 5xx"
    if everything.p95_ms is not None:
        text += f", p95 {in_words('p95', everything.p95_ms)}"
    if sees_pools and pool.in_use_max is not None:
        text += f"; {pool.name} pool: {pool.most_out()}"
        text += ", every connection came back" if not pool.leaked else f", {pool.leaked} leaked"
    return text
