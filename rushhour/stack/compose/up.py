"""What both Compose stacks are brought up with: a project, its directories, and containers on free ports."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

from docker import DockerClient

from rushhour.errors import StackError
from rushhour.process.guard import Guard
from rushhour.process.ports import HOST, PORT_ATTEMPTS, PortTakenError, free_port, lost_race, on_free_ports
from rushhour.rundir import RunDir
from rushhour.scenario.model import Scenario
from rushhour.stack import Progress
from rushhour.stack.compose.engine import ENGINE_ERRORS, Engine, last_reason
from rushhour.stack.compose.failure import containers, save_logs
from rushhour.stack.compose.files import Places
from rushhour.stack.compose.images import ImageStore
from rushhour.stack.compose.project import SETTLE_S, removal_command, remove_project
from rushhour.stack.paths import cache_dir, open_cache
from rushhour.stack.postgres.server import Secrets
from rushhour.stack.work import work_dir

P = TypeVar("P")


def make_places(work: Path, run: RunDir) -> Places:
    """Make the run's directories; any user may write where a container does, as its user is unknown."""
    private = work / "private"
    private.mkdir(mode=0o700)
    for shared in (run.agent, run.logs):
        shared.mkdir(parents=True, exist_ok=True)
        shared.chmod(0o1777)
    return Places(work, private, run.agent.resolve(), run.logs.resolve(), run.notifications.resolve())


def write_secrets(private: Path, passwords: Secrets) -> None:
    """Write a file for each; the directory keeps others out, and in a container any user may read it."""
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
        """Raises StackError when something is left, after the first error, if there was any.

        The guard tries once more then, when the harness ends.
        """
        save_logs(lambda: containers(self.client, self.name), self.logs)
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
class ComposeOptions:
    """How a Compose stack is brought up, whatever is in it."""

    guard: Guard
    allow_host: str | None = None  # the engine's machine, when it is not this one
    cache: Path | None = None
    choose_port: Callable[[], int] = free_port
    service_host: str = HOST  # where the service is published


@dataclass(frozen=True, slots=True)
class ComposeRun:
    """What the steps of one run share. The project is empty at first, and gone at the end."""

    project: ComposeProject
    scenario: Scenario
    places: Places
    images: ImageStore
    cache: Path
    choose_port: Callable[[], int]
    publish: str  # the address that the service's port is published on
    reached_at: str  # the host that the service is reached at
    progress: Progress

    @property
    def engine(self) -> Engine:
        return self.project.engine

    @property
    def client(self) -> DockerClient:
        return self.project.client


@contextmanager
def compose_run(
    options: ComposeOptions, engine: Engine, scenario: Scenario, run: RunDir, progress: Progress
) -> Iterator[ComposeRun]:
    """Make a run's own project on this engine; all that carries its label is removed on leaving."""
    cache = open_cache(options.cache or cache_dir(), None)
    service_host = None if options.service_host == HOST else options.service_host
    with closing(engine.client()) as client, work_dir(cache, options.guard) as work:
        places = make_places(work, run)
        name = f"rushhour-{work.name}"
        with ComposeProject(options.guard, engine, client, name, run.logs) as project:
            yield ComposeRun(
                project=project,
                scenario=scenario,
                places=places,
                images=ImageStore(options.guard, engine, client, progress),
                cache=cache,
                choose_port=options.choose_port,
                publish=service_host or engine.publish,
                reached_at=service_host or engine.host,
                progress=progress,
            )


def up_on_free_ports(
    choose: Callable[[], P], up: Callable[[P], None], explain: Callable[[StackError], StackError]
) -> P:
    """Return the ports with which `docker compose up` succeeded; a port that was taken meanwhile is replaced.

    Raises the StackError that `explain` makes of docker's own.
    """

    def attempt(ports: P) -> P:
        try:
            up(ports)
        except StackError as error:
            if lost_race(error.log_tail):
                raise PortTakenError(
                    f"no free ports in {PORT_ATTEMPTS} attempts; docker wrote:", error.log_tail
                ) from error
            raise explain(error) from error
        return ports

    return on_free_ports(choose, attempt)


class Watchable(Protocol):
    """Containers that are up."""

    def open(self) -> None:
        """Follow their logs, and find their meters."""
        ...

    def close(self) -> None:
        """End them, with their logs read to the end."""
        ...


W = TypeVar("W", bound=Watchable)


@contextmanager
def watched(running: W) -> Iterator[W]:
    """Watch containers that are up; they are ended on leaving."""
    try:
        running.open()
        yield running
    finally:
        running.close()
