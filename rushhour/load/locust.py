"""Locust as a child process: its command line, its environment, its start and its end."""

import math
import os
import sys
from pathlib import Path
from typing import Final

from rushhour.errors import UsageError
from rushhour.load import names
from rushhour.load.post import Post
from rushhour.load.shapes import pushes
from rushhour.process.child import Child, start
from rushhour.process.guard import Guard
from rushhour.process.ports import HOST, free_port
from rushhour.rundir import RunDir
from rushhour.scenario.hosts import check_host
from rushhour.scenario.model import Scenario
from rushhour.stack.postgres.seeding.dataset import CUSTOMERS

PLUGIN: Final = Path(__file__).with_name("plugin.py")
STOP_GRACE_S: Final = 8.0  # from SIGTERM to SIGKILL
FORKED_S: Final = 30.0  # the workers that a master forks have come by then


def start_load(
    guard: Guard,
    scenario: Scenario,
    url: str,
    run: RunDir,
    anchor_wall_s: float,
    *,
    post: Post | None = None,
    allow_host: str | None = None,
) -> Child:
    """Start Locust against `url`; its log is `locust.log` among the run's logs, its report `locust.html`.

    Its exit code is 0 only for a run that went to its end and was recorded whole.

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
    return start(
        guard,
        "Locust",
        locust_command(scenario, url, run, root, post),
        log=run.logs / "locust.log",
        environment=locust_environment(scenario, run, anchor_wall_s),
        cwd=root,
        stops_group=True,  # the workers that it forks
    )


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
            post = Post(HOST, free_port(), FORKED_S)
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
