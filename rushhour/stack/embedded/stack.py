"""The stack that needs no Docker: primary, streaming replica and service as children of the harness."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from rushhour.agent.environment import agent_environment
from rushhour.errors import StackError
from rushhour.history import RunDir
from rushhour.process.guard import Guard
from rushhour.process.meter import Meter
from rushhour.scenario.model import Scenario
from rushhour.stack import Fault, Progress, Server
from rushhour.stack.embedded.beside import Beside, start_partner, start_relay
from rushhour.stack.embedded.clone import clone
from rushhour.stack.embedded.cluster import primary_conninfo
from rushhour.stack.embedded.faults import RenewableMeter, kill, pause, stop, unpause
from rushhour.stack.embedded.limits import Capacity, Limits
from rushhour.stack.embedded.postgres import Installation, install
from rushhour.stack.embedded.server import (
    DATABASE,
    SLOT,
    PostgresServer,
    Secrets,
    start_server,
    wait_for_streaming,
)
from rushhour.stack.embedded.service import (
    STOP_GRACE_S,
    RunningService,
    placeholders,
    require_program,
    service_environment,
    split_command,
    start_service,
)
from rushhour.stack.embedded.template import Seeder, TemplateStore
from rushhour.stack.own_service import NoRows, run_setup, wait_for_replay, with_scheme
from rushhour.stack.paths import cache_dir, copy_configuration, open_cache, server_account
from rushhour.stack.ports import HOST, free_port
from rushhour.stack.seeding import seed
from rushhour.stack.table_lock import TableLock
from rushhour.stack.work import work_dir

SERVER_STOP_S: Final = 5.0

# The variables to add to an environment, which make the service report its pools into a directory.
Instrument = Callable[[Path, Mapping[str, str]], Mapping[str, str]]


@dataclass(slots=True)
class EmbeddedRunning:
    """What is up."""

    primary: PostgresServer
    replica: PostgresServer
    service: RunningService
    meters: Mapping[str, Meter]
    limits: Mapping[str, str]
    service_root: Path
    postgres_version: str
    _start_again: Callable[[str], PostgresServer]
    _serve: Callable[[Scenario, RunDir], RunningService]
    _relays: Mapping[str, Beside] = field(default_factory=dict)  # server -> what the service reaches it by
    _partner: Beside | None = None
    _locks: dict[str, TableLock] = field(default_factory=dict)  # server -> what a fault holds there
    _down: set[str] = field(default_factory=set)  # servers that a fault took down

    @property
    def service_url(self) -> str:
        return self.service.url

    @property
    def servers(self) -> tuple[Server, ...]:
        return tuple(
            Server(one.name, HOST, one.port, DATABASE, one.admin_dsn, self._reached_as(one.name))
            for one in (self.primary, self.replica)
        )

    def _reached_as(self, server: str) -> str | None:
        return f"{HOST}:{self._relays[server].port}" if server in self._relays else None

    @property
    def images(self) -> Mapping[str, str]:
        """None: nothing here is a container."""
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
        """Do this to a server. Raises StackError when that fails."""
        one = {"primary": self.primary, "replica": self.replica}.get(server)
        if one is None:
            raise StackError(f"unknown server {server!r}; known: primary, replica")
        if what == "start":
            started = self._start_again(server)
            self.primary, self.replica = (
                (started, self.replica) if server == "primary" else (self.primary, started)
            )
            self._down.discard(server)
        elif what == "lock":
            self._locks[server] = TableLock(one.admin_dsn, server, table)
        elif what == "unlock":
            self._locks.pop(server).release()
        elif what in ("black-hole", "restore"):
            relay = self._relays[server]
            (relay.cut if what == "black-hole" else relay.restore)()
        else:
            self._break(one, what)

    def _break(self, server: PostgresServer, what: Fault) -> None:
        if what in ("stop", "kill"):
            self._down.add(server.name)
        {"pause": pause, "unpause": unpause, "stop": stop, "kill": kill}[what](server)

    def serve_again(self, scenario: Scenario, run: RunDir) -> None:
        """Stop the service, and start one as this scenario wants it, which reports into this run."""
        self.service.child.stop(STOP_GRACE_S)
        self.service = self._serve(scenario, run)

    def undo_faults(self) -> None:
        """A paused server would not hear its stop signal."""
        unpause(self.primary)
        unpause(self.replica)
        for lock in self._locks.values():
            lock.release()
        self._locks.clear()


class EmbeddedStack:
    """Primary, replica and service on this machine; every process and file of it ends with the context.

    By default the service carries the pool agent and the data comes from `rushhour.stack.seeding.seed`.
    """

    name: Final = "embedded"

    def __init__(
        self,
        guard: Guard,
        postgres_bin: Path | None = None,
        cache: Path | None = None,
        *,
        seeder: Seeder | None = None,
        instrument: Instrument | None = None,
        choose_port: Callable[[], int] = free_port,
        service_host: str = HOST,
    ) -> None:
        """`service_host` is where the service listens; the servers stay on the loopback interface."""
        self._guard = guard
        self._postgres_bin = postgres_bin
        self._cache = cache
        self._seeder: Seeder = seeder or seed
        self._instrument = instrument or agent_environment
        self._choose_port = choose_port
        self._service_host = service_host

    @contextmanager
    def up(self, scenario: Scenario, run: RunDir, progress: Progress) -> Iterator[EmbeddedRunning]:
        """Bring the stack up. Raises StackError, with the log's last lines, when a part does not come up."""
        account = server_account()
        cache = open_cache(self._cache or cache_dir(), account)
        run.logs.mkdir(parents=True, exist_ok=True)
        run.agent.mkdir(parents=True, exist_ok=True)
        installation = install(self._postgres_bin, cache, account)
        seeder = self._seeder if scenario.target.schema else NoRows()
        store = TemplateStore(cache, self._guard, installation, seeder)
        schema = Path(scenario.target.root) / scenario.target.schema
        with ExitStack() as exits:
            work = exits.enter_context(work_dir(cache, self._guard))
            with store.held(schema, scenario.data, run.logs / "template.log", progress) as template:
                progress("clone databases")
                clone(template.path, template.size_bytes, work, self._guard)
            copy_configuration(work)
            capacities = _capacities(self._guard, exits, scenario)
            start = _Start(
                self._guard,
                exits,
                installation,
                template.passwords,
                work,
                scenario,
                run,
                self._instrument,
                self._choose_port,
                self._service_host,
            )
            progress("start primary and replica")
            primary = start.server("primary", capacities["primary"], {})
            replica = start.replica(primary, capacities["replica"])
            relays = {
                one.name: start.relay(one) for one in (primary, replica) if one.name in scenario.cut_off
            }
            partner = start.partner() if scenario.service.partner else None
            if scenario.target.setup:
                start.setup((primary, replica), progress)
            progress("start the service")
            service = start.service((primary, replica), relays, partner, capacities["service"])
            meters = {name: RenewableMeter(capacity.meter()) for name, capacity in capacities.items()}

            def start_again(name: str) -> PostgresServer:
                server = start.again(
                    primary if name == "primary" else replica, capacities[name], primary.port
                )
                meters[name].meter = capacities[name].meter()
                return server

            def serve(wanted: Scenario, its_run: RunDir) -> RunningService:
                its_run.logs.mkdir(parents=True, exist_ok=True)
                its_run.agent.mkdir(parents=True, exist_ok=True)
                service = replace(start, scenario=wanted, run=its_run).service(
                    (primary, replica), relays, partner, capacities["service"]
                )
                meters["service"].meter = capacities["service"].meter()
                return service

            running = EmbeddedRunning(
                primary,
                replica,
                service,
                meters=meters,
                limits={name: capacity.words for name, capacity in capacities.items()},
                service_root=Path(scenario.target.root),
                postgres_version=installation.version,
                _start_again=start_again,
                _serve=serve,
                _relays=relays,
                _partner=partner,
            )
            try:
                yield running
            finally:
                running.undo_faults()


