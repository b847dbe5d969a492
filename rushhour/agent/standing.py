"""Classifies what a stack is doing: in the driver, waiting for a connection, sending, or else.

Sampled ten times a second, for those threads, greenlets and tasks alone that hold a connection for a while:
it says what a hold is spent on, which neither the pool nor the server can.
"""

# pathlib would slow the start of every process of the service.
# ruff: noqa: PTH118, PTH120

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING

from .call_sites import APPLICATION, Classifier, Site, is_of
from .calls import called_at, receiver_of
from .frames import attributes_of, local_of
from .loop_servers import FILES, WRITERS, response_has_begun, writes_to_a_client

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import CodeType, FrameType

DRIVER, QUEUE, ELSEWHERE = "driver", "queue", "elsewhere"
_RESPONSES = ("resp", "self")  # of gunicorn; of waitress, gevent, wsgiref and cheroot
_BEGUN = ("started_response", "complete", "status")  # waitress has a status before
_EVENTLETS = "headers_set"  # a variable of eventlet's server: empty until the application starts its response
_MISSING = object()
_DBAPI = frozenset(
    (
        *("execute", "executemany", "fetchone", "fetchmany", "fetchall", "commit", "rollback", "callproc"),
        *("copy_expert", "copy_from", "copy_to"),
    )
)
_DRIVER_MODULES = frozenset(
    (
        *("psycopg2", "psycopg", "psycopg_c", "sqlalchemy", "MySQLdb", "pymysql", "mariadb", "sqlite3"),
        *("oracledb", "pyodbc"),
    )
)
_GENERATOR = 0x20  # inspect.CO_GENERATOR, which is not worth an import in every process
MAX_FRAMES = 120  # looked at; a request of a big application is about that deep

# What a source file is to a look.
_PLAIN, _APP, _QUEUE_FILE, _POOL_FILE, _SQL, _CURSOR, _ADAPTER, _AGENT, _DRIVER, _SERVER, _HANDS_ON = range(
    11
)
_LOOP_SERVER, _WRITER = 11, 12
_RESPONDING = (_SERVER, _LOOP_SERVER)

_SQLALCHEMYS = {
    _QUEUE_FILE: (os.path.join("sqlalchemy", "util", "queue.py"),),
    _POOL_FILE: (
        os.path.join("sqlalchemy", "pool") + os.sep,
    ),  # who holds a connection and is here, wants another
    _CURSOR: (os.path.join("sqlalchemy", "engine", "cursor.py"),),
    _ADAPTER: (
        os.path.join("sqlalchemy", "dialects") + os.sep,
        os.path.join("sqlalchemy", "connectors") + os.sep,
    ),
    _SQL: (),  # all others
}
_GIVING_BACK = frozenset({"_reset", "_finalize_fairy", "_checkin", "close", "checkin", "_return_conn"})
_CONNECT = os.path.join(os.path.dirname(__file__), "sqlalchemy_pools.py")  # its `connect` knows which pool
_DRIVERS = tuple(
    f"{os.sep}{name}{os.sep}"
    for name in (
        *("asyncpg", "psycopg", "psycopg2", "psycogreen", "pg8000", "oracledb", "aiosqlite"),
        *("pymysql", "MySQLdb", "aiomysql", "asyncmy", "mysql"),
    )
)
# Who serves stands here; beyond it nothing belongs to the request.
_SERVERS = (
    os.path.join("gunicorn", "workers") + os.sep,
    os.path.join("werkzeug", "serving.py"),
    os.path.join("waitress", "task.py"),
    os.path.join("wsgiref", "handlers.py"),
    os.path.join("gevent", "pywsgi.py"),
    os.path.join("eventlet", "wsgi.py"),
    f"{os.sep}socketserver.py",
    f"{os.sep}cheroot{os.sep}",
)
# A coroutine that hands its work to a thread stands here, and its thread does what there is to see.
_HANDING_ON = frozenset({"run_sync_in_worker_thread", "run_sync", "to_thread", "run_in_threadpool"})
_HAND_ON_FILES = (
    f"{os.sep}anyio{os.sep}",
    os.path.join("asyncio", "threads.py"),
    os.path.join("starlette", "concurrency.py"),
)
_SENDS = frozenset(
    {"sendall", "send", "_sendall", "write", "sendmsg", "write_soon", "flush", "drain", "sendto"}
)


class Standing:
    """What a stack is doing, and the application's innermost line."""

    __slots__ = (
        *("behind", "hands_on", "in_driver", "pool", "sends", "site", "streams", "unserved"),
        *("what", "yields"),
    )

    def __init__(self) -> None:
        self.what = ELSEWHERE
        self.site: Site | None = None
        self.pool: object = None  # in the queue: the pool, where it is known
        self.in_driver = False  # it went there past SQLAlchemy
        self.yields = False  # in the driver: it may be one that yields where it waits
        self.sends = False  # a server writes to a client, and no line of the application called it
        self.hands_on = False  # a thread works for it, and that thread is not known
        self.streams = False  # a server asks for the next part of a response
        self.unserved = False  # it waits until a thread is free to work for it
        self.behind: list[object] = []  # the pools in whose queues most of the threads of an executor wait


