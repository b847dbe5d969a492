"""Follows waits for locks to the transactions that block them (pure).

PostgreSQL says which backend waits for which. A wait is followed to the backend at its end, which waits for
no lock: that transaction blocks the others. Backends are joined with check-outs by their pid, so a chain ends
at a line of the service, or in another program's session. If the end of a chain idles while the thread,
greenlet or task that opened it waits for a lock with another connection, and that wait leads back to it, the
service waits for itself. PostgreSQL's deadlock detector sees only half of such a cycle. Where all backends of
a chain wait, it leads in a circle: a deadlock, which the server ends after `deadlock_timeout`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rushhour.diagnosis.pressure import PressureSignals
from rushhour.metrics.pools import is_out
from rushhour.metrics.window import Window
from rushhour.rundir import History
from rushhour.rundir import facts as f

POOL_SEEN_WITHIN_S: Final = 1.0  # a sample of a pool that is older says nothing of a server's sample
IDLE: Final = "idle"  # in a transaction, or without one: an advisory lock may be the session's
MANY_ENDS: Final = 3  # transactions that differ: a migration has one
NOT_THE_SERVICE: Final = ("rushhour", "psql")  # what they call themselves, whichever user they are


@dataclass(frozen=True, slots=True)
class Chain:
    """A wait for a lock at a moment, followed to a backend that waits for no lock."""

    t_s: float
    wait: f.LockWait  # who waits
    last: f.LockWait  # the end of the chain, as the last one that waits for it says
    held: f.CheckOut | None  # the connection that waits; None: not seen
    blocker: f.CheckOut | None  # the connection at the end; None: not seen
    own: bool  # the end of the chain is a connection of the service
    leaked: bool  # whose unit of work has ended
    cycle: bool  # and whose owner waits for a lock itself, in the end for its own connection
    deadlock: bool = False  # it leads in a circle, so that its end waits as well
    through: f.LockWait | None = None  # a wait on the way, of another program: all behind it wait for that

    @property
    def alike(self) -> bool:
        """Whether the session at the end calls itself as the one that waits does."""
        name = self.last.blocker_name
        return name is not None and name == self.wait.name and not name.startswith(NOT_THE_SERVICE)


@dataclass(frozen=True, slots=True)
class LockSignals:
    """All waits for a lock on a server, in the samples that count."""

    server: str
    chains: tuple[Chain, ...]
    samples: int  # the server's, waits or not
    own_samples: int  # with a wait for a running transaction of the service
    spell_s: float  # the longest spell of those
    waiting_max: int  # backends that waited for those, at once
    share: float  # of the connections of the full pool, those that waited for one, or were waited for

    @property
    def own(self) -> tuple[Chain, ...]:
        """The chains that end at a running transaction of the service."""
        return tuple(chain for chain in self.chains if chain.own and not chain.leaked)

    @property
    def others(self) -> tuple[Chain, ...]:
        """The chains that end in another program's session."""
        return tuple(chain for chain in self.chains if not chain.own)

    @property
    def cycles(self) -> tuple[Chain, ...]:
        return tuple(chain for chain in self.own if chain.cycle)

    @property
    def deadlocks(self) -> tuple[Chain, ...]:
        return tuple(chain for chain in self.own if chain.deadlock)

    @property
    def whose(self) -> str:
        """The session that most other chains wait for: `psql of user app (pid 4711)`; empty without any."""
        ends = Counter(
            (other.last.blocked_by, other.last.blocker_name) for other in self.others if other.last.blocked_by
        )
        if not ends:
            return "a prepared transaction" if self.others else ""
        [((pid, name), _)] = ends.most_common(1)
        alike = any(other.alike for other in self.others if other.last.blocked_by == pid)
        if name == f.REPLAY:
            return f"a session of the primary, which this server replays (startup, pid {pid})"
        also = ", which calls itself as the service's own sessions do" if alike else ""
        return program(name, f"{pid}{also}")

    @property
    def alike(self) -> bool:
        """Whether the many ends and waiters look like sessions of the same program, from outside."""
        own = [chain for chain in self.chains if chain.alike]
        ends = {chain.last.blocked_by for chain in own}
        return len(own) * 2 > len(self.chains) and len(ends) >= MANY_ENDS

    @property
    def unknown(self) -> bool:
        """Whether most ends look like the waiters, so that their program cannot be named from outside."""
        return sum(chain.alike for chain in self.chains) * 2 > len(self.chains)


