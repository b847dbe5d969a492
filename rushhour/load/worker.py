"""`rushhour worker`: Locust's workers on this machine, for a master that may be on another."""

import sys
from pathlib import Path

from rushhour.load.locust import PLUGIN, STOP_GRACE_S, base_environment
from rushhour.process.child import start
from rushhour.process.guard import Guard


def worker_command(host: str, port: int, locustfile: str, plugin: str, processes: int = 1) -> list[str]:
    """Locust's command line of a worker, without the interpreter."""
    command = ["-m", "locust", "--worker", "-f", f"{locustfile},{plugin}"]
    command += ["--master-host", host, "--master-port", str(port)]
    return command + (["--processes", str(processes)] if processes > 1 else [])


def run_workers(guard: Guard, host: str, port: int, locustfile: Path, processes: int) -> bool:
    """Until the master says that the load is over (True), or is not there, or goes away (False).

    Locust itself gives up on a master that it cannot reach or that falls silent, after a minute or some.
    Raises StackError when Locust cannot be started.
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
