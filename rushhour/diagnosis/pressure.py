"""Computes the signals of a pool that was asked for more connections than it has (pure)."""

import dataclasses
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from rushhour.diagnosis.findings import Evidence
from rushhour.diagnosis.spans import Spans, merged
from rushhour.metrics.pools import in_running_request, is_out
from rushhour.metrics.window import Window
from rushhour.rundir import History
from rushhour.rundir import facts as f

# A pool that is full for less of the time, or less in all, and turns nobody away, absorbs a burst: its job.
_BRIEF_SHARE: Final = 0.05
_BRIEF_S: Final = 2.0
_FEW_WAITED: Final = 0.05  # of the check-outs: a burst at the start makes as many wait
_WAITED_US: Final = 50_000
_MOST: Final = 0.5  # of the looks at holders
_LOOKED_AT_US: Final = 131_072  # the first bound above 0.1 s: shorter holds are only counted
_TIMES_EVERY_S: Final = 1.0  # the agent writes histograms of the last second
_BUCKET_MIDDLE: Final = 0.75  # of its upper bound: the middle of a bucket from half of it to it


@dataclass(frozen=True, slots=True)
class PressureSignals:
    """The signals of a pool of a process, from the first moment it was full to the last."""

    pool: str
    pid: int
    capacity: int
    full_s: float  # in all, by the share of its samples that were full
    full_share: float  # of the measured time in which its process was seen
    from_s: float  # when it was full first and last, since the run's anchor
    to_s: float
    leaked_share: float  # means over the full samples, of the connections out
    connecting_share: float  # counted by the pool, and not (yet) in the hands of the service
    busy_share: float  # the rest: in use by requests
    waiters_max: int
    timeouts: int
    arrivals_per_s: float | None  # check-outs, time-outs and growth of the queue
    hold_mean_s: float | None
    left_out: int  # still out when the watch ended, leaked ones not counted
    active_share: float | None  # of its server's backends in a transaction, those that ran a query
    server_cpu_share: float | None  # of what the server may use
    waited_share: float | None = None  # of its check-outs while it was measured, those that waited for long
    short_share: float | None = None  # of the connection-seconds, those of holds too short to be looked at
    observed: bool = True  # whether its server was, while it was full
    outer: str | None = None  # the pool with the longest queue, whose holders waited for this one
    crossed: bool = False  # and holders of this one waited for that one in turn

    @property
    def queued(self) -> bool:
        """Whether a request had to wait for a connection."""
        return self.waiters_max > 0 or self.timeouts > 0

    @property
    def hurt(self) -> bool:
        """Whether the queue was more than a burst that the pool absorbed."""
        brief = self.full_share < _BRIEF_SHARE or self.full_s < _BRIEF_S
        few = self.waited_share is not None and self.waited_share < _FEW_WAITED
        return self.queued and (self.timeouts > 0 or not (brief or few))

    @property
    def wanted(self) -> float | None:
        """Connections that the arrivals would keep busy (Little's law: arrival rate x mean hold)."""
        if self.arrivals_per_s is None or self.hold_mean_s is None:
            return None
        return self.arrivals_per_s * self.hold_mean_s


def pressure_signals(history: History, window: Window | None) -> PressureSignals | None:
    """Compute the signals of the full pool with the longest queue; None if no pool was full.

    If its holders wait in the queue of another full pool, that one is what they all wait for.
    """
    if window is None:
        return None
    seen: dict[tuple[int, str], list[float]] = {}
    full: dict[tuple[int, str], list[f.PoolSample]] = {}
    for sample in history.pools:
        if window.measured_from_s <= sample.t_s <= window.end_s:
            seen.setdefault((sample.pid, sample.pool), []).append(sample.t_s)
            if sample.capacity and sample.checked_out >= sample.capacity:
                full.setdefault((sample.pid, sample.pool), []).append(sample)
    if not full:
        return None
    path = _path(history, full)
    pid, pool = path[-1]
    samples = full[pid, pool]
    from_s, to_s = samples[0].t_s, samples[-1].t_s
    moments = seen[pid, pool]
    full_share = len(samples) / len(moments)
    total = sum(sample.checked_out for sample in samples)
    leaked = sum(sample.leaked for sample in samples) / total
    connecting = sum(max(0, sample.checked_out - sample.live) for sample in samples) / total
    return PressureSignals(
        pool=pool,
        pid=pid,
        capacity=samples[0].capacity or 0,
        full_s=full_share * (moments[-1] - moments[0]),
        full_share=full_share,
        from_s=from_s,
        to_s=to_s,
        leaked_share=leaked,
        connecting_share=connecting,
        busy_share=max(0.0, 1 - leaked - connecting),
        waiters_max=max(sample.waiting for sample in samples),
        timeouts=max(sample.timeouts for sample in history.pools if (sample.pid, sample.pool) == (pid, pool)),
        arrivals_per_s=_arrivals_per_s(samples[0], samples[-1]),
        hold_mean_s=_hold_mean_s(history, pid, pool, from_s, to_s),
        left_out=_left_out(history, pid, pool, window.end_s),
        active_share=_active_share(history, pool, from_s, to_s),
        server_cpu_share=_cpu_share(history, f.server_of(pool), from_s, to_s),
        waited_share=_waited_share(history, pid, pool, window),
        short_share=_short_share(history, samples, from_s, to_s),
        observed=any(sample.error is None for sample in server_samples(history, pool, from_s, to_s)),
        outer=path[0][1] if len(path) > 1 else None,
        crossed=len(path) > 1 and _wait_for_others(history, path[-1], samples),
    )


