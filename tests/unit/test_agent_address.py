"""The address of a pool that has not connected yet."""

from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from rushhour.agent.book import PoolState
from rushhour.agent.engines import address_of, learn


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("postgresql+psycopg2://u:p@db/shop", ("db", 5432, "shop")),  # as the driver will say once connected
        ("postgresql+asyncpg://u@db:6432/shop", ("db", 6432, "shop")),
        ("mysql+pymysql://u@db/shop", ("db", 3306, "shop")),
        ("sqlite:///shop.db", (None, None, "shop.db")),
        ("postgresql:///shop", (None, None, "shop")),  # by a socket
        ("firebird://db/shop", ("db", None, "shop")),
    ],
)
def test_a_port_that_is_not_named_is_the_drivers(
    url: str, address: tuple[str | None, int | None, str | None]
) -> None:
    assert address_of(make_url(url)) == address


INFO = SimpleNamespace(backend_pid=4711, host="db", port=5432, dbname="shop")


@pytest.mark.parametrize(
    ("connection", "pid", "address"),
    [
        (SimpleNamespace(info=INFO), 4711, ("db", 5432, "shop")),  # psycopg, psycopg2
        (
            SimpleNamespace(driver_connection=SimpleNamespace(info=INFO)),
            4711,
            ("db", 5432, "shop"),
        ),  # adapted
        (
            SimpleNamespace(driver_connection=SimpleNamespace(get_server_pid=lambda: 4712)),  # asyncpg
            4712,
            (None, None, None),
        ),
        (
            SimpleNamespace(driver_connection=SimpleNamespace(raw=SimpleNamespace(info=INFO))),  # aiopg
            4711,
            ("db", 5432, "shop"),
        ),
        (SimpleNamespace(get_backend_pid=lambda: 4713), 4713, (None, None, None)),
        (SimpleNamespace(info={"any": "thing"}, get_server_pid=lambda: None), None, (None, None, None)),
        (SimpleNamespace(), None, (None, None, None)),  # not seen
    ],
)
def test_the_pid_of_a_connections_backend_as_its_driver_knows_it(
    connection: Any, pid: int | None, address: tuple[str | None, int | None, str | None]
) -> None:
    state = PoolState(1, create_engine("sqlite://", poolclass=NullPool).pool)
    assert (learn(state, connection), state.address) == (pid, address)
