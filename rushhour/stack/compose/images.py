"""Images: what an engine has, or can pull."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from docker import DockerClient
from docker.errors import DockerException, ImageNotFound

from rushhour.errors import StackError
from rushhour.process.guard import Guard
from rushhour.process.tools import run_tool
from rushhour.stack import Progress
from rushhour.stack.compose.engine import Engine, last_reason

POSTGRES_IMAGE: Final = "postgres:18"
PYTHON_IMAGE: Final = "python:3.13-slim"
# The versions of Debian 13's packages, which stand-ins are made from. Prometheus 3 evaluates ranges otherwise
# than 2.x, and what is compared should be of one kind with the promtool that predicts: Debian's is 2.x.
PROMETHEUS_IMAGE: Final = "prom/prometheus:v2.53.3"
ALERTMANAGER_IMAGE: Final = "prom/alertmanager:v0.28.1"
_OFFICIAL: Final = (POSTGRES_IMAGE, PYTHON_IMAGE, PROMETHEUS_IMAGE, ALERTMANAGER_IMAGE)
STAND_IN: Final = "rushhour.stand-in"  # the label of what infra/images/offline.sh builds
SOURCE: Final = "rushhour.source"  # the label of what is built here: a digest of what it was built from

PULL_TIMEOUT_S: Final = 900.0


@dataclass(frozen=True, slots=True)
class Image:
    """An image of the engine; `stand_in` says what a replacement of the official image was made from."""

    name: str
    id: str
    workdir: str
    environment: Mapping[str, str]
    stand_in: str | None
    source: str | None = None  # what our own build made it from

    def __str__(self) -> str:
        return self.name if self.stand_in is None else f"{self.name} (stand-in: {self.stand_in})"


@dataclass(frozen=True, slots=True)
class ImageStore:
    """The images of one engine."""

    guard: Guard
    engine: Engine
    client: DockerClient
    progress: Progress

    def find(self, name: str) -> Image | None:
        """Return the image, or None if the engine does not have it."""
        try:
            found = self.client.images.get(name)
        except ImageNotFound:
            return None
        config = found.attrs["Config"]
        labels = config.get("Labels") or {}
        variables = [entry.partition("=") for entry in config.get("Env") or ()]
        return Image(
            name=name,
            id=str(found.id),
            workdir=config.get("WorkingDir") or "/",
            environment={key: value for key, _, value in variables},
            stand_in=labels.get(STAND_IN),
            source=labels.get(SOURCE),
        )

    def need(self, name: str) -> Image:
        """Return the image, pulled if it is missing. Raises StackError with other ways to get it."""
        try:
            if (image := self.find(name)) is not None:
                return image
            self.progress(f"pull {name}")
            self._pull(name)
            if (image := self.find(name)) is not None:
                return image
        except DockerException as error:
            raise StackError(f"the image {name} cannot be looked up: {last_reason(error)}") from error
        raise StackError(f"the image {name} was pulled, but the engine does not know it")

    def _pull(self, name: str) -> None:
        try:
            run_tool(
                self.guard,
                ["docker", "pull", "--quiet", name],
                environment=self.engine.environment,
                account=None,
                timeout_s=PULL_TIMEOUT_S,
            )
        except StackError as error:
            advice = (
                "; where no registry can be reached, `make images-offline` builds a stand-in"
                if name in _OFFICIAL
                else "; build it, or check its name"
            )
            raise StackError(
                f"the image {name} is not on this machine and cannot be pulled{advice}; docker wrote:",
                error.log_tail,
            ) from error
