"""The log counter on what Flask and SQLAlchemy really write."""

import logging
from pathlib import Path

from flask import Flask
from sqlalchemy import create_engine, text
from sqlalchemy.pool import QueuePool

from rushhour.observe.logs import LogCount, LogWatcher


def test_each_failed_request_counts_once_however_its_error_was_wrapped(tmp_path: Path) -> None:
    engine = create_engine(
        "sqlite://",
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        pool_timeout=0.01,
        connect_args={"check_same_thread": False},
    )
    another = create_engine("sqlite://")
    app = Flask("service")
    handler = logging.FileHandler(tmp_path / "service.log")
    app.logger.addHandler(handler)

    @app.get("/direct")
    def direct() -> str:
        with engine.connect():
            return "ok"

    @app.get("/wrapped")
    def wrapped() -> str:
        try:
            return direct()
        except Exception as error:
            raise RuntimeError(f"no connection: {error}") from error

    @app.get("/other")
    def other() -> str:
        with another.connect() as connection:
            return str(connection.execute(text("SELECT * FROM missing")).all())

    logs = LogWatcher(tmp_path)
    with engine.connect():  # the only one there is
        client = app.test_client()
        statuses = [client.get(path).status_code for path in ("/direct", "/wrapped", "/other", "/direct")]
    handler.close()
    app.logger.removeHandler(handler)
    engine.dispose()
    another.dispose()
    assert statuses == [500] * 4
    assert (tmp_path / "service.log").read_text().count("QueuePool limit of size 1 overflow 0 reached") > 3
    assert logs.poll() == [LogCount("service", queuepool_timeouts=3, errors=1)]
