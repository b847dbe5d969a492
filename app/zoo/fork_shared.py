"""Connections that are opened before the fork, and then used by every process.

The class: the application is loaded once and forked (gunicorn's `--preload`, uWSGI without `lazy-apps`,
multiprocessing), and something used its engine before: a warm-up, a migration check, a table reflected at
import. Parent and children now write to the same sockets, and read each other's answers.

Cured: each child forgets the inherited connections, without closing them, before it uses the engine.
"""

import os
from contextlib import ExitStack

from flask import Flask
from sqlalchemy import text

from app.config import Config
from app.connectors import Connectors


def install(_app: Flask, connectors: Connectors, config: Config) -> None:
    """Warm the pools, so that the first customers need not wait for connections."""
    for connector in (connectors.primary, connectors.replica):
        with ExitStack() as exits:
            for _ in range(config.pool_size):
                exits.enter_context(connector.engine.connect()).execute(text("SELECT 1"))
        if config.cured:
            engine = connector.engine
            os.register_at_fork(after_in_child=lambda engine=engine: engine.dispose(close=False))
