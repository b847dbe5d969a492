"""Signals of what a full pool's connections were held for (pure).

The agent looks at each thread that holds a connection, ten times a second: it waits for the server, for
another connection, sends a response, or is elsewhere. The server says of the same connection, by its
backend's pid, whether it runs a query or waits for its client.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from rushhour.diagnosis.findings import Evidence
from rushhour.diagnosis.pressure import PressureSignals
from rushhour.diagnosis.sites import at
from rushhour.rundir import History
from rushhour.rundir import facts as f

WAITED_SHARE: Final = 0.9  # of a wait that timed out: its last part, so that two in a row do not overlap


@dataclass(frozen=True, slots=True)
class HoldSignals:
    """Of one pool of one process, while it was full; shares are of the looks at its holders."""

    pool: str
    looks: int
    driver: float  # waiting for the server
    queue: float  # waiting for another connection
    streaming: float  # sending a response
    elsewhere: float
    line: f.CallSite | None  # where most of those stood that were not in the driver
    line_share: float  # of them
    joined: int  # pairs of a check-out and its backend, at one moment
    server_idle: float | None  # of them, those in which the backend waited for its client, in a transaction
    server_active: float | None  # of them, those in which it ran a query
    timeouts: int  # written one by one
    holding: int  # of them, those whose request held a connection of this pool
    claimed: int  # connections that requests in the queue held at one moment, as the time-outs say: the most
    oldest_stream_s: float  # how long a connection was held by one streamed response at most


def hold_signals(history: History, pressure: PressureSignals | None) -> HoldSignals | None:
    """Compute them; None where no pool was full, or no holder was looked at and nobody turned away."""
    if pressure is None:
        return None
    looks, lines = _looks(history, pressure)
    total = sum(looks.values())
    late = [one for one in history.pool_timeouts if (one.pid, one.pool) == (pressure.pid, pressure.pool)]
    if not total and not late:
        return None
    line, most = next(iter(lines.most_common(1)), (None, 0))
    states = _joined(history, pressure)
    streams = [
        (one.returned_s if one.returned_s is not None else pressure.to_s) - one.taken_s
        for one in history.checkouts
        if one.streams and (one.pid, one.pool) == (pressure.pid, pressure.pool)
    ]
    return HoldSignals(
        pool=pressure.pool,
        looks=total,
        driver=looks["driver"] / total if total else 0.0,
        queue=looks["queue"] / total if total else 0.0,
        streaming=looks["streaming"] / total if total else 0.0,
        elsewhere=looks["elsewhere"] / total if total else 0.0,
        line=line,
        line_share=most / sum(lines.values()) if lines else 0.0,
        joined=sum(states.values()),
        server_idle=states["idle in transaction"] / sum(states.values()) if states else None,
        server_active=states["active"] / sum(states.values()) if states else None,
        timeouts=len(late),
        holding=sum(one.holding > 0 for one in late),
        claimed=_claimed(late),
        oldest_stream_s=max(streams, default=0.0),
    )


def _claimed(late: list[f.PoolTimeout]) -> int:
    """The most connections held at one moment by those who waited then, and timed out later."""
    steps = []
    for timeout in late:
        if timeout.holding:
            steps.append((timeout.t_s - timeout.waited_s * WAITED_SHARE, timeout.holding))
            steps.append((timeout.t_s, -timeout.holding))
    held = most = 0
    for _, change in sorted(steps):
        held += change
        most = max(most, held)
    return most


def _looks(history: History, pressure: PressureSignals) -> tuple[Counter[str], Counter[f.CallSite]]:
    looks: Counter[str] = Counter()
    lines: Counter[f.CallSite] = Counter()
    for one in history.doing:
        if (one.pid, one.pool) == (pressure.pid, pressure.pool) and _during(one.t_s, pressure):
            looks.update(driver=one.driver, queue=one.queue, streaming=one.streaming, elsewhere=one.elsewhere)
            for site, count in one.lines:
                lines[site] += count
    return looks, lines


def _joined(history: History, pressure: PressureSignals) -> Counter[str]:
    """What the server said, by backend pid, of connections that running requests held at that moment."""
    held = [
        one
        for one in history.checkouts
        if (one.pid, one.pool) == (pressure.pid, pressure.pool) and one.server_pid is not None
    ]
    states: Counter[str] = Counter()
    for sample in history.servers:
        if sample.server != pressure.pool or not _during(sample.t_s, pressure):
            continue
        backends = {one.pid: one.state for one in sample.backends}
        for out in held:
            ends = [moment for moment in (out.request_ended_s, out.returned_s) if moment is not None]
            if out.taken_s <= sample.t_s < min(ends, default=sample.t_s + 1) and out.server_pid in backends:
                states[backends[out.server_pid]] += 1
    return states


def _during(t_s: float, pressure: PressureSignals) -> bool:
    return pressure.from_s <= t_s <= pressure.to_s + 1


def hold_evidence(holds: HoldSignals) -> tuple[Evidence, ...]:
    """The numbers of what connections were held for."""
    found = [
        Evidence(
            f"looks at threads that held one, {words}",
            round(share * 100, 1),
            "%",
            f"pool.jsonl doing.{field}",
            f"of {holds.looks:,} looks while the pool was full",
        )
        for field, words, share in (
            ("driver", "waiting for the server", holds.driver),
            ("queue", "waiting for another connection", holds.queue),
            ("streaming", "sending a response", holds.streaming),
            ("elsewhere", "doing other things", holds.elsewhere),
        )
        if share
    ]
    if holds.line is not None:
        found.append(
            Evidence(
                "line where most of those stood that did not wait for the server",
                at(holds.line),
                source="pool.jsonl doing.lines",
                meaning=f"{holds.line_share:.0%} of them",
            )
        )
    if holds.server_idle is not None:
        found.append(
            Evidence(
                "backends of these connections that idled in a transaction",
                round(holds.server_idle * 100, 1),
                "%",
                "postgres.jsonl backends joined with pool.jsonl checkout.server_pid",
                f"of {holds.joined:,} pairs",
            )
        )
    if holds.timeouts:
        found.append(
            Evidence(
                "time-outs of requests that held a connection of this pool already",
                f"{holds.holding} of {holds.timeouts}",
                source="pool.jsonl timeout.holding",
            )
        )
    return tuple(found)
