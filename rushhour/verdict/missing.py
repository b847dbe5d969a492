"""Finds the data that a verdict needs and a run lacks (pure)."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

from rushhour.metrics.measure import Metrics
from rushhour.metrics.window import Window
from rushhour.metrics.wording import counted
from rushhour.rundir import History
from rushhour.rundir import facts as f
from rushhour.scenario.model import Scenario
from rushhour.scenario.thresholds import METRICS, Source, Threshold
from rushhour.verdict.lost import lost_parts
from rushhour.verdict.unseen import why_no_pool

POOL_GAP_S: Final = 2.0
SERVER_GAP_S: Final = 5.0
HOST_GAP_S: Final = 5.0
MAY_FAIL: Final = "if that is meant, name the endpoint in `may_fail:`"
_OBSERVES: Final[dict[str, Source]] = {
    "pools": "pools",
    "postgres": "postgres",
    "host": "host",
    "meter": "host",
}
_HARMLESS: Final = frozenset({"tail", "tails", "logs"})  # only the live view, and a cross-check of time-outs


def missing_data(
    scenario: Scenario, history: History, metrics: Metrics, judged: Iterable[Threshold]
) -> tuple[str, ...]:
    """Return which data that the thresholds or the expectation need is missing; empty when none is."""
    needed: set[Source] = {METRICS[threshold.metric].source for threshold in judged}
    if scenario.expect != "healthy":
        needed.add("pools")
    if not scenario.agent:
        needed.discard("pools")  # switched off on purpose; judged.py leaves out what only it sees
    window = metrics.window
    if window is None:
        return ()
    witnesses: set[Source] = {"postgres"} if scenario.cause else set()  # may contradict the expected cause
    found = [*lost_parts(history, needed | witnesses), *_never_ok(scenario, history, metrics, window)]
    if "pools" in needed:
        found += _agent(history, window)
    if "postgres" in needed:
        times_s = [
            sample.t_s
            for sample in history.servers
            if sample.server == "replica" and sample.lag_s is not None
        ]
        found += _gap(times_s, window, SERVER_GAP_S, "lag of the replica (postgres.jsonl)")
    if "host" in needed:
        found += _gap(
            [sample.t_s for sample in history.host], window, HOST_GAP_S, "CPU of any component (host.jsonl)"
        )
    for event in history.events:
        if event.name == f.OBSERVER_FAULT and _matters(str(event.detail.get("observer", "")), needed):
            found.append(f"observer {event.detail.get('observer')} failed: {event.detail.get('error')}")
    return tuple(found)


def _never_ok(scenario: Scenario, history: History, metrics: Metrics, window: Window) -> Iterator[str]:
    """Report endpoints that never answered 2xx or 3xx: their code hardly ran, so they cannot be judged.

    When trouble is expected, an endpoint may answer only 5xx or not at all. One that answers 4xx is reported
    even then, because 4xx points to a mistake in the locustfile.
    """
    for name, endpoint in metrics.endpoints.items():
        if endpoint.answered_ok or name in scenario.may_fail:
            continue
        if not endpoint.http_4xx and scenario.expect != "healthy":
            continue
        if endpoint.http_4xx < endpoint.requests:
            yield (
                f"{name} answered none of its {counted(endpoint.requests, 'request')} with 2xx or 3xx "
                f"({endpoint.http_4xx:,} with 4xx, {endpoint.http_5xx:,} with 5xx); {MAY_FAIL}"
            )
            continue
        statuses = {
            row.status
            for row in history.requests
            if row.endpoint == name and row.outcome is f.Outcome.HTTP_4XX and row.t_s >= window.first_second
        }
        what = " or ".join(sorted(str(status or "4xx") for status in statuses))
        logs_in = "does the locustfile log in? " if statuses & {401, 403} else ""
        how_many = (
            "its only request" if endpoint.requests == 1 else f"all of its {endpoint.requests:,} requests"
        )
        yield f"{name} answered {what} to {how_many}: {logs_in}{MAY_FAIL}"


def missing_pools(scenario: Scenario, history: History, judged: Iterable[Threshold]) -> tuple[str, ...]:
    """Say why a void run saw no pool, although it needed one: the next run will see none either."""
    needed = scenario.expect != "healthy" or any(
        METRICS[threshold.metric].source == "pools" for threshold in judged
    )
    if not (needed and scenario.agent and history.complete) or history.pools:
        return ()
    return (why_no_pool(history),)


def _matters(observer: str, needed: set[Source]) -> bool:
    """Return whether the fault of an observer affects needed data; an unknown observer always does."""
    kind = observer.split(" ", maxsplit=1)[0]
    if kind in _HARMLESS or kind == "recorder":  # the recorder's faults void the run
        return False
    source = _OBSERVES.get(kind)
    return source is None or source in needed


def _agent(history: History, window: Window) -> Iterator[str]:
    if not history.pools:
        yield why_no_pool(history)
        return
    for fault in history.agent_faults[:1]:
        more = f" ({len(history.agent_faults)} faults in all)" if len(history.agent_faults) > 1 else ""
        yield f"the pool agent failed in {fault.where}: {fault.error}{more}"
    times_s = [sample.t_s for sample in history.pools]
    yield from _gap(times_s, window, POOL_GAP_S, "sample of any pool (pool.jsonl)")
    by_pid: dict[int, list[float]] = {}
    for sample in history.pools:
        by_pid.setdefault(sample.pid, []).append(sample.t_s)
    if len(by_pid) > 1:
        for pid, times_s in sorted(by_pid.items()):
            own = Window(
                window.load_started_s,
                max(window.measured_from_s, min(times_s)),
                min(window.load_ended_s, max(times_s)),
                window.end_s,
            )
            yield from _gap(times_s, own, POOL_GAP_S, f"sample of process {pid} (pool.jsonl)")


def _gap(times_s: list[float], window: Window, most_s: float, what: str) -> Iterator[str]:
    """Report the longest gap between these times in the measured load, its edges included, above `most_s`."""
    inside = sorted(t_s for t_s in times_s if window.measures(t_s))
    marks = [window.measured_from_s, *inside, window.load_ended_s]
    gap_s, from_s = max(
        ((after - before, before) for before, after in pairwise(marks)),
        default=(0.0, 0.0),
    )
    if gap_s > most_s:
        yield (
            f"no {what} for {gap_s:.1f} s, from {from_s - window.load_started_s:.1f} s into the load "
            f"(bound {most_s:g} s)"
        )
