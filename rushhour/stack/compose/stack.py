"""The stack in containers: primary, streaming replica and service by infra/compose.yaml on a local engine."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

from rushhour.alarms.real_config import RealAlerting
from rushhour.process.guard import Guard
from rushhour.process.ports import HOST, free_port
from rushhour.rundir import RunDir
from rushhour.scenario.model import Scenario
from rushhour.stack import Progress
from rushhour.stack.compose.bring_up import BringUp
from rushhour.stack.compose.engine import engine_errors, find_engine
from rushhour.stack.compose.files import ImageNames
from rushhour.stack.compose.image_build import SERVICE_IMAGE, build_release
from rushhour.stack.compose.images import (
    ALERTMANAGER_IMAGE,
    POSTGRES_IMAGE,
    PROMETHEUS_IMAGE,
    PYTHON_IMAGE,
    ImageStore,
)
from rushhour.stack.compose.running import ComposeRunning
from rushhour.stack.compose.template import ComposeTemplates, templates_root
from rushhour.stack.compose.up import ComposeOptions, compose_run
from rushhour.stack.postgres.template import Seeder


class ComposeStack:
    """Brings primary, replica and service up with `docker compose`; leaving the context removes all of it.

    `image` is a service image that somebody else built; otherwise the scenario's release is built from this
    source tree. `allow_host` names the engine's machine when it is not this one. `alerting` is run beside it
    by a real Prometheus and Alertmanager.
    """

    name: Final = "compose"

    def __init__(
        self,
        guard: Guard,
        image: str | None = None,
        allow_host: str | None = None,
        *,
        cache: Path | None = None,
        seeder: Seeder | None = None,
        postgres_image: str = POSTGRES_IMAGE,
        python_image: str = PYTHON_IMAGE,
        choose_port: Callable[[], int] = free_port,
        service_host: str = HOST,
        alerting: RealAlerting | None = None,
    ) -> None:
        self._options = ComposeOptions(guard, allow_host, cache, choose_port, service_host)
        self._image = image
        self._seeder = seeder
        self._postgres_image = postgres_image
        self._python_image = python_image
        self._alerting = alerting

    def prepare(self, releases: Sequence[str], progress: Progress) -> str:
        """Find the engine, pull and build every image that will be needed; what there is, in words.

        Raises StackError that says why this stack cannot be brought up on this machine.
        """
        engine = find_engine(self._options.allow_host)
        with closing(engine.client()) as client:
            images = ImageStore(self._options.guard, engine, client, progress)
            postgres, base = images.need(self._postgres_image), images.need(self._image or self._python_image)
            for release in () if self._image else dict.fromkeys(releases):
                build_release(images, release, base)
            for name in (self._python_image, PROMETHEUS_IMAGE, ALERTMANAGER_IMAGE) if self._alerting else ():
                images.need(name)
        return f"Docker {engine.version}, Compose {engine.compose}; {postgres} and {base}"

    @contextmanager
    def up(self, scenario: Scenario, run: RunDir, progress: Progress) -> Iterator[ComposeRunning]:
        """Bring the stack up. Raises StackError, with the last lines of the container that failed."""
        engine = find_engine(self._options.allow_host)
        service = self._image or f"{SERVICE_IMAGE}:{scenario.release}"
        with compose_run(self._options, engine, scenario, run, progress) as ours, ExitStack() as exits:
            bring_up = BringUp(
                ours,
                ImageNames(self._postgres_image, self._python_image, service),
                ComposeTemplates(templates_root(ours.cache), self._seeder or _default_seeder()),
                built=self._image is None,
                alerting=self._alerting,
            )
            with engine_errors():
                running = exits.enter_context(bring_up.up())
            yield running


def _default_seeder() -> Seeder:
    from rushhour.stack.postgres.seeding import seed  # noqa: PLC0415  # only where no other seeder was given

    return seed
