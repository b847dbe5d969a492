"""`rushhour worker`: Locust's workers on this machine, for a master that may be on another."""

import subprocess
import sys
from pathlib import Path

from rushhour.errors import StackError
from rushhour.load.locust import PLUGIN, LoadProcess, base_environment
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
    try:
        process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.DEVNULL,
            env={**base_environment(), **guard.environment},
            start_new_session=True,  # Ctrl-C goes to this command, which then ends them all
        )
    except OSError as error:
        raise StackError(f"Locust cannot be started: {error}") from error
    guard.adopt(process.pid)
    try:
        return process.wait() == 0
    finally:
        LoadProcess(process, Path()).stop()
