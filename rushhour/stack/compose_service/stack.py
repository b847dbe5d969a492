"""Brings up a service of the user's own Compose file, with the agent in it and our servers behind it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from docker import DockerClient

from rushhour.errors import StackError, UsageError
from rushhour.process.guard import Guard
from rushhour.process.ports import HOST, free_port
from rushhour.rundir import RunDir
from rushhour.scenario.model import Scenario, Target
from rushhour.stack import Progress
from rushhour.stack.compose.engine import ENGINE_ERRORS, find_engine, last_reason
from rushhour.stack.compose.files import ImageNames
from rushhour.stack.compose.images import POSTGRES_IMAGE, PYTHON_IMAGE, ImageStore
from rushhour.stack.compose.project import PROJECT_LABEL
from rushhour.stack.compose.running import ComposeRunning
from rushhour.stack.compose.template import ComposeTemplates, templates_root
from rushhour.stack.compose.up import BringUp, ComposeProject, make_places
from rushhour.stack.compose_service.bring_up import ServiceUp
from rushhour.stack.compose_service.running import ComposeServiceRunning, component, own_containers
from rushhour.stack.compose_service.user_file import read
from rushhour.stack.compose_service.waiting import HEALTHY_WITHIN_S
from rushhour.stack.own_service import NoRows
from rushhour.stack.owner import owner_labels
from rushhour.stack.paths import cache_dir, open_cache
from rushhour.stack.postgres.template import Seeder
from rushhour.stack.work import work_dir


class ComposeServiceStack:
    """The target's Compose file, and primary and replica by infra/compose.yaml where the scenario names them.

    Leaving the context removes all of it. `allow_host` names the engine's machine when it is not this one.
    """

    name: Final = "compose"

    def __init__(
        self,
        guard: Guard,
        allow_host: str | None = None,
        *,
        cache: Path | None = None,
        choose_port: Callable[[], int] = free_port,
        service_host: str = HOST,
        healthy_within_s: float = HEALTHY_WITHIN_S,
    ) -> None:
        self._guard = guard
        self._allow_host = allow_host
        self._cache = cache
        self._choose_port = choose_port
        self._service_host = None if service_host == HOST else service_host
        self._healthy_within_s = healthy_within_s

    def prepare(self, scenarios: Sequence[Scenario]) -> None:
        """Find the engine, and have Compose read the files.

        Raises StackError without a usable engine, and UsageError with what is wrong in the files.
        """
        engine = find_engine(self._allow_host)
        problems: list[str] = []
        for one in scenarios:
            try:
                read(engine, one)
            except UsageError as error:
                problems += error.problems
        if problems:
            raise UsageError(list(dict.fromkeys(problems)))

    @contextmanager
    def up(self, scenario: Scenario, run: RunDir, progress: Progress) -> Iterator[ComposeServiceRunning]:
        """Bring it up. Raises UsageError, or StackError with the last lines of the container that failed."""
        engine = find_engine(self._allow_host)
        file = read(engine, scenario)
        cache = open_cache(self._cache or cache_dir(), None)
        with ExitStack() as exits:
            client = exits.enter_context(closing(engine.client()))
            work = exits.enter_context(work_dir(cache, self._guard))
            places = make_places(work, run)
            # Both projects carry its label, and go together.
            project = exits.enter_context(
                ComposeProject(self._guard, engine, client, f"rushhour-{work.name}", run.logs)
            )
            images = ImageStore(self._guard, engine, client, progress)
            service_up = ServiceUp(
                project=project,
                scenario=scenario,
                file=file,
                places=places,
                images=images,
                labels={PROJECT_LABEL: project.name, **owner_labels(work)},
                choose_port=self._choose_port,
                publish=self._service_host or engine.publish,
                reached_at=self._service_host or engine.host,
                healthy_within_s=self._healthy_within_s,
                progress=progress,
            )
            exits.callback(_save_logs, client, service_up.project_name, scenario.target.service, run.logs)
            try:
                image = service_up.build()
                servers = None
                if scenario.wants_servers:
                    bring_up = BringUp(
                        project=project,
                        scenario=scenario,
                        places=places,
                        names=ImageNames(POSTGRES_IMAGE, PYTHON_IMAGE, image.name),
                        images=images,
                        built=False,
                        templates=ComposeTemplates(templates_root(cache), _seeder(scenario.target)),
                        choose_port=self._choose_port,
                        progress=progress,
                        service_host=None,
                        servers_only=True,
                    )
                    servers = _servers(bring_up, exits)
                    service_up = service_up.behind(servers, bring_up.passwords.role)
                service_up.setup(image)
                running = service_up.start(image)
                exits.callback(running.close)
                running.open()
                service_up.wait(running)
            except ENGINE_ERRORS as error:
                raise StackError(f"the container engine failed: {last_reason(error)}") from error
            yield running


def _servers(bring_up: BringUp, exits: ExitStack) -> ComposeRunning:
    servers = bring_up.start()
    exits.callback(servers.close)
    servers.open()
    servers.wait_for_streaming()
    servers.wait_for_meters()
    return servers


def _seeder(target: Target) -> Seeder:
    from rushhour.stack.postgres.seeding import seed  # noqa: PLC0415  # only for the referrals service's own tables

    return seed if target.schema else NoRows()


def _save_logs(client: DockerClient, project: str, target: str, logs: Path) -> None:
    """Of the containers that no follower has followed."""
    with suppress(
        *ENGINE_ERRORS
    ):  # an engine that is gone gives no logs; that it is gone is reported already
        for service, container in own_containers(client, project).items():
            log = logs / f"{component(service, target)}.log"
            if not log.exists():
                log.write_bytes(container.logs())
