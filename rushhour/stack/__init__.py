"""The protocols of a stack: primary, replica and service under test."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, runtime_checkable

from rushhour.process.meter import Meter
from rushhour.rundir import RunDir
from rushhour.scenario.model import Scenario


@dataclass(frozen=True, slots=True)
class Server:
    """A PostgreSQL server. `admin_dsn` (libpq) connects as a superuser, over reserved connections."""

    name: str  # "primary" | "replica"
    host: str
    port: int
    dbname: str
    admin_dsn: str = field(repr=False)  # it holds a password
    reached_as: str | None = None  # "host:port" by which the service reaches it, where that differs


class Running(Protocol):
    """A running stack."""

    @property
    def service_url(self) -> str: ...

    @property
    def servers(self) -> tuple[Server, ...]: ...

    @property
    def meters(self) -> Mapping[str, Meter]:
        """The meters of "primary", "replica" and "service"."""
        ...

    @property
    def limits(self) -> Mapping[str, str]:
        """A description of each component's CPU limit, for environment.json."""
        ...

    @property
    def service_root(self) -> Path:
        """The folder of the service's code, as the service sees it; call sites are relative to it."""
        ...

    @property
    def postgres_version(self) -> str: ...

    @property
    def images(self) -> Mapping[str, str]:
        """A description of each container image in use; empty without containers."""
        ...

    def check_alive(self) -> None:
        """Raise StackError, with the last lines of the log, if a part of the stack has ended."""
        ...


Fault = Literal["pause", "unpause", "stop", "kill", "start", "black-hole", "restore", "lock", "unlock"]


@runtime_checkable
class TakesFaults(Protocol):
    """A running stack whose servers can be made to fail."""

    def fault(self, server: str, what: Fault, table: str = "") -> None:
        """Apply a fault to a server, or to a table of it; `check_alive` then expects it.

        Raises StackError if that fails.
        """
        ...


@runtime_checkable
class HostsWorkers(Protocol):
    """A running stack that can run Locust's workers beside the service."""

    @property
    def master_host(self) -> str:
        """The address of this machine at which the workers reach a master."""
        ...

    @property
    def inside(self) -> tuple[str, str]:
        """The service's URL as the workers reach it, and its host."""
        ...

    def start_workers(
        self, count: int, locustfile: Path, master_port: int, environment: Mapping[str, str]
    ) -> Mapping[str, Meter]:
        """Start the workers, and return their meters by component name. Raises StackError."""
        ...


class Alerting(Protocol):
    """A real Prometheus and Alertmanager, and a pager that records their notifications."""

    @property
    def settles_s(self) -> float:
        """The time within which the first page follows an event, in seconds."""
        ...

    @property
    def places(self) -> Mapping[str, str]:
        """The addresses of its parts, as reached from this machine."""
        ...

    @property
    def detail(self) -> dict[str, Any]:
        """The detail of the event `alerting_up`."""
        ...

    def ended(self) -> dict[str, Any]:
        """Return the detail of the event `alerting_ended`. Raises StackError if it does not answer."""
        ...


@runtime_checkable
class RunsAlerting(Protocol):
    """A running stack that can run real alarms."""

    @property
    def alerting(self) -> Alerting | None: ...


@runtime_checkable
class ServesAgain(Protocol):
    """A running stack that can restart its service while the servers stay up."""

    def serve_again(self, scenario: Scenario, run: RunDir) -> None:
        """Start another service for this scenario, reporting into this run; its URL may change.

        Raises StackError, with the last lines of the log, if it does not come up.
        """
        ...


def set_up_alike(standing: Scenario, wanted: Scenario) -> bool:
    """Return whether what a stack runs once, `setup` and `partner`, is as another scenario needs it.

    Both may be of a release, also by a variable of the service's environment.
    """
    runs_once = bool(wanted.target.setup or wanted.service.partner)
    return not runs_once or standing.release == wanted.release


@runtime_checkable
class WritesPerTask(Protocol):
    """A running stack whose tasks each have a folder below the agent's directory.

    Pids repeat in containers, so the files of two tasks must not share a folder.
    """

    def task_directories(self, agent: Path) -> Sequence[Path]:
        """Return the folders that exist now."""
        ...


@runtime_checkable
class KnowsSources(Protocol):
    """A running stack whose service uses other paths than this machine, as in a container."""

    def local_source(self, file: str) -> str:
        """Return the local file relative to `service_root`, or `file` unchanged if there is none."""
        ...


class Progress(Protocol):
    """Reports the progress of slow steps; `total` None means unknown."""

    def __call__(self, step: str, done: float = 0, total: float | None = None, unit: str = "") -> None: ...


R_co = TypeVar("R_co", bound=Running, covariant=True)


class BringsUp(Protocol[R_co]):
    """Brings something up for a scenario; leaving the context removes all of it."""

    @property
    def name(self) -> str: ...

    def up(self, scenario: Scenario, run: RunDir, progress: Progress) -> AbstractContextManager[R_co]: ...


Stack: TypeAlias = BringsUp[Running]
