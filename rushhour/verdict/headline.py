"""One sentence that says what happened in a run, with the numbers (pure)."""

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
    """`gate (release 1.1): replica pool exhausted 41 s into the load: 30 of 30 connections held by ...`."""
    told = scenario.judge == "all"  # else what the pools showed from inside is not what testers saw
    who = f"{scenario.name} (release {scenario.release})"
    if verdict == "unknown":
        return f"{who}: {reasons[0].removesuffix(':')}"  # else a log's last lines follow, as reasons
    if metrics.window is not None and metrics.window.of_start:
        return f"{who}: {reasons[0]}"
    if observed == "exhausted":
        text = _exhausted(metrics, diagnosis)
    elif observed == "degraded" and told and metrics.pool.leaked:
        text = f"{_leaked(metrics, diagnosis)}, and no request has timed out yet"
    else:
        text = _served(metrics, told)
    if verdict == "fail" and scenario.expect != "healthy":
        return f"{who}: {reasons[0]}"
    if verdict == "fail" and observed != "exhausted" and not (told and metrics.pool.leaked):
        return f"{who}: {reasons[0]}; {text}"
    return f"{who}: {text}"


def leaking_site(diagnosis: Diagnosis) -> HeldSite | None:
    """The call site that leaked most, those included that were collected; None when none did."""
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
        text += f": all {pool.capacity} connections at work, up to {pool.waiters_max} threads waiting"
    elif diagnosis.cause != "none":
        text += f": {diagnosis.cause}"
    timeouts, requests = pool.timeouts or 0, counted(metrics.all.requests, "request")
    if timeouts == pool.timeouts_http:
        return f"{text}; {timeouts:,} of {requests} timed out"
    # Customers saw fewer: a request may have asked again, or have been answered all the same.
    return f"{text}; {counted(timeouts, 'pool time-out')} in {requests}"


def _leaked(metrics: Metrics, diagnosis: Diagnosis) -> str:
    site = leaking_site(diagnosis)
    where = f"{site.pool} pool leaks: " if site is not None else "connections leak: "
    return where + _held(metrics, diagnosis)


def _held(metrics: Metrics, diagnosis: Diagnosis) -> str:
    collected = metrics.pool.collected or 0
    leaked = (metrics.pool.leaked or 0) - collected
    site = leaking_site(diagnosis)
    where = "" if site is None else f", taken at {at(site)}"
    if not leaked:
        return f"{counted(collected, 'connection')} came back by garbage collection alone{where}"
    pools = {one.pool for one in diagnosis.call_sites if one.leaked}
    # What leaked is counted over all pools of all processes, a capacity is that of one.
    capacity = metrics.pool.capacity_of.get(pools.pop()) if len(pools) == 1 else None
    of = f" of {capacity}" if capacity and leaked <= capacity else ""
    noun = "connection" if leaked == 1 and not of else "connections"
    unit = most_of(one.unit for one in diagnosis.call_sites for _ in range(one.leaked))
    held = held_by(unit, leaked)
    also = f"; {collected} more came back by garbage collection alone" if collected else ""
    return f"{leaked}{of} {noun} {held}{where}{also}"


def _served(metrics: Metrics, told: bool) -> str:
    everything, pool = metrics.all, metrics.pool
    text = f"{counted(everything.requests, 'request')}, {everything.http_5xx:,} answered 5xx"
    if everything.p95_ms is not None:
        text += f", p95 {in_words('p95', everything.p95_ms)}"
    if told and pool.in_use_max is not None:
        text += f"; {pool.name} pool: {pool.most_out()}"
        text += ", every connection came back" if not pool.leaked else f", {pool.leaked} leaked"
    return text
