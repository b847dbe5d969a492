"""`rushhour up` and `rushhour down`: a stack that stands in the foreground until it is stopped."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

import psutil

from rushhour.process.reaper import is_alive
from rushhour.process.waiting import wait_until
from rushhour.rundir import RunDir
from rushhour.scenario.model import Scenario
from rushhour.stack import Progress, Running, RunsAlerting, Stack
from rushhour.stack.locks import locked
from rushhour.stack.paths import open_cache, server_account
from rushhour.stack.postgres.kept import bring_down_kept
from rushhour.stack.postgres.template import templates_root
from rushhour.stack.work import sweep

POLL_S: Final = 0.5
DOWN_TIMEOUT_S: Final = 45.0  # the service's grace, the servers' stop and the guard's sweep fit in
CLOCK_SLACK_S: Final = 5.0


def stand(
    stack: Stack,
    scenario: Scenario,
    run: RunDir,
    progress: Progress,
    *,
    cache: Path,
    say: Callable[[str], object] = print,
) -> None:
    """Hold a stack up until Ctrl-C or SIGTERM. Raises StackError when a part of it ends before that."""
    open_cache(cache, server_account())
    with _pid_file(cache), stack.up(scenario, run, progress) as running:
        with _stop_requested() as gone:
            for line in describe(running, run):
                say(line)
            while not gone.wait(POLL_S):
                running.check_alive()
        say("stopping")


def describe(running: Running, run: RunDir) -> list[str]:
    """Return the lines that tell a user how to use a standing stack."""
    rows = [("service", running.service_url)]
    rows += [(server.name, server.admin_dsn) for server in running.servers]
    if isinstance(running, RunsAlerting) and running.alerting is not None:
        rows += running.alerting.places.items()
        rows.append(("notifications", str(run.notifications)))
    rows.append(("logs", str(run.logs)))
    rows += [("limits", f"{name}: {words}") for name, words in running.limits.items()]
    width = max(len(name) for name, _ in rows)
    return [*(f"{name:<{width}}  {what}" for name, what in rows), "Ctrl-C or `rushhour down` stops it."]


@contextmanager
def _stop_requested() -> Iterator[threading.Event]:
    """Yield an event that SIGINT and SIGTERM set; the previous handlers are restored."""
    gone = threading.Event()

    def go(_signal: int, _frame: FrameType | None) -> None:
        gone.set()

    before = {number: signal.signal(number, go) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield gone
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _pid_file(cache: Path) -> Iterator[None]:
    standing = cache / "standing"
    standing.mkdir(exist_ok=True)
    path = standing / f"{os.getpid()}.json"
    path.write_text(json.dumps({"pid": os.getpid(), "created": psutil.Process().create_time()}))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def bring_down(cache: Path, *, templates: bool) -> list[str]:
    """Stop every stack that stands, remove what dead runs left and, if asked, the kept templates.

    Returns a line for each thing done. Raises StackError when a harness does not end.
    """
    done: list[str] = []
    for path in sorted((cache / "standing").glob("*.json")):
        done += _end(path)
    works = cache / "work"
    if works.is_dir():
        with locked(cache / "work.lock", timeout_s=DOWN_TIMEOUT_S):
            done += [f"removed {path}, left by a run that died" for path in sweep(works)]
    if templates:
        done += bring_down_kept(templates_root(cache))
    return done


def _end(path: Path) -> list[str]:
    harness = standing_harness(path)
    if harness is None:
        path.unlink(missing_ok=True)
        return []
    began_s = time.monotonic()
    harness.terminate()
    wait_until(
        f"process {harness.pid}, which holds the stack up, to end after SIGTERM",
        lambda: "it is alive" if is_alive(harness) else None,
        DOWN_TIMEOUT_S,
        f"`kill -9 {harness.pid}` ends it, and its guard then removes what it started",
    )
    path.unlink(missing_ok=True)
    return [f"stopped the stack of process {harness.pid} in {time.monotonic() - began_s:.1f} s"]


def standing_harness(path: Path) -> psutil.Process | None:
    """Return the running process of a pid file; None if it has ended, even if its pid is reused."""
    try:
        known = json.loads(path.read_text())
        process = psutil.Process(int(known["pid"]))
        same = abs(process.create_time() - float(known["created"])) < CLOCK_SLACK_S
    except (OSError, ValueError, KeyError, TypeError, psutil.NoSuchProcess):
        return None
    return process if same else None
