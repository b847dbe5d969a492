"""The drill on a real Docker Swarm of one node, made for it and left again."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg2
from docker import DockerClient
from psycopg2.extensions import make_dsn

from rushhour.agent.environment import INJECT_DIR
from rushhour.drill import own_swarm
from rushhour.drill.facts import By, Rollout, ServiceState
from rushhour.drill.fleet import TARGET, Plan, open_door
from rushhour.drill.own_swarm import STACK
from rushhour.drill.swarm_files import SERVERS, Fixed, stack_file
from rushhour.drill.swarm_running import (
    DoorKeeper,
    SwarmRunning,
    Tasks,
    full_name,
    host_ports,
    meters_of,
)
from rushhour.drill.task_pools import TaskPools
from rushhour.errors import StackError
from rushhour.history import Recorder
from rushhour.observe.pools import PoolWatcher
from rushhour.observe.watch import PoolReader
from rushhour.process.child import run_tool
from rushhour.process.guard import Guard
from rushhour.stack import Progress, Server
from rushhour.stack.compose.engine import ENGINE_ERRORS, Engine, last_reason
from rushhour.stack.compose.files import SERVER_PORT, Places
from rushhour.stack.compose.image_build import build_release
from rushhour.stack.compose.images import POSTGRES_IMAGE, PYTHON_IMAGE, Image, ImageStore
from rushhour.stack.compose.up import make_places, write_secrets
from rushhour.stack.embedded.server import DATABASE, ROLE, SUPERUSER, Secrets, ask, connected, last_line
from rushhour.stack.paths import cache_dir, configuration_dir, open_cache
from rushhour.stack.ports import HOST, free_port
from rushhour.stack.seeding import seed
from rushhour.stack.work import work_dir

DEPLOY_S: Final = 60.0
SERVER_UP_S: Final = 90.0
FLEET_UP_S: Final = 180.0
ROLLOUT_S: Final = 120.0
METER_S: Final = 10.0
POLL_S: Final = 0.2
DONE: Final = {
    "completed": "completed",
    "rollback_completed": "rolled back",
    "paused": "stuck",
    "rollback_paused": "stuck",
}
UPDATE: Final[dict[str, Any]] = {
    "Parallelism": 1,
    "Order": "start-first",
    "FailureAction": "rollback",
    "Monitor": 15_000_000_000,
    "MaxFailureRatio": 0,
}


@dataclass(frozen=True, slots=True)
class Cast:
    """The images of one drill."""

    first: Image  # what the target starts with
    leaking: Image
    hotfix: Image
    postgres: Image


@dataclass(frozen=True, slots=True)
class SwarmFleet:
    """A fleet on the drill's Swarm."""

    guard: Guard
    engine: Engine
    client: DockerClient
    plan: Plan
    cast: Cast
    fixed: Fixed
    running: SwarmRunning
    deploy: Callable[[str], None]  # the target's image

    @property
    def tasks(self) -> Tasks:
        return Tasks(self.client)

    def pools(self, recorder: Recorder) -> PoolReader:
        """Each task's directory; the pids of two containers may be the same."""
        servers = {one.reached_as or "": one.name for one in self.running.servers}

        def watcher_of(directory: Path) -> PoolWatcher:
            return PoolWatcher(directory, recorder.anchor_monotonic_s, servers, self.running.service_root)

        return TaskPools(recorder.run.agent, watcher_of)

    def snapshot(self) -> tuple[ServiceState, ...]:
        """What the Swarm and the engine say of every service now."""
        try:
            return self.tasks.states(self.fixed, self.running.servers, self.plan.scenario.target.health)
        except ENGINE_ERRORS as error:
            raise StackError(f"the container engine failed: {last_reason(error)}") from error

    def bring(self, recorder: Recorder) -> Rollout:
        """Bring the hotfix in the plan's way, and wait until the Swarm says what came of it."""
        by, image, name = self.plan.by, self.cast.hotfix, full_name(TARGET)
        try:
            last = self._started_at()
            began_s = recorder.now_s()
            if by == "update":
                self._update(image)
            elif by == "rollback":
                self._tool("service", "rollback", "--detach", name)
            else:
                self.deploy(image.id)
            state, detail = self._wait(last)
        except ENGINE_ERRORS as error:
            raise StackError(f"the container engine failed: {last_reason(error)}") from error
        if by == "rollback" and state == "rolled back":
            state = "completed"  # this time it was asked for
        pinned = f"the tag {image.name} of the earlier definition" if by == "rollback" else image.id
        return Rollout(by, typed(by, image, name), pinned, began_s, recorder.now_s(), state, detail)

    def _update(self, image: Image) -> None:
        """As the command line does it: the definition as it is now, another image, a forced update."""
        service = self.tasks.service(TARGET)  # read at once before: a stale version is "out of sequence"
        spec = service["Spec"]
        template = dict(spec["TaskTemplate"])
        template["ContainerSpec"] = dict(template["ContainerSpec"]) | {"Image": image.id}
        template["ForceUpdate"] = int(template.get("ForceUpdate") or 0) + 1
        self.client.api.update_service(
            service["ID"],
            service["Version"]["Index"],
            task_template=template,
            name=spec["Name"],
            labels=spec.get("Labels"),
            mode=spec["Mode"],
            update_config=UPDATE,
            rollback_config=spec.get("RollbackConfig"),
            endpoint_spec=spec.get("EndpointSpec"),
        )

    def _started_at(self) -> str:
        return str((self.tasks.service(TARGET).get("UpdateStatus") or {}).get("StartedAt"))

    def _wait(self, last: str) -> tuple[str, str]:
        """Until an update that began after `last` has ended."""
        deadline = time.monotonic() + ROLLOUT_S
        seen: dict[str, Any] = {}
        while time.monotonic() < deadline:
            seen = self.tasks.service(TARGET).get("UpdateStatus") or {}
            state = str(seen.get("State"))
            if str(seen.get("StartedAt")) != last and state in DONE:
                detail = "" if DONE[state] == "completed" else self.tasks.failed(TARGET)
                return DONE[state], detail or str(
                    seen.get("Message", "") if DONE[state] != "completed" else ""
                )
            time.sleep(POLL_S)
        return (
            "stuck",
            f"{ROLLOUT_S:.0f} s after the command it is {seen.get('State')}: {seen.get('Message')}",
        )

    def _tool(self, *arguments: str) -> None:
        run_tool(
            self.guard,
            ["docker", *arguments],
            environment=self.engine.environment,
            account=None,
            timeout_s=DEPLOY_S,
        )


