"""Patches the pools of SQLAlchemy from 1.4.24 on.

There is no event for waiting, for a time-out or for the moment at which the caller has its connection, and an
event costs more than a wrapped method: so methods are wrapped, and only `detach` is an event. Nothing here
raises into the service, waits, or runs SQL.
"""

# pathlib would slow the start of every process of the service.
# ruff: noqa: PTH100, PTH120

from __future__ import annotations

import os
import re
import sys
import threading
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from types import CodeType, FrameType, ModuleType
from typing import Any

from .asked import held_for
from .book import (
    CLOSE,
    DETACH,
    GC,
    INVALIDATE,
    Book,
    Hold,
    PoolState,
    Request,
    Slot,
    Timeout,
    is_left,
    monotonic,
)
from .call_sites import Classifier, Stack
from .creation import is_merged, made_at
from .engines import address_of, is_lent, learn, with_signature_of
from .frames import MAX_STACK, local_of
from .readings import is_full

OLDEST = (1, 4, 24)

Undo = Callable[[], None]


class PoolPatch:
    """Patches SQLAlchemy's classes, and removes the patches."""

    def __init__(
        self,
        book: Book,
        classifier: Classifier,
        find_stack: Callable[[int], Stack],
        request: ContextVar[Request | None],
        on_pool: Callable[[], None],
    ) -> None:
        self._book = book
        self._classifier = classifier
        self._find_stack = find_stack
        self._request = request
        self._on_pool = on_pool  # called when a pool was first seen
        self._undo: list[Undo] = []
        self._note = self._noting()
        self._connects: set[CodeType] = set()  # of what stands for `Pool.connect`
        self._checkout: CodeType | None = None  # of what calls the listeners of `checkout`

    def apply(self, sqlalchemy: ModuleType) -> None:
        """Patch the classes of the module that was just imported."""
        self._book.modules["sqlalchemy"] = str(sqlalchemy.__version__)
        if _numbers(str(sqlalchemy.__version__)) < OLDEST:
            raise RuntimeError(
                f"SQLAlchemy {sqlalchemy.__version__} is older than 1.4.24: its pools are not seen"
            )
        from sqlalchemy import event, exc, pool  # noqa: PLC0415  # here it is imported already
        from sqlalchemy.engine import Engine  # noqa: PLC0415  # as above

        self._classifier.add_plumbing(os.path.dirname(os.path.abspath(str(sqlalchemy.__file__))))
        for owner in (pool.Pool, pool.SingletonThreadPool):
            self._wrap(owner, "connect", lambda original: self._connect(original, exc.TimeoutError))
        fairy: Any = pool.base._ConnectionFairy
        self._checkout = fairy._checkout.__code__
        self._wrap(pool.QueuePool, "_do_get", self._do_get)
        self._wrap(pool.Pool, "_return_conn", self._return_conn)
        self._wrap(pool.Pool, "_create_connection", self._create_connection)
        self._wrap(pool.Pool, "_should_wrap_creator", self._should_wrap_creator)
        for kind in _subclasses(pool.Pool):
            if "recreate" in vars(kind):
                self._wrap(kind, "recreate", self._recreate)
        self._wrap(Engine, "__init__", self._engine_init)
        event.listen(pool.Pool, "detach", self._detach)
        self._undo.append(lambda: event.remove(pool.Pool, "detach", self._detach))

    def remove(self) -> None:
        """Restore SQLAlchemy's own methods."""
        while self._undo:
            self._undo.pop()()

    def _wrap(self, owner: Any, name: str, wrapper: Callable[[Any], Any]) -> None:
        original = getattr(owner, name)
        if name in vars(owner):
            self._undo.append(lambda: setattr(owner, name, original))
        else:
            self._undo.append(lambda: delattr(owner, name))
        replacement = wrapper(original)
        replacement.__name__, replacement.__doc__ = name, original.__doc__
        replacement.__wrapped__ = original
        setattr(owner, name, replacement)

    def _state(self, pool: Any) -> PoolState:
        state = self._book.pool_state(pool)
        self._on_pool()
        return state

    def _slot(self, record: Any) -> Slot:
        slot: Slot | None = getattr(record, "_rushhour_slot", None)
        if slot is None:
            slot = record._rushhour_slot = Slot(self._state(record._ConnectionRecord__pool))
        return slot

    def _connect(self, original: Any, timeout_error: type[BaseException]) -> Any:
        """Pool.connect: the caller has its connection when this returns, and not before."""
        book, fault = self._book, self._book.fault
        find_stack, timed_out, note = self._find_stack, self._timed_out, self._note

        def connect(pool: Any) -> Any:
            began = monotonic()
            try:
                proxy = original(pool)
            except timeout_error as error:
                timed_out(pool, began, error)
                raise
            try:
                record = proxy._connection_record
                hold = record._rushhour_slot.hold
                if hold is None or not _superseded(book, hold, proxy):
                    note(record, began, find_stack(2))
            except Exception as error:
                fault("check-out", error)
            return proxy

        self._connects.add(connect.__code__)
        return connect

    def _noting(self) -> Callable[[Any, float, Stack], None]:
        """Return what notes a check-out by whoever runs now: of which record, asked for when and where."""
        book, live, request = self._book, self._book.live, self._request.get
        get_ident, owner_of = threading.get_ident, book.owner_of

        def note(record: Any, began: float, stack: Stack) -> None:
            slot = record._rushhour_slot
            hold = Hold()
            hold.slot = slot
            hold.waited = slot.got - began - slot.opening
            hold.proxy = record.fairy_ref  # weak; kept here, for the record forgets it before it returns
            hold.stack = stack
            asking = request()
            # What a request has started and left behind has a copy of its context.
            hold.request = asking if asking is None or asking.ended is None else None
            hold.owner = owner = owner_of()
            hold.thread = get_ident()
            hold.returned = hold.lost = hold.others = hold.scoped = None
            hold.followed = slot.inherited
            hold.used = 0.0
            hold.taken = monotonic()
            slot.hold = live[hold] = owner.newest = hold
            book.mark[0] = 0

        return note

    def _note_outer(self) -> None:
        """Note the connections that listeners of `checkout` have in hands while they ask for another one.

        Their callers get them when the listeners are done, and nobody knows of them before.
        """
        frame: FrameType | None = sys._getframe()
        depth, record, found = 1, None, list[tuple[Any, float, Stack]]()
        while frame is not None and depth < MAX_STACK:
            if frame.f_code in self._connects:
                if record is not None and record._rushhour_slot.hold is None:
                    found.append((record, local_of(frame, "began"), self._find_stack(depth + 1)))
                record = None
            elif frame.f_code is self._checkout:
                record = getattr(local_of(frame, "fairy"), "_connection_record", None)
            frame, depth = frame.f_back, depth + 1
        for outer in reversed(found):  # in the order in which they were taken
            self._note(*outer)

    def _timed_out(self, pool: Any, began: float, raised: Any) -> None:
        """Note a time-out, which `Pool.connect` raises to the caller of what has called this.

        One that a listener of `checkout` has let pass was noted where that asked.
        """
        book = self._book
        try:
            if getattr(raised, "_rushhour_noted", False):
                return
            raised._rushhour_noted = True
            now, stack = monotonic(), self._find_stack(3)
            state, asking = self._state(pool), self._request.get()
            if asking is not None and asking.ended is not None:
                asking = None  # what it has started and left behind has a copy of its context
            owner = book.owner_of()
            holding, kept, beside = (0, 0), 0, False
            try:
                holding, kept = book.held_by(asking, owner, state), book.kept_by(owner, state)
                if holding == (0, 0):
                    waiting = [hold for hold in book.live.copy() if not is_left(hold)]
                    holding = held_for(owner, threading.get_ident(), waiting, state)
                beside = holding == (0, 0) and book.held_beside(asking, owner, state, began)
            except Exception as error:  # that it was one is known
                book.fault("time-out", error)
            book.timeouts.append(
                Timeout(
                    *(now, state, stack, asking),
                    waited=now - began,
                    holding=holding,
                    kept=kept,
                    beside=beside,
                )
            )
        except Exception as error:
            book.fault("time-out", error)

    def _do_get(self, original: Any) -> Any:
        """QueuePool._do_get: when its caller left the queue, and what it has in hands when it comes.

        It calls itself again when another thread was faster; the outermost call writes last.
        """
        fault, note_outer = self._book.fault, self._note_outer

        def _do_get(pool: Any) -> Any:
            try:
                if is_full(pool):
                    note_outer()
            except Exception as error:
                fault("a full pool", error)
            record = original(pool)
            try:
                record._rushhour_slot.got = monotonic()
            except Exception as error:
                fault("leaving the queue", error)
            return record

        return _do_get

    def _return_conn(self, original: Any) -> Any:
        """Pool._return_conn: a proxy was closed, invalidated or collected; its record is still ours alone."""
        book, fault = self._book, self._book.fault
        live, lasted, times_of, end = book.live, book.lasted, book.times_of, book.ended.append

        def _return_conn(pool: Any, record: Any) -> Any:
            try:
                slot = record._rushhour_slot
                hold, slot.hold, slot.opening = slot.hold, None, 0.0
                if hold is not None:  # else: a check-out that failed on its way to the caller
                    returned = monotonic()
                    if hold.proxy() is None:
                        how = GC
                    else:
                        how = INVALIDATE if record.dbapi_connection is None else CLOSE
                    hold.proxy = _returned
                    hold.returned, hold.how = returned, how
                    if live.pop(hold, None) is not None:  # else: taken by the parent of this process
                        request = hold.request
                        label = None if request is None else request.label
                        # `followed` is read after `returned` is set: see `Tally._check_outs`.
                        if hold.followed or how is GC or (label is None and request is not None):
                            end(hold)
                        else:
                            place = (slot.pool, hold.stack, label)
                            (lasted.get(place) or times_of(place)).extend(
                                (returned - hold.taken, hold.waited)
                            )
                    book.mark[0] = not live
            except Exception as error:
                fault("check-in", error)
            return original(pool, record)

        return _return_conn

    def _create_connection(self, original: Any) -> Any:
        """Pool._create_connection: opens a connection for the caller who got past the queue."""
        fault = self._book.fault

        def _create_connection(pool: Any) -> Any:
            began = monotonic()
            record = original(pool)
            try:
                self._slot(record).opening = monotonic() - began
            except Exception as error:
                fault("new record", error)
            return record

        return _create_connection

    def _should_wrap_creator(self, original: Any) -> Any:
        """Pool._should_wrap_creator: it returns what opens every connection, reconnects included."""
        book = self._book

        def _should_wrap_creator(pool: Any, creator: Any) -> Any:
            create = original(pool, creator)

            def open_connection(record: Any) -> Any:
                began = monotonic()
                connection = create(record)
                try:
                    took = monotonic() - began
                    slot = self._slot(record)
                    slot.server_pid = learn(slot.pool, connection)
                    slot.inherited = False  # a reconnect: this one is our own
                    if not is_lent(connection):
                        book.opened.append((slot.pool, took))
                except Exception as error:
                    book.fault("opening a connection", error)
                return connection

            return open_connection

        return _should_wrap_creator

    def _recreate(self, original: Any) -> Any:
        """Pool.recreate, which `Engine.dispose()` calls: the new pool goes on with the old one's counters."""

        def recreate(pool: Any) -> Any:
            new = original(pool)
            try:
                state = self._state(pool)
                new.__dict__["_rushhour_state"] = state
                if not is_merged(state):
                    state.pool = weakref.ref(new)
            except Exception as error:
                self._book.fault("recreate", error)
            return new

        return recreate

    def _engine_init(self, original: Any) -> Any:
        """Engine.__init__(pool, dialect, url): a pool is known, with its address, before it is first used."""

        find_stack = self._find_stack

        def made(engine: Any) -> None:
            try:
                address = address_of(engine.url)
                state = made_at(self._book, engine.pool, address, find_stack(2))
                if state.address == (None, None, None):
                    state.address = address
                self._on_pool()
            except Exception as error:
                self._book.fault("engine", error)

        return with_signature_of(original, made)

    def _detach(self, connection: Any, record: Any) -> None:
        """Comes when the record is back in the pool already; another thread may have taken it.

        Under asyncio SQLAlchemy detaches also what garbage collection finds, through a proxy made for it: the
        caller's own proxy is gone then, as it never is while its `detach()` runs.
        """
        del connection
        try:
            slot: Slot = record._rushhour_slot
            hold = slot.hold
            if hold is not None:
                proxy = hold.proxy()
                if proxy is None or proxy._connection_record is None:
                    slot.hold, slot.opening = None, 0.0
                    self._book.came_back(hold, monotonic(), GC if proxy is None else DETACH)
        except Exception as error:
            self._book.fault("detach", error)


def _numbers(version: str) -> tuple[int, ...]:
    """`2.1.0b1` -> (2, 1, 0)."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _superseded(book: Book, hold: Hold, proxy: Any) -> bool:
    """A record that comes out of the pool with a check-out on it.

    Either it is the same proxy again (one per thread in SingletonThreadPool): True. Or the record went back
    without a check-in, as it does in `detach()` before the event, or is shared (StaticPool): the old one
    ends.
    """
    before = hold.proxy()
    if before is proxy:
        return True
    book.came_back(hold, monotonic(), GC if before is None else DETACH)
    return False


def _subclasses(base: type[Any]) -> list[type[Any]]:
    direct: list[type[Any]] = base.__subclasses__()
    return direct + [deeper for kind in direct for deeper in _subclasses(kind)]


def _returned() -> None:
    """In the place of a weak reference, which must not live longer here than it does in SQLAlchemy."""
