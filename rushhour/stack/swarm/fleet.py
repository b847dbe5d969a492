"""The fleet on the drill's Swarm: what it is now, and the hotfix brought to it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from docker import DockerClient

from rushhour.errors import StackError
from rushhour.process.guard import Guard
from rushhour.process.meter import Meter
from rushhour.process.tools import run_tool
from rushhour.rundir.facts import By, Rollout, ServiceState
from rushhour.stack import Server
from rushhour.stack.compose.engine import ENGINE_ERRORS, Engine, last_reason
from rushhour.stack.compose.images import Image
from rushhour.stack.fleet import TARGET, Door, Plan
from rushhour.stack.swarm.files import Fixed
from rushhour.stack.swarm.own_swarm import STACK
from rushhour.stack.swarm.tasks import DoorKeeper, Tasks, full_name

COMMAND_S: Final = 60.0
ROLLOUT_S: Final = 120.0
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
class FleetImages:
    """The images of one fleet."""

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
    health: str  # the path that a healthy service answers
    chosen: FleetImages
    fixed: Fixed
    deploy: Callable[[str], None]  # the target's image
    door: Door
    keeper: DoorKeeper
    servers: tuple[Server, ...]
    meters: Mapping[str, Meter]
    limits: Mapping[str, str]
    service_root: Path
    postgres_version: str

    @property
    def service_url(self) -> str:
        return self.door.url

    @property
    def images(self) -> Mapping[str, str]:
        chosen = self.chosen
        return {
            "primary": str(chosen.postgres),
            "service": str(chosen.leaking),
            "hotfix": str(chosen.hotfix),
        }

    @property
    def tasks(self) -> Tasks:
        return Tasks(self.client)

    def check_alive(self) -> None:
        """Raises StackError when the door has ended or the engine does not answer."""
        self.door.process.child.check_alive()
        if self.keeper.problem is not None:
            raise StackError(f"the container engine no longer answers: {self.keeper.problem}")

    def task_directories(self, agent: Path) -> Sequence[Path]:
        """Return the folders of the tasks, which are named by their ids."""
        return sorted(path for path in agent.iterdir() if path.is_dir())

    def snapshot(self) -> tuple[ServiceState, ...]:
        """Return the state of every service, from the Swarm and the engine."""
        try:
            return self.tasks.states(self.fixed, self.servers, self.health)
        except ENGINE_ERRORS as error:
            raise StackError(f"the container engine failed: {last_reason(error)}") from error

    def bring(self, now_s: Callable[[], float]) -> Rollout:
        """Deploy the hotfix as planned, and wait for the Swarm's result."""
        by, image, name = self.plan.by, self.chosen.hotfix, full_name(TARGET)
        try:
            last = self._started_at()
            began_s = now_s()
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
        return Rollout(by, typed(by, image, name), pinned, began_s, now_s(), state, detail)

    def _update(self, image: Image) -> None:
        """Update as the command line does it: the definition as it is now, another image, a forced update."""
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
        """Wait until an update that began after `last` has ended."""
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
            timeout_s=COMMAND_S,
        )


def typed(by: By, image: Image, name: str) -> str:
    """Return the equivalent shell command."""
    if by == "rollback":
        return f"docker service rollback {name}"
    if by == "stack-deploy":
        deploy = f"docker stack deploy --resolve-image never -c stack.json {STACK}"
        return f"RUSHHOUR_TARGET_IMAGE={image.id} {deploy}"
    return (
        "docker service update --force --update-order start-first --update-failure-action rollback "
        f"--update-monitor 15s --no-resolve-image --image {image.id} {name}"
    )
