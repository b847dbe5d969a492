"""Connections that come out of a pool of the driver's, below SQLAlchemy's."""

import pytest

from rushhour.agent.engines import is_lent


class Pool:
    """psycopg's own pool."""


Pool.__module__ = "psycopg_pool.pool"


class Connection:
    """One of psycopg's, which its pool notes itself in."""

    def __init__(self, pool: object = None) -> None:
        self._pool = pool


class PoolConnectionProxy:
    """One that asyncpg's pool has lent."""


class Adapted:
    """As SQLAlchemy wraps a driver's connection for asyncio."""

    def __init__(self, driver_connection: object) -> None:
        self.driver_connection = driver_connection


@pytest.mark.parametrize(
    ("connection", "lent"),
    [
        (Connection(Pool()), True),
        (Adapted(PoolConnectionProxy()), True),
        (Connection(), False),
        (Adapted(Connection()), False),
        (object(), False),
    ],
)
def test_a_connection_of_another_pool_was_waited_for_and_not_opened(connection: object, lent: bool) -> None:
    assert is_lent(connection) is lent
