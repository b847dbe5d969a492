"""The stack that needs no Docker: primary, streaming replica and service as children of the harness."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from rushhour.agent.environment import agent_environment
from rushhour.process.guard import Guard
from rushhour.process.ports import HOST, free_port
from rushhour.rundir import RunDir
from rushhour.scenario.model import Scenario
from rushhour.stack import Progress
from rushhour.stack.own_service import NoRows
from rushhour.stack.paths import cache_dir, copy_configuration, open_cache, server_account
from rushhour.stack.postgres.clone import clone
from rushhour.stack.postgres.programs import install
from rushhour.stack.postgres.seeding import seed
from rushhour.stack.postgres.server import (
    PostgresServer,
)
from rushhour.stack.postgres.template import Seeder, TemplateStore
from rushhour.stack.processes.faults import RenewableMeter
from rushhour.stack.processes.parts import Instrument, Parts, capacities_of
from rushhour.stack.processes.running import EmbeddedRunning
from rushhour.stack.processes.service import (
    RunningService,
)
from rushhour.stack.work import work_dir


class EmbeddedStack:
    """Primary, replica and service on this machine; every process and file of it ends with the context.

    By default the service carries the pool agent, and `stack.postgres.seeding.seed` makes the data.
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
            capacities = capacities_of(self._guard, exits, scenario)
            parts = Parts(
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
            primary = parts.server("primary", capacities["primary"], {})
            replica = parts.replica(primary, capacities["replica"])
            relays = {
                server.name: parts.relay(server)
                for server in (primary, replica)
                if server.name in scenario.cut_off
            }
            partner = parts.partner() if scenario.service.partner else None
            if scenario.target.setup:
                parts.setup((primary, replica), progress)
            progress("start the service")
            service = parts.service((primary, replica), relays, partner, capacities["service"])
            meters = {name: RenewableMeter(capacity.meter()) for name, capacity in capacities.items()}

            def start_again(name: str) -> PostgresServer:
                server = parts.again(
                    primary if name == "primary" else replica, capacities[name], primary.port
                )
                meters[name].meter = capacities[name].meter()
                return server

            def serve(wanted: Scenario, its_run: RunDir) -> RunningService:
                its_run.logs.mkdir(parents=True, exist_ok=True)
                its_run.agent.mkdir(parents=True, exist_ok=True)
                service = replace(parts, scenario=wanted, run=its_run).service(
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
