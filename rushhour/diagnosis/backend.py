"""Computes signals of servers that are slow or do not answer (pure)."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from rushhour.diagnosis.findings import Evidence
from rushhour.diagnosis.standstills import NONE, Standstills
from rushhour.diagnosis.unanswered import unanswered
from rushhour.metrics.window import Window
from rushhour.rundir import History
from rushhour.rundir import facts as f

SLOW_CREATE_US: Final = 1_000_000
STUCK_S: Final = 3.0  # a spell from here on is no hiccup
SAMPLED_EVERY_S: Final = 1.0
WRITTEN_EVERY_S: Final = 1.0  # histograms of times
LOCK: Final = "Lock:"  # waits, as pg_stat_activity names them
STANDBY: Final = "IPC:SyncRep"
CONFLICT: Final = "recovery_conflict"  # as in observe/logs.py
_GAP_S: Final = 3.0  # a spell is not known to have gone on over a longer gap between two samples


@dataclass(frozen=True, slots=True)
class BackendSignals:
    """The signals of a server and of the pools of its name; `*_s` are the longest spells, in seconds."""

    server: str
    connecting_s: float  # the pool of a process counted at least two connections that nobody held
    connecting_max: int
    creates: int
    slow_creates: int  # opening took over a second
    silent_s: float  # the observer got no answer
    last_error: str
    unanswered_s: float  # at least two requests waited for it, whose backends waited for them
    unanswered_max: int
    lost: int  # errors in the service's log that say that a server went away, without recovery conflicts
    dragged: Mapping[
        str, int
    ]  # pool of another server -> connections held by requests that waited for this one
    lock_waits_max: int  # backends that waited for a lock at once
    lock_waits_s: float  # at least half of the backends at work waited for one
    standby_max: int  # commits that waited for a synchronous standby at once
    standby_s: float  # at least half of the backends at work did
    full: bool  # its pool was
    other_full: bool  # the pool of another server was
    slow_openers: frozenset[int]  # processes with a long spell of that; without any, those that opened slowly
    # The same, of the time in which the service's processes ran: standing still makes any server look slow.
    connecting_ran_s: float
    slow_creates_ran: int
    unanswered_ran_s: float
    unanswered_of: frozenset[int]  # the processes whose requests were not answered
    conflicts: Mapping[str, int]  # kind -> statements and sessions that it ended, to replay the primary's WAL
    replay_waited_s: float  # that did not go on, because of a read
    replay_waited_for: frozenset[str]  # as the server names it: "IPC:RecoveryConflictSnapshot"


def backend_signals(
    history: History, window: Window | None, stood: Mapping[int, Standstills]
) -> tuple[BackendSignals, ...]:
    """Compute the signals of each server that was observed or has a pool."""
    if window is None:
        return ()
    observed = defaultdict(list)
    for server in history.servers:
        if window.load_started_s <= server.t_s <= window.end_s:
            observed[server.server].append(server)
    conflicts = {name: _conflicts(samples) for name, samples in observed.items()}
    # Whose idle session a replica ends may read no more than that the server closed the connection.
    ended = sum(sum(kinds.values()) for kinds in conflicts.values()) - _logged(history, window, CONFLICT)
    lost = max(0, _logged(history, window, "backend_lost") - max(0, ended))
    pools = {f.server_of(sample.pool) for sample in history.pools}
    names = sorted({sample.server for sample in history.servers} | pools)
    full = {
        f.server_of(sample.pool)
        for sample in history.pools
        if sample.capacity and sample.checked_out >= sample.capacity
    }
    return tuple(
        _of_server(
            history,
            window,
            name,
            observed[name],
            full=full,
            lost=lost,
            stood=stood,
            conflicts=conflicts.get(name, {}),
        )
        for name in names
    )


def _logged(history: History, window: Window, kind: str) -> int:
    """Count the errors of a kind (of KINDS in observe/logs.py) in the service's log since the load began."""
    return sum(
        int(event.detail.get("kinds", {}).get(kind, 0))
        for event in history.events
        if event.name == f.LOG_ERRORS and event.t_s >= window.load_started_s
    )


