"""The agent's state of this process: written by the service's threads, read by the sampler.

There are no locks: the service's threads only use single operations of dicts and deques, which are atomic, so
they can neither block nor deadlock, even under gevent or during a fork. The sampler does the counting.
"""

from __future__ import annotations

import itertools
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from .asked import left_beside, waits_beside
from .frames import GENERATOR, nothing
from .owners import TASK, owner_finder

if TYPE_CHECKING:
    from collections.abc import Callable

    from .call_sites import Stack
    from .creation import CreationSite
    from .owners import Owner

    Place = tuple["PoolState", Stack, str | None]  # and the endpoint

monotonic = time.monotonic  # bound before anything can patch it

CLOSE, GC, DETACH, INVALIDATE = "close", "gc", "detach", "invalidate"
Address = tuple[str | None, int | None, str | None]  # host, port, database
BUCKETS = 64  # powers of two of a microsecond: more than any time that fits
MAX_PENDING = (
    1_000_000  # events that wait for the sampler, should it starve: ten seconds of nothing but check-outs
)


SERVERS = "?"  # the method of a request of which only the server is known


class Request:
    """A request of the web framework; `ended` (monotonic seconds) is set when its response is complete."""

    __slots__ = (
        *("begun", "ended", "framed", "is_last", "label", "method", "outer", "owner"),
        *("part", "returned", "task"),
    )

    def __init__(self, method: str, outer: Request | None, owner: Owner | None = None) -> None:
        self.method = method
        self.owner = owner  # the thread or greenlet that runs it; None: a task does, or it is not known
        self.label: str | None = None  # "GET /customers/<int:customer_id>", once the route is known
        self.outer = outer
        self.framed = False  # of a server's: a framework's own patch tracks it, too
        self.ended: float | None = None
        self.returned = False  # the framework has returned its response
        self.begun = False  # the response is made while it is sent, and its start was
        self.is_last = False  # its last part was handed to the server
        self.part: Callable[[], Any] = nothing  # weak, to the coroutine that hands a part to the server
        self.task: Callable[[], Any] = nothing  # weak, to the asyncio task that runs it

    @property
    def sending(self) -> bool:
        """Whether a part of the response was handed to the server, which has not taken it yet."""
        part = self.part()
        return part is not None and part.cr_frame is not None

    @property
    def streams(self) -> bool:
        """Whether the response is on its way: begun, and its last part not taken."""
        return self.begun and (not self.is_last or self.sending)

    @property
    def in_loop(self) -> bool:
        """Whether a task of an event loop runs it, or has run it."""
        return self.task is not nothing


class Hold:
    """A check-out, in monotonic seconds. It has no constructor, because it is created in the hot path."""

    __slots__ = (
        "followed",
        "how",
        "lost",
        "lost_s",
        "made_here",
        "others",
        "owner",
        "proxy",
        "request",
        "returned",
        "scoped",
        "slot",
        "stack",
        "taken",
        "thread",
        "used",
        "waited",
    )

    slot: Slot
    proxy: Callable[[], Any]  # a weak reference; the sampler must not follow it: see tally.py
    stack: Stack
    request: Request | None
    owner: Owner  # who took it
    others: dict[str, Owner] | None  # who else has it in hands, by why: see uses.py and items.py
    made_here: bool  # its session was made by its owner; not set where that is not known
    used: float  # when a statement was last begun on it; 0: never
    scoped: bool | None  # a registry keeps its session for its thread; None: not known
    thread: int
    lost: str | None  # its unit of work has ended, though no request did: see units.py; the sampler's
    lost_s: float  # since when
    waited: float  # seconds in the queue, less those to open a connection; negative where there is no queue
    taken: float  # has the connection
    returned: float | None
    how: str
    followed: bool  # the sampler counts it by itself, and so needs it when it is over


def of_earlier_item(hold: Hold) -> bool:
    """Whether its thread runs another item by now, and has not used it in that one."""
    began = hold.owner.began
    return began is not None and hold.request is None and max(hold.taken, hold.used) < began


def is_in_a_generator(hold: Hold) -> bool:
    """Whether a task took a hold in a generator, as in a fixture or a dependency.

    It is in the hands of whoever has the generator, and so may close it: in another task.
    """
    return hold.owner.kind == TASK and any(code.co_flags & GENERATOR for code in hold.stack.codes)


def is_beside_request(hold: Hold) -> bool:
    """Whether a request's context was copied into another thread or greenlet, which took the hold.

    That goes on after the request. With an event loop, the request's own task says so: see readings.py.
    """
    request = hold.request
    return request is not None and request.owner is not None and hold.owner is not request.owner


