"""The tasks of a fleet on a Swarm while it is up: containers, meters, logs, and what is behind the door."""

# The stubs of docker-py leave its Swarm calls untyped.
# mypy: allow-untyped-calls

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg2
from docker import DockerClient
from docker.errors import ImageNotFound

from rushhour.rundir.facts import ALIVE, Instance, ServiceState
from rushhour.stack import Server
from rushhour.stack.compose.engine import ENGINE_ERRORS, Engine, last_reason
from rushhour.stack.compose.watch import ContainerMeter, LogFollower
from rushhour.stack.fleet import TARGET, Door, ask
from rushhour.stack.postgres.server import ask as query
from rushhour.stack.postgres.server import connected
from rushhour.stack.swarm.files import SERVERS, Fixed
from rushhour.stack.swarm.own_swarm import STACK, STACK_LABEL

LOOK_EVERY_S: Final = 0.25
LOG_END_S: Final = 3.0


def full_name(name: str) -> str:
    """Return the name of a service in the Swarm."""
    return f"{STACK}_{name}"


@dataclass(frozen=True, slots=True)
class Tasks:
    """Asks the Swarm about services and tasks."""

    client: DockerClient

    def running(self, name: str) -> list[dict[str, Any]]:
        """Return the service's tasks that run and should run, newest first."""
        found = self.client.api.tasks(filters={"service": full_name(name), "desired-state": "running"})
        alive = [task for task in found if task["Status"]["State"] == "running"]
        return sorted(alive, key=lambda task: str(task["CreatedAt"]), reverse=True)

    def last_problem(self, name: str) -> str:
        """Return the newest task's state, with its error."""
        found = self.client.api.tasks(filters={"service": full_name(name)})
        newest = max(found, key=lambda task: str(task["CreatedAt"]), default=None)
        if newest is None:
            return "no task"
        status = newest["Status"]
        return f"task {status['State']}: {status.get('Err') or status.get('Message', '')}"

    def failed(self, name: str) -> str:
        """Return why the service's newest failed task failed; empty if none failed."""
        found = self.client.api.tasks(filters={"service": full_name(name)})
        bad = [task for task in found if task["Status"].get("Err")]
        newest = max(bad, key=lambda task: str(task["CreatedAt"]), default=None)
        return "" if newest is None else str(newest["Status"]["Err"])

    def service(self, name: str) -> dict[str, Any]:
        """Read the service's definition and state."""
        found: dict[str, Any] = self.client.api.inspect_service(full_name(name))
        return found

    def states(self, fixed: Fixed, servers: tuple[Server, ...], health: str) -> tuple[ServiceState, ...]:
        """Return the state of every service of the stack, and the answer to a request to each."""
        ports = {name: port for name, port in fixed.ports.items() if name not in SERVERS}
        target = [port for task in self.running(TARGET) for port in host_ports(task)]
        if target:
            ports[TARGET] = target[0]
        answers = ask(ports, health) | {server.name: _select(server) for server in servers}
        found = self.client.api.services(filters={"label": f"{STACK_LABEL}={STACK}"})
        states = [self._state(service, answers) for service in found]
        return tuple(sorted(states, key=lambda state: state.name))

    def _state(self, service: dict[str, Any], answers: Mapping[str, str | None]) -> ServiceState:
        name = str(service["Spec"]["Name"]).removeprefix(f"{STACK}_")
        return ServiceState(
            name=name,
            id=str(service["ID"]),
            version=int(service["Version"]["Index"]),
            spec=hashlib.sha256(json.dumps(service["Spec"], sort_keys=True).encode()).hexdigest(),
            image=str(service["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]),
            instances=tuple(self._instance(task) for task in self.running(name)),
            answer=answers.get(name),
            means=self._image_id(str(service["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"])),
        )

    def _image_id(self, name: str) -> str | None:
        """Return the image id of a name on this engine, or None."""
        try:
            return str(self.client.images.get(name).id)
        except ImageNotFound:
            return None

    def _instance(self, task: dict[str, Any]) -> Instance:
        container = str(task["Status"]["ContainerStatus"]["ContainerID"])
        found = self.client.api.inspect_container(container)
        return Instance(
            task=str(task["ID"]),
            container=container,
            started_at=str(found["State"]["StartedAt"]),
            image=str(found["Image"]),
            restarts=int(found["RestartCount"]),
        )


def host_ports(task: Mapping[str, Any]) -> list[int]:
    """Return the host-mode ports of a task, as the Swarm names them once it runs."""
    ports = (task["Status"].get("PortStatus") or {}).get("Ports") or ()
    return list(dict.fromkeys(int(port["PublishedPort"]) for port in ports if port.get("PublishedPort")))


def container_of(task: Mapping[str, Any]) -> str:
    """Return the id of a task's container."""
    return str(task["Status"]["ContainerStatus"]["ContainerID"])


def _select(server: Server) -> str | None:
    try:
        with connected(server.admin_dsn) as admin:
            query(admin, ALIVE)
    except psycopg2.Error:
        return None
    return ALIVE


class DoorKeeper:
    """Leads the front door to the target's running tasks, and follows their logs, until `close`."""

    def __init__(self, engine: Engine, door: Door, logs: Path) -> None:
        self._engine = engine
        self._client = engine.client()
        self._tasks = Tasks(self._client)
        self._door = door
        self._logs = logs
        self._ports: list[int] = []
        self._followers: dict[str, LogFollower] = {}
        self._ended = threading.Event()
        self.problem: str | None = None  # the engine's last error
        self._thread = threading.Thread(target=self._keep, name="door keeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Call it once the target's containers have stopped: their logs are read to the end."""
        self._ended.set()
        self._thread.join(LOG_END_S)
        for follower in self._followers.values():
            follower.close(LOG_END_S)
        self._client.close()

    def _keep(self) -> None:
        while not self._ended.wait(LOOK_EVERY_S):
            try:
                self._look()
                self.problem = None
            except ENGINE_ERRORS as error:
                self.problem = last_reason(error)

    def _look(self) -> None:
        found = self._tasks.running(TARGET)
        ports = [port for task in found for port in host_ports(task)]
        if ports and ports != self._ports:
            self._door.lead_to(ports)
            self._ports = ports
        for task in found:
            container = container_of(task)
            if container not in self._followers:
                log = self._logs / f"service-{len(self._followers) + 1}.log"
                self._followers[container] = LogFollower(self._engine, container, log)


def meters_of(tasks: Tasks, engine: Engine, limits: Mapping[str, float | None]) -> dict[str, ContainerMeter]:
    """Return a meter for each server's container; the caller closes them."""
    return {
        name: ContainerMeter(engine, container_of(tasks.running(name)[0]), cores)
        for name, cores in limits.items()
    }