def _conflicts(samples: Sequence[f.ServerSample]) -> dict[str, int]:
    """Count the service's recovery conflicts from the first sample to the last, or at least those.

    Replay ends the sampler's own statements, too. Of which kind such a conflict was is not known, so each
    kind has as many fewer.
    """
    found: Counter[str] = Counter()
    own = sum(f.CONFLICT_SAYS in (sample.error or "") for sample in samples)
    answered = [sample.conflicts_by_kind for sample in samples if sample.error is None]
    for before, after in pairwise(answered):
        for kind, count in after.items():
            found[kind] += max(0, count - before.get(kind, 0))
    return {kind: count - own for kind, count in sorted(found.items()) if count > own}


def _of_server(
    history: History,
    window: Window,
    name: str,
    servers: list[f.ServerSample],
    *,
    full: set[str],
    lost: int,
    stood: Mapping[int, Standstills],
    conflicts: Mapping[str, int],
) -> BackendSignals:
    samples = [
        sample for sample in history.pools if f.server_of(sample.pool) == name and sample.t_s <= window.end_s
    ]
    creates: Counter[int] = Counter()
    slow: set[int] = set()
    slow_ran = 0
    for times in history.times:
        if f.server_of(times.pool) == name:
            creates.update(times.create_us)
            slow |= {times.pid for bound in times.create_us if _is_slow(bound)}
            slow_ran += _slow_while_it_ran(times, stood.get(times.pid, NONE))
    connecting_s: dict[int, float] = {}
    connecting_ran_s = 0.0
    for pid, pool in {(sample.pid, sample.pool) for sample in samples}:
        marks = [
            (sample.t_s, sample.checked_out - sample.live >= 2)
            for sample in samples
            if (sample.pid, sample.pool) == (pid, pool)
        ]
        connecting_s[pid] = max(connecting_s.get(pid, 0.0), _longest_s(marks))
        connecting_ran_s = max(connecting_ran_s, _longest_s(marks, stood.get(pid, NONE).ran_s))
    errors = [sample.error for sample in servers if sample.error]
    lost_answers = unanswered(history, name, servers)
    waited = frozenset[int]().union(*(one.pids for one in lost_answers))
    return BackendSignals(
        server=name,
        connecting_s=max(connecting_s.values(), default=0.0),
        connecting_max=max((sample.checked_out - sample.live for sample in samples), default=0),
        creates=creates.total(),
        slow_creates=sum(count for bound, count in creates.items() if _is_slow(bound)),
        silent_s=_silent_s(servers),
        last_error=errors[-1] if errors else "",
        unanswered_s=_longest_s((one.t_s, one.count >= 2) for one in lost_answers),
        unanswered_max=max((one.count for one in lost_answers), default=0),
        lost=lost,
        dragged=_dragged(history, name),
        lock_waits_max=max((_waits(sample, LOCK) for sample in servers), default=0),
        lock_waits_s=_longest_s((sample.t_s, _mostly_wait(sample, LOCK)) for sample in servers),
        standby_max=max((_waits(sample, STANDBY) for sample in servers), default=0),
        standby_s=_longest_s((sample.t_s, _mostly_wait(sample, STANDBY)) for sample in servers),
        full=name in full,
        other_full=bool(full - {name}),
        slow_openers=frozenset(pid for pid, s in connecting_s.items() if s >= STUCK_S) or frozenset(slow),
        connecting_ran_s=connecting_ran_s,
        slow_creates_ran=slow_ran,
        unanswered_of=waited,
        unanswered_ran_s=_longest_s(
            ((one.t_s, one.count >= 2) for one in lost_answers),
            lambda from_s, to_s: max(stood.get(pid, NONE).ran_s(from_s, to_s) for pid in waited),
        ),
        conflicts=conflicts,
        replay_waited_s=_longest_s((sample.t_s, sample.replay_wait is not None) for sample in servers),
        replay_waited_for=frozenset(sample.replay_wait for sample in servers if sample.replay_wait),
    )


