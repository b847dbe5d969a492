"""Releases differ in where lists are read from and in what becomes of the session, and in nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import Pool, QueuePool, text

from app import create_app
from app.config import Config
from app.connectors import Connectors
from app.releases import NEWEST, RELEASES


@pytest.fixture(params=["1.0", "1.1", "1.1.1"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Flask]:
    """The service on two SQLite files, whose pools are the same kind as PostgreSQL's."""
    app = create_app(
        Config(
            primary_url=f"sqlite:///{tmp_path / 'primary.db'}",
            replica_url=f"sqlite:///{tmp_path / 'replica.db'}",
            secret="for tests",
            release=request.param,
        )
    )
    app.extensions["release"] = request.param
    yield app
    connectors = Connectors.of(app)
    for connector in (connectors.primary, connectors.replica):
        connector.release()
        connector.engine.dispose()


def held(pool: Pool) -> int:
    assert isinstance(pool, QueuePool)
    return pool.checkedout()


def use(app: Flask, name: str) -> tuple[int, int]:
    """Read through one connector as a request does: connections out afterwards, of primary and replica."""
    connectors = Connectors.of(app)
    with app.app_context():
        getattr(connectors, name).session.execute(text("SELECT 1"))
    return held(connectors.primary.engine.pool), held(connectors.replica.engine.pool)


def test_where_lists_are_read_from(app: Flask) -> None:
    connectors = Connectors.of(app)
    expected = connectors.primary if app.extensions["release"] == "1.0" else connectors.replica
    assert connectors.referrals is expected


def test_what_is_out_after_a_list(app: Flask) -> None:
    expected = (0, 1) if app.extensions["release"] == "1.1" else (0, 0)
    assert use(app, "referrals") == expected
    assert use(app, "referrals") == expected  # the same thread goes on with the session it has


def test_the_primarys_session_is_released_in_every_release(app: Flask) -> None:
    assert use(app, "primary") == (0, 0)


def test_everything_else_is_the_same(app: Flask, tmp_path: Path) -> None:
    newest = create_app(
        Config(f"sqlite:///{tmp_path / 'a.db'}", f"sqlite:///{tmp_path / 'b.db'}", secret="for tests")
    )
    assert sorted(map(repr, app.url_map.iter_rules())) == sorted(map(repr, newest.url_map.iter_rules()))


def test_the_newest_comes_last() -> None:
    assert list(RELEASES) == ["1.0", "1.1", "1.1.1"]
    assert NEWEST == "1.1.1"
