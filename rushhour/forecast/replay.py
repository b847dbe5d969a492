"""Replays a time of production, request by request: threads, pools, leaks and shared CPUs (pure).

A discrete-event simulation. Requests arrive, wait for a thread of their process, and use it until they end:
they compute in the process, check connections out of its pools, and keep servers busy. The CPU of a process
and of a server is shared evenly by all that want it at that moment (processor sharing). A process starts a
thread only when none is idle, like Python's ThreadPoolExecutor, and idle threads work in turn.
"""

import heapq
import math
from collections import deque
from collections.abc import Iterable, Mapping
from itertools import count
from random import Random
from typing import Final, Literal

from rushhour.forecast.replayed import Arrival, PoolRules, PoolSeen, Seen, Site, Stage

MOST_WAITS: Final = 20_000  # of a pool that a replay remembers, for percentiles
SAMPLED_S: Final = 0.1  # the most in use is of samples, like the agent's
_EPSILON: Final = 1e-9  # seconds: times of a long day are not exact to less


class _Shared:
    """A CPU that is shared evenly: `cores` for all, and at most one for each job."""

    __slots__ = ("at_s", "cores", "jobs", "speed", "version", "virtual_s")

    def __init__(self, cores: float) -> None:
        self.cores = cores
        self.jobs: list[tuple[float, int, _Request]] = []
        self.virtual_s = 0.0
        self.at_s = 0.0
        self.version = 0
        self.speed = 1.0

    def _rate(self) -> float:
        return self.speed * min(1.0, self.cores / len(self.jobs))

    def advance(self, now_s: float) -> None:
        if self.jobs:
            self.virtual_s += (now_s - self.at_s) * self._rate()
        self.at_s = now_s

    def due_s(self) -> float:
        return self.at_s + max(0.0, self.jobs[0][0] - self.virtual_s) / self._rate()


class _Thread:
    __slots__ = ("kept",)

    def __init__(self) -> None:
        self.kept: set[str] = set()


class _Pool:
    __slots__ = ("capacity", "full_since_s", "in_use", "lost", "queue", "seen", "standing", "timeout_s")

    def __init__(self, rules: PoolRules, seen: PoolSeen) -> None:
        self.capacity = math.inf if rules.capacity is None else rules.capacity
        self.timeout_s = rules.timeout_s
        self.in_use = 0
        self.full_since_s: float | None = None
        self.lost = 0
        self.standing = 0  # out for ever, and by no leak
        self.queue: deque[tuple[_Request, float, int]] = deque()
        self.seen = seen

    def exhausted(self) -> None:
        """Note that a check-out timed out, or that all connections are lost."""
        if self.seen.exhausted_s is None:
            self.seen.exhausted_s = self.full_since_s


class _Process:
    __slots__ = ("backlog", "busy", "cpu", "idle", "pools", "started")

    def __init__(self, site: Site, seen: Mapping[str, PoolSeen]) -> None:
        self.cpu = _Shared(site.cores)
        self.pools = {name: _Pool(rules, seen[name]) for name, rules in site.pools.items()}
        self.idle: deque[_Thread] = deque()
        self.backlog: deque[_Request] = deque()
        self.started = 0
        self.busy = 0
        if site.eager and site.threads is not None:
            self.idle.extend(_Thread() for _ in range(site.threads))
            self.started = site.threads


class _Request:
    __slots__ = ("aside", "asked", "forgot", "held", "left", "process", "stage", "stages", "thread")

    def __init__(self, process: _Process, stages: tuple[Stage, ...]) -> None:
        self.process = process
        self.stages = stages
        self.aside = bool(stages) and stages[0].aside is not None
        self.stage = 0
        self.asked = 0  # pools of the current stage that it has, or kept already
        self.left: list[tuple[str, str, float]] = []  # work of the current stage: where, server, seconds
        self.held: list[str] = []
        self.forgot: set[str] = set()
        self.thread: _Thread | None = None


_What = Literal["arrive", "idle", "cpu", "timeout", "speed"]