def _is_slow(bound_us: int) -> bool:
    """Return whether all of the times in a bucket with this upper bound are slow."""
    return bound_us > 2 * SLOW_CREATE_US


def _slow_while_it_ran(times: f.PoolTimes, stood: Standstills) -> int:
    """Count connections that were slow to open, while the process that opened them ran."""
    return sum(
        count
        for bound, count in times.create_us.items()
        if _is_slow(bound) and not stood.stood(times.t_s - bound / 1_000_000 - WRITTEN_EVERY_S, times.t_s)
    )


def _dragged(history: History, server: str) -> dict[str, int]:
    """Count the connections of other pools whose requests waited for this server or its pool."""
    there = defaultdict(list)
    for out in history.checkouts:
        if f.server_of(out.pool) == server:
            there[_holder(out)].append(out)
    found: Counter[str] = Counter()
    for out in history.checkouts:
        if f.server_of(out.pool) != server:
            until_s = out.returned_s if out.returned_s is not None else float("inf")
            found[out.pool] += any(
                out.taken_s <= other.taken_s < until_s for other in there[_holder(out)]
            ) or (out.in_queue > out.in_driver)
    return {pool: count for pool, count in found.items() if count}


def _holder(out: f.CheckOut) -> tuple[int, int | str]:
    """Return who took a connection; under asyncio and gevent all owners share a thread."""
    return out.pid, out.thread if out.owner is None else out.owner


def _silent_s(samples: list[f.ServerSample]) -> float:
    """Return the longest time without an answer: around failed tries, less the usual pause.

    No other try is made while a try waits, so the time between failed tries alone would be too short.
    """
    longest_s, since_s, failed = 0.0, None, False
    for sample in samples:
        since_s = sample.t_s if since_s is None else since_s
        if sample.error is not None:
            failed = True
            longest_s = max(longest_s, sample.t_s - since_s)
            continue
        if failed:
            longest_s = max(longest_s, sample.t_s - since_s - SAMPLED_EVERY_S)
        since_s, failed = sample.t_s, False
    return longest_s


def _longest_s(
    marks: Iterable[tuple[float, bool]],
    length_s: Callable[[float, float], float] = lambda from_s, to_s: to_s - from_s,
) -> float:
    """Return the longest time over which every sample was marked."""
    longest_s, since_s, last_s = 0.0, None, None
    for t_s, marked in marks:
        if not marked or (last_s is not None and t_s - last_s > _GAP_S):
            since_s = None
        if marked:
            since_s = t_s if since_s is None else since_s
            longest_s = max(longest_s, length_s(since_s, t_s))
        last_s = t_s
    return longest_s


def _waits(sample: f.ServerSample, what: str) -> int:
    return sum(count for wait, count in sample.waits.items() if wait.startswith(what))


def _mostly_wait(sample: f.ServerSample, what: str) -> bool:
    waiting = _waits(sample, what)
    return waiting >= 2 and waiting * 2 >= sample.states.get("active", 0)


def backend_evidence(backend: BackendSignals) -> tuple[Evidence, ...]:
    """Return the evidence for a slow or silent server."""
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
    if backend.unanswered_s:
        found.append(
            Evidence(
                "longest time with requests that wait for the server while it waits for them",
                round(backend.unanswered_s, 1),
                "s",
                "pool.jsonl checkout.in_driver, server_pid; postgres.jsonl backends",
                f"{backend.unanswered_max} at most: what one side sends does not reach the other",
            )
        )
    if backend.lost:
        found.append(
            Evidence(
                "errors in the service's log that say that a server went away",
                backend.lost,
                source="events.jsonl log_errors.kinds.backend_lost",
            )
        )
    for pool, count in backend.dragged.items():
        found.append(
            Evidence(
                f"connections of pool {pool} held by requests that waited for the {backend.server}",
                count,
                source="pool.jsonl checkout.thread, taken_s, in_queue",
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
    if backend.standby_max:
        found.append(
            Evidence(
                "most commits waiting for a synchronous standby",
                backend.standby_max,
                source="postgres.jsonl waits IPC:SyncRep",
                meaning=f"at least half of those at work for {backend.standby_s:.1f} s",
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