def program(name: str | None, pid: int | str) -> str:
    """Describe a backend by the name of its program, and its pid."""
    if name == f.REPLAY:
        return f"the replay of the primary's WAL (startup, pid {pid})"
    return f"{name or 'a session'} (pid {pid})"


def lock_signals(
    history: History, window: Window | None, pressure: PressureSignals | None
) -> tuple[LockSignals, ...]:
    """Compute the signals of each server with waits for a lock: while its pool was full, else under load."""
    if window is None:
        return ()
    found = []
    for server in sorted({sample.server for sample in history.servers if sample.lock_waits}):
        from_s, to_s = window.measured_from_s, window.load_ended_s
        full = pressure if pressure is not None and f.server_of(pressure.pool) == server else None
        if full is not None:
            from_s, to_s = full.from_s, min(full.to_s + 1, max(window.load_ended_s, full.to_s))
        samples = [
            sample
            for sample in history.servers
            if sample.server == server and sample.error is None and from_s <= sample.t_s <= to_s
        ]
        if any(sample.lock_waits for sample in samples):
            found.append(_of_server(history, server, samples, full))
    return tuple(found)


def _of_server(
    history: History, server: str, samples: Sequence[f.ServerSample], full: PressureSignals | None
) -> LockSignals:
    """Compute the signals of a server; the share is that of the full pool, or of all pools without one."""
    checkouts = [
        checkout
        for checkout in history.checkouts
        if f.server_of(checkout.pool) == server and checkout.server_pid
    ]
    pools = [
        sample
        for sample in history.pools
        if f.server_of(sample.pool) == server
        and (full is None or (sample.pid, sample.pool) == (full.pid, full.pool))
    ]
    beside = [one for one in checkouts if full is not None and (one.pid, one.pool) != (full.pid, full.pool)]
    known = {checkout.server_pid for checkout in checkouts}
    names = _names([wait for sample in samples for wait in sample.lock_waits], known)
    chains: list[Chain] = []
    own_at: list[float] = []
    spell_s, since_s, waiting_max, involved, out = 0.0, None, 0, 0, 0
    for sample in samples:
        here = list(_chains(sample, checkouts, known, names))
        chains += here
        own = [chain for chain in here if chain.own and not chain.leaked]
        at_locks = {chain.wait.pid for chain in own} | {chain.last.blocked_by for chain in own}
        waiting_max = max(waiting_max, len({chain.wait.pid for chain in own}))
        if own:
            own_at.append(sample.t_s)
            since_s = sample.t_s if since_s is None else since_s
            spell_s = max(spell_s, sample.t_s - since_s)
        else:
            since_s = None
        at_locks -= {one.server_pid for one in beside if is_out(one, sample.t_s)}
        out_now = _out_at(pools, sample.t_s)
        involved += min(len(at_locks), out_now) if pools else len(at_locks)
        out += out_now
    return LockSignals(
        server=server,
        chains=tuple(chains),
        samples=len(samples),
        own_samples=len(own_at),
        spell_s=spell_s,
        waiting_max=waiting_max,
        share=involved / out if out else 0.0,
    )


def _out_at(pools: Iterable[f.PoolSample], t_s: float) -> int:
    last: dict[tuple[int, str], f.PoolSample] = {}
    for sample in pools:
        if t_s - POOL_SEEN_WITHIN_S <= sample.t_s <= t_s:
            last[sample.pid, sample.pool] = sample
    return sum(sample.checked_out for sample in last.values())


