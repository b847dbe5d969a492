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

from rushhour.load.messages import HELLO, JOIN, UNFIT, Join
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
    """Send a worker that listens the clock and the code digest of this run."""
    join = Join(clock.now_s(), code_digest(locustfiles_of(master.environment)))
    master.send_message(JOIN, asdict(join), client_id=client_id)


def accept(worker: WorkerRunner, tally: Tally) -> None:
    """Join when the master invites: take over its clock, or refuse if the code differs."""

    joined: list[Join] = []

    def unfit(why: str) -> None:
        worker.send_message(UNFIT, {"worker": tally.worker, "why": why})

    def on_join(msg: Any, **_: Any) -> None:
        join = Join(**msg.data)
        joined.append(join)
        digest = code_digest(locustfiles_of(worker.environment))
        if digest != join.digest:
            unfit(f"its locustfile or its rushhour differs from the master's ({digest}, not {join.digest})")
            return
        tally.restart(Clock(time.monotonic() - join.now_s))

    def on_start(**_: Any) -> None:
        if not joined and not os.environ.get(ANCHOR_WALL_S):  # a forked worker knows the anchor already
            unfit("the load started before the master had sent it the time")

    worker.register_message(JOIN, on_join)
    worker.environment.events.test_start.add_listener(on_start)
    worker.send_message(HELLO)  # only now: the worker would have missed an earlier answer
