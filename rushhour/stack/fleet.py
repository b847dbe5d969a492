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
from rushhour.stack.processes.side_process import SideProcess, start_listening

TARGET: Final = "referrals"
SIBLINGS: Final = (
    "accounts", "audit", "billing", "campaigns", "catalog", "consents", "customers", "devices", "documents",
    "invitations", "ledger", "limits", "loyalty", "notices", "offers", "partners", "payouts", "profiles",
    "reports", "rewards", "search", "sessions", "statements", "vouchers",
)  # fmt: skip
ANSWER_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    """The planned change. `hotfix` is a release; `image` is an image of the user's to use instead."""

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
    """A running fleet; its service is reached through a front door, whichever tasks serve."""

    def snapshot(self) -> tuple[ServiceState, ...]:
        """Return every service as it is now, each asked for its health."""
        ...

    def bring(self, now_s: Callable[[], float]) -> Rollout:
        """Bring the hotfix and wait until it is in, or has been rolled back; `now_s` is the run's clock."""
        ...


FleetStack: TypeAlias = BringsUp[Fleet]


@dataclass(frozen=True, slots=True)
class Door:
    """The front door of a service, and the file that lists the ports behind it."""

    process: SideProcess
    file: Path

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.process.port}"

    def lead_to(self, ports: Sequence[int]) -> None:
        """Lead new connections to the first of these that accepts."""
        write_ports(self.file, ports)


def write_ports(file: Path, ports: Sequence[int]) -> None:
    """Write the ports atomically, because the door may read them at any time."""
    temporary = file.with_name(f".{file.name}.tmp")
    temporary.write_text("\n".join(map(str, ports)) + "\n", encoding="ascii")
    temporary.replace(file)


def open_door(guard: Guard, directory: Path, log: Path, ports: Sequence[int]) -> Door:
    """Start the front door. Raises StackError when it does not listen."""
    file = directory / "behind"
    write_ports(file, ports)
    process = start_listening(
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
    return Door(process, file)


def ask(ports: Mapping[str, int], path: str) -> dict[str, str | None]:
    """Return the answer of each service's health path, or None without an answer."""

    def ask_port(port: int) -> str | None:
        connection = http.client.HTTPConnection(HOST, port, timeout=ANSWER_S)
        try:
            connection.request("GET", path)
            return f"HTTP {connection.getresponse().status}"
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as at_once:
        return dict(zip(ports, at_once.map(ask_port, ports.values()), strict=True))