def server_samples(history: History, pool: str, from_s: float, to_s: float) -> list[f.ServerSample]:
    """Return the samples of a pool's server while the pool was full; the last one may be a second later."""
    return [
        sample
        for sample in history.servers
        if sample.server == f.server_of(pool) and from_s <= sample.t_s <= to_s + 1
    ]


def without_other_pools(
    history: History, pool: str, samples: Iterable[f.ServerSample]
) -> list[f.ServerSample]:
    """Return samples of a pool's server without the backends that other pools of the service had out.

    The waits of a sample stay those of all backends.
    """
    others = [
        out
        for out in history.checkouts
        if out.server_pid is not None and out.pool != pool and f.server_of(out.pool) == f.server_of(pool)
    ]
    if not others:
        return list(samples)
    found = []
    for sample in samples:
        theirs = {out.server_pid for out in others if is_out(out, sample.t_s)}
        less = Counter(backend.state for backend in sample.backends if backend.pid in theirs)
        states = {state: max(0, count - less[state]) for state, count in sample.states.items()}
        backends = tuple(backend for backend in sample.backends if backend.pid not in theirs)
        found.append(dataclasses.replace(sample, states=states, backends=backends))
    return found


def _waited_share(history: History, pid: int, pool: str, window: Window) -> float | None:
    """Return the share of a pool's check-outs that waited for `_WAITED_US` or longer; None without any."""
    waits: Counter[int] = Counter()
    for times in history.times:
        if (times.pid, times.pool) == (pid, pool) and window.measures(times.t_s):
            waits.update(times.wait_us)
    late = sum(count for bound, count in waits.items() if bound / 2 >= _WAITED_US)
    return late / waits.total() if waits else None


def _short_share(history: History, samples: list[f.PoolSample], from_s: float, to_s: float) -> float | None:
    """Return the share of the connection-seconds of a full pool in holds that no look is made at.

    Where somebody was turned away, only the time counts in which they had waited: a pool that is now and
    then full of short holds has turned nobody away by them.
    """
    pid, pool = samples[0].pid, samples[0].pool
    waits = (
        (timeout.t_s - timeout.waited_s, timeout.t_s)
        for timeout in history.pool_timeouts
        if (timeout.pid, timeout.pool) == (pid, pool)
    )
    spans = Spans(merged(waits) or ((from_s, to_s),))
    total_s = samples[0].checked_out * spans.total_s
    short_us = [
        bound * _BUCKET_MIDDLE * count * part
        for times in history.times
        if (times.pid, times.pool) == (pid, pool)
        for part in (spans.within_s(times.t_s - _TIMES_EVERY_S, times.t_s) / _TIMES_EVERY_S,)
        for bound, count in times.hold_us.items()
        if bound <= _LOOKED_AT_US
    ]
    return min(1.0, sum(short_us) / 1_000_000 / total_s) if total_s > 0 and short_us else None


_Key = tuple[int, str]  # a process and its pool


def _path(history: History, full: dict[_Key, list[f.PoolSample]]) -> list[_Key]:
    """Follow the holders of the pool with the longest queue through the full pools that they wait for."""

    def rank(key: _Key) -> tuple[int, int]:
        return max(item.waiting for item in full[key]), len(full[key])

    path = [max(full, key=rank)]
    while _wait_for_others(history, path[-1], full[path[-1]]):
        others = [key for key in full if key[0] == path[0][0] and key not in path]
        if not others:
            break
        path.append(max(others, key=rank))
    return path


