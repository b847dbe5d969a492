"""Writes the notes of a verdict: what was seen and does not decide it (pure)."""

from collections.abc import Iterator
from typing import Final

from rushhour.diagnosis import Diagnosis
from rushhour.diagnosis.sites import at
from rushhour.metrics.locustfile import locustfile_errors
from rushhour.metrics.measure import Metrics
from rushhour.metrics.pools import LAST_SAMPLE_WITHIN_S
from rushhour.metrics.window import Window
from rushhour.metrics.wording import counted
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.rundir.losses import NOTIFICATIONS
from rushhour.scenario.model import Scenario
from rushhour.scenario.thresholds import METRICS
from rushhour.verdict.headline import leaking_site
from rushhour.verdict.judged import RAISED_NOTHING, is_seen, judged_thresholds
from rushhour.verdict.lost import lost_in
from rushhour.verdict.unseen import why_no_pool, without_limit

ENDPOINTS_NAMED: Final = 3  # endpoints that the note on 4xx answers lists


def notes(
    scenario: Scenario, history: History, metrics: Metrics, diagnosis: Diagnosis, observed: str
) -> tuple[str, ...]:
    """Return the notes of a verdict, one line each."""
    window = metrics.window
    if window is None:
        return ()
    return (
        *_leaks_not_judged(scenario, metrics, diagnosis),
        *_not_judged(scenario, observed),
        *_no_pool(scenario, history),
        *without_limit(history),
        *_locustfile(history, metrics, scenario),
        *_client_errors(metrics),
        *_counts_differ(metrics),
        *_warm_up(history, window),
        *_full_early(history, window),
        *_ended_processes(history, window),
        *_failed_observers(history),
        *lost_in(history, {NOTIFICATIONS}),
        *history.unchecked,
    )


def _leaks_not_judged(scenario: Scenario, metrics: Metrics, diagnosis: Diagnosis) -> Iterator[str]:
    """Report leaks that `judge: http`, which sees only answers, cannot judge."""
    if scenario.judge != "http" or not metrics.pool.leaked:
        return
    leaked, site = metrics.pool.leaked, leaking_site(diagnosis)
    pool, where = ("", "") if site is None else (f" of pool {site.pool}", f", taken at {at(site)}")
    for_whom = "" if site is None or site.endpoint is None else f" for {site.endpoint}"
    yield f"the agent saw {counted(leaked, 'leaked connection')}{pool} all the same{where}{for_whom}"


def _client_errors(metrics: Metrics) -> Iterator[str]:
    """Count 4xx answers: not a failure of the service, but customers did not get what they requested."""
    if not metrics.all.http_4xx:
        return
    worst = sorted(
        ((row.http_4xx, name, row.requests) for name, row in metrics.endpoints.items() if row.http_4xx),
        key=lambda row: (-row[0], row[1]),
    )
    of_each = [f"{name} {number:,} of {requests:,}" for number, name, requests in worst[:ENDPOINTS_NAMED]]
    more = [f"{len(worst) - ENDPOINTS_NAMED:,} more endpoints"] if len(worst) > ENDPOINTS_NAMED else []
    yield (
        f"{metrics.all.http_4xx:,} of {counted(metrics.all.requests, 'request')} were answered 4xx: "
        f"{', '.join([*of_each, *more])}"
    )


def _no_pool(scenario: Scenario, history: History) -> Iterator[str]:
    """Say why no pool was seen; when the verdict needs pools, missing.py makes this a reason instead."""
    needed = scenario.expect != "healthy" or any(
        METRICS[threshold.metric].source == "pools" for threshold in scenario.thresholds
    )
    if scenario.agent and history.complete and not history.pools and not needed:
        yield why_no_pool(history)


def _not_judged(scenario: Scenario, observed: str) -> Iterator[str]:
    unseen = ", ".join(
        threshold.expr for threshold in scenario.thresholds if not is_seen(scenario, threshold)
    )
    if scenario.judge == "http":
        if unseen:
            yield f"not judged, since testers cannot see it: {unseen}"
    elif unseen:
        yield f"not judged, since the pool agent was switched off: {unseen}"
    elif (
        scenario.expect == "healthy"
        and observed == "exhausted"
        and not any(threshold.metric == "queuepool_timeouts" for threshold in scenario.thresholds)
    ):
        yield "pool time-outs were seen, and no threshold bounds queuepool_timeouts"


def _locustfile(history: History, metrics: Metrics, scenario: Scenario) -> Iterator[str]:
    """List the exceptions that the scenario's own bound allows; those above it are reasons instead."""
    judged = judged_thresholds(scenario)
    bounds = [threshold for threshold in judged if threshold.metric == RAISED_NOTHING.metric]
    if all(threshold.holds(metrics.locustfile_errors or 0) for threshold in bounds):
        yield from (f"the locustfile raised {error}" for error in locustfile_errors(history))


def _counts_differ(metrics: Metrics) -> Iterator[str]:
    pool = metrics.pool
    if metrics.window is not None and metrics.window.of_start:
        return  # without load, only the agent counts
    counts = {
        "the agent": pool.timeouts_agent,
        "the customers": pool.timeouts_http,
        "the service's log": pool.timeouts_logged if pool.timeouts_logged is not None else 0,
    }
    known = {observer: count for observer, count in counts.items() if count is not None}
    if len(set(known.values())) > 1:
        listed = ", ".join(f"{observer} {count:,}" for observer, count in known.items())
        yield f"the counts of pool time-outs differ: {listed}; the highest counts"


def _warm_up(history: History, window: Window) -> Iterator[str]:
    early = sum(window.load_started_s <= fact.t_s < window.measured_from_s for fact in history.pool_timeouts)
    if early:
        yield f"{counted(early, 'pool time-out')} came during the warm-up and did not count"


def _full_early(history: History, window: Window) -> Iterator[str]:
    """List pools that were full only before the measured load: the live view shows them as full."""
    early, later = {}, set()
    for sample in history.pools:
        if sample.capacity and sample.checked_out >= sample.capacity:
            if window.after_warm_up(sample.t_s):
                later.add(sample.pool)
            elif sample.t_s < window.measured_from_s:
                early[sample.pool] = sample
    for pool, sample in sorted(early.items()):
        if pool not in later:
            when = "during the warm-up" if sample.t_s >= window.load_started_s else "before the load"
            yield f"pool {pool} was full {when} ({sample.checked_out} of {sample.capacity}), and not after it"


def _ended_processes(history: History, window: Window) -> Iterator[str]:
    last: dict[int, float] = {}
    for sample in history.pools:
        last[sample.pid] = max(sample.t_s, last.get(sample.pid, 0.0))
    ended = sorted(pid for pid, seen_s in last.items() if seen_s < window.load_ended_s - LAST_SAMPLE_WITHIN_S)
    if ended:
        yield (
            f"processes of the service that ended during the load: {', '.join(map(str, ended))}; connections "
            "that they leaked count"
        )


def _failed_observers(history: History) -> Iterator[str]:
    for event in history.events:
        if event.name == f.OBSERVER_FAULT and event.detail.get("observer") != "recorder":
            yield f"observer {event.detail.get('observer')} failed: {event.detail.get('error')}"
