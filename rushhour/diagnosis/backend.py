"""Signals of a server that is slow or does not answer (pure)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from rushhour.diagnosis.findings import Evidence
from rushhour.history import History
from rushhour.history import facts as f
from rushhour.metrics.window import Window

SLOW_CREATE_US: Final = 1_000_000
_GAP_S: Final = 3.0  # a spell is not known to have gone on over a longer gap between two samples


@dataclass(frozen=True, slots=True)
class BackendSignals:
    """One server, which the pools of the same name connect to; `*_s` are the longest spells."""

    server: str
    connecting_s: float  # the pool counted at least two connections that nobody held
    connecting_max: int
    creates: int
    slow_creates: int  # opening took over a second
    silent_s: float  # the observer got no answer
    last_error: str
    lock_waits_max: int  # backends that waited for a lock at once
    lock_waits_s: float  # at least half of the backends at work waited for one
    full: bool  # its pool was
    other_full: bool  # the pool of another server was


def backend_signals(history: History, window: Window | None) -> tuple[BackendSignals, ...]:
    """Signals of each server that was observed or has a pool."""
    if window is None:
        return ()
    names = sorted({one.server for one in history.servers} | {one.pool for one in history.pools})
    full = {one.pool for one in history.pools if one.capacity and one.checked_out >= one.capacity}
    return tuple(_of_server(history, window, name, full) for name in names)


def _of_server(history: History, window: Window, name: str, full: set[str]) -> BackendSignals:
    samples = [one for one in history.pools if one.pool == name and one.t_s <= window.end_s]
    servers = [
        one
        for one in history.servers
        if one.server == name and window.load_started_s <= one.t_s <= window.end_s
    ]
    creates: dict[int, int] = {}
    for times in history.times:
        if times.pool == name:
            for bound, count in times.create_us.items():
                creates[bound] = creates.get(bound, 0) + count
    connecting_s = max(
        (
            _longest_s((one.t_s, one.checked_out - one.live >= 2) for one in samples if one.pid == pid)
            for pid in {one.pid for one in samples}
        ),
        default=0.0,
    )
    errors = [one.error for one in servers if one.error]
    return BackendSignals(
        server=name,
        connecting_s=connecting_s,
        connecting_max=max((one.checked_out - one.live for one in samples), default=0),
        creates=sum(creates.values()),
        slow_creates=sum(count for bound, count in creates.items() if bound > 2 * SLOW_CREATE_US),
        silent_s=_longest_s((one.t_s, one.error is not None) for one in servers),
        last_error=errors[-1] if errors else "",
        lock_waits_max=max((_lock_waits(one) for one in servers), default=0),
        lock_waits_s=_longest_s((one.t_s, _mostly_locked(one)) for one in servers),
        full=name in full,
        other_full=bool(full - {name}),
    )


def _longest_s(marks: Iterable[tuple[float, bool]]) -> float:
    """The longest time over which every sample was marked."""
    longest_s, since_s, last_s = 0.0, None, None
    for t_s, marked in marks:
        if not marked or (last_s is not None and t_s - last_s > _GAP_S):
            since_s = None
        if marked:
            since_s = t_s if since_s is None else since_s
            longest_s = max(longest_s, t_s - since_s)
        last_s = t_s
    return longest_s


def _lock_waits(sample: f.ServerSample) -> int:
    return sum(count for wait, count in sample.waits.items() if wait.startswith("Lock:"))


def _mostly_locked(sample: f.ServerSample) -> bool:
    waiting = _lock_waits(sample)
    return waiting >= 2 and waiting * 2 >= sample.states.get("active", 0)


def backend_evidence(backend: BackendSignals) -> tuple[Evidence, ...]:
    """The numbers of a server that is slow or silent."""
    found = [Evidence("server", backend.server, source="postgres.jsonl server")]
    if backend.connecting_s:
        found.append(
            Evidence(
                "longest time with connections that the pool counts and nobody holds",
                round(backend.connecting_s, 1),
                "s",
                "pool.jsonl sample.checked_out - live",
                f"{backend.connecting_max} at most, in connect, ping or reset: a server that does not answer",
            )
        )
    if backend.silent_s:
        found.append(
            Evidence(
                "longest time without an answer to the observer",
                round(backend.silent_s, 1),
                "s",
                "postgres.jsonl error",
                backend.last_error,
            )
        )
    if backend.creates:
        found.append(
            Evidence(
                "connections that took over 1 s to open",
                f"{backend.slow_creates} of {backend.creates}",
                source="pool.jsonl times.create_us",
            )
        )
    if backend.lock_waits_max:
        found.append(
            Evidence(
                "most backends waiting for a lock",
                backend.lock_waits_max,
                source="postgres.jsonl waits Lock:*",
                meaning=f"at least half of those at work for {backend.lock_waits_s:.1f} s",
            )
        )
    found.append(
        Evidence(
            "pools of other servers",
            "full as well" if backend.other_full else "never full",
            source="pool.jsonl sample",
            meaning="" if backend.other_full else "the trouble is this server's alone",
        )
    )
    return tuple(found)
