"""A Flask application of which each request leaks a connection: as many as the first argument says.

The driver is none: connections cost nothing, so that what is measured is the agent. Answers each line, a
number of seconds, with the CPU seconds that the idle process used in that time: those of the agent's thread.
"""

import sys
import time
from typing import Any

from flask import Flask
from sqlalchemy.pool import QueuePool


class Connection:
    """As much of a DB-API connection as a pool needs."""

    def rollback(self) -> None:
        """Nothing to undo."""

    def close(self) -> None:
        """Nothing to close."""


app = Flask(__name__)
kept: list[Any] = []


def main(count: int) -> None:
    creator: Any = Connection  # it has what a pool needs, not all of DB-API
    pool = QueuePool(creator, pool_size=max(1, count))

    @app.get("/leak/<int:number>")
    def leak(number: int) -> str:
        kept.append(pool.connect())
        return str(number)

    pool.connect().close()
    client = app.test_client()
    for number in range(count):
        client.get(f"/leak/{number}")
    print("ready", flush=True)
    for line in sys.stdin:
        began_s = time.process_time()
        time.sleep(float(line))
        print(time.process_time() - began_s, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