def of_ended_request(hold: Hold) -> bool:
    """Whether the request that took it has ended, and nobody else may have it in hands.

    A registry keeps its session for the thread.
    """
    return not hold.others and not hold.scoped and is_left(hold)


def is_left(hold: Hold) -> bool:
    """Whether its owner took it for a request that has ended, and so no longer waits for anything with it.

    A request of an event loop may have left it to a task.
    """
    request = hold.request
    if request is None or request.in_loop or request.ended is None:
        return False
    return hold.taken <= request.ended and not is_beside_request(hold)


class Slot:
    """The agent's data on a connection record of SQLAlchemy: the backend's pid and the check-out."""

    __slots__ = ("got", "hold", "inherited", "opening", "pool", "server_pid")

    def __init__(self, pool: PoolState) -> None:
        self.pool = pool
        self.hold: Hold | None = None
        self.server_pid: int | None = None
        self.inherited = False  # its connection was opened by a process that forked this one
        # Of the check-out that is being made: when it left the queue, and seconds before that to open one
        self.got = self.opening = 0.0


class PoolState:
    """A pool of the service, including those that it recreated.

    Only the sampler uses the counters, except for `kept_uses`.
    """

    __slots__ = (
        "address",
        "connects",
        "creates",
        "held_s",
        "holds",
        "id",
        "inherited",
        "inherited_uses",
        "kept_uses",
        "kind",
        "opened_s",
        "pool",
        "shape",
        "timeouts",
        "waited_s",
        "waits",
    )

    def __init__(self, number: int, pool: Any) -> None:
        self.id = number
        self.kind = type(pool).__name__
        self.pool: weakref.ref[Any] = weakref.ref(pool)
        self.shape = shape_of(pool)
        self.address: Address = (None, None, None)
        self.reset()

    def reset(self) -> None:
        self.timeouts = self.connects = self.inherited_uses = 0
        self.kept_uses = 0  # statements over connections that were out when the process was forked
        self.waited_s = self.held_s = self.opened_s = 0.0
        self.inherited: tuple[int | None, ...] = ()  # server's pid of each connection that came over a fork
        self.waits, self.holds, self.creates = [0] * BUCKETS, [0] * BUCKETS, [0] * BUCKETS  # since the start

    def inherit(self, held: list[Slot]) -> None:
        """In a forked child: mark the connections that it now shares with its parent; after `reset`."""
        records = getattr(getattr(self.pool(), "_pool", None), "queue", ())
        idle = [record.__dict__.get("_rushhour_slot") for record in list(records)]
        slots = [slot for slot in (*idle, *held) if slot is not None and slot.server_pid is not None]
        for slot in slots:
            slot.inherited = True
        self.inherited = tuple(slot.server_pid for slot in slots)


def shape_of(pool: Any) -> tuple[int, int, float]:
    """Return size, overflow and time-out of a pool; a pool without a queue has no limit."""
    if not hasattr(pool, "_max_overflow"):
        return (0, -1, 0.0)
    return (pool._pool.maxsize, pool._max_overflow, float(pool._timeout))


class Timeout:
    """A time-out that the pool raised to the application."""

    __slots__ = ("at", "beside", "holding", "kept", "pool", "request", "stack", "waited")

    def __init__(
        self,
        at: float,
        pool: PoolState,
        stack: Stack,
        request: Request | None,
        *,
        waited: float,
        holding: tuple[int, int],
        kept: int = 0,
        beside: bool = False,
    ) -> None:
        self.at = at
        self.beside = beside  # its request has held one of this pool all the while, in another task
        self.kept = kept  # connections that its owner keeps from earlier units of work
        self.holding = holding  # connections its request held: of the same pool, of others
        self.pool = pool
        self.stack = stack
        self.request = request
        self.waited = waited