def _capacities(guard: Guard, exits: ExitStack, scenario: Scenario) -> dict[str, Capacity]:
    """Made before the processes and removed after them, since a group must be empty by then."""
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
class _Start:
    """What every part of one stack is started with; `exits` stops the parts in reverse order."""

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
        """A server that a fault took down, on its old port, which the service and the replica know."""
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
        urls = [self._url(one.url(target.name)) for one in servers]
        values = placeholders(self.scenario, 0, urls[0], urls[1], log.parent)
        environment = service_environment(self.scenario, values, os.environ)
        command = split_command(target.setup, values, "target.setup")
        require_program(command, environment, Path(target.root), "target.setup")
        progress("set up the service's data")
        run_setup(self.guard, self.scenario, command, environment, log)
        wait_for_replay(primary, replica)

    def _url(self, url: str) -> str:
        return with_scheme(url, self.scenario.target.url_scheme)

    def relay(self, server: PostgresServer) -> Beside:
        log = self.run.logs / f"relay-{server.name}.log"
        relay = start_relay(self.guard, server.name, server.port, log=log, choose_port=self.choose_port)
        self.exits.callback(relay.stop)
        return relay

    def partner(self) -> Beside:
        log = self.run.logs / "partner.log"
        partner = start_partner(self.guard, self.scenario, log=log, choose_port=self.choose_port)
        self.exits.callback(partner.stop)
        return partner

    def service(
        self,
        servers: tuple[PostgresServer, PostgresServer],
        relays: Mapping[str, Beside],
        partner: Beside | None,
        capacity: Capacity,
    ) -> RunningService:
        name = self.scenario.target.name
        primary, replica = (
            one.url(name, relays[one.name].port if one.name in relays else None) for one in servers
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
