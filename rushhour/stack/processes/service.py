"""Starts the service under test with its command and environment, and checks its health."""

import http.client
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from rushhour.errors import StackError, UsageError
from rushhour.process.child import Child, start
from rushhour.process.guard import Guard
from rushhour.process.ports import HOST, free_port, on_free_ports
from rushhour.rundir.masking import mask_text, mask_value
from rushhour.scenario.model import Scenario
from rushhour.stack.at_url import PROBE_TIMEOUT_S, health_refusal
from rushhour.stack.own_service import interpreter

START_TIMEOUT_S: Final = 30.0
STOP_GRACE_S: Final = 3.0  # workers that wait for a pool would hold a graceful stop for half a minute
# How a target that is only an import path is served; APP stands for it.
GUNICORN: Final = (
    "{python} -m gunicorn APP --bind {host}:{port} --worker-class gthread --workers {workers} "
    "--threads {threads} --worker-connections 4000 --keep-alive 75 --timeout 120 --graceful-timeout 5 "
    "--access-logfile {logs}/access.log"
)
# What a program needs to run at all; everything else comes from the scenario file, so that a run does not
# depend on the shell it was started in.
BASE_VARIABLES: Final = ("HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR", "TZ", "PATH")


@dataclass(frozen=True, slots=True)
class RunningService:
    """A service that answers its health path."""

    url: str
    child: Child


def placeholders(
    scenario: Scenario,
    port: int,
    primary_url: str,
    replica_url: str,
    logs: Path,
    *,
    host: str = HOST,
    partner_url: str = "",
) -> dict[str, str]:
    """Return what command and environment may hold in braces."""
    return {
        "python": interpreter(scenario, sys.executable),
        "host": host,
        "port": str(port),
        "workers": str(scenario.service.workers),
        "threads": str(scenario.service.threads),
        "release": scenario.release,
        "primary_url": primary_url,
        "replica_url": replica_url,
        "pool_size": str(scenario.pool.size),
        "max_overflow": str(scenario.pool.max_overflow),
        "pool_timeout": f"{scenario.pool.timeout:g}",
        "logs": str(logs.resolve()),
        "partner_url": partner_url,
    }


def fill_in(template: str, values: Mapping[str, str], where: str) -> str:
    """Replace what stands in braces. Raises UsageError for what is not known."""
    try:
        return template.format_map(values)
    except (KeyError, IndexError, ValueError) as error:
        known = ", ".join(f"{{{name}}}" for name in values)
        shown = mask_value(where.rpartition(".")[2], template)
        raise UsageError([f"{where}: {shown!r} cannot be filled in ({error}); known: {known}"]) from None


def service_command(scenario: Scenario, values: Mapping[str, str]) -> list[str]:
    """Return the command, split as a shell would; what is filled in is never split."""
    command = scenario.target.command or GUNICORN.replace("APP", shlex.quote(scenario.target.app))
    return [
        *split_command(command, values, "service.command"),
        *split_command(scenario.service.arguments, values, "service.arguments"),
    ]


def split_command(command: str, values: Mapping[str, str], where: str) -> list[str]:
    """Split as a shell would; what is filled in is never split. Raises UsageError."""
    try:
        parts = shlex.split(command)
    except ValueError as error:
        raise UsageError([f"{where}: {error}: {mask_text(command)}"]) from None
    return [fill_in(part, values, where) for part in parts]


def service_environment(
    scenario: Scenario, values: Mapping[str, str], caller: Mapping[str, str]
) -> dict[str, str]:
    """Return a small base from the caller, then the scenario's variables; our programs are found first."""
    base = {name: caller[name] for name in BASE_VARIABLES if name in caller}
    folders = dict.fromkeys(
        str(Path(program).parent) for program in (values["python"], sys.executable) if os.sep in program
    )
    base["PATH"] = os.pathsep.join([*folders, caller.get("PATH", os.defpath)])
    asked = {**scenario.target.environment, **scenario.service.environment}
    return base | {name: fill_in(text, values, f"service.environment.{name}") for name, text in asked.items()}


def start_service(
    guard: Guard,
    scenario: Scenario,
    *,
    urls: tuple[str, str],
    partner_url: str = "",
    log: Path,
    instrument: Callable[[Mapping[str, str]], Mapping[str, str]],
    admit: Callable[[int], None],
    choose_port: Callable[[], int] = free_port,
    host: str = HOST,
) -> RunningService:
    """Start the service, wait until its health path answers 200; tries other ports when its own was taken.

    It runs as the caller: it has to read the checkout and the environment it was developed in, and the agent
    in it writes into the run directory. Unlike PostgreSQL, a service does not refuse to be root's.
    Raises StackError with the log's last lines.
    """
    root = Path(scenario.target.root)

    def attempt(port: int) -> RunningService:
        values = placeholders(scenario, port, *urls, log.parent, host=host, partner_url=partner_url)
        command = service_command(scenario, values)
        environment = service_environment(scenario, values, os.environ)
        environment |= instrument(environment)
        require_program(command, environment, root)
        child = start(guard, "service", command, log=log, environment=environment, cwd=root, admit=admit)
        url = f"http://{host}:{port}"
        what = f"{url}{scenario.target.health} to answer 200"

        def problem() -> str | None:
            return health_problem((host, port), scenario.target.health, child)

        child.wait_until_up(what, problem, START_TIMEOUT_S, grace_s=STOP_GRACE_S, poll_s=0.05)
        child.is_service = True
        return RunningService(url, child)

    return on_free_ports(choose_port, attempt)


def require_program(
    command: list[str], environment: Mapping[str, str], root: Path, what: str = "service.command"
) -> None:
    """Raise StackError if the program does not exist."""
    if not root.is_dir():
        raise StackError(f"the service's root {root} is not a directory")
    if not command:
        raise StackError(f"{what} is empty")
    program = command[0]
    found = (root / program) if os.sep in program else shutil.which(program, path=environment["PATH"])
    if found is None or not os.access(found, os.X_OK):
        raise StackError(f"{what}: there is no program {program} to run")


def health_problem(address: tuple[str, int], path: str, child: Child) -> str | None:
    """Return why the service is not ready, or None if its own socket answered 200."""
    port = address[1]
    connection = http.client.HTTPConnection(*address, timeout=PROBE_TIMEOUT_S)
    if (problem := health_refusal(connection, path)) is not None:
        return problem
    # Another program may have taken the port, and may even answer 200.
    return None if listens(child.pid, port) else f"port {port} is answered by another program"


def listens(pid: int, port: int) -> bool:
    """Return whether the process or a descendant listens on the port."""
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return False
    return any(_listens(member, port) for member in family)


def _listens(process: psutil.Process, port: int) -> bool:
    try:
        found = process.net_connections("tcp")
    except psutil.Error:
        return False
    return any(
        connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
        for connection in found
    )
