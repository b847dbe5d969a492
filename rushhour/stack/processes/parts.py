"""How each part of the embedded stack is started, and stopped when its context is left."""

import os
import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rushhour.process.guard import Guard
from rushhour.process.ports import HOST
from rushhour.rundir import RunDir
from rushhour.scenario.model import Scenario
from rushhour.stack import Progress
from rushhour.stack.own_service import run_setup, wait_for_replay, with_scheme
from rushhour.stack.postgres.cluster import primary_conninfo
from rushhour.stack.postgres.programs import Installation
from rushhour.stack.postgres.server import (
    SLOT,
    PostgresServer,
    Secrets,
    start_server,
    wait_for_streaming,
)
from rushhour.stack.processes.limits import Capacity, Limits
from rushhour.stack.processes.service import (
    STOP_GRACE_S,
    RunningService,
    placeholders,
    require_program,
    service_environment,
    split_command,
    start_service,
)
from rushhour.stack.processes.side_process import SideProcess, start_partner, start_relay

SERVER_STOP_S: Final = 5.0

# The variables to add to an environment, which make the service report its pools into a directory.
Instrument = Callable[[Path, Mapping[str, str]], Mapping[str, str]]


def capacities_of(guard: Guard, exits: ExitStack, scenario: Scenario) -> dict[str, Capacity]:
    """Create the limits; they are removed after the processes, because a group must then be empty."""
    limits = Limits(guard)
    postgres = scenario.postgres
    capacities = {
        "primary": limits.capacity("primary", postgres.primary_cores, postgres.nice),
        "replica": limits.capacity("replica", postgres.replica_cores, postgres.nice),
        "service": limits.capacity("service", None, scenario.service.nice),
    }
    for capacity in capacities.values():
        exits.callback(capacity.close)
    return capacities


@dataclass(frozen=True, slots=True)
class Parts:
    """Starts the parts of a stack; `exits` stops them in reverse order."""

    guard: Guard
    exits: ExitStack
    installation: Installation
    passwords: Secrets
    work: Path
    scenario: Scenario
    run: RunDir
    instrument: Instrument
    choose_port: Callable[[], int]
    service_host: str

    def server(
        self, name: str, capacity: Capacity, settings: Mapping[str, str], port: int | None = None
    ) -> PostgresServer:
        server = start_server(
            self.guard,
            self.installation,
            name,
            self.work / name,
            configuration=self.work,
            passwords=self.passwords,
            log=self.run.logs / f"{name}.log",
            settings={"max_connections": str(self.scenario.postgres.max_connections), **settings},
            stop_signal=signal.SIGQUIT,  # at once: the data is a clone that is thrown away
            admit=capacity.admit,
            choose_port=self.choose_port if port is None else lambda: port,
        )
        self.exits.callback(server.child.stop, SERVER_STOP_S)
        return server

    def replica(self, primary: PostgresServer, capacity: Capacity) -> PostgresServer:
        replica = self.server("replica", capacity, self._replication(primary.port))
        wait_for_streaming(primary, replica)
        return replica

    def again(self, server: PostgresServer, capacity: Capacity, primary_port: int) -> PostgresServer:
        """Restart a server after a fault, on its old port, which the service and the replica know."""
        settings = self._replication(primary_port) if server.name == "replica" else {}
        return self.server(server.name, capacity, settings, server.port)

    def _replication(self, primary_port: int) -> dict[str, str]:
        conninfo = primary_conninfo(primary_port, self.passwords, self.work, self.installation)
        return {"primary_conninfo": conninfo, "primary_slot_name": SLOT}

    def setup(self, servers: tuple[PostgresServer, PostgresServer], progress: Progress) -> None:
        """Run the target's set-up command against the primary, and wait until the replica has its work."""
        target = self.scenario.target
        primary, replica = servers
        log = self.run.logs / "setup.log"
        urls = [self._url(server.url(target.name)) for server in servers]
        values = placeholders(self.scenario, 0, urls[0], urls[1], log.parent)
        environment = service_environment(self.scenario, values, os.environ)
        command = split_command(target.setup, values, "target.setup")
        require_program(command, environment, Path(target.root), "target.setup")
        progress("set up the service's data")
        run_setup(self.guard, self.scenario, command, environment, log)
        wait_for_replay(primary, replica)

    def _url(self, url: str) -> str:
        return with_scheme(url, self.scenario.target.url_scheme)

    def relay(self, server: PostgresServer) -> SideProcess:
        log = self.run.logs / f"relay-{server.name}.log"
        relay = start_relay(self.guard, server.name, server.port, log=log, choose_port=self.choose_port)
        self.exits.callback(relay.stop)
        return relay

    def partner(self) -> SideProcess:
        log = self.run.logs / "partner.log"
        partner = start_partner(self.guard, self.scenario, log=log, choose_port=self.choose_port)
        self.exits.callback(partner.stop)
        return partner

    def service(
        self,
        servers: tuple[PostgresServer, PostgresServer],
        relays: Mapping[str, SideProcess],
        partner: SideProcess | None,
        capacity: Capacity,
    ) -> RunningService:
        name = self.scenario.target.name
        primary, replica = (
            server.url(name, relays[server.name].port if server.name in relays else None)
            for server in servers
        )
        service = start_service(
            self.guard,
            self.scenario,
            urls=(self._url(primary), self._url(replica)),
            partner_url=f"http://{HOST}:{partner.port}" if partner else "",
            log=self.run.logs / "service.log",
            instrument=lambda base: (
                self.instrument(self.run.agent.resolve(), base) if self.scenario.agent else {}
            ),
            admit=capacity.admit,
            choose_port=self.choose_port,
            host=self.service_host,
        )
        self.exits.callback(service.child.stop, STOP_GRACE_S)
        return service
