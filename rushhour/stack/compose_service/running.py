"""A service of the user's Compose file that is up, with what it depends on and with our servers behind it."""

import io
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from docker import DockerClient
from docker.models.containers import Container

from rushhour.errors import ServiceDiedError, StackError
from rushhour.process.meter import Meter
from rushhour.rundir.facts import OWN
from rushhour.stack import Fault, Server
from rushhour.stack.compose.engine import ENGINE_ERRORS, Engine, last_reason
from rushhour.stack.compose.failure import COMPOSE_LABEL, ONE_OFF_LABEL, SERVICE_LABEL
from rushhour.stack.compose.running import (
    CHECK_EVERY_S,
    METER_TIMEOUT_S,
    ComposeRunning,
    end_all,
)
from rushhour.stack.compose.template import last_lines
from rushhour.stack.compose.watch import ContainerMeter, LogFollower, engine_meter
from rushhour.stack.compose_service.sources import Sources
from rushhour.stack.compose_service.waiting import ended

SERVICE: Final = "service"  # the component under test, whatever the file calls it


def own_containers(client: DockerClient, project: str) -> dict[str, Container]:
    """Return the user's containers by service, without one-off ones."""
    found = client.containers.list(
        all=True, filters={"label": f"{COMPOSE_LABEL}={project}"}, ignore_removed=True
    )
    return {
        container.labels.get(SERVICE_LABEL, "?"): container
        for container in found
        if container.labels.get(ONE_OFF_LABEL) != "True"
    }


def component(service: str, target: str) -> str:
    """Return what a container is called in the run's files: the others must not pass for our servers."""
    return SERVICE if service == target else f"{OWN}{service}"


def read_in(container: Container, file: str) -> bytes | None:
    """Return a file's bytes, or None if there is no file or the engine does not answer."""
    try:
        stream, _ = container.get_archive(file)
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
            member = archive.extractfile(archive.getmembers()[0])
            return member.read() if member is not None else None
    except (*ENGINE_ERRORS, tarfile.TarError, KeyError, IndexError):
        return None


@dataclass(slots=True)
class ComposeServiceRunning:
    """What is up. `close` ends it, with its logs read to the end, but not the servers."""

    engine: Engine
    target: str  # the service's name in the file
    service_url: str
    service_root: Path
    limits: Mapping[str, str]
    images: Mapping[str, str]
    limit_cores: float | None
    sources: Sources
    _servers: ComposeRunning | None
    _client: DockerClient = field(repr=False)
    _logs: Path
    _containers: Mapping[str, Container]  # by service
    _meters: dict[str, ContainerMeter] = field(default_factory=dict)
    _followers: list[LogFollower] = field(default_factory=list)
    _engine_meter: Meter | None = None
    _checked_s: float = 0.0

    @property
    def servers(self) -> tuple[Server, ...]:
        """Ours; none where the service has a database of its own."""
        return self._servers.servers if self._servers else ()

    @property
    def postgres_version(self) -> str:
        return self._servers.postgres_version if self._servers else "unknown"

    @property
    def meters(self) -> Mapping[str, Meter]:
        """CPU of the service, of what it depends on, of our servers, and of the engine."""
        behind = self._servers.meters if self._servers else {}
        return {**behind, **self._meters, **({"engine": self._engine_meter} if self._engine_meter else {})}

    @property
    def container(self) -> Container:
        """The container under test."""
        return self._containers[self.target]

    def local_source(self, file: str) -> str:
        """Return the user's own file of a file in the container."""
        return self.sources.local(file)

    def open(self) -> None:
        """Follow the logs and find the meters; `close` must be called from here on."""
        for service, container in self._containers.items():
            name = component(service, self.target)
            self._followers.append(LogFollower(self.engine, str(container.id), self._logs / f"{name}.log"))
            if container.status == "running":
                limit = self.limit_cores if name == SERVICE else None
                self._meters[name] = ContainerMeter(self.engine, str(container.id), limit)
        if self._servers is None:
            self._engine_meter = engine_meter()
        for meter in self._meters.values():
            meter.wait_for_first(METER_TIMEOUT_S)

    def check_alive(self) -> None:
        """Raises StackError, with the log's last lines, when a part has ended or the engine is gone."""
        if self._servers is not None:
            self._servers.check_alive()
        now_s = time.monotonic()
        if now_s - self._checked_s < CHECK_EVERY_S:
            return
        self._checked_s = now_s
        try:
            for service in self._containers:
                if (
                    component(service, self.target) in self._meters
                ):  # one that only had something to do has none
                    self._check(service)
        except ENGINE_ERRORS as error:
            raise StackError(
                f"the container engine at {self.engine.base_url} no longer answers: {last_reason(error)}"
            ) from error

    def _check(self, service: str) -> None:
        container = self._containers[service]
        container.reload()
        if container.status not in ("running", "paused"):
            message = f"the container of {service} {ended(container)}; its last lines:"
            if service == self.target:
                how = f"exit code {container.attrs['State']['ExitCode']}"
                raise ServiceDiedError(how, message, last_lines(container))
            raise StackError(message, last_lines(container))

    def fault(self, server: str, what: Fault, table: str = "") -> None:
        """Do this to a server of ours."""
        if self._servers is None:
            raise StackError(f"{what} of the {server}: the service has a database of its own")
        self._servers.fault(server, what, table)

    def close(self) -> None:
        """Kill the containers and keep what they wrote; what fails here the project's removal does."""
        end_all(self._containers.values(), self._followers, self._meters.values())
