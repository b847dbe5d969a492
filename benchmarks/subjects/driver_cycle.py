"""Takes a connection from a pool and gives it back, over a driver and in a kind of worker, whenever asked.

First argument: SQLAlchemy's URL. Second: where the cycles run, as in a worker of that kind: `sync`,
`gthread`, `gevent` or `asyncio`. Third: the agent's directory. Answers each line: `in` and `out`, which put
the agent there and take it out, with a word; a number of cycles with microseconds of CPU per cycle, of the
whole process, so that what another thread does for a cycle counts.
"""

import asyncio
import importlib
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

WARM_UP = 300  # cycles: caches, specialised bytecode
TICK_S = 0.11  # the agent counts ten times a second; a block ends when it has counted it


def main(url: str, kind: str, directory: str) -> None:
    if kind == "gevent":
        importlib.import_module("gevent.monkey").patch_all()
    cycle, renew = asyncio_cycles(url) if kind == "asyncio" else cycles(url, kind)
    agents = importlib.import_module("benchmarks.subjects.switched_agent")
    agent = agents.Agent(directory, renew, importlib.import_module("sqlalchemy"))
    switches = {"in": agent.go_in, "out": agent.go_out}
    cycle(WARM_UP)
    print("ready", flush=True)
    for line in sys.stdin:
        word = line.strip()
        if word in switches:
            switches[word]()
            cycle(WARM_UP)
            time.sleep(TICK_S)
            print(word, flush=True)
            continue
        began_s, count = time.process_time(), int(word)
        cycle(count)
        time.sleep(TICK_S)
        print((time.process_time() - began_s) / count * 1e6, flush=True)


Cycles = tuple[Callable[[int], None], Callable[[], None]]  # run so many; make the connections anew


def cycles(url: str, kind: str) -> Cycles:
    sqlalchemy = importlib.import_module("sqlalchemy")
    pools = importlib.import_module("sqlalchemy.pool")
    engine = sqlalchemy.create_engine(url, poolclass=pools.QueuePool, pool_size=5)

    def work(count: int) -> None:
        for _ in range(count):
            engine.raw_connection().close()

    if kind == "gthread":
        threads = ThreadPoolExecutor(1)
        return (  # SQLite's connections are closed in the thread that opened them
            lambda count: threads.submit(work, count).result(),
            lambda: threads.submit(engine.dispose).result(),
        )
    if kind == "gevent":
        gevent = importlib.import_module("gevent")
        return lambda count: gevent.spawn(work, count).get(), engine.dispose
    return work, engine.dispose


def second_thread() -> None:
    """Start a thread that waits, as an executor's does once it has resolved a name or run a function.

    Without it the agent's would be the only second one, and would be charged for what any second one costs.
    """
    threading.Thread(target=threading.Event().wait, daemon=True).start()


def stay_on_one_core() -> None:
    """Keep this process on one core, so that what it does is measured, and not where its threads last ran.

    SQLAlchemy's greenlets unmap memory in each cycle, which takes longer once a thread of the process has run
    on another core: on a virtual machine a cycle took 44 us or 130 us, for seconds on end. A thread that only
    woke ten times a second brought that about as often as the agent's did.
    """
    if sys.platform == "linux":
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def asyncio_cycles(url: str) -> Cycles:
    asynchronous = importlib.import_module("sqlalchemy.ext.asyncio")
    engine = asynchronous.create_async_engine(url, pool_size=5)
    loop = asyncio.new_event_loop()
    stay_on_one_core()
    second_thread()

    async def work(count: int) -> None:
        for _ in range(count):
            async with engine.connect():
                pass

    return (
        lambda count: loop.run_until_complete(work(count)),
        lambda: loop.run_until_complete(engine.dispose()),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
