"""What stands under test: primary, replica and service, behind one Protocol."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from rushhour.history import RunDir
from rushhour.meter import Meter
from rushhour.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Server:
    """One PostgreSQL server. `admin_dsn` (libpq) connects as a superuser, through reserved connections."""

    name: str  # "primary" | "replica"
    host: str
    port: int
    dbname: str
    admin_dsn: str


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

    def check_alive(self) -> None:
        """Raises StackError, with the log's last lines, when a part of the stack has ended."""
        ...


class Progress(Protocol):
    """Where slow steps tell how far they are; `total` None means unknown."""

    def __call__(self, step: str, done: float = 0, total: float | None = None, unit: str = "") -> None: ...


class Stack(Protocol):
    """Something that can be brought up for a scenario; leaving the context removes all of it."""

    @property
    def name(self) -> str: ...

    def up(self, scenario: Scenario, run: RunDir, progress: Progress) -> AbstractContextManager[Running]: ...
