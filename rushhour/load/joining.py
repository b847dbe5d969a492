"""Lets workers join a master if they run the same code; they then count by the master's clock."""

# Locust's events and user classes carry no types.
# mypy: allow-untyped-calls, allow-untyped-decorators

import hashlib
import os
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from rushhour.load.machine import SPARE_FILES, raise_open_files, this_machine, worker_problems
from rushhour.load.messages import FIT, HELLO, JOIN, UNFIT, Join
from rushhour.load.names import ANCHOR_WALL_S
from rushhour.load.recorder import Clock, Tally

_DIGITS: Final = 12


def code_digest(locustfiles: Iterable[str | Path]) -> str:
    """Return a digest of the locustfiles and of rushhour's code in Locust, whatever their paths."""
    own = sorted(Path(__file__).parent.glob("*.py"))
    digest = hashlib.sha256()
    for path in (*sorted(Path(file) for file in locustfiles if Path(file).is_file()), *own):
        digest.update(f"\0{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:_DIGITS]


def locustfiles_of(environment: Environment) -> list[str]:
    """Return the locustfiles that this Locust was started with."""
    return [str(parsed) for parsed in getattr(environment, "parsed_locustfiles", None) or ()]


def invite(master: MasterRunner, clock: Clock, client_id: str) -> None:
    """Send a worker that listens the clock and the code digest of this run, and its number of customers."""
    options: Any = master.environment.parsed_options
    workers = max(options.expect_workers or 1, len(master.clients))
    customers = 0 if options.load_arrivals else -(-(options.num_users or 0) // workers)
    join = Join(clock.now_s(), code_digest(locustfiles_of(master.environment)), customers)
    master.send_message(JOIN, asdict(join), client_id=client_id)


def accept(worker: WorkerRunner, tally: Tally) -> None:
    """Join when the master invites: take over its clock.

    Refuse if the code differs, or if the worker's machine or container cannot carry its customers.
    """
    joined: list[Join] = []
    # The master's own machine was looked at before it forked its workers. They know the run's anchor.
    forked = bool(os.environ.get(ANCHOR_WALL_S))
    options: Any = worker.environment.parsed_options
    workers_here = options.processes or 1

    def unfit(why: str) -> None:
        worker.send_message(UNFIT, {"worker": tally.worker, "why": why})

    def on_join(msg: Any, **_: Any) -> None:
        join = Join(**msg.data)
        joined.append(join)
        digest = code_digest(locustfiles_of(worker.environment))
        if digest != join.digest:
            unfit(f"its locustfile or its rushhour differs from the master's ({digest}, not {join.digest})")
        elif not forked and (problems := worker_problems(join.customers, workers_here, this_machine())):
            unfit("; ".join(problems))
        else:
            raise_open_files(join.customers + SPARE_FILES)
            tally.restart(Clock(time.monotonic() - join.now_s))
            worker.send_message(FIT)

    def on_start(**_: Any) -> None:
        if not joined and not forked:
            unfit("the load started before the master had sent it the time")

    worker.register_message(JOIN, on_join)
    worker.environment.events.test_start.add_listener(on_start)
    worker.send_message(HELLO)  # only now: the worker would have missed an earlier answer
