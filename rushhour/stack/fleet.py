"""A fleet: a service under load, siblings beside it, and a way to change that service alone."""

import http.client
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from rushhour.errors import UsageError
from rushhour.process.child import start
from rushhour.process.guard import Guard
from rushhour.process.ports import HOST, free_port
from rushhour.rundir.facts import By, Rollout, ServiceState
from rushhour.stack import BringsUp, Running, relay
from rushhour.stack.processes.beside import Beside, listening

TARGET: Final = "referrals"
SIBLINGS: Final = (
    "accounts", "audit", "billing", "campaigns", "catalog", "consents", "customers", "devices", "documents",
    "invitations", "ledger", "limits", "loyalty", "notices", "offers", "partners", "payouts", "profiles",
    "reports", "rewards", "search", "sessions", "statements", "vouchers",
)  # fmt: skip
ANSWER_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be changed. `hotfix` is a release; `image` is what to bring instead, somebody's own."""

    by: By
    hotfix: str
    siblings: int
    image: str | None = None
    leaking_image: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The siblings' names. Raises UsageError when there are not so many."""
        if not 0 < self.siblings <= len(SIBLINGS):
            raise UsageError([f"--services: {self.siblings} is not between 1 and {len(SIBLINGS)}"])
        return SIBLINGS[: self.siblings]


class Fleet(Running, Protocol):
    """A fleet that is up; its service is reached by a front door, whichever tasks are behind it."""

    def snapshot(self) -> tuple[ServiceState, ...]:
        """Every service as it is now, each asked for its health."""
        ...

    def bring(self, now_s: Callable[[], float]) -> Rollout:
        """Bring the hotfix and wait until it is in, or has been rolled back; `now_s` is the run's clock."""
        ...


FleetStack: TypeAlias = BringsUp[Fleet]


@dataclass(frozen=True, slots=True)
class Door:
    """The front door, and the file that says what is behind it."""

    beside: Beside
    file: Path

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.beside.port}"

    def lead_to(self, ports: Sequence[int]) -> None:
        """New connections go to the first of these that accepts."""
        write_ports(self.file, ports)


def write_ports(file: Path, ports: Sequence[int]) -> None:
    """Whole or not at all: the door reads it at any time."""
    temporary = file.with_name(f".{file.name}.tmp")
    temporary.write_text("\n".join(map(str, ports)) + "\n", encoding="ascii")
    temporary.replace(file)


def open_door(guard: Guard, directory: Path, log: Path, ports: Sequence[int]) -> Door:
    """Start the front door. Raises StackError when it does not listen."""
    file = directory / "behind"
    write_ports(file, ports)
    beside = listening(
        "front door",
        lambda port: start(
            guard,
            "front door",
            [sys.executable, "-I", str(Path(relay.__file__)), str(port), str(file)],
            log=log,
            environment={},
        ),
        free_port,
    )
    return Door(beside, file)


def ask(ports: Mapping[str, int], path: str) -> dict[str, str | None]:
    """What came from each service's health path, asked at once; None where no answer came."""

    def one(port: int) -> str | None:
        connection = http.client.HTTPConnection(HOST, port, timeout=ANSWER_S)
        try:
            connection.request("GET", path)
            return f"HTTP {connection.getresponse().status}"
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as at_once:
        return dict(zip(ports, at_once.map(one, ports.values()), strict=True))