class Book:
    """The agent's state of a process."""

    def __init__(self) -> None:
        self.pools: list[PoolState] = []
        self.live: dict[Hold, Hold] = {}
        self.mark: Any = bytearray(1)  # whether nothing is live: see marks.py
        self.ended: deque[Hold] = deque(maxlen=MAX_PENDING)  # came back; but most are in `lasted`
        # -> seconds that a check-out was held, and that it had waited, in turn. Of most there is no more to
        # say: none of their objects waits for the sampler, so no garbage is collected because of them.
        self.lasted: dict[Place, deque[float]] = {}
        self.opened: deque[tuple[PoolState, float]] = deque(
            maxlen=MAX_PENDING
        )  # seconds to open a connection
        self.timeouts: deque[Timeout] = deque(maxlen=MAX_PENDING)
        self.modules: dict[str, str] = {}  # version of each library seen
        self.routes: tuple[str, ...] = ()  # of the web framework: "GET /customers/<int:customer_id>"
        self.creations: dict[tuple[str, int, str], CreationSite] = {}  # line -> engines created there
        self.faults: dict[tuple[str, str], int] = {}  # (where, error) -> times
        # The owner of what runs here; one finder, so that each has one owner.
        self.owner_of = owner_finder(self.has_out)
        self.forked = 0.0  # when this process was forked; 0: it has no parent that was watched
        self.serving: set[int] = set()  # threads in which an event loop serves requests
        self._pool_ids = itertools.count(1)

    def pool_state(self, pool: Any, address: Address | None = None) -> PoolState:
        """Return the state of a pool; it is created at the first call, with the pool's address."""
        made = PoolState(next(self._pool_ids), pool)
        made.address = address or made.address
        kept: PoolState = pool.__dict__.setdefault(
            "_rushhour_state", made
        )  # atomic: two threads get the same
        if kept is made:
            self.pools.append(made)
        return kept

    def has_out(self, owner: Owner) -> bool:
        """Whether an owner took a connection that is still out."""
        return any(hold.owner is owner for hold in self.live.copy())

    def held_by(self, request: Request | None, owner: Owner, pool: PoolState) -> tuple[int, int]:
        """Return how many connections a request, or else an owner, holds: of this pool, of others.

        Connections that an owner keeps from an earlier unit of work do not count, and those of other owners
        of its request only where these may wait for it.
        """
        own = other = 0
        for hold in self.live.copy():
            if hold.request is not request or hold.lost is not None or of_earlier_item(hold):
                continue
            if hold.owner is owner or (request is not None and self._may_wait(request, hold.owner, owner)):
                own, other = (own + 1, other) if hold.slot.pool is pool else (own, other + 1)
        return own, other

    @staticmethod
    def _may_wait(request: Request, holder: Owner, asker: Owner) -> bool:
        """Whether another owner of a request may wait for the one that asks for a connection.

        Of threads that have copied its context, `held_for` knows which waits for which.
        """
        if request.owner is not None and TASK not in (holder.kind, asker.kind):
            return False
        return not waits_beside(holder, asker)

    def held_beside(self, request: Request | None, owner: Owner, pool: PoolState, began: float) -> bool:
        """Whether a request has held a connection of a pool while a task that it left asks for one.

        A websocket waits for its visitor, and a response on its way for its client.
        """
        if request is None or not request.in_loop or request.returned or request.method == "WEBSOCKET":
            return False
        return any(
            hold.request is request
            and hold.slot.pool is pool
            and hold.lost is None
            and hold.taken <= began
            and left_beside(request.task(), hold.owner, owner)
            for hold in self.live.copy()
        )

    def kept_by(self, owner: Owner, pool: PoolState) -> int:
        """Return how many connections of a pool an owner keeps from earlier units of work."""
        return sum(
            hold.owner is owner
            and hold.slot.pool is pool
            and (hold.lost is not None or of_earlier_item(hold) or of_ended_request(hold))
            for hold in self.live.copy()
        )

    def came_back(self, hold: Hold, returned: float, how: str) -> None:
        """A check-out is over, in another way than most: see `PoolPatch._return_conn`."""
        hold.returned, hold.how = returned, how
        if self.live.pop(hold, None) is not None:  # else: taken by the parent of this process
            self.ended.append(hold)
        self.mark[0] = not self.live

    def times_of(self, place: Place) -> deque[float]:
        """The times of the check-outs of a place that are not counted yet."""
        return self.lasted.setdefault(place, deque(maxlen=2 * MAX_PENDING))

    def forget_times(self, pool: PoolState) -> None:
        """The service dropped this pool, and all that came back to it is counted."""
        for place in [place for place in list(self.lasted) if place[0] is pool]:
            del self.lasted[place]

    def fault(self, where: str, error: BaseException) -> None:
        """Count an internal error of the agent; the first fifty kinds are kept."""
        key = (where, f"{type(error).__name__}: {error}"[:300])
        if key in self.faults or len(self.faults) < 50:
            self.faults[key] = self.faults.get(key, 0) + 1

    def set_mark(self, mark: Any) -> None:
        """Store from now on in this byte whether nothing is out; the one before is left at "unknown"."""
        before, self.mark = self.mark, mark
        before[0] = 0
        mark[0] = not self.live  # here and elsewhere no other thread runs between the two

    def start_over(self) -> None:
        """Reset the state in a forked child; the pools are kept, because the child has them too."""
        held = [hold.slot for hold in self.live]
        self.forked = monotonic()
        self.mark = bytearray(1)  # the other one is the parent's
        self.live.clear()
        for events in (self.ended, self.lasted, self.opened, self.timeouts):
            events.clear()
        self.faults.clear()
        for state in self.pools:
            state.reset()
            state.inherit([slot for slot in held if slot.pool is state])
