"""The steps from nothing to a healthy Compose stack, and the project that they belong to."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from docker import DockerClient
from psycopg2.extensions import make_dsn

from rushhour.alarms.real_config import RealAlerting
from rushhour.errors import StackError
from rushhour.process.guard import Guard
from rushhour.rundir import RunDir
from rushhour.scenario.model import SERVERS, Scenario
from rushhour.stack import Progress, Server
from rushhour.stack.compose.alerting import start_alerting
from rushhour.stack.compose.command import ComposeCommand
from rushhour.stack.compose.engine import ENGINE_ERRORS, Engine, last_reason
from rushhour.stack.compose.failure import explain, save_logs
from rushhour.stack.compose.files import (
    SERVER_PORT,
    ImageNames,
    Places,
    Ports,
    alias,
    cpu_limits,
    generated_file,
    servers_file,
    start_period_s,
    variables,
)
from rushhour.stack.compose.image_build import build_locust, build_release
from rushhour.stack.compose.images import Image, ImageStore
from rushhour.stack.compose.project import SETTLE_S, removal_command, remove_dead_projects, remove_project
from rushhour.stack.compose.running import ComposeRunning
from rushhour.stack.compose.template import DATA, ComposeTemplates, Seeding
from rushhour.stack.compose.workers import ComposeWorkers
from rushhour.stack.owner import owner_variables
from rushhour.stack.paths import configuration_dir
from rushhour.stack.postgres.server import DATABASE, ROLE, SUPERUSER, Secrets

UP_GRACE_S: Final = 60  # for the engine itself, beyond the time that the servers may take for their data
PORT_ATTEMPTS: Final = 3
_CONNECT_TIMEOUT_S: Final = 3
PORT_TAKEN: Final = ("port is already allocated", "address already in use")


def make_places(work: Path, run: RunDir) -> Places:
    """The run's directories. What a container writes to is open to every user, as the image's is unknown."""
    private = work / "private"
    private.mkdir(mode=0o700)
    for shared in (run.agent, run.logs):
        shared.mkdir(parents=True, exist_ok=True)
        shared.chmod(0o1777)
    return Places(work, private, run.agent.resolve(), run.logs.resolve(), run.notifications.resolve())


def write_secrets(private: Path, passwords: Secrets) -> None:
    """One file each. The directory keeps others out; in a container any user may read its own mounts."""
    for name in ("superuser", "replicator", "role"):
        (private / name).write_text(getattr(passwords, name), encoding="utf-8")
        (private / name).chmod(0o444)
    for name in ("pip.conf", "ca.pem"):  # secrets of the build; Compose wants their files all the same
        (private / name).touch()


@dataclass(frozen=True, slots=True)
class ComposeProject:
    """The project's life: known to the guard first, removed at the end, its logs saved before."""

    guard: Guard
    engine: Engine
    client: DockerClient
    name: str
    logs: Path

    def __enter__(self) -> Self:
        self.guard.run_at_death(removal_command(self.engine.base_url, self.name))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raises StackError when something is left, after the first error where there was one.

        The guard tries once more then, when the harness ends.
        """
        save_logs(self.client, self.name, self.logs)
        try:
            remove_project(self.client.api, self.name, settle_s=0.0 if kind is None else SETTLE_S)
        except (StackError, *ENGINE_ERRORS) as left:
            what = str(left) if isinstance(left, StackError) else last_reason(left)
            advice = f"`docker compose --project-name {self.name} down --volumes` removes it"
            tail = error.log_tail if isinstance(error, StackError) else ()
            before = "" if error is None else f"{str(error).splitlines()[0]}; then "
            raise StackError(f"{before}the stack was not removed: {what}; {advice}", tail) from error
        self.guard.no_longer_run(removal_command(self.engine.base_url, self.name))


@dataclass(frozen=True, slots=True)
class BringUp:
    """What the steps share."""

    project: ComposeProject
    scenario: Scenario
    places: Places
    names: ImageNames
    images: ImageStore
    built: bool  # the service's image is built from this source tree
    templates: ComposeTemplates
    choose_port: Callable[[], int]
    progress: Progress
    service_host: str | None  # where the service is published, if not where the engine publishes all
    alerting: RealAlerting | None = None  # to run beside it
    servers_only: bool = False  # the service is another project's
    passwords: Secrets = field(default_factory=Secrets)

    def start(self) -> ComposeRunning:
        """Images, then data, then containers."""
        client = self.project.client
        remove_dead_projects(client.api)
        passwords = self.passwords
        write_secrets(self.places.private, passwords)
        ports = self._ports()
        command = self._command(ports)
        postgres = self.images.need(self.names.postgres)
        service = None if self.servers_only else self._service_image()
        if self.scenario.load.workers and service:
            build_locust(self.images, self.images.need(self.names.python))
        generated = self.places.private / "service.json"
        generated.touch(mode=0o600)
        engine = self.project.engine
        text = (
            generated_file(self.scenario, engine, service, passwords.role, metrics=self.alerting is not None)
            if service
            else servers_file(engine)
        )
        generated.write_text(text, encoding="utf-8")
        command = replace(command, files=(*command.files, generated))
        schema = Path(self.scenario.target.root) / self.scenario.target.schema
        data = self.scenario.data
        seeding = Seeding(
            command, client, postgres, self._dsn(ports.primary, ROLE, passwords.role), schema, data
        )
        kept = self.templates.path(postgres, schema, data)
        with self.templates.held(kept, seeding, self.progress) as template:
            self.progress("start the containers")
            ports = self._up(command, ports, template)
            raised = {**command.variables, **ports.variables(), "RUSHHOUR_TEMPLATE": str(template)}
            command = replace(command, variables=raised)
        running = self._running(command, ports, postgres, service)
        if self.alerting is not None:
            self.progress("start Prometheus and Alertmanager, and wait for the first scrapes")
            running.alerting = start_alerting(
                command, self.images, self.alerting, places=self.places, python=self.names.python
            )
        return running

    def _ports(self) -> Ports:
        return Ports(self.choose_port(), self.choose_port(), self.choose_port())

    def _command(self, ports: Ports) -> ComposeCommand:
        project = self.project
        return ComposeCommand(
            project.guard,
            project.engine,
            project.name,
            (configuration_dir().parent / "compose.yaml",),
            variables(
                project.name,
                self.scenario,
                project.engine,
                places=self.places,
                ports=ports,
                images=self.names,
            )
            | {"RUSHHOUR_SERVICE_PUBLISH": self.service_host or project.engine.publish}
            | owner_variables(self.places.work),
        )

    def _published(self) -> str:
        """Where the service is reached from outside the project."""
        return self.service_host or self.project.engine.host

    def _service_image(self) -> Image:
        if self.built:
            return build_release(self.images, self.scenario.release, self.images.need(self.names.python))
        return self.images.need(self.names.service)

    def _up(self, command: ComposeCommand, ports: Ports, template: Path) -> Ports:
        """Until every container is healthy; with other ports when one was taken meanwhile."""
        period_s = start_period_s((template / DATA).stat().st_size)
        wait_s = 2 * period_s + UP_GRACE_S  # primary and replica copy the data one after the other
        for attempt in range(PORT_ATTEMPTS):
            changed = ports.variables() | {
                "RUSHHOUR_TEMPLATE": str(template),
                "RUSHHOUR_START_PERIOD": f"{period_s}s",
            }
            parts = SERVERS if self.servers_only else ()
            arguments = ("up", "--detach", "--no-build", "--wait", "--wait-timeout", str(wait_s), *parts)
            try:
                command.run(*arguments, timeout_s=wait_s + UP_GRACE_S, **changed)
            except StackError as error:
                taken = any(mark in line for line in error.log_tail for mark in PORT_TAKEN)
                if taken and attempt + 1 < PORT_ATTEMPTS:
                    ports = self._ports()
                    continue
                if taken:
                    raise StackError(
                        f"no free ports in {PORT_ATTEMPTS} attempts; docker wrote:", error.log_tail
                    ) from error
                raise explain(self.project.client, self.project.name, error) from error
            return ports
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _dsn(self, port: int, user: str, password: str) -> str:
        return make_dsn(
            host=self.project.engine.host,
            port=port,
            dbname=DATABASE,
            user=user,
            password=password,
            connect_timeout=_CONNECT_TIMEOUT_S,
        )

    def _running(
        self, command: ComposeCommand, ports: Ports, postgres: Image, service: Image | None
    ) -> ComposeRunning:
        host = self.project.engine.host
        images = {"primary": str(postgres), "replica": str(postgres)}
        if service is not None:
            images["service"] = str(service)
        limits = {
            part: limit
            for part, limit in cpu_limits(self.scenario, self.project.engine).items()
            if part in images
        }
        servers = tuple(
            Server(
                name,
                host,
                port,
                DATABASE,
                self._dsn(port, SUPERUSER, self.passwords.superuser) + " application_name=rushhour",
                reached_as=f"{name if service else alias(name)}:{SERVER_PORT}",
            )
            for name, port in (("primary", ports.primary), ("replica", ports.replica))
        )
        return ComposeRunning(
            engine=self.project.engine,
            project=self.project.name,
            service_url=f"http://{self._published()}:{ports.service}",
            servers=servers,
            limits={part: limit.words for part, limit in limits.items()},
            limit_cores={part: limit.cores for part, limit in limits.items()},
            service_root=Path(service.workdir if service else "/"),
            images=images,
            _client=self.project.client,
            _logs=self.project.logs,
            _workers=ComposeWorkers(command, self.project.client, self.places.private),
        )
