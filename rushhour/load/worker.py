"""Implements `rushhour worker`: runs Locust workers for a master that may be on another machine."""

import sys
from pathlib import Path

from rushhour.load.locust import PLUGIN, STOP_GRACE_S, base_environment
from rushhour.process.child import start
from rushhour.process.guard import Guard


def worker_command(host: str, port: int, locustfile: str, plugin: str, processes: int = 1) -> list[str]:
    """Return Locust's command line of a worker, without the interpreter."""
    command = ["-m", "locust", "--worker", "-f", f"{locustfile},{plugin}"]
    command += ["--master-host", host, "--master-port", str(port)]
    return command + (["--processes", str(processes)] if processes > 1 else [])


def run_workers(guard: Guard, host: str, port: int, locustfile: Path, processes: int) -> bool:
    """Run workers; return True if the master ended the load, False if it is not there or goes away.

    Locust itself gives up after about a minute if it cannot reach the master or the master is silent.
    Raises StackError if Locust cannot be started.
    """
    command = worker_command(host, port, str(locustfile), str(PLUGIN), processes)
    workers = start(
        guard,
        "Locust",
        [sys.executable, *command],
        log=None,
        environment=base_environment(),
        stops_group=True,
    )
    try:
        return workers.process.wait() == 0
    finally:
        workers.stop(STOP_GRACE_S)
