"""Detects the moments of a run from pool facts, while the run goes on (pure)."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from rushhour.rundir import facts as f

# A check-out is leaked if it is still out this long after its request ended. A proper release follows the
# end of the request within milliseconds, so a second excludes releases that are merely slow. It is also short
# enough to report a leak before the first waiter has timed out.
LEAKED_AFTER_S: Final = 1.0
# A pool without leaks is saturated if its queue has lasted this long.
SATURATED_AFTER_S: Final = 1.0
_GAP_S: Final = 1.0  # a longer gap between two samples says nothing about the queue in between
_GONE_S: Final = 60.0  # a process without samples for this long is forgotten when another starts

Pool = tuple[int, str]  # pid, name


@dataclass(slots=True)
class _Process:
    """The state of a process of the service."""

    clock_s: float = 0.0  # time of its newest sample; all earlier facts have been written
    suspects: dict[int, f.CheckOut] = field(
        default_factory=dict
    )  # their request ended, and they have not come back


class Moments:
    """Turns ordered pool facts into events, each emitted once.

    `pool_full` and `saturation_detected` are emitted once per process and pool, `first_timeout` once,
    `leak_detected` once per pool and call site. Time is the agent's clock, not the reader's, so that a late
    reader does not report a leak for a connection that has already come back.
    """

    def __init__(self) -> None:
        self._processes: dict[int, _Process] = {}
        self._queue_since: dict[Pool, tuple[float, float]] = {}  # (since when, last seen)
        self._leaked: dict[Pool, int] = {}  # from the newest sample
        self._said: set[tuple[object, ...]] = set()

    def feed(self, facts: Iterable[f.PoolFact]) -> list[f.Event]:
        """Return the events that these facts complete."""
        found: list[f.Event] = []
        for fact in facts:
            if isinstance(fact, f.PoolSample):
                found += self._sample(fact)
            elif isinstance(fact, f.CheckOut):
                self._checkout(fact)
            elif isinstance(fact, f.PoolTimeout):
                found += self._once(
                    (f.FIRST_TIMEOUT,),
                    f.Event(
                        fact.t_s,
                        f.FIRST_TIMEOUT,
                        {"pool": fact.pool, "pid": fact.pid, "endpoint": fact.endpoint},
                    ),
                )
            elif isinstance(fact, f.AgentProcess):
                self._forget_gone(fact.t_s)
        return found

    def _sample(self, sample: f.PoolSample) -> list[f.Event]:
        process = self._processes.setdefault(sample.pid, _Process())
        process.clock_s = max(process.clock_s, sample.t_s)
        self._leaked[sample.pid, sample.pool] = sample.leaked
        return [*self._full(sample), *self._saturated(sample), *self._leaks(process)]

    def _full(self, sample: f.PoolSample) -> list[f.Event]:
        if sample.capacity is None or sample.checked_out < sample.capacity:
            return []
        detail = {
            "pool": sample.pool,
            "pid": sample.pid,
            "checked_out": sample.checked_out,
            "capacity": sample.capacity,
            "leaked": sample.leaked,
        }
        return self._once((f.POOL_FULL, sample.pid, sample.pool), f.Event(sample.t_s, f.POOL_FULL, detail))

    def _saturated(self, sample: f.PoolSample) -> list[f.Event]:
        pool = (sample.pid, sample.pool)
        if sample.waiting == 0 or sample.leaked > 0:
            self._queue_since.pop(pool, None)
            return []
        since_s, last_s = self._queue_since.get(pool, (sample.t_s, sample.t_s))
        if sample.t_s - last_s > _GAP_S:
            since_s = sample.t_s
        self._queue_since[pool] = (since_s, sample.t_s)
        if sample.t_s - since_s < SATURATED_AFTER_S:
            return []
        detail = {
            "pool": sample.pool,
            "pid": sample.pid,
            "waiting": sample.waiting,
            "checked_out": sample.checked_out,
            "capacity": sample.capacity,
            "queued_s": round(sample.t_s - since_s, 3),
        }
        return self._once((f.SATURATION_DETECTED, *pool), f.Event(sample.t_s, f.SATURATION_DETECTED, detail))

    def _checkout(self, checkout: f.CheckOut) -> None:
        suspects = self._processes.setdefault(checkout.pid, _Process(clock_s=checkout.t_s)).suspects
        if checkout.returned_s is not None or checkout.request_ended_s is None:
            suspects.pop(checkout.id, None)
        elif (f.LEAK_DETECTED, checkout.pool, checkout.site) not in self._said:
            suspects[checkout.id] = checkout

    def _leaks(self, process: _Process) -> list[f.Event]:
        found: list[f.Event] = []
        for checkout in list(process.suspects.values()):
            ended_s = checkout.request_ended_s
            if ended_s is None or process.clock_s - ended_s < LEAKED_AFTER_S:
                continue
            del process.suspects[checkout.id]
            site = checkout.site
            detail = {
                "pool": checkout.pool,
                "pid": checkout.pid,
                "site": f"{site.file}:{site.line} {site.function}",
                "endpoint": checkout.endpoint,
                "leaked": self._leaked.get((checkout.pid, checkout.pool), 0),
                "out_after_request_s": round(process.clock_s - ended_s, 3),
            }
            found += self._once(
                (f.LEAK_DETECTED, checkout.pool, site), f.Event(process.clock_s, f.LEAK_DETECTED, detail)
            )
        return found

    def _once(self, key: tuple[object, ...], event: f.Event) -> list[f.Event]:
        if key in self._said:
            return []
        self._said.add(key)
        return [event]

    def _forget_gone(self, now_s: float) -> None:
        """Forget ended processes, so that memory stays bounded if a service keeps restarting workers."""
        gone = {pid for pid, process in self._processes.items() if now_s - process.clock_s > _GONE_S}
        for pid in gone:
            del self._processes[pid]
        self._queue_since = {pool: seen for pool, seen in self._queue_since.items() if pool[0] not in gone}
        self._leaked = {pool: leaked for pool, leaked in self._leaked.items() if pool[0] not in gone}
        self._said = {key for key in self._said if len(key) < 3 or key[1] not in gone}
