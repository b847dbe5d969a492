"""Brings a fleet up on a Docker Swarm of one node, which is made for it and left again."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

from docker import DockerClient

from rushhour.errors import StackError
from rushhour.process.guard import Guard
from rushhour.rundir import RunDir
from rushhour.scenario.model import Scenario
from rushhour.stack import Progress
from rushhour.stack.compose.engine import ENGINE_ERRORS, Engine, last_reason
from rushhour.stack.compose.image_build import build_release
from rushhour.stack.compose.images import POSTGRES_IMAGE, PYTHON_IMAGE, Image, ImageStore
from rushhour.stack.compose.up import make_places
from rushhour.stack.fleet import Plan
from rushhour.stack.paths import cache_dir, open_cache
from rushhour.stack.swarm import own_swarm
from rushhour.stack.swarm.fleet import FleetImages, SwarmFleet
from rushhour.stack.swarm.up import BringUp
from rushhour.stack.work import work_dir


class SwarmStack:
    """Primary, replica, target and siblings on a Swarm of one node, which this makes and leaves."""

    name: Final = "swarm"

    def __init__(self, guard: Guard, plan: Plan, *, cache: Path | None = None) -> None:
        self._guard = guard
        self._plan = plan
        self._cache = cache

    @contextmanager
    def up(self, scenario: Scenario, run: RunDir, progress: Progress) -> Iterator[SwarmFleet]:
        """Bring the fleet up. Raises StackError that says what did not come up, or what is in the way."""
        engine = own_swarm.find_local_engine()
        cache = open_cache(self._cache or cache_dir(), None)
        with ExitStack() as exits:
            client = exits.enter_context(closing(engine.client()))
            work = exits.enter_context(work_dir(cache, self._guard))
            try:
                own_swarm.refuse_foreign(client.api)  # before images are built
                images = ImageStore(self._guard, engine, client, progress)
                chosen = _need_images(scenario, self._plan, images)
                late = exits.enter_context(ExitStack())  # what ends once the containers are gone
                exits.enter_context(_swarm(self._guard, engine, client, work))
                bring_up = BringUp(
                    self._guard,
                    engine,
                    client,
                    scenario,
                    self._plan,
                    chosen,
                    make_places(work, run),
                    run,
                    progress,
                )
                yield bring_up.start(exits, late)
            except ENGINE_ERRORS as error:
                raise StackError(f"the container engine failed: {last_reason(error)}") from error


def _need_images(scenario: Scenario, plan: Plan, images: ImageStore) -> FleetImages:
    """Pull and build what the fleet needs."""
    postgres, base = images.need(POSTGRES_IMAGE), images.need(PYTHON_IMAGE)

    def of(release: str) -> Image:
        return build_release(images, release, base)

    leaking = images.need(plan.leaking_image) if plan.leaking_image else of(scenario.release)
    hotfix = images.need(plan.image) if plan.image else of(plan.hotfix)
    return FleetImages(hotfix if plan.by == "rollback" else leaking, leaking, hotfix, postgres)


@contextmanager
def _swarm(guard: Guard, engine: Engine, client: DockerClient, work: Path) -> Iterator[None]:
    """Keep a Swarm: known to the guard first, left at the end."""
    leaving = own_swarm.leaving_command(engine.base_url, work)
    guard.run_at_death(leaving)
    own_swarm.make(client.api, work)
    try:
        yield
    finally:
        own_swarm.leave(client.api, str(work))
        guard.no_longer_run(leaving)
