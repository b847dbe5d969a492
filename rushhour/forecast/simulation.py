"""Simulates one process of a service, event by event: customers, threads and pools (pure).

A closed model: each customer thinks, sends a request, waits for the answer and thinks again, so that requests
come less often when answers are slow. A request waits for a thread of the process, first come, first served,
and asks for its connections while it has the thread. A pool hands out connections up to its size and
overflow. A connection that comes back wakes the check-out that has waited longest; until that has the
interpreter, a newcomer may take the connection, and then it waits again behind all others, as in SQLAlchemy's
queue. A check-out that waits for longer than the time-out fails with its request.
The cores of a server are shared by the connections that are out (processor sharing): a hold takes the longer,
the more of them there are as it begins.
Think times and the time without a connection are exponential, holds are drawn from what was measured.
"""

import math
from bisect import bisect
from collections import deque
from heapq import heappop, heappush
from itertools import accumulate
from random import Random
from typing import Final

from rushhour.forecast.simulated import Asked, Bounds, Kind, PoolTally, Tally, World, slowed

_THINKS, _STARTS, _BEFORE, _HOLDS, _WAITS, _HOLDS_ALL = range(6)
_MOST_WAITS: Final = 200_000  # kept for percentiles
_WAKES_S: Final = 0.0001  # from a notification to a thread that runs, in an interpreter that is idle
_SWITCH_S: Final = 0.005  # and at most, in a busy interpreter: sys.getswitchinterval()


class _Pool:
    __slots__ = ("bounds", "changed_s", "idle", "of_server", "out", "queue", "tally")

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.tally = PoolTally()
        self.queue: deque[tuple[int, int]] = deque()  # customer, its turn
        self.out = bounds.standing
        self.idle = 0
        self.changed_s = 0.0
        self.of_server: list[_Pool] = [self]

    def stretch(self) -> float:
        """How much longer a hold that begins now takes than it did in the run."""
        bounds = self.bounds
        if not bounds.on_cpu:
            return 1.0
        out = sum(pool.out - pool.bounds.standing for pool in self.of_server)
        slower = slowed(out, bounds.cores) / slowed(bounds.beside, bounds.cores)
        return 1.0 - bounds.on_cpu + bounds.on_cpu * slower


class _Customer:
    __slots__ = ("attempt", "kept", "kind", "pool", "since_s", "state", "steps", "turn", "until_s")

    def __init__(self) -> None:
        self.state = _THINKS
        self.attempt = 0  # retries of its request so far
        self.turn = 0  # tells a time-out of this wait from one of an earlier wait
        self.kind: Kind | None = None
        self.steps: list[Asked] = []  # check-outs to come, last one first
        self.pool: _Pool | None = None
        self.kept: list[_Pool] = []
        self.until_s = 0.0
        self.since_s = 0.0  # when it asked for a connection