class Replay:
    """One replay; `run` may be called once."""

    def __init__(self, site: Site, dice: Random) -> None:
        self.site = site
        self.dice = dice
        self.seen = Seen({name: PoolSeen() for name in site.pools})
        self._processes = [_Process(site, self.seen.pools) for _ in range(site.processes)]
        self._servers = {name: _Shared(cores) for name, cores in site.servers.items()}
        self._heap: list[tuple[float, int, str, object, int]] = []
        self._numbers = count()
        self._now_s = 0.0
        self.outstanding = 0

    def run(self, arrivals: Iterable[Arrival], paces: Iterable[tuple[float, float]] = ()) -> Seen:
        """Replay requests in order of time; `paces` are times from which everything takes that much longer.

        Requests that are still at work after the last arrival are followed for as long as the longest
        time-out of a pool.
        """
        for at_s, pace in paces:
            self._push(at_s, "speed", pace)
        upcoming = iter(arrivals)
        arrival = next(upcoming, None)
        end_s = math.inf
        tick_s = arrival[0] if arrival is not None else math.inf
        longest_s = max((rules.timeout_s for rules in self.site.pools.values()), default=0.0) + 1.0
        while True:
            next_s = self._heap[0][0] if self._heap else math.inf
            next_s = min(next_s, arrival[0] if arrival is not None else math.inf)
            while tick_s < next_s < math.inf:
                self._sample()
                tick_s += SAMPLED_S
            if arrival is not None and (not self._heap or arrival[0] <= self._heap[0][0]):
                self._now_s = arrival[0]
                self._arrive(arrival[1])
                arrival = next(upcoming, None)
                if arrival is None:
                    end_s = self._now_s + longest_s
                continue
            if not self._heap or self._heap[0][0] > end_s:
                return self.seen
            self._now_s, _, what, subject, version = heapq.heappop(self._heap)
            self._happen(what, subject, version)
            if arrival is None and not self.outstanding:
                return self.seen

    def _sample(self) -> None:
        for process in self._processes:
            for pool in process.pools.values():
                pool.seen.in_use_max = max(pool.seen.in_use_max, pool.in_use)

    def _happen(self, what: str, subject: object, version: int) -> None:
        if what == "cpu":
            assert isinstance(subject, _Shared)  # noqa: S101 - narrows the type
            if version == subject.version:
                subject.advance(self._now_s)
                while subject.jobs and subject.jobs[0][0] <= subject.virtual_s + _EPSILON:
                    self._work(heapq.heappop(subject.jobs)[2])
                self._reschedule(subject)
        elif what == "idle":
            assert isinstance(subject, _Request)  # noqa: S101 - narrows the type
            self._work(subject)
        elif what == "timeout":
            assert isinstance(subject, tuple)  # noqa: S101 - narrows the type
            self._time_out(*subject)
        else:
            assert isinstance(subject, float)  # noqa: S101 - narrows the type
            for cpu in (*(process.cpu for process in self._processes), *self._servers.values()):
                cpu.advance(self._now_s)
                cpu.speed = 1.0 / subject
                self._reschedule(cpu)

    def _push(self, at_s: float, what: _What, subject: object, version: int = 0) -> None:
        heapq.heappush(self._heap, (at_s, next(self._numbers), what, subject, version))

    def _reschedule(self, cpu: _Shared) -> None:
        cpu.version += 1
        if cpu.jobs:
            self._push(cpu.due_s(), "cpu", cpu, cpu.version)

    def _arrive(self, stages: tuple[Stage, ...]) -> None:
        if stages and stages[0].aside is not None:
            job = _Request(self._processes[stages[0].aside], stages)
            job.thread = _Thread()
            self._enter(job)
            return
        process = self._processes[int(self.dice.random() * len(self._processes))]
        request = _Request(process, stages)
        self.seen.requests += 1
        self.outstanding += 1
        if process.idle:
            self._start(request, process.idle.popleft())
        elif self.site.threads is None or process.started < self.site.threads:
            process.started += 1
            self.seen.threads_max = max(self.seen.threads_max, process.started)
            self._start(request, _Thread())
        else:
            process.backlog.append(request)

    def _start(self, request: _Request, thread: _Thread) -> None:
        request.thread = thread
        request.process.busy += 1
        self.seen.busy_max = max(self.seen.busy_max, request.process.busy)
        self._enter(request)

    def _enter(self, request: _Request) -> None:
        """Begin the current stage: check out its connections, then work."""
        while request.stage < len(request.stages):
            stage = request.stages[request.stage]
            while request.asked < len(stage.pools):
                if not self._check_out(request, stage):
                    return
                request.asked += 1
            if not request.left:
                request.left = [
                    *(("server", name, work_s) for name, work_s in stage.server_s if work_s > 0),
                    *((("cpu", "", stage.cpu_s),) if stage.cpu_s > 0 else ()),
                    *((("idle", "", stage.idle_s),) if stage.idle_s > 0 else ()),
                ]
            if request.left:
                self._work(request)
                return
            self._leave(request, stage)
        self._end(request)

    def _work(self, request: _Request) -> None:
        """Do the next piece of the current stage, or go to the next stage."""
        if not request.left:
            self._leave(request, request.stages[request.stage])
            self._enter(request)
            return
        where, name, work_s = request.left.pop()
        if where == "idle":
            self._push(self._now_s + work_s, "idle", request)
            return
        cpu = request.process.cpu if where == "cpu" else self._servers.get(name)
        if cpu is None:
            self._push(self._now_s + work_s, "idle", request)
            return
        cpu.advance(self._now_s)
        heapq.heappush(cpu.jobs, (cpu.virtual_s + work_s, next(self._numbers), request))
        self._reschedule(cpu)

    def _leave(self, request: _Request, stage: Stage) -> None:
        for name in stage.pools:
            if stage.keeps:
                continue
            if stage.forgets and name in request.held and self.dice.random() < stage.forgets:
                request.held.remove(name)
                self._lose(request.process.pools[name])
            elif name in request.held:
                request.held.remove(name)
                self._give(request.process.pools[name])
        request.stage += 1
        request.asked = 0

    def _check_out(self, request: _Request, stage: Stage) -> bool:
        """Take a connection; False when the request has to wait."""
        name = stage.pools[request.asked]
        pool = request.process.pools.get(name)
        thread = request.thread
        if pool is None or thread is None or (stage.keeps and name in thread.kept):
            return True
        if pool.in_use >= pool.capacity or pool.queue:
            number = next(self._numbers)
            pool.queue.append((request, self._now_s, number))
            self._push(self._now_s + pool.timeout_s, "timeout", (pool, number))
            return False
        self._take(request, pool, name, stage, 0.0)
        return True

    def _take(self, request: _Request, pool: _Pool, name: str, stage: Stage, waited_s: float) -> None:
        pool.in_use += 1
        pool.standing += request.aside and math.isinf(stage.idle_s)
        seen = pool.seen
        seen.checkouts += 1
        if len(seen.waits_s) < MOST_WAITS:
            seen.waits_s.append(waited_s)
        if pool.in_use >= pool.capacity and pool.full_since_s is None:
            pool.full_since_s = self._now_s
            seen.full_s = self._now_s if seen.full_s is None else seen.full_s
        if stage.keeps and request.thread is not None:
            request.thread.kept.add(name)
            self._count_lost(pool)
        else:
            request.held.append(name)

    def _count_lost(self, pool: _Pool) -> None:
        pool.lost += 1
        pool.seen.lost_max = max(pool.seen.lost_max, pool.lost)
        if pool.lost + pool.standing >= pool.capacity:
            pool.exhausted()

    def _lose(self, pool: _Pool) -> None:
        self._count_lost(pool)

    def _give(self, pool: _Pool) -> None:
        pool.in_use -= 1
        if pool.queue:
            request, since_s, _ = pool.queue.popleft()
            stage = request.stages[request.stage]
            self._take(request, pool, stage.pools[request.asked], stage, self._now_s - since_s)
            request.asked += 1
            self._enter(request)
        elif pool.in_use < pool.capacity:
            pool.full_since_s = None

    def _time_out(self, pool: _Pool, number: int) -> None:
        for place, (request, since_s, waiting) in enumerate(pool.queue):
            if waiting == number:
                del pool.queue[place]
                seen = pool.seen
                pool.exhausted()
                seen.timeouts += 1
                seen.checkouts += 1
                if seen.first_timeout_s is None:
                    seen.first_timeout_s = self._now_s
                if len(seen.waits_s) < MOST_WAITS:
                    seen.waits_s.append(self._now_s - since_s)
                self._end(request)
                return
            if waiting > number:
                return

    def _end(self, request: _Request) -> None:
        for name in request.held:
            self._give(request.process.pools[name])
        request.held = []
        if request.aside:
            return
        self.outstanding -= 1
        process, thread = request.process, request.thread
        process.busy -= 1
        assert thread is not None  # noqa: S101 - narrows the type: a request that ends was started
        if process.backlog:
            self._start(process.backlog.popleft(), thread)
        else:
            process.idle.append(thread)
