"""Takes a connection from a pool and gives it back, many times, whenever a line comes on stdin.

Argument: `plain` (also with the agent, which comes by environment), `echo` (echo_pool="debug") or `otel`.
Imports nothing of rushhour: it runs in an environment with SQLAlchemy 2.0 too. Answers each line, a number of
cycles, with microseconds of CPU per cycle: of the whole process, so that work which another thread does for a
cycle counts.
"""

import importlib
import logging
import os
import sys
import time

from sqlalchemy import create_engine
from sqlalchemy.engine import Engine
from sqlalchemy.pool import QueuePool

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


def view(engine: Engine, cycles: int) -> None:
    """The application's innermost frame; a few more of the application are below it, as in a service."""
    for _ in range(cycles):
        engine.connect().close()


def service(engine: Engine, cycles: int) -> None:
    view(engine, cycles)


def measure(engine: Engine, cycles: int) -> float:
    """CPU microseconds per cycle."""
    began_s = time.process_time()
    service(engine, cycles)
    time.sleep(SETTLE_S)
    return (time.process_time() - began_s) / cycles * 1e6


def main(variant: str) -> None:
    engine = make_engine(variant)
    measure(engine, 1000)  # warm up: caches, specialised bytecode
    print("ready", flush=True)
    for line in sys.stdin:
        print(measure(engine, int(line)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
