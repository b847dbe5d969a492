"""Brings up the servers and the service of a Compose project."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Final

from psycopg2.extensions import make_dsn

from rushhour.alarms.real_config import RealAlerting
from rushhour.scenario.model import SERVERS
from rushhour.stack import Server
from rushhour.stack.compose.alerting import start_alerting
from rushhour.stack.compose.command import ComposeCommand
from rushhour.stack.compose.failure import explain
from rushhour.stack.compose.files import (
    SERVER_PORT,
    ImageNames,
    Ports,
    alias,
    cpu_limits,
    generated_file,
    servers_file,
    start_period_s,
    variables,
)
from rushhour.stack.compose.image_build import build_locust, build_release
from rushhour.stack.compose.images import Image
from rushhour.stack.compose.project import remove_dead_projects
from rushhour.stack.compose.running import ComposeRunning
from rushhour.stack.compose.template import DATA, ComposeTemplates, Seeding
from rushhour.stack.compose.up import ComposeRun, up_on_free_ports, watched, write_secrets
from rushhour.stack.compose.workers import ComposeWorkers
from rushhour.stack.owner import owner_variables
from rushhour.stack.paths import configuration_dir
from rushhour.stack.postgres.server import DATABASE, ROLE, SUPERUSER, Secrets

UP_GRACE_S: Final = 60  # for the engine itself, beyond the time that the servers may take for their data
_CONNECT_TIMEOUT_S: Final = 3


@dataclass(frozen=True, slots=True)
class BringUp:
    """Brings up the servers, and a service from this source tree or an image."""

    run: ComposeRun
    names: ImageNames
    templates: ComposeTemplates
    built: bool = False  # the service's image is built from this source tree
    alerting: RealAlerting | None = None  # real alarms to run
    servers_only: bool = False  # the service belongs to another project
    passwords: Secrets = field(default_factory=Secrets)

    @contextmanager
    def up(self) -> Iterator[ComposeRunning]:
        """Bring the stack up, and stop it when the block ends."""
        with watched(self._start()) as running:
            running.wait_for_streaming()
            running.wait_for_meters()
            yield running

    def _start(self) -> ComposeRunning:
        """Get the images, the data and the containers ready, in this order."""
        client = self.run.client
        remove_dead_projects(client.api)
        passwords = self.passwords
        write_secrets(self.run.places.private, passwords)
        ports = self._ports()
        command = self._command(ports)
        postgres = self.run.images.need(self.names.postgres)
        service = None if self.servers_only else self._service_image()
        if self.run.scenario.load.workers and service:
            build_locust(self.run.images, self.run.images.need(self.names.python))
        generated = self.run.places.private / "service.json"
        generated.touch(mode=0o600)
        engine = self.run.engine
        text = (
            generated_file(
                self.run.scenario, engine, service, passwords.role, metrics=self.alerting is not None
            )
            if service
            else servers_file(engine)
        )
        generated.write_text(text, encoding="utf-8")
        command = replace(command, files=(*command.files, generated))
        schema = Path(self.run.scenario.target.root) / self.run.scenario.target.schema
        data = self.run.scenario.data
        seeding = Seeding(
            command, client, postgres, self._dsn(ports.primary, ROLE, passwords.role), schema, data
        )
        with self.templates.held(seeding, self.run.progress) as template:
            self.run.progress("start the containers")
            ports = self._up(command, ports, template)
            raised = {**command.variables, **ports.variables(), "RUSHHOUR_TEMPLATE": str(template)}
            command = replace(command, variables=raised)
        running = self._running(command, ports, postgres, service)
        if self.alerting is not None:
            self.run.progress("start Prometheus and Alertmanager, and wait for the first scrapes")
            running.alerting = start_alerting(
                command, self.run.images, self.alerting, places=self.run.places, python=self.names.python
            )
        return running

    def _ports(self) -> Ports:
        return Ports(self.run.choose_port(), self.run.choose_port(), self.run.choose_port())

    def _command(self, ports: Ports) -> ComposeCommand:
        project = self.run.project
        return ComposeCommand(
            project.guard,
            project.engine,
            project.name,
            (configuration_dir().parent / "compose.yaml",),
            variables(
                project.name,
                self.run.scenario,
                project.engine,
                places=self.run.places,
                ports=ports,
                images=self.names,
            )
            | {"RUSHHOUR_SERVICE_PUBLISH": self.run.publish}
            | owner_variables(self.run.places.work),
        )

    def _service_image(self) -> Image:
        if self.built:
            return build_release(
                self.run.images, self.run.scenario.release, self.run.images.need(self.names.python)
            )
        return self.run.images.need(self.names.service)

    def _up(self, command: ComposeCommand, first: Ports, template: Path) -> Ports:
        """Start the containers and wait until all are healthy. `first` are the ports to try first."""
        period_s = start_period_s((template / DATA).stat().st_size)
        wait_s = 2 * period_s + UP_GRACE_S  # primary and replica copy the data one after the other
        parts = SERVERS if self.servers_only else ()
        arguments = ("up", "--detach", "--no-build", "--wait", "--wait-timeout", str(wait_s), *parts)

        def up(ports: Ports) -> None:
            changed = ports.variables() | {
                "RUSHHOUR_TEMPLATE": str(template),
                "RUSHHOUR_START_PERIOD": f"{period_s}s",
            }
            command.run(*arguments, timeout_s=wait_s + UP_GRACE_S, **changed)

        candidates = chain([first], iter(self._ports, None))
        return up_on_free_ports(
            lambda: next(candidates),
            up,
            lambda error: explain(self.run.client, self.run.project.name, error),
        )

    def _dsn(self, port: int, user: str, password: str) -> str:
        return make_dsn(
            host=self.run.engine.host,
            port=port,
            dbname=DATABASE,
            user=user,
            password=password,
            connect_timeout=_CONNECT_TIMEOUT_S,
        )

    def _running(
        self, command: ComposeCommand, ports: Ports, postgres: Image, service: Image | None
    ) -> ComposeRunning:
        host = self.run.engine.host
        images = {"primary": str(postgres), "replica": str(postgres)}
        if service is not None:
            images["service"] = str(service)
        limits = {
            part: limit
            for part, limit in cpu_limits(self.run.scenario, self.run.engine).items()
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
            engine=self.run.engine,
            project=self.run.project.name,
            service_url=f"http://{self.run.reached_at}:{ports.service}",
            servers=servers,
            limits={part: limit.words for part, limit in limits.items()},
            limit_cores={part: limit.cores for part, limit in limits.items()},
            service_root=Path(service.workdir if service else "/"),
            images=images,
            _client=self.run.client,
            _logs=self.run.project.logs,
            _workers=ComposeWorkers(command, self.run.client, self.run.places.private),
        )
