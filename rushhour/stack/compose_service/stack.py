"""Brings up a service of the user's own Compose file, with the agent in it and our servers behind it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from rushhour.errors import UsageError
from rushhour.process.guard import Guard
from rushhour.process.ports import HOST, free_port
from rushhour.rundir import RunDir
from rushhour.scenario.model import Scenario, Target
from rushhour.stack import Progress
from rushhour.stack.compose.bring_up import BringUp
from rushhour.stack.compose.engine import engine_errors, find_engine
from rushhour.stack.compose.failure import save_logs
from rushhour.stack.compose.files import ImageNames
from rushhour.stack.compose.images import POSTGRES_IMAGE, PYTHON_IMAGE
from rushhour.stack.compose.template import ComposeTemplates, templates_root
from rushhour.stack.compose.up import ComposeOptions, compose_run
from rushhour.stack.compose_service.bring_up import ServiceUp
from rushhour.stack.compose_service.running import ComposeServiceRunning
from rushhour.stack.compose_service.user_file import read
from rushhour.stack.compose_service.waiting import HEALTHY_WITHIN_S
from rushhour.stack.own_service import NoRows
from rushhour.stack.postgres.template import Seeder


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
        self._options = ComposeOptions(guard, allow_host, cache, choose_port, service_host)
        self._healthy_within_s = healthy_within_s

    def prepare(self, scenarios: Sequence[Scenario]) -> None:
        """Find the engine, and have Compose read the files.

        Raises StackError without a usable engine, and UsageError with what is wrong in the files.
        """
        engine = find_engine(self._options.allow_host)
        problems: list[str] = []
        for scenario in scenarios:
            try:
                read(engine, scenario)
            except UsageError as error:
                problems += error.problems
        if problems:
            raise UsageError(list(dict.fromkeys(problems)))

    @contextmanager
    def up(self, scenario: Scenario, run: RunDir, progress: Progress) -> Iterator[ComposeServiceRunning]:
        """Bring it up. Raises UsageError, or StackError with the last lines of the container that failed."""
        engine = find_engine(self._options.allow_host)
        file = read(engine, scenario)
        with compose_run(self._options, engine, scenario, run, progress) as ours, ExitStack() as exits:
            service_up = ServiceUp(ours, file, self._healthy_within_s)
            exits.callback(save_logs, service_up.components, run.logs)
            with engine_errors():
                image = service_up.build()
                if scenario.wants_servers:
                    bring_up = BringUp(
                        ours,
                        ImageNames(POSTGRES_IMAGE, PYTHON_IMAGE, image.name),
                        ComposeTemplates(templates_root(ours.cache), _seeder(scenario.target)),
                        servers_only=True,
                    )
                    servers = exits.enter_context(bring_up.up())
                    service_up = service_up.behind(servers, bring_up.passwords.role)
                service_up.setup(image)
                running = exits.enter_context(service_up.up(image))
            yield running


def _seeder(target: Target) -> Seeder:
    from rushhour.stack.postgres.seeding import seed  # noqa: PLC0415  # only for the referrals service's own tables

    return seed if target.schema else NoRows()