class Reader:
    """Reads stacks; the classification of files is cached."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._marks: dict[str, int] = {}

    def read(self, frames: Iterable[FrameType]) -> Standing:
        """Of frames innermost first.

        A driver may wait in a function of the application's that it calls back: that is the driver's wait
        still.
        """
        found = Standing()
        marks = self._marks
        innermost = True  # no frame of the application's or of SQLAlchemy's was seen yet
        inner: set[str] = set()  # functions that were seen until then
        called: CodeType | None = None  # what the frame calls
        for frame in islice(frames, MAX_FRAMES):
            code = frame.f_code
            file = code.co_filename
            mark = marks.get(file)
            if mark is None:
                mark = marks[file] = self._mark(file)
            found.streams |= mark in _RESPONDING and _streams(mark, frame, called)
            if mark == _PLAIN:
                if innermost:
                    inner.add(code.co_name)
            elif mark == _APP:
                if found.site is None:
                    absolute = self._classifier.absolute(file)
                    found.site = Site(absolute, frame.f_lineno or 0, code.co_name)
                    found.in_driver = called is None and _calls_a_driver(frame)
                    innermost = False
            elif mark == _AGENT:
                if found.what == QUEUE and found.pool is None and code.co_name == "connect":
                    found.pool = frame.f_locals.get("pool")
            elif mark in _SQLALCHEMYS:
                seen = _in_sqlalchemy(mark, code.co_name, innermost)
                if seen != ELSEWHERE and found.what == ELSEWHERE:
                    found.what, found.site, found.yields = seen, None, mark == _ADAPTER
                innermost = False
            elif innermost and _ends(found, mark, frame, inner):
                break
            called = code
        if found.in_driver and found.what == ELSEWHERE:
            found.what, found.yields = DRIVER, True
        return found

    def serves(self, frames: Iterable[FrameType]) -> bool:
        """Return whether a stack belongs to a thread of a server, or to one that works for its requests."""
        files = {frame.f_code.co_filename for frame in islice(frames, MAX_FRAMES)}
        return any(self._mark(file) in (_SERVER, _HANDS_ON) for file in files)

    def _mark(self, file: str) -> int:
        if is_of("sqlalchemy", file):
            return next(
                (mark for mark, ends in _SQLALCHEMYS.items() if any(end in file for end in ends)), _SQL
            )
        if file == _CONNECT:
            return _AGENT
        if self._classifier.kind(file) == APPLICATION:
            return _APP
        others = {
            _SERVER: _SERVERS,
            _LOOP_SERVER: FILES,
            _WRITER: WRITERS,
            _HANDS_ON: _HAND_ON_FILES,
            _DRIVER: _DRIVERS,
        }
        return next((mark for mark, ends in others.items() if any(end in file for end in ends)), _PLAIN)


def _calls_a_driver(frame: FrameType) -> bool:
    """Whether the service itself calls a driver that is written in C, and so has no frame."""
    if called_at(frame.f_code, frame.f_lasti) not in _DBAPI:
        return False
    module = str(type(receiver_of(frame)).__module__)
    return module.partition(".")[0] in _DRIVER_MODULES


def _streams(mark: int, server: FrameType, called: CodeType | None) -> bool:
    """Whether a server is at a response that has begun and is being made."""
    if mark == _LOOP_SERVER:
        return response_has_begun(server)
    return _is_part(called) and _has_begun(server)


def _has_begun(server: FrameType) -> bool:
    """Whether the response has begun, as the server's own object says; True where that is not known.

    A WSGI application that is itself a generator runs within the first part, before it has begun anything.
    """
    begun = local_of(server, _EVENTLETS)
    if type(begun) is list:
        return bool(begun)
    for name in _RESPONSES:
        found = local_of(server, name)
        if found is None:
            continue
        for mark in _BEGUN:
            value = attributes_of(found).get(mark, getattr(type(found), mark, _MISSING))
            if value is not _MISSING:
                return bool(value)
    return True


def _is_part(code: CodeType | None) -> bool:
    """Whether it makes a response part by part: a generator, or an iterator of a framework's around it."""
    return code is not None and (bool(code.co_flags & _GENERATOR) or code.co_name == "__next__")


def _ends(found: Standing, mark: int, frame: FrameType, inner: set[str]) -> bool:
    """What a library's frame says where nothing further in says more; whether the stack ends here."""
    function = frame.f_code.co_name
    if mark == _DRIVER:
        found.in_driver = True
    elif mark == _WRITER:
        found.sends = function in _SENDS and writes_to_a_client(frame)
    elif mark == _HANDS_ON:
        found.hands_on = found.hands_on or function in _HANDING_ON
    elif mark == _SERVER:
        inner.add(function)
        found.sends = not _SENDS.isdisjoint(inner)
        return found.sends
    return False


def _in_sqlalchemy(mark: int, function: str, innermost: bool) -> str:
    """`innermost`: no frame of SQLAlchemy's or of the application's was seen further in."""
    if mark == _QUEUE_FILE or function == "do_ping":
        return QUEUE
    if function.startswith("do_"):
        return DRIVER
    if mark == _POOL_FILE:
        return QUEUE if function not in _GIVING_BACK else ELSEWHERE
    if innermost and (mark == _ADAPTER or (mark == _CURSOR and "fetch" in function)):
        return DRIVER  # rows that are read as they are wanted
    return ELSEWHERE
