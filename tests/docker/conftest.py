"""A real engine, and the stack on it. `make test-docker` starts an engine and brings the images."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from docker import DockerClient

from rushhour.errors import StackError
from rushhour.process.guard import Guard
from rushhour.rundir import RunDir, create_run_dir
from rushhour.scenario.file import load_scenarios
from rushhour.scenario.model import Data, Scenario
from rushhour.stack.compose.engine import Engine, find_engine
from rushhour.stack.compose.running import ComposeRunning
from rushhour.stack.compose.stack import ComposeStack
from tests.docker.compose_subject import ROOT, build_image, everything, quiet


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.docker)


@pytest.fixture(scope="session")
def engine() -> Engine:
    try:
        return find_engine()
    except StackError as error:
        pytest.skip(str(error).splitlines()[0])


@pytest.fixture(scope="session")
def client(engine: Engine) -> Iterator[DockerClient]:
    with closing(engine.client()) as client:
        yield client


@pytest.fixture
def nothing_left(client: DockerClient) -> Iterator[dict[str, set[str]]]:
    """The engine holds after the test what it held before, which this yields."""
    before = everything(client)
    yield before
    assert everything(client) == before


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests, so that the data is seeded once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def scenario() -> Scenario:
    chosen = load_scenarios(ROOT / "scenarios.yaml").select(["smoke-leak"], "1.1.1")[0]
    return replace(chosen, data=Data(size="tiny"))


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return create_run_dir(tmp_path / "runs", "test")


@pytest.fixture
def guard() -> Iterator[Guard]:
    with Guard() as guard:
        yield guard


@pytest.fixture
def image_of(client: DockerClient) -> Iterator[Callable[[str, str], str]]:
    """Builds an image from a Dockerfile's text under a name; it is removed at the end."""
    built: list[str] = []

    def build(dockerfile: str, name: str) -> str:
        build_image(client, dockerfile, name)
        built.append(name)
        return name

    yield build
    for name in built:
        client.images.remove(name, force=True)


@pytest.fixture(scope="module")
def standing(
    engine: Engine, scenario: Scenario, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ComposeRunning, RunDir]]:
    """A stack that is up for all tests of a module; each leaves it as it was."""
    del engine  # it answers
    run = create_run_dir(tmp_path_factory.mktemp("standing"), "standing")
    with Guard() as guard, ComposeStack(guard, cache=cache).up(scenario, run, quiet) as running:
        yield running, run