def typed(by: By, image: Image, name: str) -> str:
    """What somebody at a terminal would type."""
    if by == "rollback":
        return f"docker service rollback {name}"
    if by == "stack-deploy":
        deploy = f"docker stack deploy --resolve-image never -c stack.json {STACK}"
        return f"RUSHHOUR_TARGET_IMAGE={image.id} {deploy}"
    return (
        "docker service update --force --update-order start-first --update-failure-action rollback "
        f"--update-monitor 15s --no-resolve-image --image {image.id} {name}"
    )


class SwarmDrill:
    """Primary, replica, target and siblings on a Swarm of one node, which this makes and leaves."""

    name: Final = "swarm"

    def __init__(self, guard: Guard, *, cache: Path | None = None) -> None:
        self._guard = guard
        self._cache = cache

    @contextmanager
    def up(self, plan: Plan, recorder: Recorder, progress: Progress) -> Iterator[SwarmFleet]:
        """Bring the fleet up. Raises StackError that says what did not come up, or what is in the way."""
        engine = own_swarm.find_local_engine()
        cache = open_cache(self._cache or cache_dir(), None)
        with ExitStack() as exits:
            client = exits.enter_context(closing(engine.client()))
            work = exits.enter_context(work_dir(cache, self._guard))
            try:
                own_swarm.refuse_foreign(client.api)  # before images are built
                cast = _cast(plan, ImageStore(self._guard, engine, client, progress))
                late = exits.enter_context(ExitStack())  # what ends once the containers are gone
                exits.enter_context(_swarm(self._guard, engine, client, work))
                bring_up = _BringUp(
                    self._guard,
                    engine,
                    client,
                    plan,
                    cast,
                    make_places(work, recorder.run),
                    recorder,
                    progress,
                )
                yield bring_up.start(exits, late)
            except ENGINE_ERRORS as error:
                raise StackError(f"the container engine failed: {last_reason(error)}") from error


def _cast(plan: Plan, images: ImageStore) -> Cast:
    """Pull and build what the drill needs."""
    postgres, base = images.need(POSTGRES_IMAGE), images.need(PYTHON_IMAGE)

    def of(release: str) -> Image:
        return build_release(images, release, base)

    leaking = images.need(plan.leaking_image) if plan.leaking_image else of(plan.scenario.release)
    hotfix = images.need(plan.image) if plan.image else of(plan.hotfix)
    return Cast(hotfix if plan.by == "rollback" else leaking, leaking, hotfix, postgres)


@contextmanager
def _swarm(guard: Guard, engine: Engine, client: DockerClient, work: Path) -> Iterator[None]:
    """The Swarm's life: known to the guard first, left at the end."""
    leaving = own_swarm.leaving_command(engine.base_url, work)
    guard.run_at_death(leaving)
    own_swarm.make(client.api, work)
    try:
        yield
    finally:
        own_swarm.leave(client.api, str(work))
        guard.no_longer_run(leaving)


