"""Customers who think and hold connections by sleeping, on SQLAlchemy's own pool; prints what came of it.

    python -m benchmarks.subjects.sleeping_customers SIZE OVERFLOW TIMEOUT_S THREADS CUSTOMERS SECONDS

They need next to no CPU, so that a busy machine disturbs them little.
"""

import json
import random
import sys
import threading
import time
from typing import Any

from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

WARM_UP_S = 3.0
HOLD_S = 0.4
ASKS = 0.36  # of the requests ask for a connection


class NoConnection:
    """A connection to nothing."""

    def rollback(self) -> None:
        pass

    def close(self) -> None:
        pass

    def cursor(self) -> None:
        pass


class Customers:
    """All customers of a process, and what they saw after the warm-up."""

    def __init__(self, pool: QueuePool, threads: int, timeout_s: float, seconds: float) -> None:
        self.pool = pool
        self.threads = threading.Semaphore(threads)
        self.timeout_s = timeout_s
        self.counts_from_s = time.monotonic() + WARM_UP_S
        self.end_s = self.counts_from_s + seconds
        self.waits_s: list[float] = []
        self.holds_s: list[float] = []
        self.answers_s: list[float] = []
        self.timeouts = 0

    def act(self, number: int) -> None:
        """Think, ask, wait and think again, until the end."""
        dice = random.Random(number)  # noqa: S311 - not a secret
        time.sleep(dice.random())
        while (sent_s := time.monotonic()) < self.end_s:
            counts = sent_s >= self.counts_from_s
            with self.threads:
                if dice.random() < ASKS:
                    self._hold(dice, counts)
            if counts:
                self.answers_s.append(time.monotonic() - sent_s)
            time.sleep(dice.lognormvariate(0.0, 0.6) * 0.9)

    def _hold(self, dice: random.Random, counts: bool) -> None:
        asked_s = time.monotonic()
        try:
            connection = self.pool.connect()
        except PoolTimeoutError:
            self.timeouts += counts
            return
        taken_s = time.monotonic()
        time.sleep(HOLD_S + dice.expovariate(100))
        connection.close()
        if counts:
            self.waits_s.append(taken_s - asked_s)
            self.holds_s.append(time.monotonic() - taken_s)


def main(arguments: list[str]) -> int:
    """Run the customers, and print a line of JSON."""
    size, overflow, threads, customers = (int(arguments[at]) for at in (0, 1, 3, 4))
    timeout_s, seconds = float(arguments[2]), float(arguments[5])
    nothing: Any = NoConnection
    pool = QueuePool(nothing, pool_size=size, max_overflow=overflow, timeout=timeout_s, reset_on_return=None)
    all_of_them = Customers(pool, threads, timeout_s, seconds)
    running = [threading.Thread(target=all_of_them.act, args=(at,), daemon=True) for at in range(customers)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(max(0.0, all_of_them.end_s + 2 * timeout_s + HOLD_S - time.monotonic()))
    print(
        json.dumps(
            {
                "waits_s": all_of_them.waits_s,
                "holds_s": all_of_them.holds_s,
                "answers_s": all_of_them.answers_s,
                "timeouts": all_of_them.timeouts,
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
