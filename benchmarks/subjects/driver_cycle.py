"""Takes a connection from a pool and gives it back, over a driver and in a kind of worker, whenever asked.

First argument: SQLAlchemy's URL. Second: where the cycles run, as in a worker of that kind: `sync`,
`gthread`, `gevent` or `asyncio`. Imports nothing of rushhour: it runs in environments of its own. Answers
each line, a number of cycles, with microseconds of CPU per cycle.
"""

import asyncio
import importlib
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

SETTLE_S = 0.25  # for what is done later: the agent counts ten times a second


def main(url: str, kind: str) -> None:
    if kind == "gevent":
        importlib.import_module("gevent.monkey").patch_all()
    cycle = asyncio_cycles(url) if kind == "asyncio" else cycles(url, kind)
    cycle(500)  # warm up: caches, specialised bytecode
    print("ready", flush=True)
    for line in sys.stdin:
        began_s, count = time.process_time(), int(line)
        cycle(count)
        time.sleep(SETTLE_S)
        print((time.process_time() - began_s) / count * 1e6, flush=True)


def cycles(url: str, kind: str) -> Callable[[int], None]:
    sqlalchemy = importlib.import_module("sqlalchemy")
    pools = importlib.import_module("sqlalchemy.pool")
    engine = sqlalchemy.create_engine(url, poolclass=pools.QueuePool, pool_size=5)

    def work(count: int) -> None:
        for _ in range(count):
            engine.raw_connection().close()

    if kind == "gthread":
        threads = ThreadPoolExecutor(1)
        return lambda count: threads.submit(work, count).result()
    if kind == "gevent":
        gevent = importlib.import_module("gevent")
        return lambda count: gevent.spawn(work, count).get()
    return work


def asyncio_cycles(url: str) -> Callable[[int], None]:
    asynchronous = importlib.import_module("sqlalchemy.ext.asyncio")
    engine = asynchronous.create_async_engine(url, pool_size=5)
    loop = asyncio.new_event_loop()

    async def work(count: int) -> None:
        for _ in range(count):
            async with engine.connect():
                pass

    return lambda count: loop.run_until_complete(work(count))


if __name__ == "__main__":
    main(*sys.argv[1:])
