"""Locust as a child process: its command line, its environment, its start and its end."""

import contextlib
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rushhour.errors import StackError, UsageError
from rushhour.load import names
from rushhour.load.post import Post
from rushhour.load.shapes import pushes
from rushhour.rundir import RunDir
from rushhour.scenario.hosts import check_host
from rushhour.scenario.model import Scenario
from rushhour.stack.postgres.seeding.dataset import CUSTOMERS

PLUGIN: Final = Path(__file__).with_name("plugin.py")
STOP_GRACE_S: Final = 8.0  # from SIGTERM to SIGKILL
KILL_WAIT_S: Final = 5.0
POLL_S: Final = 0.05
TAIL_LINES: Final = 15
FORKED_S: Final = 30.0  # the workers that a master forks have come by then


class LoadProcess:
    """Locust, running in a session of its own together with its workers."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self.log = log

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        """The exit code, 0 only for a run that went to its end and was recorded whole; None while it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float) -> int:
        """The exit code, once it has ended. Raises StackError, with the log's last lines, at the deadline."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise StackError(
                f"waited {timeout_s:g} s for Locust (pid {self.pid}) to end; the last lines of {self.log}:",
                self.tail(),
            ) from None

    def check(self) -> None:
        """Raises StackError, with the log's last lines, when it has ended in any way but the good one."""
        code = self.poll()
        if code:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            raise StackError(f"Locust {how}; the last lines of {self.log}:", self.tail())

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """End Locust and its workers: SIGTERM, and SIGKILL when the grace is over. Never raises.

        Also right after Locust has ended: a worker that lost its master lives on for a minute.
        """
        if self.poll() is None:
            self._signal(signal.SIGTERM)
            self._ended_within(grace_s)
        self._signal(signal.SIGKILL)
        self._ended_within(KILL_WAIT_S)

    def tail(self) -> tuple[str, ...]:
        """The last lines of Locust's log."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ()
        return tuple(line for line in text.splitlines() if line.strip())[-TAIL_LINES:]

    def _signal(self, what: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):  # all of them have ended
            # Its session's process group: the workers that `--processes` forks are in it.
            os.killpg(self.pid, what)

    def _ended_within(self, timeout_s: float) -> bool:
        deadline_s = time.monotonic() + timeout_s
        while self.poll() is None:
            if time.monotonic() > deadline_s:
                return False
            time.sleep(POLL_S)
        return True


def start_load(
    scenario: Scenario,
    url: str,
    run: RunDir,
    anchor_wall_s: float,
    environment: Mapping[str, str],
    *,
    post: Post | None = None,
    allow_host: str | None = None,
) -> LoadProcess:
    """Start Locust against `url`; its log is `locust.log` among the run's logs, its report `locust.html`.

    With a `post` it is a master that waits there for the scenario's workers; without one it forks them.
    Raises UsageError for a target that is not allowed or a locustfile that is missing, StackError when Locust
    cannot be started.
    """
    root = Path(scenario.target.root).resolve()
    problems = check_host(url, allow_host)
    if not (root / scenario.load.locustfile).is_file():
        problems.append(f"locustfile {root / scenario.load.locustfile} does not exist")
    if problems:
        raise UsageError(problems)
    run.logs.mkdir(parents=True, exist_ok=True)
    log = run.logs / "locust.log"
    try:
        with log.open("ab") as output:
            process = subprocess.Popen(
                locust_command(scenario, url, run, root, post),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=root,
                env={**locust_environment(scenario, run, anchor_wall_s), **environment},
                start_new_session=True,  # Ctrl-C goes to the harness alone, which stops its children in order
            )
    except OSError as error:
        raise StackError(f"Locust cannot be started: {error}") from error
    return LoadProcess(process, log)


def locust_command(
    scenario: Scenario, url: str, run: RunDir, root: Path, post: Post | None = None
) -> list[str]:
    """Locust's command line for a scenario."""
    load = scenario.load
    command = [sys.executable, "-m", "locust", "--headless", "--only-summary"]
    command += ["-f", f"{root / load.locustfile},{PLUGIN}"]
    command += ["--host", url, "--users", str(load.users), "--spawn-rate", f"{load.spawn_rate:g}"]
    # Requests that wait for a connection at the end of the load are part of the story: behind a full pool
    # they wait for a thread first, so that only the customer's own patience bounds them.
    command += ["--stop-timeout", str(math.ceil(in_flight_s(scenario)))]
    command += ["--html", str(run.file("locust.html").resolve())]
    if load.workers:
        if post is None:
            post = Post("127.0.0.1", _free_port(), FORKED_S)
            command += ["--processes", str(load.workers)]
            command += ["--master-host", post.host, "--master-port", str(post.port)]
        else:
            command += ["--master", "--expect-workers", str(load.workers)]
        command += ["--expect-workers-max-wait", f"{post.wait_s:.0f}"]
        command += ["--master-bind-host", post.host, "--master-bind-port", str(post.port)]
    return command


def in_flight_s(scenario: Scenario) -> float:
    """How long a request may still take when the load has ended; each then counts as what became of it."""
    return max(scenario.load.client_timeout, scenario.pool.timeout) + 1


def locust_environment(scenario: Scenario, run: RunDir, anchor_wall_s: float) -> dict[str, str]:
    """The harness's environment without Locust's own options, plus what plugin and locustfile read."""
    load = scenario.load
    return base_environment() | {
        # The master is blocked for this long after each change of the number of customers.
        "LOCUST_WAIT_FOR_WORKERS_REPORT_AFTER_RAMP_UP": "0.1",
        names.RUN_DIR: str(run.path.resolve()),
        names.ANCHOR_WALL_S: repr(anchor_wall_s),
        names.SHAPE: load.shape,
        names.DURATION_S: repr(load.duration),
        names.WARM_UP_S: repr(load.warm_up),
        **customer_settings(scenario),
    }


def base_environment() -> dict[str, str]:
    """What every Locust of ours gets: this environment without Locust's own options, and this package."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    package_root = str(Path(__file__).resolve().parents[2])
    return inherited | {
        "PYTHONPATH": os.pathsep.join(filter(None, [package_root, inherited.get("PYTHONPATH")])),
        "PYTHONUNBUFFERED": "1",  # the log is complete when Locust is killed
    }


def customer_settings(scenario: Scenario) -> dict[str, str]:
    """What locustfiles read, in whichever process they run."""
    load = scenario.load
    return {
        names.CUSTOMERS: str(CUSTOMERS[scenario.data.size]),
        names.THINK_TIME_S: repr(load.think_time),
        names.CLIENT_TIMEOUT_S: repr(load.client_timeout),
        names.SEED: str(load.seed),
        names.PUSH_AT_S: ",".join(f"{at_s:g}" for at_s in pushes(load.shape, load.duration)),
        names.PUSH_SHARE: repr(load.push_share),
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