def _wait_for_others(history: History, key: _Key, samples: list[f.PoolSample]) -> bool:
    """Return whether most holders of a pool, while it was full, were in the queue of another pool."""
    from_s, to_s = samples[0].t_s, samples[-1].t_s + 1
    looks = [look for look in history.doing if (look.pid, look.pool) == key and from_s <= look.t_s <= to_s]
    waited = sum(look.other_pool for look in looks)
    seen = sum(
        look.driver
        + look.queue
        + look.behind
        + look.lock
        + look.other_pool
        + look.elsewhere
        + look.streaming
        + (look.sending or 0)
        for look in looks
    )
    return seen > 0 and waited >= _MOST * seen


def _arrivals_per_s(first: f.PoolSample, last: f.PoolSample) -> float | None:
    span_s = last.t_s - first.t_s
    if span_s < 1:
        return None
    came = (
        last.checkouts
        - first.checkouts
        + last.timeouts
        - first.timeouts
        + max(0, last.waiting - first.waiting)
    )
    return came / span_s


def _hold_mean_s(history: History, pid: int, pool: str, from_s: float, to_s: float) -> float | None:
    count, total_us = 0, 0.0
    for times in history.times:
        if (times.pid, times.pool) == (pid, pool) and from_s <= times.t_s <= to_s + 1:
            count += sum(times.hold_us.values())
            total_us += sum(bound * _BUCKET_MIDDLE * n for bound, n in times.hold_us.items())
    return total_us / count / 1_000_000 if count else None


def _left_out(history: History, pid: int, pool: str, end_s: float) -> int:
    """Count connections out at the end whose request has not ended."""
    return sum(
        in_running_request(out, end_s) and (out.pid, out.pool) == (pid, pool) for out in history.checkouts
    )


def _active_share(history: History, pool: str, from_s: float, to_s: float) -> float | None:
    active = idle = 0
    for sample in without_other_pools(history, pool, server_samples(history, pool, from_s, to_s)):
        active += sample.states.get("active", 0)
        idle += sample.states.get("idle in transaction", 0)
    return active / (active + idle) if active + idle else None


def _cpu_share(history: History, server: str, from_s: float, to_s: float) -> float | None:
    shares = [
        sample.cpu_cores / sample.limit_cores
        for sample in history.host
        if sample.component == server and sample.limit_cores and from_s <= sample.t_s <= to_s + 1
    ]
    return sum(shares) / len(shares) if shares else None


def pressure_evidence(pressure: PressureSignals) -> tuple[Evidence, ...]:
    """Return the evidence for a full pool."""
    found = [
        Evidence("pool", f"{pressure.pool}, {pressure.capacity} connections", source="pool.jsonl sample"),
        Evidence("full for", round(pressure.full_s, 1), "s", "pool.jsonl sample.checked_out"),
        Evidence("most threads waiting", pressure.waiters_max, source="pool.jsonl sample.waiting"),
        Evidence("pool time-outs", pressure.timeouts, source="pool.jsonl sample.timeouts"),
        Evidence(
            "held by requests that ran, while full",
            round(pressure.busy_share * 100, 1),
            "%",
            "pool.jsonl sample.live, leaked, checked_out",
            f"leaked {pressure.leaked_share:.0%}, still connecting {pressure.connecting_share:.0%}",
        ),
        Evidence(
            "still out when the watch ended",
            pressure.left_out,
            source="pool.jsonl checkout",
            meaning="the pool drained by itself" if not pressure.left_out else "held by requests without end",
        ),
    ]
    if pressure.wanted is not None and pressure.arrivals_per_s and pressure.hold_mean_s:
        found.append(
            Evidence(
                "connections wanted",
                round(pressure.wanted, 1),
                source="pool.jsonl sample.checkouts, times.hold_us",
                meaning=f"{pressure.arrivals_per_s:.1f} arrivals/s x {pressure.hold_mean_s:.3g} s held",
            )
        )
    if pressure.active_share is not None:
        found.append(
            Evidence(
                "backends in a transaction that ran a query",
                round(pressure.active_share * 100, 1),
                "%",
                "postgres.jsonl states",
                "high: holds are spent in queries; low: they are spent on other things",
            )
        )
    if pressure.server_cpu_share is not None:
        found.append(
            Evidence(
                "CPU of the server, of its limit",
                round(pressure.server_cpu_share * 100, 1),
                "%",
                "host.jsonl cpu_cores, limit_cores",
            )
        )
    return tuple(found)
