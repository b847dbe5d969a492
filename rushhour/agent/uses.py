"""Tracks the holders of a connection other than the owner that took it: users and session makers.

A connection may be handed on: it is taken in a thread of an executor and used by whoever waits for that, or
a session is made in one place and first used, and so connected, in another.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from .book import Book, monotonic
from .frames import local_of
from .owners import Owner
from .patches import Patches

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import ContextVar
    from types import FrameType, ModuleType

    from .book import Request

ORM = "sqlalchemy.orm"
_COLLECTIONS = "sqlalchemy.util._collections"  # has the registries of sessions
_MAKER_FRAMES = 6  # of sessionmaker, of a class of the service's own, of the registry
USER, MAKER, ASKER = "user", "maker", "asker"
HELPER = "helper"  # a user in the same request
GIVEN = "given"  # a thread that was started with it among its arguments
# A lock for each module that some thread imports at the moment; where Python keeps them elsewhere, one may.
_IMPORTING: Any = getattr(sys.modules.get("_frozen_importlib"), "_module_locks", ("unknown",))


class UsePatch(Patches):
    """Patches the start of statements and the creation of sessions, and removes the patches."""

    def __init__(self, book: Book, request: ContextVar[Request | None]) -> None:
        super().__init__()
        self._book = book
        self._request = request
        self._has_registry = False  # without one, no session is looked for in it

    def apply(self, module: ModuleType) -> None:
        """Patch `sqlalchemy` or `sqlalchemy.orm`, which was just imported."""
        from sqlalchemy import event  # noqa: PLC0415  # here it is imported already

        if module.__name__ == ORM:
            from sqlalchemy.util import ThreadLocalRegistry  # noqa: PLC0415  # as above

            session = module.Session
            self._wrap(ThreadLocalRegistry, "__init__", self._registry_init)
            self._wrap(session, "__init__", self._init)
            after_begin = self._after_begin()
            event.listen(session, "after_begin", after_begin)
            self._undo.append(lambda: event.remove(session, "after_begin", after_begin))
        else:
            from sqlalchemy.pool.base import _ConnectionFairy  # noqa: PLC0415  # as above

            self._wrap(_ConnectionFairy, "cursor", self._cursor)

    def _cursor(self, original: Any) -> Any:
        """The proxy's `cursor`: every statement begins with it."""
        owner_of, request, fault, book = self._book.owner_of, self._request, self._book.fault, self._book

        def cursor(proxy: Any, *arguments: Any, **options: Any) -> Any:
            try:
                slot: Any = getattr(proxy._connection_record, "_rushhour_slot", None)  # None: detached
                hold = None if slot is None else slot.hold
                if hold is not None:
                    owner = owner_of()
                    owner.newest = hold
                    hold.used = monotonic()
                    if slot.inherited and hold.taken < book.forked:
                        slot.pool.kept_uses += 1
                    if owner is not hold.owner:
                        add_holder(hold, USER, owner)
                        if hold.request is not None and request.get() is hold.request:
                            add_holder(hold, HELPER, owner)
            except Exception as error:
                fault("use", error)
            return original(proxy, *arguments, **options)

        return cursor

    def _registry_init(self, original: Any) -> Any:
        """ThreadLocalRegistry.__init__: from here on some sessions belong to a thread."""

        def __init__(registry: Any, *arguments: Any, **options: Any) -> None:  # noqa: N807  # stands in for it
            self._has_registry = True
            original(registry, *arguments, **options)

        return __init__

    def _init(self, original: Any) -> Any:
        """Session.__init__: whoever makes a session has in hands what it takes, wherever it is first used."""
        owner_of, fault = self._book.owner_of, self._book.fault

        def __init__(session: Any, *arguments: Any, **options: Any) -> None:  # noqa: N807  # stands in for it
            original(session, *arguments, **options)
            try:
                # An attribute, not an entry of `__dict__`: to ask an object for that makes CPython keep its
                # attributes in a dictionary from then on, and each later access slower.
                if not _IMPORTING or not _at_import():  # to look at frames would cost ten times the rest
                    session._rushhour_maker = owner_of()
                if self._has_registry and _in_registry():
                    session._rushhour_scoped = True
            except Exception as error:
                fault("new session", error)

        __init__.__wrapped__ = original  # type: ignore[attr-defined]  # for inspect.signature
        return __init__

    def _after_begin(self) -> Callable[[Any, Any, Any], None]:
        """The listener to a session that has taken a connection: the session knows who made it."""
        fault = self._book.fault

        def after_begin(session: Any, _transaction: Any, connection: Any) -> None:
            try:
                maker = getattr(session, "_rushhour_maker", None)
                is_known = type(maker) is Owner
                scoped = (self._has_registry and getattr(session, "_rushhour_scoped", None) is True) or None
                if not is_known and not scoped:
                    return
                record = getattr(connection._dbapi_connection, "_connection_record", None)
                hold = None if record is None else record._rushhour_slot.hold
                if hold is None:
                    return
                hold.scoped = scoped
                if not is_known:
                    return
                if hold.owner is maker:
                    hold.made_here = True
                else:
                    add_holder(hold, MAKER, maker)
            except Exception as error:
                fault("session begin", error)

        return after_begin


def add_holder(hold: Any, why: str, owner: Any) -> None:
    """Add another holder to a connection."""
    if hold.others is None:
        hold.others = {}
    hold.others[why] = owner


def _in_registry() -> bool:
    """Return whether the session that is made now is one for its thread (`scoped_session`)."""
    frame: FrameType | None = sys._getframe(2)
    for _ in range(_MAKER_FRAMES):
        if frame is None:
            return False
        if frame.f_code.co_name == "__call__" and frame.f_globals.get("__name__") == _COLLECTIONS:
            return type(local_of(frame, "self")).__name__ == "ThreadLocalRegistry"
        frame = frame.f_back
    return False


def _at_import() -> bool:
    """Made while a module is imported: by nobody who would close it. A script's own lines are no import."""
    frame = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__", "").startswith("sqlalchemy."):
        frame = frame.f_back  # type: ignore[assignment]  # sessionmaker, AsyncSession
    if frame is None or frame.f_globals.get("__name__") == "__main__":
        return False
    return getattr(frame.f_globals.get("__spec__"), "_initializing", False) is True
