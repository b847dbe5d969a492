"""A fleet without an engine: two releases behind a front door, a rolling restart, light siblings."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import psutil

from rushhour.agent.environment import agent_environment
from rushhour.errors import StackError
from rushhour.process.child import Child
from rushhour.process.guard import Guard
from rushhour.process.meter import Meter
from rushhour.rundir import RunDir
from rushhour.rundir.facts import Instance, Rollout, ServiceState
from rushhour.scenario.model import Scenario, Service
from rushhour.stack import Progress, Server
from rushhour.stack.fleet import TARGET, Door, Plan, ask, open_door
from rushhour.stack.processes.running import EmbeddedRunning
from rushhour.stack.processes.service import RunningService, start_service
from rushhour.stack.processes.stack import EmbeddedStack

OLD_ENDS_S: Final = 8.0  # the old release has this long for its requests in flight
SIBLING: Final = Service(workers=1, threads=2, nice=15)


@dataclass(slots=True)
class EmbeddedFleet:
    """The target behind the door, and its siblings. All processes of the target write into one directory."""

    guard: Guard
    exits: ExitStack
    scenario: Scenario
    plan: Plan
    run: RunDir
    inner: EmbeddedRunning
    door: Door
    siblings: Mapping[str, RunningService]
    versions: dict[str, int] = field(default_factory=dict)
    release: str = ""

    @property
    def service_url(self) -> str:
        return self.door.url

    @property
    def servers(self) -> tuple[Server, ...]:
        return self.inner.servers

    @property
    def meters(self) -> Mapping[str, Meter]:
        return {name: meter for name, meter in self.inner.meters.items() if name != "service"}

    @property
    def limits(self) -> Mapping[str, str]:
        return self.inner.limits

    @property
    def service_root(self) -> Path:
        return self.inner.service_root

    @property
    def postgres_version(self) -> str:
        return self.inner.postgres_version

    @property
    def images(self) -> Mapping[str, str]:
        return {}

    def check_alive(self) -> None:
        """Raises StackError when a part has ended that should not have."""
        self.inner.check_alive()
        self.door.process.child.check_alive()

    def snapshot(self) -> tuple[ServiceState, ...]:
        """Return each service's state: a task is a process with pid and start, a version counts changes."""
        services = {**self.siblings, TARGET: self.inner.service}
        answers = ask(
            {name: _port(service) for name, service in services.items()}, self.scenario.target.health
        )
        return tuple(
            self._state(name, service.child, answers[name]) for name, service in sorted(services.items())
        )

    def _state(self, name: str, child: Child, answer: str | None) -> ServiceState:
        release = self.release if name == TARGET else self.scenario.release
        command = " ".join(psutil.Process(child.pid).cmdline()) if child.poll() is None else "ended"
        started = f"{psutil.Process(child.pid).create_time():.2f}" if child.poll() is None else ""
        instance = Instance(str(child.pid), str(child.pid), started, release)
        spec = hashlib.sha256(f"{release} {command}".encode()).hexdigest()
        return ServiceState(
            name,
            name,
            self.versions.get(name, 1),
            spec,
            f"{release}@sha256:{spec}",
            (instance,) if started else (),
            answer,
        )

    def bring(self, now_s: Callable[[], float]) -> Rollout:
        """Start the new release beside the old; once it is healthy the door leads to it."""
        scenario, plan = self.scenario, self.plan
        old = self.inner.service
        self.versions[TARGET] = self.versions.get(TARGET, 1) + 1
        began_s = now_s()
        how = f"start release {plan.hotfix}, wait for its {scenario.target.health}, then end {old.child.pid}"
        try:
            fixed = replace(scenario, release=plan.hotfix)
            new = _start(self.guard, fixed, self.inner, self.run, "service-hotfix")
        except StackError as error:
            detail = str(error).splitlines()[0]
            return Rollout(plan.by, how, "", began_s, now_s(), "rolled back", detail)
        self.exits.callback(new.child.stop, OLD_ENDS_S)
        self.door.lead_to([_port(new)])
        self.inner.service = new
        self.release = plan.hotfix
        old.child.stop(OLD_ENDS_S)
        return Rollout(plan.by, how, f"release {plan.hotfix}", began_s, now_s(), "completed")


class EmbeddedFleetStack:
    """Primary, replica, target and siblings as processes of this machine."""

    name: Final = "embedded"

    def __init__(self, guard: Guard, stack: EmbeddedStack, plan: Plan) -> None:
        self._guard = guard
        self._stack = stack
        self._plan = plan

    @contextmanager
    def up(self, scenario: Scenario, run: RunDir, progress: Progress) -> Iterator[EmbeddedFleet]:
        """Bring the fleet up. Raises StackError, with the log's last lines, when a part does not come up."""
        plan, names = self._plan, self._plan.names
        with ExitStack() as exits:
            inner = exits.enter_context(self._stack.up(scenario, run, progress))
            (run.logs / "siblings").mkdir(exist_ok=True)
            siblings = {}
            for number, name in enumerate(names, 1):
                progress("start siblings", number, len(names))
                sibling = _start(self._guard, _light(scenario), inner, run, f"siblings/{name}", agent=False)
                exits.callback(sibling.child.stop, 1.0)
                siblings[name] = sibling
            door = open_door(self._guard, run.path, run.logs / "door.log", [_port(inner.service)])
            exits.callback(door.process.stop)
            yield EmbeddedFleet(
                self._guard, exits, scenario, plan, run, inner, door, siblings, release=scenario.release
            )


def _light(scenario: Scenario) -> Scenario:
    return replace(scenario, service=SIBLING, pool=replace(scenario.pool, size=1, max_overflow=0))


def _start(
    guard: Guard, scenario: Scenario, inner: EmbeddedRunning, run: RunDir, name: str, *, agent: bool = True
) -> RunningService:
    primary, replica = (server.url(scenario.target.name) for server in (inner.primary, inner.replica))
    return start_service(
        guard,
        scenario,
        urls=(primary, replica),
        log=run.logs / f"{name}.log",
        instrument=lambda base: agent_environment(run.agent.resolve(), base) if agent else {},
        admit=lambda pid: os.setpriority(os.PRIO_PROCESS, pid, scenario.service.nice),
    )


def _port(service: RunningService) -> int:
    return int(service.url.rpartition(":")[2])
