"""Folds what the agents write into findings: leaks, long holds, time-outs, and what is seen at all (pure)."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from rushhour.diagnosis.units import unit_of
from rushhour.metrics.pools import has_outlived
from rushhour.rundir import facts as f

PROCESS_ENDED = "process-ended"


@dataclass(frozen=True, slots=True)
class Place:
    """Which line takes a connection of which pool, and for which endpoint."""

    pool: str
    site: f.CallSite
    endpoint: str | None  # None: outside a request, or no framework tells


@dataclass(slots=True)
class Held:
    """What is known of the notable check-outs of one place; times in seconds."""

    place: Place
    stack: tuple[str, ...] = ()  # application frames of the first one, innermost first
    leaked: int = 0  # outlived their request, or never came back, or came back by garbage collection alone
    outlived: int = 0  # of these, those whose request, or other unit of work, was seen to end
    units: Counter[str] = field(default_factory=Counter)  # of these, by kind, see diagnosis/units.py
    long: int = 0  # held longer than asked, within their request or outside one
    still_out: int = 0
    held_s: float = 0.0  # connection-seconds of all of these
    longest_s: float = 0.0
    returned_by: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Waits:
    """Time-outs of one pool."""

    count: int = 0
    longest_s: float = 0.0
    sites: Counter[tuple[f.CallSite, str | None]] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class PoolSeen:
    """One pool over all processes of the service."""

    pool: str
    kind: str
    size: int
    max_overflow: int
    timeout_s: float
    processes: int
    checked_out_max: int  # of one process
    waiting_max: int
    timeouts: int
    checkouts: int

    @property
    def capacity(self) -> int | None:
        """Connections that one process may have out; None without a limit."""
        return None if self.max_overflow < 0 else self.size + self.max_overflow


class Findings:
    """Feed it facts in the order in which they come; ask at any time.

    `long_s` is how long a check-out may last before it is a long hold.
    """

    def __init__(self, long_s: float) -> None:
        self.long_s = long_s
        self.processes: dict[int, f.AgentProcess] = {}
        self.faults: list[f.AgentFault] = []
        self.timeouts: dict[str, Waits] = {}
        self._pools: dict[tuple[int, str], f.PoolSample] = {}
        self._most: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._outs: dict[tuple[int, int], f.CheckOut] = {}
        self._newest_s: dict[int, float] = {}

    def feed(self, facts: Iterable[f.PoolFact]) -> None:
        for fact in facts:
            self._newest_s[fact.pid] = max(fact.t_s, self._newest_s.get(fact.pid, fact.t_s))
            match fact:
                case f.AgentProcess():
                    self.processes[fact.pid] = fact
                case f.PoolSample():
                    self._pools[fact.pid, fact.pool] = fact
                    self._most[fact.pool] = max(self._most[fact.pool], fact.checked_out)
                    self._waiting[fact.pool] = max(self._waiting[fact.pool], fact.waiting)
                case f.CheckOut():
                    self._outs[fact.pid, fact.id] = fact
                case f.PoolTimeout():
                    waits = self.timeouts.setdefault(fact.pool, Waits())
                    waits.count += 1
                    waits.longest_s = max(waits.longest_s, fact.waited_s)
                    waits.sites[fact.site, fact.endpoint] += 1
                case f.AgentFault():
                    self.faults.append(fact)
                case _:
                    pass  # totals and histograms: for the diagnosis of a run

    def command_ended(self) -> None:
        """Nothing comes back any more: what is still out was out when its process was killed."""
        for key, out in self._outs.items():
            if out.returned_s is None:
                at_s = max(out.taken_s, self._newest_s[out.pid])
                self._outs[key] = replace(out, t_s=at_s, returned_s=at_s, returned_by=PROCESS_ENDED)

    def pools(self) -> list[PoolSeen]:
        """Every pool that was seen, by name."""
        by_name: dict[str, list[f.PoolSample]] = {}
        for sample in self._pools.values():
            by_name.setdefault(sample.pool, []).append(sample)
        return [self._pool(name, samples) for name, samples in sorted(by_name.items())]

    def _pool(self, name: str, samples: list[f.PoolSample]) -> PoolSeen:
        newest = max(samples, key=lambda one: one.t_s)
        return PoolSeen(
            pool=name,
            kind=newest.kind,
            size=newest.size,
            max_overflow=newest.max_overflow,
            timeout_s=newest.timeout_s,
            processes=len(samples),
            checked_out_max=self._most[name],
            waiting_max=self._waiting[name],
            timeouts=sum(one.timeouts for one in samples),
            checkouts=sum(one.checkouts for one in samples),
        )

    def held(self) -> list[Held]:
        """Places with leaks or long holds, by connection-seconds, the worst first."""
        found: dict[Place, Held] = {}
        for out in self._outs.values():
            last_s = out.returned_s if out.returned_s is not None else self._newest_s[out.pid]
            held_s = max(0.0, last_s - out.taken_s)
            leaked = self.has_leaked(out, held_s)
            if not leaked and held_s < self.long_s:
                continue
            place = Place(out.pool, out.site, out.endpoint)
            one = found.setdefault(place, Held(place, out.stack))
            one.leaked += leaked
            if has_outlived(out):
                one.outlived += 1
                one.units[unit_of(out)] += 1
            one.long += not leaked
            one.still_out += out.returned_s is None
            one.held_s += held_s
            one.longest_s = max(one.longest_s, held_s)
            if out.returned_by is not None:
                one.returned_by[out.returned_by] += 1
        return sorted(found.values(), key=lambda one: (-one.leaked, -one.held_s))

    def has_leaked(self, out: f.CheckOut, held_s: float) -> bool:
        """It outlived its request; or nobody closed it, whatever ended it in the end.

        What was out for less than a long hold when its process ended may have been at work.
        """
        if has_outlived(out) or out.returned_by == "gc":
            return True
        return out.endpoint is None and out.returned_by == PROCESS_ENDED and held_s >= self.long_s

    @property
    def leaks(self) -> int:
        """How many check-outs have leaked."""
        return sum(one.leaked for one in self.held())

    @property
    def out_at_end(self) -> int:
        """How many check-outs their process took along when it ended, leaked or not."""
        return sum(out.returned_by == PROCESS_ENDED for out in self._outs.values())

    def left_at_exit(self) -> dict[Place, int]:
        """Where those were taken that were out, and had not leaked, when their process ended."""
        return Counter(
            Place(out.pool, out.site, out.endpoint)
            for out in self._outs.values()
            if out.returned_by == PROCESS_ENDED
            and out.returned_s is not None
            and out.returned_s - out.taken_s < self.long_s
            and not self.has_leaked(out, out.returned_s - out.taken_s)
        )

    @property
    def checkouts(self) -> int:
        """How many check-outs were seen, over all pools and processes."""
        return sum(sample.checkouts for sample in self._pools.values()) or len(self._outs)

    def libraries(self) -> Iterator[tuple[str, str]]:
        """Versions seen, each once: ("SQLAlchemy", "2.1.9")."""
        seen: dict[tuple[str, str], None] = {}
        for process in self.processes.values():
            for name, version in (
                ("Python", process.python),
                ("SQLAlchemy", process.sqlalchemy),
                ("Flask", process.flask),
                ("Starlette", process.starlette),
            ):
                if version is not None:
                    seen[name, version] = None
        yield from seen
