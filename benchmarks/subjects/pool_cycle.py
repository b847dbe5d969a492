"""Takes a connection from a pool and gives it back, many times, whenever a line comes on stdin.

First argument: `plain` (also with the agent, which comes by environment), `echo` (echo_pool="debug") or
`otel`. Second: `raw`, the pool alone, or `session`, a query in an ORM session, as in a service.
Imports nothing of rushhour: it runs in an environment with SQLAlchemy 2.0 too. Answers each line, a number of
cycles, with microseconds of CPU per cycle: of the whole process, so that work which another thread does for a
cycle counts.
"""

import importlib
import logging
import os
import sys
import time
from collections.abc import Callable

from sqlalchemy import create_engine, text
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

Work = Callable[[Engine, int], None]

QUERY = text("select 1")
SETTLE_S = 0.25  # for what is done later: the agent counts ten times a second


def make_engine(variant: str) -> Engine:
    """An engine on SQLite in memory, whose connections cost least, so that what is measured is the pool."""
    if variant == "echo":  # written as a service does that logs to a file
        logging.getLogger("sqlalchemy.pool.impl.QueuePool").addHandler(logging.FileHandler(os.devnull))
    engine = create_engine(
        "sqlite://",
        poolclass=QueuePool,
        pool_size=5,
        echo_pool="debug" if variant == "echo" else None,
    )
    if variant == "otel":
        # Installed in that variant's own environment alone.
        instrumentation = importlib.import_module("opentelemetry.instrumentation.sqlalchemy")
        instrumentation.SQLAlchemyInstrumentor().instrument(engine=engine)
    return engine


def raw(engine: Engine, cycles: int) -> None:
    for _ in range(cycles):
        engine.raw_connection().close()


def session(engine: Engine, cycles: int) -> None:
    for _ in range(cycles):
        with Session(engine) as one:
            one.execute(QUERY)


def measure(engine: Engine, work: Work, cycles: int) -> float:
    """CPU microseconds per cycle; the work is a few frames deep in the application, as in a service."""
    began_s = time.process_time()
    work(engine, cycles)
    time.sleep(SETTLE_S)
    return (time.process_time() - began_s) / cycles * 1e6


def main(variant: str, kind: str) -> None:
    engine, work = make_engine(variant), {"raw": raw, "session": session}[kind]
    measure(engine, work, 1000)  # warm up: caches, specialised bytecode
    print("ready", flush=True)
    for line in sys.stdin:
        print(measure(engine, work, int(line)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
