"""What stands under test: primary, replica and service, behind one Protocol."""

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
    """One PostgreSQL server. `admin_dsn` (libpq) connects as a superuser, through reserved connections."""

    name: str  # "primary" | "replica"
    host: str
    port: int
    dbname: str
    admin_dsn: str = field(repr=False)  # it holds a password
    reached_as: str | None = None  # "host:port" by which the service reaches it, where that differs


class Running(Protocol):
    """A stack that is up."""

    @property
    def service_url(self) -> str: ...

    @property
    def servers(self) -> tuple[Server, ...]: ...

    @property
    def meters(self) -> Mapping[str, Meter]:
        """CPU of "primary", "replica" and "service"."""
        ...

    @property
    def limits(self) -> Mapping[str, str]:
        """How each component's capacity is limited, in words, for environment.json."""
        ...

    @property
    def service_root(self) -> Path:
        """Where the service's code lies, as the service sees it: call sites are relative to it."""
        ...

    @property
    def postgres_version(self) -> str: ...

    @property
    def images(self) -> Mapping[str, str]:
        """Container images in use, in words; empty where there are none."""
        ...

    def check_alive(self) -> None:
        """Raises StackError, with the log's last lines, when a part of the stack has ended."""
        ...


Fault = Literal["pause", "unpause", "stop", "kill", "start", "black-hole", "restore", "lock", "unlock"]


@runtime_checkable
class TakesFaults(Protocol):
    """What a running stack may also be: one whose servers can be made to fail."""

    def fault(self, server: str, what: Fault, table: str = "") -> None:
        """Do this to a server, or to a table of it; from then on `check_alive` expects it.

        Raises StackError when it cannot be done.
        """
        ...


@runtime_checkable
class HostsWorkers(Protocol):
    """What a running stack may also be: one that runs Locust's workers beside the service."""

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
        """Start them; the meters by component name. Raises StackError when they cannot be started."""
        ...


class Alerting(Protocol):
    """A real Prometheus and Alertmanager over the service, and a pager that records whom they tell."""

    @property
    def settles_s(self) -> float:
        """Within this time of an event a first page has come."""
        ...

    @property
    def places(self) -> Mapping[str, str]:
        """Where its parts are reached from this machine."""
        ...

    @property
    def detail(self) -> dict[str, Any]:
        """For the event that it is up."""
        ...

    def ended(self) -> dict[str, Any]:
        """For the event that nobody waits for pages any longer. Raises StackError when it does not tell."""
        ...


@runtime_checkable
class RunsAlerting(Protocol):
    """What a running stack may also be: one with real alarms, where they were asked for."""

    @property
    def alerting(self) -> Alerting | None: ...


@runtime_checkable
class ServesAgain(Protocol):
    """What a running stack may also be: one that starts its service anew while the servers stay up."""

    def serve_again(self, scenario: Scenario, run: RunDir) -> None:
        """Another service, as this scenario wants it and reporting into this run; its URL may change.

        Raises StackError, with the log's last lines, when it does not come up.
        """
        ...


@runtime_checkable
class WritesPerTask(Protocol):
    """What a running stack may also be: one whose tasks each write below the agent's directory.

    In containers pids repeat, so the files of two tasks must not lie side by side.
    """

    def task_directories(self, agent: Path) -> Sequence[Path]:
        """Those that are there now."""
        ...


@runtime_checkable
class KnowsSources(Protocol):
    """What a running stack may also be: one whose service names files that lie elsewhere on this machine."""

    def local_source(self, file: str) -> str:
        """The same file relative to `service_root`; `file` as it is where there is no such."""
        ...


class Progress(Protocol):
    """Where slow steps tell how far they are; `total` None means unknown."""

    def __call__(self, step: str, done: float = 0, total: float | None = None, unit: str = "") -> None: ...


R_co = TypeVar("R_co", bound=Running, covariant=True)


class BringsUp(Protocol[R_co]):
    """Something that can be brought up for a scenario; leaving the context removes all of it."""

    @property
    def name(self) -> str: ...

    def up(self, scenario: Scenario, run: RunDir, progress: Progress) -> AbstractContextManager[R_co]: ...


Stack: TypeAlias = BringsUp[Running]