@dataclass(frozen=True, slots=True)
class _BringUp:
    """From an empty Swarm to a fleet in which everything runs."""

    guard: Guard
    engine: Engine
    client: DockerClient
    plan: Plan
    cast: Cast
    places: Places
    recorder: Recorder
    progress: Progress

    def start(self, exits: ExitStack, late: ExitStack) -> SwarmFleet:
        """Servers, data, then the services."""
        passwords = Secrets()
        write_secrets(self.places.private, passwords)
        fixed = Fixed({name: free_port() for name in (*SERVERS, *self.plan.names)})
        servers = self._servers(fixed, passwords)
        self.progress("start primary and replica")
        self._deploy(fixed, passwords, self.cast.first.name, servers_only=True)
        version = self._until_up(servers)
        scenario = self.plan.scenario
        role = self._dsn(fixed.ports["primary"], ROLE, passwords.role)
        seed.fill(role, Path(scenario.target.root) / scenario.target.schema, scenario.data, self.progress)

        def deploy(target: str) -> None:
            self._deploy(fixed, passwords, target)

        self._start_services(deploy)
        tasks = Tasks(self.client)
        ports = [port for one in tasks.running(TARGET) for port in host_ports(one)]
        door = open_door(self.guard, self.recorder.run.path, self.recorder.run.logs / "door.log", ports)
        exits.callback(door.beside.stop)
        keeper = DoorKeeper(self.engine, door, self.recorder.run.logs)
        late.callback(keeper.close)
        cores = scenario.postgres.replica_cores
        meters = meters_of(tasks, self.engine, {"primary": None, "replica": cores})
        for meter in meters.values():
            late.callback(meter.close)
            exits.callback(meter.stop)
            meter.wait_for_first(METER_S)
        running = SwarmRunning(
            door,
            keeper,
            servers,
            meters=meters,
            limits={"replica": f"{cores:g} cores by the engine"} if cores is not None else {},
            service_root=Path(self.cast.leaking.workdir),
            postgres_version=version,
            images=self._images(),
        )
        return SwarmFleet(self.guard, self.engine, self.client, self.plan, self.cast, fixed, running, deploy)

    def _start_services(self, deploy: Callable[[str], None]) -> None:
        """Every service runs; for a rollback the target is brought to the release that leaks by an update."""
        deploy(self.cast.first.name)
        wanted = [TARGET, *self.plan.names]
        tasks = Tasks(self.client)

        def missing() -> str | None:
            waiting = [name for name in wanted if not tasks.running(name)]
            self.progress("start services", len(wanted) - len(waiting), len(wanted))
            return f"{waiting[0]}: {tasks.last_problem(waiting[0])}" if waiting else None

        _wait_until("every service to run", missing, FLEET_UP_S)
        if self.cast.first is not self.cast.leaking:
            self.progress("bring the release that leaks")
            deploy(self.cast.leaking.name)

            def updating() -> str | None:
                state = (tasks.service(TARGET).get("UpdateStatus") or {}).get("State")
                return None if state == "completed" else f"update {state}"

            _wait_until("the release that leaks to be in", updating, ROLLOUT_S)

    def _deploy(self, fixed: Fixed, passwords: Secrets, target: str, *, servers_only: bool = False) -> None:
        generated = self.places.private / "stack.json"
        generated.touch(mode=0o600)
        template = configuration_dir().parent / "stack.yaml"
        text = stack_file(
            template, self.plan.scenario, self.cast.leaking, passwords.role, fixed, servers_only=servers_only
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
            "SERVICE_IMAGE": self.cast.leaking.name,
            "TARGET_IMAGE": target,
            "MAX_CONNECTIONS": str(self.plan.scenario.postgres.max_connections),
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
        """Until the replica streams from the primary; PostgreSQL's version."""
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
                seen = "; ".join(f"{one.name} {tasks.last_problem(one.name)}" for one in servers)
                return f"{last_line(error)}; {seen}"
            return None if state == "streaming" else f"pg_stat_replication.state {state}"

        _wait_until("the replica to stream from the primary", not_streaming, SERVER_UP_S)
        return version

    def _images(self) -> dict[str, str]:
        cast = self.cast
        return {"primary": str(cast.postgres), "service": str(cast.leaking), "hotfix": str(cast.hotfix)}


def _wait_until(what: str, problem: Callable[[], str | None], timeout_s: float) -> None:
    """Raises StackError with what was seen last."""
    began_s = time.monotonic()
    while (seen := problem()) is not None:
        if time.monotonic() - began_s > timeout_s:
            raise StackError(f"waited {timeout_s:.0f} s for {what}; last seen: {seen}")
        time.sleep(POLL_S)
