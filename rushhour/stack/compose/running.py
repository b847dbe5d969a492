"""A Compose stack that is up: its servers, meters, logs, and the faults it takes."""

import time
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg2
from docker import DockerClient
from docker.models.containers import Container

from rushhour.errors import ServiceDiedError, StackError
from rushhour.process.meter import Meter
from rushhour.process.ports import HOST
from rushhour.process.psutil_meters import ProcessTreeMeter
from rushhour.process.waiting import wait_until
from rushhour.stack import Fault, Server
from rushhour.stack.compose.alerting import ComposeAlerting
from rushhour.stack.compose.engine import ENGINE_ERRORS, Engine, last_reason
from rushhour.stack.compose.failure import containers
from rushhour.stack.compose.template import last_lines
from rushhour.stack.compose.watch import ContainerMeter, LogFollower, engine_meter
from rushhour.stack.compose.workers import INSIDE, PART, ComposeWorkers
from rushhour.stack.postgres.server import ask, connected, last_line, replica_state
from rushhour.stack.postgres.table_lock import TableLock

CHECK_EVERY_S: Final = 1.0  # each check asks the engine
STREAM_TIMEOUT_S: Final = 30.0
LOG_END_TIMEOUT_S: Final = 5.0
METER_TIMEOUT_S: Final = 10.0
STOP_TIMEOUT_S: Final = 10
FAULTY: Final = ("primary", "replica")


def end_all(
    containers: Collection[Container], followers: Iterable[LogFollower], meters: Collection[ContainerMeter]
) -> None:
    """Kill the containers, with their logs read to the end, and close their meters."""
    for meter in meters:
        meter.stop()
    # The engine answers when a container has ended.
    with ThreadPoolExecutor(max(1, len(containers))) as at_once:
        for container in containers:
            at_once.submit(_kill, container)
    for follower in followers:
        follower.close(LOG_END_TIMEOUT_S)
    for meter in meters:
        meter.close()


def _kill(container: Container) -> None:
    with suppress(*ENGINE_ERRORS):  # the container or the engine has ended: the removal reports it
        container.kill()


