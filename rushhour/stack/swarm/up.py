"""Brings up a fleet on an empty Swarm."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg2
from docker import DockerClient
from psycopg2.extensions import make_dsn

from rushhour.agent.environment import INJECT_DIR
from rushhour.process.guard import Guard
from rushhour.process.ports import HOST, free_port
from rushhour.process.tools import run_tool
from rushhour.process.waiting import wait_until
from rushhour.rundir import RunDir
from rushhour.scenario.model import Scenario
from rushhour.stack import Progress, Server
from rushhour.stack.compose.engine import Engine
from rushhour.stack.compose.files import SERVER_PORT, Places
from rushhour.stack.compose.images import POSTGRES_IMAGE
from rushhour.stack.compose.up import write_secrets
from rushhour.stack.fleet import TARGET, Plan, open_door
from rushhour.stack.paths import configuration_dir
from rushhour.stack.postgres.seeding import seed
from rushhour.stack.postgres.server import DATABASE, ROLE, SUPERUSER, Secrets, ask, connected, last_line
from rushhour.stack.swarm.files import SERVERS, Fixed, stack_file
from rushhour.stack.swarm.fleet import POLL_S, ROLLOUT_S, FleetImages, SwarmFleet
from rushhour.stack.swarm.own_swarm import STACK
from rushhour.stack.swarm.tasks import DoorKeeper, Tasks, host_ports, meters_of

DEPLOY_S: Final = 60.0
LOOK: Final = "look at `docker service ps` and `docker service logs`"
SERVER_UP_S: Final = 90.0
FLEET_UP_S: Final = 180.0
METER_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class BringUp:
    """Brings up a fleet on an empty Swarm."""

    guard: Guard
    engine: Engine
    client: DockerClient
    scenario: Scenario
    plan: Plan
    chosen: FleetImages
    places: Places
    run: RunDir
    progress: Progress

    def start(self, exits: ExitStack, late: ExitStack) -> SwarmFleet:
        """Start the servers, load the data and start the services, in this order."""
        passwords = Secrets()
        write_secrets(self.places.private, passwords)
        fixed = Fixed({name: free_port() for name in (*SERVERS, *self.plan.names)})
        servers = self._servers(fixed, passwords)
        self.progress("start primary and replica")
        self._deploy(fixed, passwords, self.chosen.first.name, servers_only=True)
        version = self._until_up(servers)
        scenario = self.scenario
        role = self._dsn(fixed.ports["primary"], ROLE, passwords.role)
        seed.fill(role, Path(scenario.target.root) / scenario.target.schema, scenario.data, self.progress)

        def deploy(target: str) -> None:
            self._deploy(fixed, passwords, target)

        self._start_services(deploy)
        tasks = Tasks(self.client)
        ports = [port for task in tasks.running(TARGET) for port in host_ports(task)]
        door = open_door(self.guard, self.run.path, self.run.logs / "door.log", ports)
        exits.callback(door.process.stop)
        keeper = DoorKeeper(self.engine, door, self.run.logs)
        late.callback(keeper.close)
        cores = scenario.postgres.replica_cores
        meters = meters_of(tasks, self.engine, {"primary": None, "replica": cores})
        for meter in meters.values():
            late.callback(meter.close)
            exits.callback(meter.stop)
            meter.wait_for_first(METER_S)
        return SwarmFleet(
            self.guard,
            self.engine,
            self.client,
            self.plan,
            scenario.target.health,
            self.chosen,
            fixed,
            deploy,
            door,
            keeper,
            servers,
            meters=meters,
            limits={"replica": f"{cores:g} cores by the engine"} if cores is not None else {},
            service_root=Path(self.chosen.leaking.workdir),
            postgres_version=version,
        )

    def _start_services(self, deploy: Callable[[str], None]) -> None:
        """Start every service; for a rollback the target is brought to the leaking release by an update."""
        deploy(self.chosen.first.name)
        wanted = [TARGET, *self.plan.names]
        tasks = Tasks(self.client)

        def missing() -> str | None:
            waiting = [name for name in wanted if not tasks.running(name)]
            self.progress("start services", len(wanted) - len(waiting), len(wanted))
            return f"{waiting[0]}: {tasks.last_problem(waiting[0])}" if waiting else None

        wait_until("every service to run", missing, FLEET_UP_S, LOOK, poll_s=POLL_S)
        if self.chosen.first is not self.chosen.leaking:
            self.progress("bring the release that leaks")
            deploy(self.chosen.leaking.name)

            def updating() -> str | None:
                state = (tasks.service(TARGET).get("UpdateStatus") or {}).get("State")
                return None if state == "completed" else f"update {state}"

            wait_until("the release that leaks to be in", updating, ROLLOUT_S, LOOK, poll_s=POLL_S)

    def _deploy(self, fixed: Fixed, passwords: Secrets, target: str, *, servers_only: bool = False) -> None:
        generated = self.places.private / "stack.json"
        generated.touch(mode=0o600)
        template = configuration_dir().parent / "stack.yaml"
        text = stack_file(
            template, self.scenario, self.chosen.leaking, passwords.role, fixed, servers_only=servers_only
        )
        generated.write_text(text, encoding="utf-8")
        run_tool(
            self.guard,
            ["docker", "stack", "deploy", "--resolve-image", "never", "-c", str(generated), STACK],
            environment={**self.engine.environment, **self._variables(target)},
            account=None,
            timeout_s=DEPLOY_S,
        )

    def _variables(self, target: str) -> Mapping[str, str]:
        found = {
            "PROJECT": STACK,
            "POSTGRES_IMAGE": POSTGRES_IMAGE,
            "SERVICE_IMAGE": self.chosen.leaking.name,
            "TARGET_IMAGE": target,
            "MAX_CONNECTIONS": str(self.scenario.postgres.max_connections),
            "INFRA": str(configuration_dir().parent),
            "PRIVATE": str(self.places.private),
            "AGENT": str(INJECT_DIR.parent),
            "AGENT_OUT": str(self.places.pools),
            "LOGS": str(self.places.logs),
        }
        return {f"RUSHHOUR_{name}": value for name, value in found.items()}

    def _servers(self, fixed: Fixed, passwords: Secrets) -> tuple[Server, ...]:
        return tuple(
            Server(
                name,
                HOST,
                fixed.ports[name],
                DATABASE,
                self._dsn(fixed.ports[name], SUPERUSER, passwords.superuser) + " application_name=rushhour",
                reached_as=f"{name}:{SERVER_PORT}",
            )
            for name in SERVERS
        )

    def _dsn(self, port: int, user: str, password: str) -> str:
        return make_dsn(
            host=HOST, port=port, dbname=DATABASE, user=user, password=password, connect_timeout=3
        )

    def _until_up(self, servers: tuple[Server, ...]) -> str:
        """Wait until the replica streams from the primary; return PostgreSQL's version."""
        version = ""
        tasks = Tasks(self.client)

        def not_streaming() -> str | None:
            nonlocal version
            try:
                with connected(servers[0].admin_dsn) as admin:
                    version = str(ask(admin, "SHOW server_version"))
                    state = ask(admin, "SELECT max(state) FROM pg_stat_replication")
                with connected(servers[1].admin_dsn):
                    pass
            except psycopg2.OperationalError as error:
                seen = "; ".join(f"{server.name} {tasks.last_problem(server.name)}" for server in servers)
                return f"{last_line(error)}; {seen}"
            return None if state == "streaming" else f"pg_stat_replication.state {state}"

        wait_until("the replica to stream from the primary", not_streaming, SERVER_UP_S, LOOK, poll_s=POLL_S)
        return version
