"""The drill on a real Docker Swarm of one node, made for it and left again."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

from docker import DockerClient

from rushhour.errors import StackError
from rushhour.jobs.drill import own_swarm
from rushhour.jobs.drill.fleet import Plan
from rushhour.jobs.drill.swarm_fleet import Cast, SwarmFleet
from rushhour.jobs.drill.swarm_up import BringUp
from rushhour.process.guard import Guard
from rushhour.rundir import Recorder
from rushhour.stack import Progress
from rushhour.stack.compose.engine import ENGINE_ERRORS, Engine, last_reason
from rushhour.stack.compose.image_build import build_release
from rushhour.stack.compose.images import POSTGRES_IMAGE, PYTHON_IMAGE, Image, ImageStore
from rushhour.stack.compose.up import make_places
from rushhour.stack.paths import cache_dir, open_cache
from rushhour.stack.work import work_dir


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
                bring_up = BringUp(
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
