"""More connections than the server takes: processes times pool above `max_connections`.

The class: the pool is sized for one process, and a release raises the number of workers (or replicas, or
engines per process). Pools that fill themselves at the start, as many do, take all that the server has; the
last processes get none, and answer errors although their own pool is nearly empty.

Cured: the server's connections are divided among the processes, so each pool is smaller (or a pooler stands
between). That is a setting, not code: the twin of this scenario has the smaller pool.
"""

from contextlib import ExitStack

from flask import Flask
from sqlalchemy.exc import OperationalError

from app.config import Config
from app.connectors import Connectors
from app.zoo import LIST
from app.zoo.saturation import slow_list

QUERY_S = 0.3  # each process needs several connections at once


def install(app: Flask, connectors: Connectors, config: Config) -> None:
    """Fill both pools at the start of the process, as far as the servers allow; the list's query is slow."""
    app.view_functions[LIST] = slow_list(connectors.referrals.engine, QUERY_S)
    for connector in (connectors.primary, connectors.replica):
        try:
            with ExitStack() as exits:
                for _ in range(config.pool_size):
                    exits.enter_context(connector.engine.connect())
        except OperationalError:
            app.logger.exception("the pool could not be filled at the start; going on with what there is")