@dataclass(slots=True)
class ComposeRunning:
    """A running Compose stack. `close` ends it, after reading its logs to the end."""

    engine: Engine
    project: str
    service_url: str
    servers: tuple[Server, ...]
    limits: Mapping[str, str]
    limit_cores: Mapping[str, float | None]
    service_root: Path  # the image's working directory: call sites are relative to it
    images: Mapping[str, str]  # part -> image, in words
    _client: DockerClient = field(repr=False)
    _logs: Path
    _workers: ComposeWorkers
    alerting: ComposeAlerting | None = None
    postgres_version: str = ""
    _containers: dict[str, Container] = field(default_factory=dict)
    _meters: dict[str, ContainerMeter] = field(default_factory=dict)
    _worker_containers: list[Container] = field(default_factory=list)
    _worker_meters: list[ContainerMeter] = field(default_factory=list)
    _engine_meter: ProcessTreeMeter | None = None
    _followers: dict[str, LogFollower] = field(default_factory=dict)
    _down: set[str] = field(default_factory=set)  # servers that a fault took down
    _locks: dict[str, TableLock] = field(default_factory=dict)  # server -> what a fault holds there
    _checked_s: float = 0.0

    @property
    def meters(self) -> Mapping[str, Meter]:
        """CPU of the three parts, and of the engine itself ("engine") where that is a process here."""
        return {**self._meters, **({"engine": self._engine_meter} if self._engine_meter else {})}

    def open(self) -> None:
        """Follow the logs and find the meters; `close` must be called from here on."""
        self._containers = containers(self._client, self.project)
        for part, container in self._containers.items():
            self._followers[part] = LogFollower(self.engine, str(container.id), self._logs / f"{part}.log")
        self._engine_meter = engine_meter()
        self._meters = {
            part: ContainerMeter(self.engine, str(self._containers[part].id), cores)
            for part, cores in self.limit_cores.items()
        }

    @property
    def master_host(self) -> str:
        """Where a Locust master listens so that the workers reach it."""
        return self._workers.gateway() or HOST

    @property
    def inside(self) -> tuple[str, str]:
        """The service as the workers reach it: within the project's network."""
        return INSIDE

    def start_workers(
        self, count: int, locustfile: Path, master_port: int, environment: Mapping[str, str]
    ) -> Mapping[str, Meter]:
        """Start Locust's workers, follow their logs and meter them. Raises StackError."""
        try:
            found = self._workers.start(count, locustfile, master_port, environment)
        except ENGINE_ERRORS as error:
            raise StackError(f"the workers could not be started: {last_reason(error)}") from error
        started: dict[str, Meter] = {}
        for number, container in enumerate(found):
            name = f"{PART}-{number}"
            log = self._logs / f"{name}.log"
            self._followers[name] = LogFollower(self.engine, str(container.id), log)
            meter = ContainerMeter(self.engine, str(container.id), None)
            self._worker_meters.append(meter)
            self._worker_containers.append(container)
            started[name] = meter
        return started

    def wait_for_streaming(self) -> None:
        """Wait until the primary sees the replica stream; the replica's health check covers its side."""
        primary = self.servers[0]

        def not_streaming() -> str | None:
            try:
                with connected(primary.admin_dsn) as admin:
                    self.postgres_version = str(ask(admin, "SHOW server_version"))
                    state = replica_state(admin)
            except psycopg2.OperationalError as error:
                return last_line(error)
            return None if state == "streaming" else f"pg_stat_replication.state {state}"

        wait_until(
            f"the primary at {primary.host}:{primary.port} to see the replica stream",
            not_streaming,
            STREAM_TIMEOUT_S,
            "the replica's last lines:",
            tail=lambda: last_lines(self._containers["replica"]),
        )

    def wait_for_meters(self) -> None:
        """Wait until the engine has sent the first figures of every container."""
        for meter in self._meters.values():
            meter.wait_for_first(METER_TIMEOUT_S)

    def check_alive(self) -> None:
        """Raise StackError, with the last lines of the log, if a part has ended or the engine is gone."""
        now_s = time.monotonic()
        if now_s - self._checked_s < CHECK_EVERY_S:
            return
        self._checked_s = now_s
        try:
            found = {container["Id"]: container for container in self._client.api.containers(all=True)}
        except ENGINE_ERRORS as error:
            raise StackError(
                f"the container engine at {self.engine.base_url} no longer answers: {last_reason(error)}"
            ) from error
        for part, container in self._containers.items():
            state = found.get(str(container.id), {"State": "missing", "Status": "removed"})
            if part not in self._down and state["State"] not in ("running", "paused"):
                message = f"the container of {part} is {state['State']} ({state['Status']}); its last lines:"
                if part == "service":
                    raise ServiceDiedError(state["Status"], message, last_lines(container))
                raise StackError(message, last_lines(container))

    def fault(self, server: str, what: Fault, table: str = "") -> None:
        """Apply a fault to a server; parts that it takes down are not reported as errors."""
        if server not in FAULTY:
            raise StackError(f"unknown server {server!r}; known: {', '.join(FAULTY)}")
        if what == "lock":
            dsn = next(candidate.admin_dsn for candidate in self.servers if candidate.name == server)
            self._locks[server] = TableLock(dsn, server, table)
            return
        if what == "unlock":
            self._locks.pop(server).release()
            return
        container = self._containers[server]
        actions = {
            "pause": container.pause,
            "unpause": container.unpause,
            "stop": lambda: container.stop(timeout=STOP_TIMEOUT_S),
            "kill": container.kill,
            "start": container.start,
        }
        if what not in actions:
            raise StackError(
                f"this stack takes no fault {what!r}; it takes: {', '.join([*actions, 'lock', 'unlock'])}"
            )
        before = set(self._down)
        if what in ("stop", "kill"):
            self._down.add(server)  # first: the check runs in between
        try:
            actions[what]()
        except ENGINE_ERRORS as error:
            self._down = before
            raise StackError(f"the engine could not {what} the {server}: {last_reason(error)}") from error
        if what == "start":
            self._down.discard(server)

    def close(self) -> None:
        """Kill the containers and save their logs; the removal of the project repeats what fails here."""
        for lock in self._locks.values():
            lock.release()
        end_all(
            [*self._worker_containers, *self._containers.values()],
            self._followers.values(),
            [*self._meters.values(), *self._worker_meters],
        )
