"""Reads addresses, backend pids and signatures from SQLAlchemy's engines and connections, without SQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .book import PoolState

_LENT = ("PoolConnectionProxy",)  # asyncpg's
_PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306}


def learn(state: PoolState, connection: Any) -> int | None:
    """The pid of the server's backend, and the pool's address, as the driver knows them without SQL.

    psycopg, psycopg2 and asyncpg know it, also below SQLAlchemy's adapted connection; of others it is not
    seen.
    """
    driver = getattr(connection, "driver_connection", None)  # of an adapted connection: the real one
    for candidate in (connection, driver, getattr(driver, "raw", None)):  # `raw`: aiopg wraps psycopg2's
        info = getattr(candidate, "info", None)
        pid = getattr(info, "backend_pid", None)
        if isinstance(pid, int):
            state.address = (info.host, info.port, info.dbname)  # type: ignore[union-attr]  # it has backend_pid
            return pid
        for name in ("get_server_pid", "get_backend_pid"):  # asyncpg; psycopg2's other name for it
            ask = getattr(candidate, name, None)
            pid = ask() if ask is not None else None
            if isinstance(pid, int):
                return pid
    return None


def is_lent(connection: Any) -> bool:
    """Return whether a connection comes out of a pool of the driver's: it was waited for, and not opened."""
    driver = getattr(connection, "driver_connection", None) or getattr(connection, "_connection", None)
    for candidate in (connection, driver):
        pool = getattr(candidate, "_pool", None)  # psycopg_pool notes itself there
        if type(pool).__module__.startswith("psycopg_pool.") or type(candidate).__name__ in _LENT:
            return True
    return False


def address_of(url: Any) -> tuple[str | None, int | None, str | None]:
    """Host, port and database of a URL; with the port that the driver will take where none is named.

    Else the pool would be called otherwise before its first connection than after it.
    """
    port = url.port or (_PORTS.get(url.get_backend_name()) if url.host else None)
    return (url.host, port, url.database)


def with_signature_of(original: Any, after: Callable[[Any], None]) -> Any:
    """Return a function with the parameters of `original` that calls it, and then `after(self)`.

    `create_engine` reads the parameters' names off it, to tell which of its options are the engine's.
    """
    code = original.__code__
    names = code.co_varnames[: code.co_argcount]
    only = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    parameters = [*names, *(["*", *only] if only else [])]
    arguments = [*names, *(f"{name}={name}" for name in only)]
    source = (
        f"def __init__({', '.join(parameters)}):\n original({', '.join(arguments)})\n after({names[0]})\n"
    )
    made: dict[str, Any] = {"original": original, "after": after}
    exec(source, made)  # noqa: S102  # of nothing but names that Python itself has parsed
    function = made["__init__"]
    function.__defaults__, function.__kwdefaults__ = original.__defaults__, original.__kwdefaults__
    return function
