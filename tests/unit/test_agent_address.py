"""The address of a pool that has not connected yet."""

import pytest
from sqlalchemy.engine import make_url

from rushhour.agent.engines import address_of


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
