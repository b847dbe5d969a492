"""The running embedded stack, and the faults that it supports."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rushhour.errors import StackError
from rushhour.process.meter import Meter
from rushhour.process.ports import HOST
from rushhour.rundir import RunDir
from rushhour.scenario.model import Scenario
from rushhour.stack import Fault, Server
from rushhour.stack.postgres.server import DATABASE, PostgresServer
from rushhour.stack.postgres.table_lock import TableLock
from rushhour.stack.processes.faults import kill, pause, stop, unpause
from rushhour.stack.processes.service import STOP_GRACE_S, RunningService
from rushhour.stack.processes.side_process import SideProcess


@dataclass(slots=True)
class EmbeddedRunning:
    """A running embedded stack."""

    primary: PostgresServer
    replica: PostgresServer
    service: RunningService
    meters: Mapping[str, Meter]
    limits: Mapping[str, str]
    service_root: Path
    postgres_version: str
    _start_again: Callable[[str], PostgresServer]
    _serve: Callable[[Scenario, RunDir], RunningService]
    _relays: Mapping[str, SideProcess] = field(default_factory=dict)  # server -> its relay
    _partner: SideProcess | None = None
    _locks: dict[str, TableLock] = field(default_factory=dict)  # server -> what a fault holds there
    _down: set[str] = field(default_factory=set)  # servers that a fault took down

    @property
    def service_url(self) -> str:
        return self.service.url

    @property
    def servers(self) -> tuple[Server, ...]:
        return tuple(
            Server(server.name, HOST, server.port, DATABASE, server.admin_dsn, self._reached_as(server.name))
            for server in (self.primary, self.replica)
        )

    def _reached_as(self, server: str) -> str | None:
        return f"{HOST}:{self._relays[server].port}" if server in self._relays else None

    @property
    def images(self) -> Mapping[str, str]:
        """Empty, because the stack has no containers."""
        return {}

    def check_alive(self) -> None:
        """Raises StackError, with the log's last lines, when a part ended that no fault has taken down."""
        for server in (self.primary, self.replica):
            if server.name not in self._down:
                server.child.check_alive()
        self.service.child.check_alive()
        for beside in (*self._relays.values(), *filter(None, [self._partner])):
            beside.child.check_alive()

    def fault(self, server: str, what: Fault, table: str = "") -> None:
        """Apply a fault to a server. Raises StackError if that fails."""
        postgres = {"primary": self.primary, "replica": self.replica}.get(server)
        if postgres is None:
            raise StackError(f"unknown server {server!r}; known: primary, replica")
        if what == "start":
            started = self._start_again(server)
            self.primary, self.replica = (
                (started, self.replica) if server == "primary" else (self.primary, started)
            )
            self._down.discard(server)
        elif what == "lock":
            self._locks[server] = TableLock(postgres.admin_dsn, server, table)
        elif what == "unlock":
            self._locks.pop(server).release()
        elif what in ("black-hole", "restore"):
            relay = self._relays[server]
            (relay.cut if what == "black-hole" else relay.restore)()
        else:
            self._break(postgres, what)

    def _break(self, server: PostgresServer, what: Fault) -> None:
        if what in ("stop", "kill"):
            self._down.add(server.name)
        {"pause": pause, "unpause": unpause, "stop": stop, "kill": kill}[what](server)

    def serve_again(self, scenario: Scenario, run: RunDir) -> None:
        """Stop the service, and start one as this scenario wants it, which reports into this run."""
        self.service.child.stop(STOP_GRACE_S)
        self.service = self._serve(scenario, run)

    def undo_faults(self) -> None:
        """Undo the faults, because a paused server would not receive its stop signal."""
        unpause(self.primary)
        unpause(self.replica)
        for lock in self._locks.values():
            lock.release()
        self._locks.clear()
