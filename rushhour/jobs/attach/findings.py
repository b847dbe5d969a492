"""Folds the agents' facts into a history, and judges it by the same rules as a run (pure)."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from rushhour.diagnosis.sites import HeldCheckout, held_checkouts
from rushhour.diagnosis.units import unit_of
from rushhour.metrics.pools import PoolUse, fell_silent, pool_uses
from rushhour.metrics.window import Window
from rushhour.rundir import History
from rushhour.rundir import facts as f


@dataclass(frozen=True, slots=True)
class Place:
    """The line that takes connections of a pool, and the endpoint it takes them for."""

    pool: str
    site: f.CallSite
    endpoint: str | None  # None: outside of a request, or in an unknown framework


@dataclass(slots=True)
class Held:
    """The leaks and long holds of a place; times in seconds."""

    place: Place
    stack: tuple[str, ...] = ()  # application frames of the first one, innermost first
    leaked: int = 0  # outlived their request, never came back, or came back by garbage collection alone
    outlived: int = 0  # of these, those whose request or other unit of work was seen to end
    units: Counter[str] = field(default_factory=Counter)  # of these, by kind, see diagnosis/units.py
    long: int = 0  # long holds that did not leak
    still_out: int = 0
    held_s: float = 0.0  # connection-seconds of all of these
    longest_s: float = 0.0
    returned_by: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Waits:
    """Time-outs of a pool."""

    count: int = 0
    longest_s: float = 0.0
    sites: Counter[tuple[f.CallSite, str | None]] = field(default_factory=Counter)


class PoolPeaks:
    """Keeps the samples of a pool in a process that its newest and highest values come from.

    A service may run for days, and writes ten samples a second.
    """

    def __init__(self, first: f.PoolSample) -> None:
        self._newest = self._most_out = self._most_waiting = first

    def add(self, sample: f.PoolSample) -> None:
        self._newest = sample
        if sample.checked_out > self._most_out.checked_out:
            self._most_out = sample
        if sample.waiting > self._most_waiting.waiting:
            self._most_waiting = sample

    def samples(self) -> list[f.PoolSample]:
        """Return the kept samples in the order of time, each once."""
        kept = {sample.t_s: sample for sample in (self._most_out, self._most_waiting, self._newest)}
        return [kept[t_s] for t_s in sorted(kept)]


class Findings:
    """Takes facts in the order in which they come; can be asked at any time.

    `long_s` is how long a check-out may last before it is a long hold.
    """

    def __init__(self, long_s: float) -> None:
        self.long_s = long_s
        self.processes: dict[int, f.AgentProcess] = {}
        self.faults: list[f.AgentFault] = []
        self.timeouts: dict[str, Waits] = {}
        self._pools: dict[tuple[int, str], PoolPeaks] = {}
        self._checkouts: dict[tuple[int, int], f.CheckOut] = {}
        self._newest_s: dict[int, float] = {}

    def feed(self, facts: Iterable[f.PoolFact]) -> None:
        for fact in facts:
            self._newest_s[fact.pid] = max(_latest_s(fact), self._newest_s.get(fact.pid, 0.0))
            match fact:
                case f.AgentProcess():
                    self.processes[fact.pid] = fact
                case f.PoolSample():
                    self._pools.setdefault((fact.pid, fact.pool), PoolPeaks(fact)).add(fact)
                case f.CheckOut():
                    self._checkouts[fact.pid, fact.id] = fact
                case f.PoolTimeout():
                    waits = self.timeouts.setdefault(fact.pool, Waits())
                    waits.count += 1
                    waits.longest_s = max(waits.longest_s, fact.waited_s)
                    waits.sites[fact.site, fact.endpoint] += 1
                case f.AgentFault():
                    self.faults.append(fact)
                case _:
                    pass  # totals and histograms, which only the diagnosis of a run uses

    def command_ended(self) -> None:
        """Close the check-outs that are still out: their process was killed, and nothing comes back."""
        for key, out in self._checkouts.items():
            if out.returned_s is None:
                at_s = self._newest_s[out.pid]
                self._checkouts[key] = replace(out, t_s=at_s, returned_s=at_s, returned_by=f.PROCESS_ENDED)

    def history(self) -> History:
        """Return what was seen so far as the history of a run without a load."""
        return History(
            environment=None,
            processes=tuple(self.processes.values()),
            pools=tuple(sample for peaks in self._pools.values() for sample in peaks.samples()),
            checkouts=tuple(self._checkouts.values()),
            agent_faults=tuple(self.faults),
        )

    def window(self) -> Window:
        """Return the time in which anything was seen: there is no warm-up, and no load that ends."""
        end_s = max(self._newest_s.values(), default=0.0)
        return Window(0.0, 0.0, end_s, end_s)

    def pools(self) -> tuple[PoolUse, ...]:
        """Return every pool that was seen, by name."""
        return pool_uses(self.history(), self.window())

    def held(self) -> list[Held]:
        """Return places with leaks or long holds, by connection-seconds, the worst first."""
        found: dict[Place, Held] = {}
        for held in held_checkouts(self.history(), self.window()):
            leaked = self._has_leaked(held)
            if not leaked and held.held_s < self.long_s:
                continue
            place = found.setdefault(_place(held.out), Held(_place(held.out), held.out.stack))
            place.leaked += leaked
            if held.outlived:
                place.outlived += 1
                place.units[unit_of(held.out)] += 1
            place.long += not leaked
            place.still_out += held.still_out
            place.held_s += held.held_s
            place.longest_s = max(place.longest_s, held.held_s)
            if held.out.returned_by is not None:
                place.returned_by[held.out.returned_by] += 1
        return sorted(found.values(), key=lambda place: (-place.leaked, -place.held_s))

    def _has_leaked(self, held: HeldCheckout) -> bool:
        """Return whether the check-out outlived its unit of work, or was never closed by anyone.

        The second half is needed because a command is also judged outside of requests, after it has ended.
        What was out for less than a long hold when its process ended may have been at work, and what a worker
        took as it started is its own until it ends.
        """
        if held.outlived:
            return True
        if held.out.own:
            return False
        if held.out.returned_by == "gc":
            return True
        return held.out.endpoint is None and _ended_with_process(held) and held.held_s >= self.long_s

    @property
    def leaks(self) -> int:
        """How many check-outs have leaked."""
        return sum(place.leaked for place in self.held())

    @property
    def out_at_end(self) -> int:
        """How many check-outs were out when their process ended, leaked or not."""
        return sum(out.returned_by == f.PROCESS_ENDED for out in self._checkouts.values())

    @property
    def cut_off(self) -> int:
        """How many check-outs were out when their process ended and may have been at work.

        Not those that a worker took as it started, which are its own until it ends.
        """
        return sum(
            _ended_with_process(held) and not held.out.own and not self._has_leaked(held)
            for held in held_checkouts(self.history(), self.window())
        )

    @property
    def killed(self) -> int:
        """How many processes that took connections were killed; of use once the command has ended."""
        return len(fell_silent(self.history(), math.inf))

    def left_at_exit(self) -> dict[Place, int]:
        """Count by place the short check-outs that were out, and had not leaked, when their process ended."""
        return Counter(
            _place(held.out)
            for held in held_checkouts(self.history(), self.window())
            if _ended_with_process(held) and held.held_s < self.long_s and not self._has_leaked(held)
        )

    @property
    def checkouts(self) -> int:
        """How many check-outs were seen, over all pools and processes."""
        return sum(pool.checkouts for pool in self.pools()) or len(self._checkouts)

    def libraries(self) -> Iterator[tuple[str, str]]:
        """Yield the versions that were seen, each once: ("SQLAlchemy", "2.1.9")."""
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


def _latest_s(fact: f.PoolFact) -> float:
    """Return the newest time in a fact: a check-out may be newer than the sample that reports it."""
    if isinstance(fact, f.CheckOut):
        return max(fact.t_s, fact.taken_s, fact.request_ended_s or 0.0)
    return fact.t_s


def _place(out: f.CheckOut) -> Place:
    return Place(out.pool, out.site, out.endpoint)


def _ended_with_process(held: HeldCheckout) -> bool:
    return held.out.returned_by == f.PROCESS_ENDED