class _Process:
    """The state of a simulation; each customer has one event to come, except one that waits for a thread."""

    def __init__(self, world: World, dice: Random, warm_s: float) -> None:
        self.world = world
        self.random = dice.random
        self.warm_s = warm_s
        self.pools = [_Pool(bounds) for bounds in world.pools]
        for pool in self.pools:
            pool.of_server = [other for other in self.pools if other.bounds.server == pool.bounds.server]
        self.tally = Tally([pool.tally for pool in self.pools], 0.0)
        self.customers = [_Customer() for _ in range(world.customers)]
        shares = world.mixes or (tuple(kind.share for kind in world.kinds),)
        self.upto = [list(accumulate(mix)) for mix in shares]
        self.active_upto = [0.0, *accumulate(rate * world.step_s for rate in world.activity)]  # by each step
        # When, customer, its turn. A customer below 0, counted from -1, is woken up.
        self.events: list[tuple[float, int, int]] = []
        self.for_threads: deque[int] = deque()
        self.busy = 0

    def run(self, end_s: float) -> Tally:
        think_s = self.world.think_s
        for number in range(len(self.customers)):
            heappush(self.events, (self._thinks(0.0) if think_s else 0.0, number, 0))
        events, customers = self.events, self.customers
        while events:
            now, number, turn = heappop(events)
            if now >= end_s:
                break
            if number < 0:
                self._wake(-number - 1, turn, now)
                continue
            customer = customers[number]
            if turn != customer.turn:
                continue  # the time-out of a wait that has ended
            state = customer.state
            if state == _HOLDS:
                self._release(customer.pool, now)
                self._next(customer, number, now)
            elif state == _THINKS:
                self._send(customer, number, now)
            elif state == _BEFORE:
                self._next(customer, number, now)
            elif state == _STARTS:
                self._begin(customer, number, now)
            elif state == _WAITS:
                self._time_out(customer, number, now)
            else:
                self._end(customer, number, now)
        for pool in self.pools:
            self._count_use(pool, end_s)
        self.tally.seconds = end_s - self.warm_s
        return self.tally

    def _thinks(self, now: float) -> float:
        """Return when a customer who starts to think now sends a request."""
        left = -math.log(1.0 - self.random()) * self.world.think_s
        activity, upto, step_s = self.world.activity, self.active_upto, self.world.step_s
        if len(activity) == 1:
            return now + left / activity[0]
        # Time passes as fast as customers are active: it is over where the activity since now adds up to it.
        step = int(now / step_s)
        rounds, at = divmod(step, len(activity))
        more, left = divmod(upto[at] + (now - step * step_s) * activity[at] + left, upto[-1])
        at = min(bisect(upto, left), len(activity)) - 1
        sends_s = ((rounds + more) * len(activity) + at) * step_s + (left - upto[at]) / activity[at]
        return max(now, sends_s)

    def _send(self, customer: _Customer, number: int, now: float) -> None:
        if now >= self.warm_s:
            self.tally.requests += 1
        if not customer.attempt:
            kinds, upto = self.world.kinds, self.upto[int(now / self.world.step_s) % len(self.upto)]
            customer.kind = kinds[min(bisect(upto, self.random() * upto[-1]), len(kinds) - 1)]
        if self.busy < self.world.threads:
            self.busy += 1
            self._begin(customer, number, now)
        else:
            self.for_threads.append(number)
            if now >= self.warm_s:
                self.tally.queued_max = max(self.tally.queued_max, len(self.for_threads))

    def _begin(self, customer: _Customer, number: int, now: float) -> None:
        if self.busy > self.tally.threads_max and now >= self.warm_s:
            self.tally.threads_max = self.busy
        kind = customer.kind
        assert kind is not None  # noqa: S101 - it was chosen when the request was sent
        steps: list[Asked] = []
        for asked in kind.asks:
            whole, rest = divmod(asked.per_request, 1.0)
            count = int(whole) + (rest > 0.0 and self.random() < rest)
            if count == 1:
                steps.append(asked)
            elif count:
                steps += [asked] * count
        steps.reverse()
        customer.steps = steps
        customer.until_s = now
        if kind.outside_s > 0.0:
            customer.state = _BEFORE
            wait_s = -math.log(1.0 - self.random()) * kind.outside_s
            heappush(self.events, (now + wait_s, number, customer.turn))
        else:
            self._next(customer, number, now)

    def _next(self, customer: _Customer, number: int, now: float) -> None:
        """Ask for the request's next connection, or end the request."""
        if not customer.steps:
            if customer.kept:
                customer.state = _HOLDS_ALL
                heappush(self.events, (max(now, customer.until_s), number, customer.turn))
            else:
                self._end(customer, number, now)
            return
        pool = customer.pool = self.pools[customer.steps[-1].pool]
        customer.since_s = now
        if now >= self.warm_s:
            pool.tally.asked += 1
        if pool.out < pool.bounds.capacity:
            self._take(pool, customer, number, now)
        else:
            customer.state = _WAITS
            pool.queue.append((number, customer.turn))
            heappush(self.events, (now + pool.bounds.timeout_s, number, customer.turn))

    def _take(self, pool: _Pool, customer: _Customer, number: int, now: float) -> None:
        self._count_use(pool, now)
        pool.out += 1
        if pool.idle:
            pool.idle -= 1
            self._hold(customer, number, now)
        else:
            self._hold(customer, number, now + pool.bounds.create_s)

    def _hold(self, customer: _Customer, number: int, from_s: float) -> None:
        holds_s = customer.steps.pop().holds_s
        assert customer.kind is not None and customer.pool is not None  # noqa: S101, PT018 - it has asked
        until_s = from_s + holds_s[int(self.random() * len(holds_s))] * customer.pool.stretch()
        tally = customer.pool.tally
        if from_s >= self.warm_s:
            tally.in_use_max = max(tally.in_use_max, customer.pool.out)
            if len(tally.served_s) < _MOST_WAITS:
                tally.served_s.append(until_s - customer.since_s)
        if customer.kind.overlaps:
            customer.kept.append(customer.pool)
            customer.until_s = max(customer.until_s, until_s)
            self._next(customer, number, from_s)
        else:
            customer.state = _HOLDS
            heappush(self.events, (until_s, number, customer.turn))

    def _release(self, pool: _Pool | None, now: float) -> None:
        assert pool is not None  # noqa: S101 - it was taken from one
        self._count_use(pool, now)
        pool.out -= 1
        if pool.idle < pool.bounds.size or pool.queue:
            pool.idle += 1
        while pool.queue:
            number, turn = pool.queue.popleft()
            if turn == self.customers[number].turn:  # else it has timed out
                late_s = _WAKES_S
                if self.world.busy and self.random() < self.world.busy:
                    late_s = _SWITCH_S * self.random()
                heappush(self.events, (now + late_s, -number - 1, turn))
                return

    def _wake(self, number: int, turn: int, now: float) -> None:
        """Take the connection that came back, or wait again if a newcomer has taken it."""
        customer = self.customers[number]
        pool = customer.pool
        if turn != customer.turn or pool is None:
            return  # it timed out just before
        if pool.out >= pool.bounds.capacity:
            pool.queue.append((number, turn))
            return
        customer.turn += 1
        if now >= self.warm_s and len(pool.tally.waits_s) < _MOST_WAITS:
            pool.tally.waits_s.append(now - customer.since_s)
        self._take(pool, customer, number, now)

    def _time_out(self, customer: _Customer, number: int, now: float) -> None:
        pool = customer.pool
        assert pool is not None  # noqa: S101 - it waits for it
        customer.turn += 1
        if now >= self.warm_s:
            pool.tally.timeouts += 1
            if len(pool.tally.waits_s) < _MOST_WAITS:
                pool.tally.waits_s.append(pool.bounds.timeout_s)
                pool.tally.served_s.append(pool.bounds.timeout_s)
        customer.steps.clear()
        self._end(customer, number, now, failed=True)

    def _end(self, customer: _Customer, number: int, now: float, *, failed: bool = False) -> None:
        """The answer was sent: the thread serves the next request, and the customer thinks."""
        kept, customer.kept = customer.kept, []
        for pool in kept:
            self._release(pool, now)
        customer.state = _THINKS
        customer.pool = None
        if failed and customer.attempt < self.world.retries:
            again_s = now + self.random() * self.world.retry_s * 2**customer.attempt
            customer.attempt += 1
        else:
            again_s = self._thinks(now)
            customer.attempt = 0
        heappush(self.events, (again_s, number, customer.turn))
        if self.for_threads:
            # The thread races with the one that its connection woke: either may be first.
            number = self.for_threads.popleft()
            self.customers[number].state = _STARTS
            starts_s = now + 2 * _WAKES_S * self.random()
            heappush(self.events, (starts_s, number, self.customers[number].turn))
        else:
            self.busy -= 1

    def _count_use(self, pool: _Pool, now: float) -> None:
        since_s = max(pool.changed_s, self.warm_s)
        if now > since_s:
            pool.tally.in_use_s += pool.out * (now - since_s)
        pool.changed_s = now


def simulate(world: World, seconds: float, warm_s: float, dice: Random) -> Tally:
    """Simulate a process for `warm_s` that do not count, and `seconds` that do."""
    return _Process(world, dice, warm_s).run(warm_s + seconds)
