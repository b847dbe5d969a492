"""Starts Locust as a child process, with its command line and environment."""

import math
import os
import sys
from pathlib import Path
from typing import Final

from rushhour.errors import UsageError
from rushhour.load import names
from rushhour.load.master_address import MasterAddress
from rushhour.process.child import Child, start
from rushhour.process.guard import Guard
from rushhour.process.ports import HOST, free_port
from rushhour.rundir import RunDir
from rushhour.scenario.arrivals import as_text
from rushhour.scenario.hosts import check_host
from rushhour.scenario.model import Scenario
from rushhour.scenario.shapes import pushes
from rushhour.stack.postgres.seeding.dataset import CUSTOMERS

PLUGIN: Final = Path(__file__).with_name("plugin.py")
STOP_GRACE_S: Final = 8.0  # from SIGTERM to SIGKILL
FORKED_S: Final = 30.0  # the workers that a master forks have connected by then


def start_load(
    guard: Guard,
    scenario: Scenario,
    url: str,
    run: RunDir,
    anchor_wall_s: float,
    *,
    master: MasterAddress | None = None,
    allow_host: str | None = None,
) -> Child:
    """Start Locust against `url`; it writes `locust.log` into the run's logs, and `locust.html`.

    Its exit code is 0 only if the load ran to its end and was recorded completely.

    With a `master` address Locust waits there for the scenario's workers; without it, it forks them.
    Raises UsageError if the target is not allowed or the locustfile is missing, StackError if Locust cannot
    be started.
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
        locust_command(scenario, url, run, root, master),
        log=run.logs / "locust.log",
        environment=locust_environment(scenario, run, anchor_wall_s),
        cwd=root,
        stops_group=True,  # the workers that it forks
    )


def locust_command(
    scenario: Scenario, url: str, run: RunDir, root: Path, master: MasterAddress | None = None
) -> list[str]:
    """Return Locust's command line for a scenario."""
    load = scenario.load
    command = [sys.executable, "-m", "locust", "--headless", "--only-summary"]
    command += ["-f", f"{root / load.locustfile},{PLUGIN}"]
    command += ["--host", url, "--users", str(load.users or 1), "--spawn-rate", f"{load.spawn_rate:g}"]
    # Requests still waiting at the end of the load must be recorded. Behind a full pool they first wait for
    # a thread, so only the customer's own time-out limits them.
    command += ["--stop-timeout", str(math.ceil(in_flight_s(scenario)))]
    command += ["--html", str(run.file("locust.html").resolve())]
    if load.workers:
        if master is None:
            master = MasterAddress(HOST, free_port(), FORKED_S)
            command += ["--processes", str(load.workers)]
            command += ["--master-host", master.host, "--master-port", str(master.port)]
        else:
            command += ["--master", "--expect-workers", str(load.workers)]
        command += ["--expect-workers-max-wait", f"{master.wait_s:.0f}"]
        command += ["--master-bind-host", master.host, "--master-bind-port", str(master.port)]
    return command


def in_flight_s(scenario: Scenario) -> float:
    """Return how long requests may still take after the load; their outcomes are recorded too."""
    return max(scenario.load.client_timeout, scenario.pool.timeout) + 1


def locust_environment(scenario: Scenario, run: RunDir, anchor_wall_s: float) -> dict[str, str]:
    """Return the environment of Locust, with the variables that plugin and locustfile read."""
    load = scenario.load
    return base_environment() | {
        # The master blocks for this long after each change of the number of customers.
        "LOCUST_WAIT_FOR_WORKERS_REPORT_AFTER_RAMP_UP": "0.1",
        names.RUN_DIR: str(run.path.resolve()),
        names.ANCHOR_WALL_S: repr(anchor_wall_s),
        names.SHAPE: load.shape,
        names.DURATION_S: repr(load.duration),
        names.WARM_UP_S: repr(load.warm_up),
        names.ARRIVALS: as_text(load.arrivals or ()),
        names.PROCESSES: str(max(1, load.workers)),
        **customer_settings(scenario),
    }


def base_environment() -> dict[str, str]:
    """Return this process's environment without Locust's options, with this package importable."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    package_root = str(Path(__file__).resolve().parents[2])
    return inherited | {
        "PYTHONPATH": os.pathsep.join(filter(None, [package_root, inherited.get("PYTHONPATH")])),
        "PYTHONUNBUFFERED": "1",  # the log is complete when Locust is killed
    }


def customer_settings(scenario: Scenario) -> dict[str, str]:
    """Return the variables that locustfiles read."""
    load = scenario.load
    pushed_at_s = pushes(load.shape, load.duration) if load.arrivals is None else ()  # they follow the shape
    return {
        names.ONE_SESSION: "no" if load.arrivals is None else "yes",
        names.CUSTOMERS: str(CUSTOMERS[scenario.data.size]),
        names.THINK_TIME_S: repr(load.think_time),
        names.CLIENT_TIMEOUT_S: repr(load.client_timeout),
        names.SEED: str(load.seed),
        names.PUSH_AT_S: ",".join(f"{at_s:g}" for at_s in pushed_at_s),
        names.PUSH_SHARE: repr(load.push_share),
    }