def _chains(
    sample: f.ServerSample,
    checkouts: Sequence[f.CheckOut],
    known: set[int | None],
    names: set[str | None],
) -> Iterator[Chain]:
    """Yield each wait of the service with each end that it leads to; of all programs if `names` is empty."""
    waits: dict[int, list[f.LockWait]] = {}
    for wait in sample.lock_waits:
        waits.setdefault(wait.pid, []).append(wait)
    if not waits:
        return
    held = {checkout.server_pid: checkout for checkout in checkouts if is_out(checkout, sample.t_s)}
    ends = {pid: _ends_of(pid, waits) for pid in waits}
    idle_ends = {
        pid: tuple(last for last in found if last.blocked_by not in waits) for pid, found in ends.items()
    }
    cyclic = _cyclic(idle_ends, held)
    for pid, found in ends.items():
        name = waits[pid][0].name
        if name == f.REPLAY or (pid not in known and names and name not in names):
            continue  # or a migration: neither is a connection of the service, and counts by those behind it
        through = _through(pid, waits, known)
        for last in found:
            blocker = held.get(last.blocked_by)
            ended_s = blocker.request_ended_s if blocker is not None else None
            yield Chain(
                t_s=sample.t_s,
                wait=waits[pid][0],
                last=last,
                held=held.get(pid),
                blocker=blocker,
                own=last.blocked_by in known,
                leaked=ended_s is not None and ended_s <= sample.t_s,
                cycle=last.blocked_by in cyclic,
                deadlock=last.blocked_by in waits,
                through=through,
            )


def _names(waits: Sequence[f.LockWait], known: set[int | None]) -> set[str | None]:
    """Return what the service's sessions call themselves, by those whose check-outs are known."""
    waiting = {wait.name for wait in waits if wait.pid in known}
    return waiting | {wait.blocker_name for wait in waits if wait.blocked_by in known}


def _ends_of(pid: int, waits: Mapping[int, list[f.LockWait]]) -> tuple[f.LockWait, ...]:
    """Return the last waits of all chains from a backend; those that close it if all lead in a circle."""
    seen, ahead, found, closing = {pid}, list(waits[pid]), dict[int, f.LockWait](), dict[int, f.LockWait]()
    while ahead:
        wait = ahead.pop()
        if wait.blocked_by not in waits:
            found[wait.blocked_by] = wait
        elif wait.blocked_by not in seen:
            seen.add(wait.blocked_by)
            ahead += waits[wait.blocked_by]
        else:
            closing[wait.blocked_by] = wait
    return tuple((found or closing).values())


def _through(pid: int, waits: Mapping[int, list[f.LockWait]], known: set[int | None]) -> f.LockWait | None:
    """Return a wait on the way from a backend to the ends that is of another program, as of a migration."""
    leads = {waiting: {wait.blocked_by for wait in found} & set(waits) for waiting, found in waits.items()}
    ahead = (waits[other][0] for other in _reached(pid, leads))
    return next((wait for wait in ahead if wait.pid not in known and wait.name != waits[pid][0].name), None)


def _cyclic(ends: Mapping[int, tuple[f.LockWait, ...]], held: Mapping[int | None, f.CheckOut]) -> set[int]:
    """Return the ends whose owner waits with another connection for, in the end, the same end."""
    leads: dict[int, set[int]] = {}  # an end -> those that its owner waits for
    for end in {last.blocked_by for found in ends.values() for last in found}:
        blocker = held.get(end)
        if blocker is None or blocker.owner is None:
            continue
        leads[end] = {
            last.blocked_by
            for pid, found in ends.items()
            if (waiter := held.get(pid)) is not None
            and (waiter.pid, waiter.owner) == (blocker.pid, blocker.owner)
            for last in found
        }
    return {end for end in leads if end in _reached(end, leads)}


def _reached(start: int, leads: Mapping[int, set[int]]) -> set[int]:
    seen: set[int] = set()
    ahead = list(leads[start])
    while ahead:
        end = ahead.pop()
        if end not in seen:
            seen.add(end)
            ahead += leads.get(end, ())
    return seen
