"""The steps from a Compose file to a healthy service in it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from docker.models.containers import Container

from rushhour.agent.environment import INJECT_DIR, OUT_VARIABLE
from rushhour.errors import StackError
from rushhour.scenario.model import Target
from rushhour.stack.compose.command import ComposeCommand
from rushhour.stack.compose.failure import blame
from rushhour.stack.compose.files import (
    AGENT,
    LOGS,
    POOLS,
    alias,
    asked_environment,
    container_environment,
    database_url,
)
from rushhour.stack.compose.images import Image
from rushhour.stack.compose.project import PROJECT_LABEL
from rushhour.stack.compose.running import ComposeRunning
from rushhour.stack.compose.up import ComposeRun, up_on_free_ports, watched
from rushhour.stack.compose_service.override import Injection, Mount, image_of, override_file
from rushhour.stack.compose_service.running import ComposeServiceRunning, component, own_containers, read_in
from rushhour.stack.compose_service.sources import Sources
from rushhour.stack.compose_service.user_file import UserFile, UserService, files_of, port_of, variables_of
from rushhour.stack.compose_service.waiting import wait_for_agent, wait_healthy
from rushhour.stack.own_service import run_setup, wait_for_replay, with_scheme
from rushhour.stack.owner import owner_labels
from rushhour.stack.processes.cgroups import weight
from rushhour.stack.processes.service import placeholders, split_command

BUILD_TIMEOUT_S: Final = 900.0
UP_TIMEOUT_S: Final = 600.0  # images of what it depends on may have to be pulled, and get healthy


@dataclass(frozen=True, slots=True)
class ServiceUp:
    """The steps from a Compose file to a healthy service, with our servers behind it where it wants them."""

    run: ComposeRun
    file: UserFile
    healthy_within_s: float
    servers: ComposeRunning | None = None
    urls: tuple[str, str] = ("", "")  # of primary and replica, as the container reaches them

    @property
    def project_name(self) -> str:
        """Compose's; one of its own, so that the file's names cannot meet ours."""
        return f"{self.run.project.name}-own"

    @property
    def labels(self) -> Mapping[str, str]:
        """Of everything that has to go at the end: both projects go together."""
        return {PROJECT_LABEL: self.run.project.name, **owner_labels(self.run.places.work)}

    def components(self) -> dict[str, Container]:
        """Return the user's containers that there are now, by what they are called in the run's files."""
        found = own_containers(self.run.client, self.project_name)
        return {component(service, self.target.service): container for service, container in found.items()}

    @property
    def target(self) -> Target:
        return self.run.scenario.target

    @property
    def service(self) -> UserService:
        return self.file.services[self.target.service]

    @property
    def port(self) -> int:
        """Where the service listens in its container."""
        return port_of(self.file, self.target.service, self.target.port)

    def behind(self, servers: ComposeRunning, password: str) -> "ServiceUp":
        """Return it with these servers behind the service."""
        primary, replica = (
            with_scheme(database_url(alias(name), password, self.target.name), self.target.url_scheme)
            for name in ("primary", "replica")
        )
        return replace(self, servers=servers, urls=(primary, replica))

    def build(self) -> Image:
        """Build or pull the service's image. Raises StackError with what docker wrote last."""
        service = self.service
        name = image_of(self.project_name, service)
        if service.context is None:
            return self.run.images.need(name)
        self.run.progress(f"build {self.target.service}")
        try:
            self._command(Injection(f"{self.run.publish}::{self.port}")).run(
                "build", self.target.service, timeout_s=BUILD_TIMEOUT_S
            )
        except StackError as error:
            what = f"service {self.target.service} cannot be built from {service.context}; docker wrote:"
            raise StackError(what, error.log_tail) from error
        built = self.run.images.find(name)
        if built is None:
            raise StackError(f"service {self.target.service} was built, but the engine does not know {name}")
        return built

    def setup(self, image: Image) -> None:
        """Run the set-up command in a container of its own, and wait until the replica has its work."""
        if not self.target.setup:
            return
        self.run.progress("set up the service's data")
        command = self._command(self._injection(image, 0))
        words = split_command(self.target.setup, self._values(), "target.setup")
        # The agent's file is called after the process's number, which is the service's own in its container.
        off = ("--env", f"{OUT_VARIABLE}=")
        name = f"{self.project_name}-setup"
        run_setup(
            self.run.project.guard,
            self.run.scenario,
            command.line("run", "--rm", "--no-TTY", "--name", name, *off, self.target.service, *words),
            command.environment,
            self.run.project.logs / "setup.log",
        )
        if self.servers is not None:
            wait_for_replay(*self.servers.servers)

    @contextmanager
    def up(self, image: Image) -> Iterator[ComposeServiceRunning]:
        """Bring up the service and what it depends on, healthy and with its agent; ended on leaving."""
        with watched(self._start(image)) as running:
            self._wait(running)
            yield running

    def _start(self, image: Image) -> ComposeServiceRunning:
        """Start it and what it depends on."""
        self.run.progress("start the service")
        port = up_on_free_ports(
            self.run.choose_port,
            lambda port: self._command(self._injection(image, port)).run(
                "up", "--detach", self.target.service, timeout_s=UP_TIMEOUT_S
            ),
            self._blamed,
        )
        found = own_containers(self.run.client, self.project_name)
        container = found[self.target.service]
        service = self.service
        shares = self._shares()
        words = [
            *([f"{service.cores:g} cores by the Compose file"] if service.cores else []),
            f"weight of nice {self.run.scenario.service.nice} among the containers"
            if shares
            else "as the Compose file says",
        ]
        behind = self.servers
        root = Path(self.target.root)
        context = Path(service.context) if service.context and Path(service.context).is_dir() else None
        return ComposeServiceRunning(
            engine=self.run.engine,
            target=self.target.service,
            service_url=f"http://{self.run.reached_at}:{port}",
            service_root=root,
            limits={**(behind.limits if behind else {}), "service": ", ".join(words)},
            images={**(behind.images if behind else {}), "service": self._words(image)},
            limit_cores=service.cores,
            sources=Sources(
                root,
                service.binds,
                [context, root] if context else [root],
                lambda file: read_in(container, file),
            ),
            _servers=behind,
            _client=self.run.client,
            _logs=self.run.project.logs,
            _containers=found,
        )

    def _wait(self, running: ComposeServiceRunning) -> None:
        """Wait until it answers its health path and its agent reports. Raises StackError with why not."""
        self.run.progress(f"wait for {self.target.service}")
        container = running.container
        url = running.service_url + self.target.health
        wait_healthy(container, self.target.service, url, port=self.port, within_s=self.healthy_within_s)
        if self.run.scenario.agent:
            wait_for_agent(container, self.target.service, self.run.places.pools)

    def _blamed(self, failure: StackError) -> StackError:
        """Return the error with the container that caused it; one that finished a task has ended well."""
        found = {
            name: container
            for name, container in own_containers(self.run.client, self.project_name).items()
            if container.attrs["State"]["Status"] != "exited" or container.attrs["State"]["ExitCode"]
        }
        return blame(found, failure)

    def _command(self, injection: Injection) -> ComposeCommand:
        """Return Compose for the file as it is, with this laid over it."""
        override = self.run.places.private / "override.yaml"
        override.touch(mode=0o600)
        text = override_file(self.file, self.target.service, self.project_name, self.labels, injection)
        override.write_text(text, encoding="utf-8")
        return ComposeCommand(
            self.run.project.guard,
            self.run.engine,
            self.project_name,
            (*files_of(self.target), override),
            variables_of(self.run.scenario),
        )

    def _injection(self, image: Image, port: int) -> Injection:
        values = self._values()
        mounts = [Mount(str(self.run.places.logs), str(LOGS))]
        environment = asked_environment(self.run.scenario, values)
        if self.run.scenario.agent:
            mounts += [
                Mount(str(INJECT_DIR.parent), AGENT, read_only=True),
                Mount(str(self.run.places.pools), POOLS),
            ]
            known = replace(image, environment={**image.environment, **self.service.environment})
            environment = container_environment(self.run.scenario, values, known)
        return Injection(
            publish=f"{self.run.publish}:{port or ''}:{self.port}",
            environment=environment,
            mounts=tuple(mounts),
            network=f"{self.run.project.name}_default" if self.servers else None,
            cpu_shares=self._shares(),
        )

    def _words(self, image: Image) -> str:
        """Return the image by what it was built from: its own name goes with the run."""
        if self.service.context is None:
            return str(image)
        short = image.id.removeprefix("sha256:")[:12]
        return f"{short} built from {self.service.context}"

    def _shares(self) -> int:
        return 0 if self.service.has_shares else weight(self.run.scenario.service.nice)

    def _values(self) -> dict[str, str]:
        found = placeholders(self.run.scenario, self.port, *self.urls, LOGS)
        return found | {"python": "python", "host": "0.0.0.0"}  # noqa: S104  # inside its container; published on loopback
