"""Signals of a run without the pool agent: HTTP, the log and the servers (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass

from rushhour.diagnosis.findings import Evidence
from rushhour.history import History
from rushhour.history import facts as f
from rushhour.metrics.window import Window


@dataclass(frozen=True, slots=True)
class Outside:
    """What is seen of a run without the agent: from HTTP, the log and the servers."""

    idle_after_load: Mapping[str, int]  # server -> sessions idle in transaction in its last sample
    oldest_idle_s: float | None
    answered_between: int  # by the endpoints that timed out, from the first time-out to the last
    timeouts_between: int


def outside_signals(history: History, window: Window | None) -> Outside:
    """Compute them."""
    last: dict[str, f.ServerSample] = {}
    for one in history.servers:
        if window and window.load_ended_s < one.t_s <= window.end_s and one.error is None:
            last[one.server] = one
    idle = {
        name: one.states["idle in transaction"]
        for name, one in last.items()
        if one.states.get("idle in transaction")
    }
    late = [row for row in history.requests if row.outcome is f.Outcome.QUEUEPOOL_TIMEOUT]
    endpoints = {row.endpoint for row in late}
    answered = sum(
        row.count
        for row in history.requests
        if row.outcome is f.Outcome.OK and row.endpoint in endpoints and late[0].t_s < row.t_s < late[-1].t_s
    )
    return Outside(
        idle_after_load=idle,
        oldest_idle_s=max((last[name].oldest_idle_in_xact_s or 0.0 for name in idle), default=None),
        answered_between=answered,
        timeouts_between=sum(row.count for row in late),
    )


def outside_evidence(outside: Outside) -> tuple[Evidence, ...]:
    """What is seen of a leak without the agent."""
    return (
        *(
            Evidence(
                f"sessions idle in transaction after the load, {server}",
                count,
                source="postgres.jsonl states",
            )
            for server, count in outside.idle_after_load.items()
        ),
        Evidence(
            "oldest of them",
            round(outside.oldest_idle_s or 0.0, 1),
            "s",
            "postgres.jsonl oldest_idle_in_xact_s",
        ),
        Evidence(
            "requests answered by endpoints while these timed out",
            outside.answered_between,
            source="requests.jsonl outcome ok, queuepool_timeout",
            meaning=f"against {outside.timeouts_between} time-outs",
        ),
    )
