"""The steps from a Compose file to a healthy service in it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from rushhour.agent.environment import INJECT_DIR, OUT_VARIABLE
from rushhour.errors import StackError
from rushhour.scenario.model import Scenario, Target
from rushhour.stack import Progress
from rushhour.stack.compose.command import ComposeCommand
from rushhour.stack.compose.failure import blame
from rushhour.stack.compose.files import (
    AGENT,
    LOGS,
    POOLS,
    Places,
    alias,
    asked_environment,
    container_environment,
    database_url,
)
from rushhour.stack.compose.images import Image, ImageStore
from rushhour.stack.compose.running import ComposeRunning
from rushhour.stack.compose.up import PORT_ATTEMPTS, PORT_TAKEN, ComposeProject
from rushhour.stack.compose_service.override import Injection, Mount, image_of, override_file
from rushhour.stack.compose_service.running import ComposeServiceRunning, own_containers, read_in
from rushhour.stack.compose_service.sources import Sources
from rushhour.stack.compose_service.user_file import UserFile, UserService, files_of, port_of, variables_of
from rushhour.stack.compose_service.waiting import wait_for_agent, wait_healthy
from rushhour.stack.own_service import run_setup, wait_for_replay, with_scheme
from rushhour.stack.processes.cgroups import weight
from rushhour.stack.processes.service import placeholders, split_command

BUILD_TIMEOUT_S: Final = 900.0
UP_TIMEOUT_S: Final = 600.0  # images of what it depends on may have to be pulled, and get healthy


@dataclass(frozen=True, slots=True)
class ServiceUp:
    """What the steps share. `labels` are those of everything that has to go at the end."""

    project: ComposeProject
    scenario: Scenario
    file: UserFile
    places: Places
    images: ImageStore
    labels: Mapping[str, str]
    choose_port: Callable[[], int]
    publish: str
    reached_at: str
    healthy_within_s: float
    progress: Progress
    servers: ComposeRunning | None = None
    urls: tuple[str, str] = ("", "")  # of primary and replica, as the container reaches them

    @property
    def project_name(self) -> str:
        """Compose's; one of its own, so that the file's names cannot meet ours."""
        return f"{self.project.name}-own"

    @property
    def target(self) -> Target:
        return self.scenario.target

    @property
    def service(self) -> UserService:
        return self.file.services[self.target.service]

    @property
    def port(self) -> int:
        """Where the service listens in its container."""
        return port_of(self.file, self.target.service, self.target.port)

    def behind(self, servers: ComposeRunning, password: str) -> "ServiceUp":
        """The same with these servers behind the service."""
        primary, replica = (
            with_scheme(database_url(alias(name), password, self.target.name), self.target.url_scheme)
            for name in ("primary", "replica")
        )
        return replace(self, servers=servers, urls=(primary, replica))

    def build(self) -> Image:
        """The service's image, built or pulled. Raises StackError with what docker wrote last."""
        service = self.service
        name = image_of(self.project_name, service)
        if service.context is None:
            return self.images.need(name)
        self.progress(f"build {self.target.service}")
        try:
            self._command(Injection(f"{self.publish}::{self.port}")).run(
                "build", self.target.service, timeout_s=BUILD_TIMEOUT_S
            )
        except StackError as error:
            what = f"service {self.target.service} cannot be built from {service.context}; docker wrote:"
            raise StackError(what, error.log_tail) from error
        built = self.images.find(name)
        if built is None:
            raise StackError(f"service {self.target.service} was built, but the engine does not know {name}")
        return built

    def setup(self, image: Image) -> None:
        """Run the set-up command in a container of its own, and wait until the replica has its work."""
        if not self.target.setup:
            return
        self.progress("set up the service's data")
        command = self._command(self._injection(image, 0))
        words = split_command(self.target.setup, self._values(), "target.setup")
        # The agent's file is called after the process's number, which is the service's own in its container.
        off = ("--env", f"{OUT_VARIABLE}=")
        name = f"{self.project_name}-setup"
        run_setup(
            self.project.guard,
            self.scenario,
            command.line("run", "--rm", "--no-TTY", "--name", name, *off, self.target.service, *words),
            command.environment,
            self.project.logs / "setup.log",
        )
        if self.servers is not None:
            wait_for_replay(*self.servers.servers)

    def start(self, image: Image) -> ComposeServiceRunning:
        """Start it and what it depends on; with another port when its own was taken meanwhile."""
        self.progress("start the service")
        port = self._up(image)
        found = own_containers(self.project.client, self.project_name)
        container = found[self.target.service]
        service = self.service
        shares = self._shares()
        words = [
            *([f"{service.cores:g} cores by the Compose file"] if service.cores else []),
            f"weight of nice {self.scenario.service.nice} among the containers"
            if shares
            else "as the Compose file says",
        ]
        behind = self.servers
        root = Path(self.target.root)
        context = Path(service.context) if service.context and Path(service.context).is_dir() else None
        return ComposeServiceRunning(
            engine=self.project.engine,
            target=self.target.service,
            service_url=f"http://{self.reached_at}:{port}",
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
            _client=self.project.client,
            _logs=self.project.logs,
            _containers=found,
        )

    def wait(self, running: ComposeServiceRunning) -> None:
        """Until it answers its health path, and its agent reports. Raises StackError that says why not."""
        self.progress(f"wait for {self.target.service}")
        container = running.container
        url = running.service_url + self.target.health
        wait_healthy(container, self.target.service, url, port=self.port, within_s=self.healthy_within_s)
        if self.scenario.agent:
            wait_for_agent(container, self.target.service, self.places.pools)

    def _up(self, image: Image) -> int:
        for attempt in range(PORT_ATTEMPTS):
            port = self.choose_port()
            try:
                self._command(self._injection(image, port)).run(
                    "up", "--detach", self.target.service, timeout_s=UP_TIMEOUT_S
                )
            except StackError as error:
                taken = any(mark in line for line in error.log_tail for mark in PORT_TAKEN)
                if taken and attempt + 1 < PORT_ATTEMPTS:
                    continue
                if taken:
                    raise StackError(
                        f"no free ports in {PORT_ATTEMPTS} attempts; docker wrote:", error.log_tail
                    ) from error
                raise self._blamed(error) from error
            return port
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _blamed(self, failure: StackError) -> StackError:
        """With the container that caused it; one that had only something to do first has ended well."""
        found = {
            name: one
            for name, one in own_containers(self.project.client, self.project_name).items()
            if one.attrs["State"]["Status"] != "exited" or one.attrs["State"]["ExitCode"]
        }
        return blame(found, failure)

    def _command(self, injection: Injection) -> ComposeCommand:
        """Compose for the file as it is, with this laid over it."""
        override = self.places.private / "override.yaml"
        override.touch(mode=0o600)
        text = override_file(self.file, self.target.service, self.project_name, self.labels, injection)
        override.write_text(text, encoding="utf-8")
        return ComposeCommand(
            self.project.guard,
            self.project.engine,
            self.project_name,
            (*files_of(self.target), override),
            variables_of(self.scenario),
        )

    def _injection(self, image: Image, port: int) -> Injection:
        values = self._values()
        mounts = [Mount(str(self.places.logs), str(LOGS))]
        environment = asked_environment(self.scenario, values)
        if self.scenario.agent:
            mounts += [
                Mount(str(INJECT_DIR.parent), AGENT, read_only=True),
                Mount(str(self.places.pools), POOLS),
            ]
            known = replace(image, environment={**image.environment, **self.service.environment})
            environment = container_environment(self.scenario, values, known)
        return Injection(
            publish=f"{self.publish}:{port or ''}:{self.port}",
            environment=environment,
            mounts=tuple(mounts),
            network=f"{self.project.name}_default" if self.servers else None,
            cpu_shares=self._shares(),
        )

    def _words(self, image: Image) -> str:
        """The image, by what it was built from: its own name goes with the run."""
        if self.service.context is None:
            return str(image)
        short = image.id.removeprefix("sha256:")[:12]
        return f"{short} built from {self.service.context}"

    def _shares(self) -> int:
        return 0 if self.service.has_shares else weight(self.scenario.service.nice)

    def _values(self) -> dict[str, str]:
        found = placeholders(self.scenario, self.port, *self.urls, LOGS)
        return found | {"python": "python", "host": "0.0.0.0"}  # noqa: S104  # inside its container; published on loopback
